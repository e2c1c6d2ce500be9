/* Memory that processes share, and who of them is alive. Whether a process is there is asked of /proc: a signal cannot
 * tell a zombie, which is what a rank becomes that died before its parent asks for it. */
#include "emu/peers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "emu/runtime.h"

namespace emu {
namespace {

const double LOOK_EVERY_S = 0.02;
const size_t PAGE = 4096;

bool is_gone(int pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return kill(pid, 0) != 0 && errno == ESRCH;
    size_t bytes = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[bytes] = '\0';
    const char *name_end = strrchr(line, ')'); /* the name may hold anything */
    return !name_end || strlen(name_end) < 3 || name_end[2] == 'Z' || name_end[2] == 'X';
}

} // namespace

/* New shared memory is all zero. */
struct Peers::Shared {
    struct Member {
        std::atomic<int> pid; /* 0 until it has attached */
        std::atomic<int> gave_up;
        std::atomic<uint64_t> round; /* the last for which it has arrived */
        Doing doing[2];
    };
    std::atomic<int> ranks;
    Member member[MOST_RANKS];

    static size_t slots_at() { return (sizeof(Shared) + PAGE - 1) / PAGE * PAGE; }
    static size_t boxes_at(int ranks) { return slots_at() + (size_t)ranks * 2 * SLOT_BYTES; }
    static size_t bytes(int ranks) { return boxes_at(ranks) + (size_t)(ranks * ranks) * sizeof(Box); }
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<int>::is_always_lock_free,
              "a lock would be each process's own");

double seconds_now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

Peers::Peers(Shared *memory, const char *name, int ranks, int rank)
    : shared(memory), count(ranks), mine(rank), attached_at(seconds_now()), looked_at(attached_at) {
    snprintf(shared_name, sizeof shared_name, "%s", name);
}
Peers::~Peers() {
    shm_unlink(shared_name); /* still there if this rank leaves before all have come */
    munmap(shared, Shared::bytes(count));
}

Peers *Peers::attach(const char *name, int ranks, int rank, const char **why) {
    size_t bytes = Shared::bytes(ranks);
    int file = shm_open(name, O_RDWR | O_CREAT, 0600);
    *why = "cannot open the shared memory";
    if (file < 0) return nullptr;
    /* asked for now: memory that turns out not to be there later is a signal and not an error */
    int error = posix_fallocate(file, 0, (off_t)bytes);
    void *p = error ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    *why = "not enough shared memory";
    if (p == MAP_FAILED) {
        shm_unlink(name);
        return nullptr;
    }
    Shared *memory = static_cast<Shared *>(p);
    int expected = 0, nobody = 0;
    *why = "another rank has given another number of ranks";
    if (memory->ranks.compare_exchange_strong(expected, ranks) || expected == ranks) {
        *why = "another process has the same rank";
        if (memory->member[rank].pid.compare_exchange_strong(nobody, (int)getpid()))
            return new Peers(memory, name, ranks, rank);
    }
    munmap(p, bytes);
    return nullptr;
}

bool Peers::is_lost(int rank) const {
    const Shared::Member &member = shared->member[rank];
    int pid = member.pid.load();
    return pid != 0 && (member.gave_up.load() || is_gone(pid));
}

Peers::State Peers::state() {
    int attached = 0, gave_up = 0, lost = 0;
    /* Who is lost is asked first: the last rank may come, do its part and leave while this one looks, and then all have
     * been there. */
    for (int r = 0; r < count; r++) lost += is_lost(r);
    for (int r = 0; r < count; r++) {
        attached += shared->member[r].pid.load() != 0;
        gave_up += shared->member[r].gave_up.load();
    }
    State now = attached == count                                       ? gave_up ? Lost : Complete
                : lost                                                  ? Lost
                : seconds_now() - attached_at > settings().nccl_timeout ? TooLate
                                                                        : Assembling;
    if (now == Lost || now == TooLate) give_up(); /* or one that comes yet would take this rank for present */
    if (now != Assembling) shm_unlink(shared_name);
    return now;
}

char *Peers::slot(int rank, uint64_t round) const {
    return reinterpret_cast<char *>(shared) + Shared::slots_at() + ((size_t)rank * 2 + round % 2) * SLOT_BYTES;
}
Doing *Peers::doing(int rank, uint64_t round) const { return &shared->member[rank].doing[round % 2]; }
void Peers::arrive(uint64_t round) { shared->member[mine].round.store(round, std::memory_order_release); }
bool Peers::has_arrived(int rank, uint64_t round) const {
    return shared->member[rank].round.load(std::memory_order_acquire) >= round;
}

bool Peers::time_to_look() {
    double now = seconds_now();
    if (now - looked_at < LOOK_EVERY_S) return false;
    looked_at = now;
    return true;
}
bool Peers::has_lost_one(uint64_t round, int *which) {
    if (!time_to_look()) return false;
    for (int r = 0; r < count; r++) {
        *which = r;
        /* asked again afterwards: it may have arrived and then ended as it should */
        if (!has_arrived(r, round) && is_lost(r) && !has_arrived(r, round)) return true;
    }
    return false;
}

Box *Peers::box(int from, int to) const {
    return reinterpret_cast<Box *>(reinterpret_cast<char *>(shared) + Shared::boxes_at(count)) + from * count + to;
}
void Peers::give_up() { shared->member[mine].gave_up.store(1); }

} // namespace emu
