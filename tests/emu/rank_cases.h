/* What test_nccl.cc (results) and test_peers.cc (processes that come, go and fail) share: ranks, each a child of the
 * test. The parent itself never starts CUDA. */
#ifndef KD_EMU_RANK_CASES_H
#define KD_EMU_RANK_CASES_H

#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "emu/cases.h"

const int N = 1000, LONG = 140003; /* LONG: more than a slot of shared memory takes, and more than two of them */
const unsigned MOST_SECONDS = 40;  /* for a rank, should all else fail */

inline void nccl_try(ncclResult_t result, const char *what, const char *file, int line) {
    if (result == ncclSuccess) return;
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, ncclGetErrorString(result));
    _exit(2);
}
#define NCCL_TRY(call) nccl_try(call, #call, __FILE__, __LINE__)

struct Rank {
    ncclComm_t comm;
    int rank, ranks;
};
typedef std::function<bool(const ncclUniqueId &id, int rank)> Body;

/* Runs each rank in a process of its own; whether all were right and left nothing behind. */
inline bool processes(int ranks, const Body &body) {
    ncclUniqueId id;
    NCCL_TRY(ncclGetUniqueId(&id));
    fflush(nullptr);
    for (int r = 0; r < ranks; r++)
        if (fork() == 0) {
            alarm(MOST_SECONDS);
            bool right = body(id, r);
            fflush(nullptr);
            _exit(right ? 0 : 3);
        }
    int wrong = 0, state;
    for (int r = 0; r < ranks; r++)
        if (wait(&state) < 0 || !WIFEXITED(state) || WEXITSTATUS(state) != 0) wrong++;
    int file = shm_open(id.internal, O_RDONLY, 0); /* the stand-in's id is a name, and is to be gone */
    return wrong == 0 && file < 0;
}

/* The same with a communicator of them all. */
inline bool together(int ranks, const std::function<bool(const Rank &)> &body) {
    return processes(ranks, [&](const ncclUniqueId &id, int rank) {
        Rank me{nullptr, rank, ranks};
        NCCL_TRY(ncclCommInitRank(&me.comm, ranks, id, rank));
        bool right = body(me);
        NCCL_TRY(ncclCommDestroy(me.comm));
        return right;
    });
}

inline void pause_ms(long ms) {
    timespec t{ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, nullptr);
}
inline double now_s() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Small whole numbers: their sums are exact in whatever order. */
template <class T> std::vector<T> numbers_of(int rank, size_t n) {
    std::vector<T> x(n);
    for (size_t i = 0; i < n; i++) x[i] = (T)((i + 7 * (size_t)rank) % 101);
    return x;
}
template <class T> std::vector<T> sum_of(int ranks, size_t n) {
    std::vector<T> sum(n);
    for (int r = 0; r < ranks; r++) {
        std::vector<T> x = numbers_of<T>(r, n);
        for (size_t i = 0; i < n; i++) sum[i] += x[i];
    }
    return sum;
}

template <class T> bool sum_is_right(const Rank &me, ncclDataType_t type, size_t n, bool in_place) {
    Stream stream;
    Device<T> in(numbers_of<T>(me.rank, n)), out(n);
    T *to = in_place ? in.p : out.p;
    NCCL_TRY(ncclAllReduce(in.p, to, n, type, ncclSum, me.comm, stream.s));
    TRY(cudaStreamSynchronize(stream.s));
    return (in_place ? in : out).get() == sum_of<T>(me.ranks, n);
}

/* What each rank sends to each: nothing, one, exactly a piece of shared memory and one more, many pieces. */
inline size_t block_of(int from, int to) {
    const size_t sizes[] = {0, 1, (size_t)N, (size_t)LONG, 16384, 16385};
    return sizes[(from * 4 + to + 3) % 6];
}
/* Where rank me's blocks begin: for each rank in turn what it sends there, or what it takes from there. */
inline std::vector<size_t> blocks(const Rank &me, bool sends) {
    std::vector<size_t> first{0};
    for (int r = 0; r < me.ranks; r++)
        first.push_back(first.back() + (sends ? block_of(me.rank, r) : block_of(r, me.rank)));
    return first;
}
template <class T> std::vector<T> contents(const Rank &me, bool sends) {
    std::vector<T> x;
    for (int r = 0; r < me.ranks; r++) {
        int from = sends ? me.rank : r, to = sends ? r : me.rank;
        std::vector<T> block = numbers_of<T>(from * me.ranks + to, block_of(from, to));
        x.insert(x.end(), block.begin(), block.end());
    }
    return x;
}
/* Everybody's blocks to everybody; empty ones may be left out, if both ranks do so. fewer: rank 0
 * takes so many less from the last. */
template <class T>
void turn(const Rank &me, ncclDataType_t type, const T *send, T *take, bool leave_out, size_t fewer, cudaStream_t s) {
    std::vector<size_t> from = blocks(me, true), to = blocks(me, false);
    NCCL_TRY(ncclGroupStart());
    for (int r = 0; r < me.ranks; r++) {
        size_t sent = from[r + 1] - from[r], taken = to[r + 1] - to[r];
        if (me.rank == 0 && r == me.ranks - 1) taken -= fewer;
        if (sent > 0 || !leave_out) NCCL_TRY(ncclSend(send + from[r], sent, type, r, me.comm, s));
        if (taken > 0 || !leave_out) NCCL_TRY(ncclRecv(take + to[r], taken, type, r, me.comm, s));
    }
    NCCL_TRY(ncclGroupEnd());
}

#endif
