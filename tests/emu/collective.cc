/* A collective does what it can and comes back later for the rest: it never waits by itself. */
#include "emu/collective.h"

#if __has_include(<nccl.h>)
#include <sched.h>

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace emu {
namespace {

const char *const OPS[] = {"sum", "product", "max", "min"};
thread_local char last_words[512];

/* Where integers overflow they wrap, as on a GPU. */
float add(float a, float b) { return a + b; }
double add(double a, double b) { return a + b; }
int32_t add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
int64_t add(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }

} // namespace

const char *const CALL_NAMES[] = {"ncclAllReduce", "ncclReduceScatter", "ncclAllGather",
                                  "ncclBroadcast", "ncclSend",          "ncclRecv"};
const size_t TYPE_BYTES[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
const char *const TYPE_NAMES[] = {"int8",    "uint8",   "int32",   "uint32",   "int64",      "uint64",
                                  "float16", "float32", "float64", "bfloat16", "float8e4m3", "float8e5m2"};

void note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_words, sizeof last_words, format, arguments);
    va_end(arguments);
}
const char *last_note() { return last_words; }

bool Collective::has_memory(const char **name, const void **p, size_t *bytes) const {
    size_t ranks = (size_t)comm->ranks, one = doing.count * each;
    bool reads = doing.call != Broadcast || doing.root == comm->rank;
    if (one == 0) return true;
    *name = "the send buffer", *p = in, *bytes = doing.call == ReduceScatter ? one * ranks : one;
    if (reads && !is_device_memory(in, *bytes)) return false;
    *name = "the receive buffer", *p = out, *bytes = doing.call == AllGather ? one * ranks : one;
    return is_device_memory(out, *bytes);
}

void Collective::begin() {
    const char *name;
    const void *p;
    size_t bytes;
    begun = true;
    if (comm->ended) fatal("%s of a communicator that is no more", CALL_NAMES[doing.call]);
    if (!has_memory(&name, &p, &bytes)) /* it may have been freed since the call, or a graph's capture */
        fatal("%s: the %zu bytes of %s at %p do not lie within an allocation of the device", CALL_NAMES[doing.call],
              bytes, name, p);
    doing.number = ++comm->number;
    if (doing.number == settings().nccl_death && comm->rank == comm->ranks - 1) raise(SIGKILL);
    moved_at = seconds_now();
}

/* A round moves up to a slot full of one part: of ReduceScatter each rank's result is a part, of others all is one. */
void Collective::leave_something() {
    uint64_t part = done / rounds_of_part, first = done % rounds_of_part * room;
    size_t n = (size_t)std::min<uint64_t>(room, doing.count - first);
    uint64_t round = ++comm->round;
    *comm->peers->doing(comm->rank, round) = doing;
    if (n > 0 && (doing.call != Broadcast || doing.root == comm->rank))
        memcpy(comm->peers->slot(comm->rank, round), in + (part * doing.count + first) * each, n * each);
    comm->peers->arrive(round);
}

void Collective::take_all() {
    uint64_t part = done / rounds_of_part, first = done % rounds_of_part * room;
    size_t n = (size_t)std::min<uint64_t>(room, doing.count - first);
    if (n == 0) return;
    char *here = out + first * each;
    switch (doing.call) {
    case AllReduce: reduce_any(here, first, n); break;
    case ReduceScatter:
        if ((int)part == comm->rank) reduce_any(here, first, n);
        break;
    case AllGather:
        for (int r = 0; r < comm->ranks; r++)
            memcpy(here + (size_t)r * doing.count * each, comm->peers->slot(r, comm->round), n * each);
        break;
    default: memcpy(here, comm->peers->slot(doing.root, comm->round), n * each);
    }
}

/* Which rank comes first differs from block to block of the array, and it goes down from there. */
template <class T> void Collective::reduce(T *to, uint64_t first, size_t n) const {
    const size_t BLOCK = 64;
    for (size_t start = 0; start < n; start += BLOCK) {
        size_t end = std::min(n, start + BLOCK);
        int rank = (int)((first + start) / BLOCK % (uint64_t)comm->ranks);
        for (int i = 0; i < comm->ranks; i++, rank = (rank > 0 ? rank : comm->ranks) - 1) {
            const T *x = reinterpret_cast<const T *>(comm->peers->slot(rank, comm->round));
            if (i == 0)
                std::copy(x + start, x + end, to + start);
            else if (doing.op == ncclSum)
                for (size_t j = start; j < end; j++) to[j] = add(to[j], x[j]);
            else
                for (size_t j = start; j < end; j++) to[j] = std::max(to[j], x[j]);
        }
    }
}
void Collective::reduce_any(char *to, uint64_t first, size_t n) const {
    switch (doing.type) {
    case ncclFloat32: return reduce(reinterpret_cast<float *>(to), first, n);
    case ncclFloat64: return reduce(reinterpret_cast<double *>(to), first, n);
    case ncclInt32: return reduce(reinterpret_cast<int32_t *>(to), first, n);
    default: return reduce(reinterpret_cast<int64_t *>(to), first, n);
    }
}

void Collective::compare() const {
    for (int r = 0; r < comm->ranks; r++) {
        const Doing &other = *comm->peers->doing(r, comm->round);
        if (other.call == doing.call && other.type == doing.type && other.op == doing.op && other.root == doing.root &&
            other.count == doing.count && other.number == doing.number)
            continue;
        fatal("ranks disagree: collective %llu of rank %d is %s of %llu %s (%s, root %d), collective %llu of "
              "rank %d is %s of %llu %s (%s, root %d)",
              (unsigned long long)doing.number, comm->rank, CALL_NAMES[doing.call], (unsigned long long)doing.count,
              TYPE_NAMES[doing.type], OPS[doing.op], doing.root, (unsigned long long)other.number, r,
              CALL_NAMES[other.call], (unsigned long long)other.count, TYPE_NAMES[other.type], OPS[other.op],
              other.root);
    }
}

void Collective::out_of_patience() const {
    char missing[128] = "";
    for (int r = 0; r < comm->ranks; r++)
        if (!comm->peers->has_arrived(r, comm->round)) sprintf(missing + strlen(missing), " %d", r);
    fatal("rank %d has waited %g s in collective %llu, %s of %llu %s, for rank%s", comm->rank, settings().nccl_timeout,
          (unsigned long long)doing.number, CALL_NAMES[doing.call], (unsigned long long)doing.count,
          TYPE_NAMES[doing.type], missing);
}

bool Collective::all_are_here(double waited) {
    int r = 0, lost;
    while (r < comm->ranks && comm->peers->has_arrived(r, comm->round)) r++;
    if (r == comm->ranks) return true;
    if (comm->peers->has_lost_one(comm->round, &lost)) {
        note("%s: rank %d is gone", CALL_NAMES[doing.call], lost);
        int before = ncclSuccess; /* an abort of this rank's own stays what it is */
        comm->error.compare_exchange_strong(before, ncclRemoteError);
        return false;
    }
    double limit = settings().nccl_timeout;
    if (waited > limit && seconds_now() - moved_at > limit) out_of_patience();
    sched_yield(); /* the peers may need this processor, and a program that asks does so without a pause */
    return false;
}

bool Collective::operator()(double waited) {
    if (comm->error != ncclSuccess) return true;
    if (!begun) begin();
    while (done < rounds_of_part * (doing.call == ReduceScatter ? (uint64_t)comm->ranks : 1)) {
        if (!left) leave_something();
        left = true;
        if (!all_are_here(waited)) return comm->error != ncclSuccess;
        compare();
        take_all();
        left = false;
        done++;
        moved_at = seconds_now();
    }
    return true;
}

} // namespace emu
#endif
