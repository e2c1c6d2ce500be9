/* Cases about the results of collectives; see test_emu.cc. */
#include "emu/cases.h"

#if __has_include(<nccl.h>)
#include "emu/planted.h"
#include "emu/rank_cases.h"

namespace {

bool sums(bool) {
    for (int ranks = 1; ranks <= 4; ranks++)
        if (!together(ranks, [](const Rank &me) {
                for (size_t n : {(size_t)1, (size_t)N, (size_t)LONG})
                    for (bool in_place : {false, true})
                        if (!sum_is_right<float>(me, ncclFloat32, n, in_place) ||
                            !sum_is_right<double>(me, ncclFloat64, n, in_place))
                            return false;
                return sum_is_right<int>(me, ncclInt32, N, false) && sum_is_right<int64_t>(me, ncclInt64, N, true);
            }))
            return false;
    return true;
}

/* The same bits on all ranks, where the order of the summands matters. */
bool same_bits(bool) {
    return together(3, [](const Rank &me) {
        Stream stream;
        std::vector<float> mine((size_t)N);
        for (int i = 0; i < N; i++) mine[i] = 1.0f / (float)(1 + i * (me.rank + 3) % 89);
        Device<float> x(mine), all((size_t)N * 3);
        NCCL_TRY(ncclAllReduce(x.p, x.p, N, ncclFloat32, ncclSum, me.comm, stream.s));
        NCCL_TRY(ncclAllGather(x.p, all.p, N, ncclFloat32, me.comm, stream.s));
        TRY(cudaStreamSynchronize(stream.s));
        std::vector<float> got = all.get();
        return memcmp(&got[0], &got[N], N * sizeof(float)) == 0 && memcmp(&got[0], &got[2 * N], N * sizeof(float)) == 0;
    });
}

/* From each rank in turn, of any type, and in place as well. */
bool broadcasts(bool) {
    return together(3, [](const Rank &me) {
        Stream stream;
        for (int root = 0; root < me.ranks; root++)
            for (size_t n : {(size_t)1, (size_t)LONG}) {
                Device<char> in(numbers_of<char>(me.rank, n)), out(n);
                NCCL_TRY(ncclBroadcast(me.rank == root ? in.p : nullptr, out.p, n, ncclInt8, root, me.comm, stream.s));
                NCCL_TRY(ncclBroadcast(in.p, in.p, n, ncclUint8, root, me.comm, stream.s));
                TRY(cudaStreamSynchronize(stream.s));
                if (out.get() != numbers_of<char>(root, n) || in.get() != out.get()) return false;
            }
        return true;
    });
}

/* Several in a row without a wait between them: most, each rank's part of a sum, and all parts again. */
bool in_a_row(bool) {
    return together(4, [](const Rank &me) {
        Stream stream;
        size_t part = LONG / 4, all = part * 4;
        Device<float> x(numbers_of<float>(me.rank, all)), sum(numbers_of<float>(me.rank, all));
        Device<int> most(std::vector<int>{me.rank, -me.rank});
        NCCL_TRY(ncclAllReduce(most.p, most.p, 2, ncclInt32, ncclMax, me.comm, stream.s));
        NCCL_TRY(ncclReduceScatter(x.p, x.p + (size_t)me.rank * part, part, ncclFloat32, ncclSum, me.comm, stream.s));
        NCCL_TRY(ncclAllGather(x.p + (size_t)me.rank * part, x.p, part, ncclFloat32, me.comm, stream.s));
        NCCL_TRY(ncclAllReduce(sum.p, sum.p, all, ncclFloat32, ncclSum, me.comm, stream.s));
        TRY(cudaStreamSynchronize(stream.s));
        return most.get() == std::vector<int>{3, 0} && x.get() == sum.get() && sum.get() == sum_of<float>(4, all);
    });
}

/* x + 1 on one stream, its sum on another, and 1 more on the first. Bug: the sum does not wait for what it adds up. */
bool add_sum_add(const Rank &me, Stream &computes, Stream &sums_up, float *x, float *y, bool bug) {
    Happening computed, summed;
    TRY(cudaEventRecord(computed.e, computes.s)); /* whatever comes before, so that a capture is forked here */
    TRY(cudaStreamWaitEvent(sums_up.s, computed.e, 0));
    planted_add_one(false, N, x, y, computes.s);
    TRY(cudaEventRecord(computed.e, computes.s));
    if (!bug) TRY(cudaStreamWaitEvent(sums_up.s, computed.e, 0));
    NCCL_TRY(ncclAllReduce(y, y, N, ncclFloat32, ncclSum, me.comm, sums_up.s));
    TRY(cudaEventRecord(summed.e, sums_up.s));
    TRY(cudaStreamWaitEvent(computes.s, summed.e, 0));
    planted_add_one(false, N, y, x, computes.s);
    return true;
}
std::vector<float> after(int times, int ranks) {
    std::vector<float> x = sum_of<float>(ranks, N);
    for (float &value : x) value += (float)ranks + 1.0f;
    for (int i = 1; i < times; i++)
        for (float &value : x) value = (value + 1.0f) * (float)ranks + 1.0f;
    return x;
}
bool sum_beside(bool bug) {
    return together(2, [=](const Rank &me) {
        Stream computes, sums_up;
        Device<float> x(numbers_of<float>(me.rank, N)), y(std::vector<float>(N, 0.0f));
        add_sum_add(me, computes, sums_up, x.p, y.p, bug);
        TRY(cudaStreamSynchronize(sums_up.s)); /* does only what the sum waits for */
        TRY(cudaStreamSynchronize(computes.s));
        return x.get() == after(1, me.ranks);
    });
}
/* The same as a graph whose replays go on from what the one before left. */
bool sum_captured(bool bug) {
    return together(3, [=](const Rank &me) {
        Stream computes, sums_up;
        cudaGraph_t graph;
        cudaGraphExec_t runnable;
        Device<float> x(numbers_of<float>(me.rank, N)), y(std::vector<float>(N, 0.0f));
        TRY(cudaStreamBeginCapture(computes.s, cudaStreamCaptureModeThreadLocal));
        add_sum_add(me, computes, sums_up, x.p, y.p, bug);
        TRY(cudaStreamEndCapture(computes.s, &graph));
        TRY(cudaGraphInstantiateWithFlags(&runnable, graph, 0));
        for (int i = 0; i < 3; i++) TRY(cudaGraphLaunch(runnable, computes.s));
        TRY(cudaGraphExecDestroy(runnable)); /* the launches are still queued */
        TRY(cudaGraphDestroy(graph));
        TRY(cudaStreamSynchronize(computes.s));
        return x.get() == after(3, me.ranks);
    });
}

/* Two streams without an event between them: the communicator's collectives keep their order, even though one rank
 * waits for the later one first. */
bool order_of_calls(bool) {
    return together(2, [](const Rank &me) {
        Stream first, second;
        Device<float> x(numbers_of<float>(me.rank, N)), y(numbers_of<float>(me.rank, LONG));
        NCCL_TRY(ncclAllReduce(x.p, x.p, N, ncclFloat32, ncclSum, me.comm, first.s));
        NCCL_TRY(ncclAllReduce(y.p, y.p, LONG, ncclFloat32, ncclSum, me.comm, second.s));
        TRY(cudaStreamSynchronize(me.rank ? second.s : first.s));
        TRY(cudaStreamSynchronize(me.rank ? first.s : second.s));
        return x.get() == sum_of<float>(2, N) && y.get() == sum_of<float>(2, LONG);
    });
}

/* Parts of different sizes to everybody, one of them empty. */
bool grouped(bool) {
    return together(3, [](const Rank &me) {
        Stream stream;
        size_t first[] = {0, 10, 10, N};
        std::vector<float> expected((size_t)N);
        for (int r = 0; r < 3; r++)
            for (size_t i = first[r]; i < first[r + 1]; i++) expected[i] = (float)r;
        Device<float> x(std::vector<float>((size_t)N, (float)me.rank));
        NCCL_TRY(ncclGroupStart());
        for (int r = 0; r < 3; r++)
            NCCL_TRY(ncclBroadcast(x.p + first[r], x.p + first[r], first[r + 1] - first[r], ncclFloat32, r, me.comm,
                                   stream.s));
        bool later = cudaStreamQuery(stream.s) == cudaSuccess; /* nothing is queued yet */
        NCCL_TRY(ncclGroupEnd());
        TRY(cudaStreamSynchronize(stream.s));
        return later && x.get() == expected;
    });
}

template <class T> bool turn_is_right(const Rank &me, ncclDataType_t type, bool leave_out, size_t fewer) {
    Stream stream;
    std::vector<T> expected = contents<T>(me, false);
    Device<T> in(contents<T>(me, true)), out(std::vector<T>(expected.size(), (T)-1));
    turn(me, type, in.p, out.p, leave_out, fewer, stream.s);
    TRY(cudaStreamSynchronize(stream.s));
    return out.get() == expected;
}
bool turns(bool) {
    for (int ranks = 1; ranks <= 4; ranks++)
        if (!together(ranks, [](const Rank &me) {
                return turn_is_right<float>(me, ncclFloat32, false, 0) &&
                       turn_is_right<double>(me, ncclFloat64, true, 0) && turn_is_right<char>(me, ncclChar, true, 0);
            }))
            return false;
    return true;
}
/* Bug: a rank takes less from another than that sends. */
bool turn_sizes_differ(bool bug) {
    return together(3, [=](const Rank &me) { return turn_is_right<float>(me, ncclFloat32, true, bug); });
}

/* x + 1 on one stream, what others send of it on another, between collectives; replayed. Bug: what is sent does not
 * wait for the + 1. */
bool turn_captured(bool bug) {
    return together(3, [=](const Rank &me) {
        Stream computes, sends;
        Happening computed, taken;
        cudaGraph_t graph;
        cudaGraphExec_t runnable;
        std::vector<float> start = contents<float>(me, true), expected = contents<float>(me, false);
        int n = (int)start.size();
        Device<float> x(start), y(std::vector<float>(start.size(), 0.0f)), z(expected.size()),
            sum(numbers_of<float>(0, N));
        TRY(cudaStreamBeginCapture(computes.s, cudaStreamCaptureModeThreadLocal));
        TRY(cudaEventRecord(computed.e, computes.s));
        TRY(cudaStreamWaitEvent(sends.s, computed.e, 0));
        planted_add_one(false, n, x.p, y.p, computes.s);
        TRY(cudaEventRecord(computed.e, computes.s));
        if (!bug) TRY(cudaStreamWaitEvent(sends.s, computed.e, 0));
        NCCL_TRY(ncclAllReduce(sum.p, sum.p, N, ncclFloat32, ncclMax, me.comm, sends.s));
        turn(me, ncclFloat32, y.p, z.p, true, 0, sends.s);
        NCCL_TRY(ncclAllReduce(sum.p, sum.p, N, ncclFloat32, ncclMax, me.comm, sends.s));
        TRY(cudaEventRecord(taken.e, sends.s));
        TRY(cudaStreamWaitEvent(computes.s, taken.e, 0));
        planted_add_one(false, n, y.p, x.p, computes.s);
        TRY(cudaStreamEndCapture(computes.s, &graph));
        TRY(cudaGraphInstantiateWithFlags(&runnable, graph, 0));
        for (int i = 0; i < 3; i++) TRY(cudaGraphLaunch(runnable, computes.s));
        TRY(cudaGraphExecDestroy(runnable)); /* the launches are still queued */
        TRY(cudaGraphDestroy(graph));
        TRY(cudaStreamSynchronize(computes.s));
        for (float &value : expected) value += 5.0f; /* 2 by each replay before the last, 1 by it */
        return z.get() == expected;
    });
}

/* Two of three ranks, several messages of one group for one rank, which come in order, and one without a group. */
bool messages(bool) {
    return together(3, [](const Rank &me) {
        Stream stream;
        Device<int> x(numbers_of<int>(me.rank, N)), y(std::vector<int>((size_t)N, -1));
        if (me.rank == 0) {
            NCCL_TRY(ncclGroupStart());
            NCCL_TRY(ncclSend(x.p, 10, ncclInt32, 2, me.comm, stream.s));
            NCCL_TRY(ncclSend(x.p + 10, N - 10, ncclInt32, 2, me.comm, stream.s));
            NCCL_TRY(ncclGroupEnd());
            NCCL_TRY(ncclRecv(y.p, N, ncclInt32, 2, me.comm, stream.s));
        } else if (me.rank == 2) {
            NCCL_TRY(ncclGroupStart());
            NCCL_TRY(ncclRecv(y.p, 10, ncclInt32, 0, me.comm, stream.s));
            NCCL_TRY(ncclRecv(y.p + 10, N - 10, ncclInt32, 0, me.comm, stream.s));
            bool later = cudaStreamQuery(stream.s) == cudaSuccess; /* nothing is queued yet */
            NCCL_TRY(ncclGroupEnd());
            NCCL_TRY(ncclSend(x.p, N, ncclInt32, 0, me.comm, stream.s));
            if (!later) return false;
        }
        TRY(cudaStreamSynchronize(stream.s));
        return y.get() == (me.rank == 1 ? std::vector<int>((size_t)N, -1) : numbers_of<int>(2 - me.rank, N));
    });
}

/* A communicator of all and one of two of them, side by side. */
bool two_communicators(bool) {
    ncclUniqueId of_two;
    NCCL_TRY(ncclGetUniqueId(&of_two));
    return together(3, [=](const Rank &me) {
        Stream stream;
        ncclComm_t pair;
        int count = 2, place = me.rank;
        Device<float> x(numbers_of<float>(me.rank, N)), y(numbers_of<float>(me.rank, N));
        if (me.rank < 2) {
            NCCL_TRY(ncclCommInitRank(&pair, 2, of_two, me.rank));
            NCCL_TRY(ncclCommCount(pair, &count));
            NCCL_TRY(ncclCommUserRank(pair, &place));
            NCCL_TRY(ncclAllReduce(x.p, x.p, N, ncclFloat32, ncclSum, pair, stream.s));
        }
        NCCL_TRY(ncclAllReduce(y.p, y.p, N, ncclFloat32, ncclSum, me.comm, stream.s));
        TRY(cudaStreamSynchronize(stream.s));
        if (me.rank < 2) NCCL_TRY(ncclCommDestroy(pair));
        return count == 2 && place == me.rank && y.get() == sum_of<float>(3, N) &&
               x.get() == (me.rank < 2 ? sum_of<float>(2, N) : numbers_of<float>(me.rank, N));
    });
}

/* Bug: ranks that add up different numbers of numbers. */
bool counts_differ(bool bug) {
    return together(2, [=](const Rank &me) {
        Stream stream;
        Device<float> x(numbers_of<float>(me.rank, N));
        NCCL_TRY(ncclAllReduce(x.p, x.p, N - (bug ? me.rank : 0), ncclFloat32, ncclSum, me.comm, stream.s));
        TRY(cudaStreamSynchronize(stream.s));
        return x.get() == sum_of<float>(2, N);
    });
}
bool sum_read_early(bool bug) {
    return together(2, [=](const Rank &me) {
        Stream stream;
        Device<float> x(numbers_of<float>(me.rank, N));
        Pinned<float> home(N);
        memset(home.p, 0, N * sizeof(float));
        NCCL_TRY(ncclAllReduce(x.p, x.p, N, ncclFloat32, ncclSum, me.comm, stream.s));
        TRY(cudaMemcpyAsync(home.p, x.p, N * sizeof(float), cudaMemcpyDeviceToHost, stream.s));
        if (!bug) TRY(cudaStreamSynchronize(stream.s));
        return memcmp(home.p, sum_of<float>(2, N).data(), N * sizeof(float)) == 0;
    });
}
bool host_buffer(bool bug) {
    return together(2, [=](const Rank &me) {
        Stream stream;
        std::vector<float> on_host = numbers_of<float>(me.rank, N);
        Device<float> x(on_host);
        float *buffer = bug ? on_host.data() : x.p;
        bool taken = ncclAllReduce(buffer, buffer, N, ncclFloat32, ncclSum, me.comm, stream.s) != ncclInvalidArgument;
        if (bug) taken |= ncclSend(buffer, N, ncclFloat32, 0, me.comm, stream.s) != ncclInvalidArgument;
        TRY(cudaStreamSynchronize(stream.s));
        return taken && x.get() == sum_of<float>(2, N);
    });
}
} // namespace

const std::vector<Case> rank_cases = {{"sums", sums},
                                      {"same_bits", same_bits},
                                      {"broadcasts", broadcasts},
                                      {"in_a_row", in_a_row},
                                      {"sum_beside", sum_beside},
                                      {"sum_captured", sum_captured},
                                      {"order_of_calls", order_of_calls},
                                      {"grouped", grouped},
                                      {"turns", turns},
                                      {"turn_sizes_differ", turn_sizes_differ},
                                      {"turn_captured", turn_captured},
                                      {"messages", messages},
                                      {"two_communicators", two_communicators},
                                      {"counts_differ", counts_differ},
                                      {"sum_read_early", sum_read_early},
                                      {"host_buffer", host_buffer}};
#else
const std::vector<Case> rank_cases;
#endif
