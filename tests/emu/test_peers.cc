/* Cases about ranks that come late, fail or give up; see test_emu.cc. */
#include "emu/cases.h"

#if __has_include(<nccl.h>)
#include "emu/rank_cases.h"

#include <thread>

namespace {

/* Asks until the stream is done or `seconds` are over or the communicator has failed; how often it was not ready. */
ncclResult_t poll(const Rank &me, cudaStream_t stream, double seconds, int *not_ready) {
    ncclResult_t error;
    double start = now_s();
    for (*not_ready = 0;; (*not_ready)++) {
        cudaError_t state = cudaStreamQuery(stream);
        NCCL_TRY(ncclCommGetAsyncError(me.comm, &error));
        if (state == cudaSuccess || error != ncclSuccess) return error;
        if (state != cudaErrorNotReady) TRY(state);
        if (now_s() - start > seconds) return ncclInProgress;
        pause_ms(1);
    }
}

bool late_peer(bool) {
    return together(2, [](const Rank &me) {
        Stream stream;
        int not_ready;
        Device<float> x(numbers_of<float>(me.rank, LONG));
        if (me.rank == 1) pause_ms(100);
        NCCL_TRY(ncclAllReduce(x.p, x.p, LONG, ncclFloat32, ncclSum, me.comm, stream.s));
        NCCL_TRY(poll(me, stream.s, 20.0, &not_ready));
        return (me.rank == 1 || not_ready > 0) && x.get() == sum_of<float>(2, LONG);
    });
}

/* Rank 2 never takes part and ends or gives up; the others see it soon, whether they ask or wait, and go on without
 * what they have not got. */
bool peer_is_lost(bool abort, bool waits, bool sends) {
    return processes(3, [=](const ncclUniqueId &id, int rank) {
        Rank me{nullptr, rank, 3};
        NCCL_TRY(ncclCommInitRank(&me.comm, 3, id, rank));
        if (rank == 2) {
            pause_ms(50);
            if (!abort) _exit(0);
            NCCL_TRY(ncclCommAbort(me.comm));
            pause_ms(200);
            return true;
        }
        Stream stream;
        int not_ready;
        ncclResult_t error;
        Device<float> x(numbers_of<float>(rank, N));
        double start = now_s();
        if (sends)
            NCCL_TRY(ncclSend(x.p, N, ncclFloat32, 2, me.comm, stream.s));
        else
            NCCL_TRY(ncclAllReduce(x.p, x.p, N, ncclFloat32, ncclSum, me.comm, stream.s));
        if (waits) TRY(cudaStreamSynchronize(stream.s));
        bool seen = poll(me, stream.s, 10.0, &not_ready) == ncclRemoteError && now_s() - start < 2.0;
        NCCL_TRY(ncclAllReduce(x.p, x.p, N, ncclFloat32, ncclSum, me.comm, stream.s));
        TRY(cudaStreamSynchronize(stream.s));
        NCCL_TRY(ncclCommGetAsyncError(me.comm, &error));
        NCCL_TRY(ncclCommAbort(me.comm));
        return seen && error == ncclRemoteError && x.get() == numbers_of<float>(rank, N);
    });
}
bool peer_dies(bool) { return peer_is_lost(false, false, false) && peer_is_lost(false, false, true); }
bool peer_dies_in_wait(bool) { return peer_is_lost(false, true, false) && peer_is_lost(false, true, true); }
bool peer_aborts(bool) { return peer_is_lost(true, false, false) && peer_is_lost(true, false, true); }

/* A peer that lives but does not come is no error; whoever asks may give up and leave. */
bool gives_up(bool) {
    return processes(2, [](const ncclUniqueId &id, int rank) {
        Rank me{nullptr, rank, 2};
        NCCL_TRY(ncclCommInitRank(&me.comm, 2, id, rank));
        if (rank == 1) {
            pause_ms(250);
            NCCL_TRY(ncclCommDestroy(me.comm));
            return true;
        }
        Stream stream;
        int not_ready;
        Device<float> x(numbers_of<float>(0, N));
        NCCL_TRY(ncclAllReduce(x.p, x.p, N, ncclFloat32, ncclSum, me.comm, stream.s));
        bool nothing = poll(me, stream.s, 0.1, &not_ready) == ncclInProgress && not_ready > 0;
        NCCL_TRY(ncclCommAbort(me.comm));
        TRY(cudaStreamSynchronize(stream.s));
        return nothing && x.get() == numbers_of<float>(0, N);
    });
}

/* Whoever waits is set free by another of its threads. */
bool abort_from_thread(bool) {
    return processes(2, [](const ncclUniqueId &id, int rank) {
        Rank me{nullptr, rank, 2};
        NCCL_TRY(ncclCommInitRank(&me.comm, 2, id, rank));
        if (rank == 1) {
            pause_ms(200);
            NCCL_TRY(ncclCommDestroy(me.comm));
            return true;
        }
        Stream stream;
        Device<float> x(numbers_of<float>(0, N));
        NCCL_TRY(ncclAllReduce(x.p, x.p, N, ncclFloat32, ncclSum, me.comm, stream.s));
        std::thread other([&] {
            pause_ms(50);
            NCCL_TRY(ncclCommAbort(me.comm));
        });
        TRY(cudaStreamSynchronize(stream.s));
        other.join();
        return x.get() == numbers_of<float>(0, N);
    });
}

/* Joining: one dies meanwhile, one never comes, and without blocking. */
bool joining(bool) {
    bool died = processes(3, [](const ncclUniqueId &id, int rank) {
        ncclComm_t comm;
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = 0;
        if (rank == 2) return true;
        if (rank == 0) return ncclCommInitRank(&comm, 3, id, rank) == ncclRemoteError;
        if (ncclCommInitRankConfig(&comm, 3, id, rank, &config) != ncclInProgress) return false;
        pause_ms(50);
        _exit(0);
    });
    setenv("KDIFFE_EMU_NCCL_TIMEOUT", "0.2", 1);
    bool missing = processes(2, [](const ncclUniqueId &id, int rank) {
        ncclComm_t comm;
        return rank == 1 || ncclCommInitRank(&comm, 2, id, rank) == ncclSystemError;
    });
    unsetenv("KDIFFE_EMU_NCCL_TIMEOUT");
    return died && missing && processes(2, [](const ncclUniqueId &id, int rank) {
               Rank me{nullptr, rank, 2};
               ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
               ncclResult_t error;
               config.blocking = 0;
               if (rank == 1) pause_ms(50);
               error = ncclCommInitRankConfig(&me.comm, 2, id, rank, &config);
               while (error == ncclInProgress) NCCL_TRY(ncclCommGetAsyncError(me.comm, &error));
               NCCL_TRY(error);
               bool right = sum_is_right<float>(me, ncclFloat32, N, false);
               NCCL_TRY(ncclCommDestroy(me.comm));
               return right;
           });
}

/* Ranks that are programs of their own, and know no more than the id's 128 bytes. */
bool other_programs(bool) {
    return processes(2, [](const ncclUniqueId &id, int rank) {
        std::string digits;
        char two[3], place[12];
        for (char byte : id.internal) {
            snprintf(two, sizeof two, "%02x", (unsigned)(unsigned char)byte);
            digits += two;
        }
        snprintf(place, sizeof place, "%d", rank);
        execl("/proc/self/exe", "test_emu", "rank", digits.c_str(), place, "2", nullptr);
        return false;
    });
}

/* Bug: one rank waits for a sum that the other does not take part in, though it lives. */
bool never_comes(bool bug) {
    if (bug) setenv("KDIFFE_EMU_NCCL_TIMEOUT", "0.3", 1);
    return together(2, [=](const Rank &me) {
        if (bug && me.rank == 1) {
            pause_ms(800);
            return true;
        }
        return sum_is_right<float>(me, ncclFloat32, N, true);
    });
}

/* Bug: one rank takes what the other never sends. */
bool never_sends(bool bug) {
    if (bug) setenv("KDIFFE_EMU_NCCL_TIMEOUT", "0.3", 1);
    return together(2, [=](const Rank &me) {
        Stream stream;
        Device<float> x(numbers_of<float>(me.rank, N));
        if (me.rank == 0)
            NCCL_TRY(ncclRecv(x.p, N, ncclFloat32, 1, me.comm, stream.s));
        else if (!bug)
            NCCL_TRY(ncclSend(x.p, N, ncclFloat32, 0, me.comm, stream.s));
        else
            pause_ms(800);
        TRY(cudaStreamSynchronize(stream.s));
        return x.get() == numbers_of<float>(1, N);
    });
}

} // namespace

int run_rank(const char *digits, int rank, int ranks) {
    ncclUniqueId id;
    Rank me{nullptr, rank, ranks};
    for (size_t i = 0; i < sizeof id.internal; i++) {
        unsigned byte = 0;
        if (sscanf(digits + 2 * i, "%2x", &byte) != 1) return 2;
        id.internal[i] = (char)byte;
    }
    NCCL_TRY(ncclCommInitRank(&me.comm, ranks, id, rank));
    bool right = sum_is_right<double>(me, ncclFloat64, LONG, false);
    NCCL_TRY(ncclCommDestroy(me.comm));
    return right ? 0 : 3;
}

const std::vector<Case> peer_cases = {{"late_peer", late_peer},
                                      {"peer_dies", peer_dies},
                                      {"peer_dies_in_wait", peer_dies_in_wait},
                                      {"peer_aborts", peer_aborts},
                                      {"gives_up", gives_up},
                                      {"abort_from_thread", abort_from_thread},
                                      {"joining", joining},
                                      {"other_programs", other_programs},
                                      {"never_comes", never_comes},
                                      {"never_sends", never_sends}};
#else
const std::vector<Case> peer_cases;
int run_rank(const char *, int, int) { return 2; }
#endif
