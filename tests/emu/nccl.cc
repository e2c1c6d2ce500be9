/* Stand-in for the part of NCCL that is used: collectives, sends and receives between processes of one machine, a rank
 * each. They are work in a stream like any other and do not block: one whose peers have not come says so and is tried
 * again. What collectives leave is the same on all ranks, but the order of the summands is nobody's to rely on. As in
 * the real library, what one communicator does is done in the order of the calls, whatever the streams, and the sends
 * and receives of a group are done together. */
#include "emu/transfers.h"

#if __has_include(<nccl.h>)
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

struct ncclComm {
    std::shared_ptr<emu::Communicator> inside;
};

using namespace emu;

namespace {

const char PREFIX[] = "/kdiffe-emu-nccl-";
const unsigned MAGIC = 0xcafebeef; /* of NCCL_CONFIG_INITIALIZER */

/* Between ncclGroupStart and ncclGroupEnd calls only pile up. */
struct Queued {
    std::shared_ptr<Communicator> comm;
    cudaStream_t stream;
    Attempt collective;            /* null: the messages */
    std::vector<Message> messages; /* of this communicator and stream */
};
thread_local int open_groups;
thread_local std::vector<Queued> group;
thread_local ncclResult_t group_result;

/* Says why on stderr as emu::fatal does, but leaves it to the program to do something about it. */
template <class... Values> ncclResult_t refuse(ncclResult_t code, const char *format, Values... values) {
    note(format, values...);
    fprintf(stderr, "emu: ERROR: %s\n", last_note());
    if (open_groups > 0) group_result = code;
    return code;
}

ncclResult_t enqueue_queued(const Queued &what) {
    Attempt attempt = what.collective ? what.collective : Transfers(what.comm, what.messages);
    cudaError_t error = enqueue_attempt(what.stream, attempt, what.comm->turns, false);
    if (error == cudaSuccess) return ncclSuccess;
    note("%s", cudaGetErrorString(error));
    return ncclUnhandledCudaError;
}

ncclResult_t check(NcclCall call, ncclDataType_t type, int root, ncclComm_t handle) {
    if (!handle) return refuse(ncclInvalidArgument, "%s: no communicator", CALL_NAMES[call]);
    if ((int)type < 0 || (int)type >= KNOWN_TYPES || root < 0 || root >= handle->inside->ranks)
        return refuse(ncclInvalidArgument, "%s: type %d, root or peer %d", CALL_NAMES[call], (int)type, root);
    if (handle->inside->error == ncclInProgress)
        return refuse(ncclInvalidArgument, "%s: the communicator is not ready", CALL_NAMES[call]);
    return ncclSuccess;
}

ncclResult_t collective(NcclCall call, const void *in, void *out, size_t count, ncclDataType_t type, int op, int root,
                        ncclComm_t handle, cudaStream_t stream) {
    Call lock;
    const char *name;
    const void *p;
    size_t bytes;
    if (ncclResult_t wrong = check(call, type, root, handle)) return wrong;
    const std::shared_ptr<Communicator> &comm = handle->inside;
    bool sums = call == AllReduce || call == ReduceScatter;
    bool can_sum = type == ncclFloat32 || type == ncclFloat64 || type == ncclInt32 || type == ncclInt64;
    if (sums && (!can_sum || (op != ncclSum && op != ncclMax)))
        return refuse(ncclInvalidArgument, "%s: the stand-in has no operation %d for type %d", CALL_NAMES[call], op,
                      (int)type);
    Collective does(comm, Doing{call, (int)type, op, root, count, 0}, in, out);
    if (!does.has_memory(&name, &p, &bytes))
        return refuse(ncclInvalidArgument,
                      "%s: the %zu bytes of %s at %p do not lie within an allocation of the device", CALL_NAMES[call],
                      bytes, name, p);
    Queued queued{comm, stream, does, {}};
    if (open_groups == 0) return enqueue_queued(queued);
    group.push_back(queued);
    return ncclSuccess;
}

ncclResult_t message(NcclCall call, void *buffer, size_t count, ncclDataType_t type, int peer, ncclComm_t handle,
                     cudaStream_t stream) {
    Call lock;
    if (ncclResult_t wrong = check(call, type, peer, handle)) return wrong;
    Message does{Doing{call, (int)type, ncclSum, peer, count, 0}, static_cast<char *>(buffer)};
    if (!does.has_memory())
        return refuse(ncclInvalidArgument, "%s: the %zu bytes at %p do not lie within an allocation of the device",
                      CALL_NAMES[call], does.bytes(), buffer);
    Queued queued{handle->inside, stream, nullptr, {does}};
    if (open_groups == 0) return enqueue_queued(queued);
    for (Queued &earlier : group)
        if (!earlier.collective && earlier.comm == queued.comm && earlier.stream == stream) {
            earlier.messages.push_back(does);
            return ncclSuccess;
        }
    group.push_back(queued);
    return ncclSuccess;
}

/* Whether a communicator has become ready, or what else has become of it. */
ncclResult_t look(Communicator *comm) {
    int now = comm->error;
    if (now != ncclInProgress) return (ncclResult_t)now;
    Peers::State state = comm->peers->state();
    if (state == Peers::Assembling) return ncclInProgress;
    if (state == Peers::Lost) note("a rank is gone that had joined");
    if (state == Peers::TooLate) note("not all ranks have come within %g s", settings().nccl_timeout);
    ncclResult_t found = state == Peers::Complete ? ncclSuccess
                         : state == Peers::Lost   ? ncclRemoteError
                                                  : ncclSystemError;
    comm->error.compare_exchange_strong(now, found);
    return (ncclResult_t)comm->error.load();
}

ncclResult_t init(ncclComm_t *out, int ranks, const ncclUniqueId &id, int rank, bool blocking) {
    const unsigned PAUSE_US = 200;
    const char *why;
    *out = nullptr;
    if (settings().devices < 1) return refuse(ncclUnhandledCudaError, "%s", cudaGetErrorString(cudaErrorNoDevice));
    bool is_id = memchr(id.internal, 0, sizeof id.internal) && strncmp(id.internal, PREFIX, sizeof PREFIX - 1) == 0;
    if (!is_id || ranks < 1 || ranks > MOST_RANKS || rank < 0 || rank >= ranks)
        return refuse(ncclInvalidArgument, "ncclCommInitRank: rank %d of %d%s; the stand-in takes up to %d", rank,
                      ranks, is_id ? "" : ", an id that is none", MOST_RANKS);
    std::unique_ptr<Peers> peers(Peers::attach(id.internal, ranks, rank, &why));
    if (!peers) return refuse(ncclSystemError, "ncclCommInitRank: rank %d: %s", rank, why);
    std::shared_ptr<Communicator> comm = std::make_shared<Communicator>();
    comm->peers = std::move(peers);
    comm->rank = rank;
    comm->ranks = ranks;
    comm->error = ncclInProgress;
    while (blocking && look(comm.get()) == ncclInProgress) usleep(PAUSE_US);
    if (blocking && comm->error != ncclSuccess) return (ncclResult_t)comm->error.load();
    *out = new ncclComm{comm};
    return (ncclResult_t)comm->error.load();
}

} // namespace

extern "C" {

ncclResult_t ncclGetVersion(int *version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    static std::atomic<int> given;
    timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "%s%d-%d-%lld.%09ld", PREFIX, (int)getpid(), given++,
             (long long)t.tv_sec, t.tv_nsec);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank) {
    return init(comm, ranks, id, rank, true);
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config) {
    if (config && config->magic != MAGIC)
        return refuse(ncclInvalidArgument, "ncclCommInitRankConfig: a config without its initializer");
    return init(comm, ranks, id, rank, !config || config->blocking != 0);
}

/* Waits for what is queued, as the real one does; not for the other ranks. */
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    if (!comm) return ncclSuccess;
    if (comm->inside->error == ncclInProgress) return ncclCommAbort(comm);
    Call call;
    finish_turns(comm->inside->turns);
    comm->inside->ended = true;
    delete comm;
    return ncclSuccess;
}

/* From any thread: another may be waiting for a collective, which this ends, in the stand-in's only lock. */
ncclResult_t ncclCommAbort(ncclComm_t comm) {
    if (!comm) return ncclSuccess;
    comm->inside->error = ncclInvalidUsage;
    comm->inside->peers->give_up();
    comm->inside->ended = true;
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error) {
    *error = look(comm->inside.get());
    return ncclSuccess;
}
ncclResult_t ncclCommCount(const ncclComm_t comm, int *count) {
    *count = comm->inside->ranks;
    return ncclSuccess;
}
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank) {
    *rank = comm->inside->rank;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t code) {
    switch (code) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case ncclSystemError: return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInternalError: return "internal error - please report this issue to the NCCL developers";
    case ncclInvalidArgument: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
    default: return "unknown result code";
    }
}
const char *ncclGetLastError(ncclComm_t) { return last_note(); }

ncclResult_t ncclAllReduce(const void *in, void *out, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
    return collective(AllReduce, in, out, count, type, op, 0, comm, stream);
}
ncclResult_t ncclReduceScatter(const void *in, void *out, size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
    return collective(ReduceScatter, in, out, count, type, op, 0, comm, stream);
}
ncclResult_t ncclAllGather(const void *in, void *out, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
    return collective(AllGather, in, out, count, type, ncclSum, 0, comm, stream);
}
ncclResult_t ncclBroadcast(const void *in, void *out, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
    return collective(Broadcast, in, out, count, type, ncclSum, root, comm, stream);
}

ncclResult_t ncclSend(const void *buffer, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
    return message(Send, const_cast<void *>(buffer), count, type, peer, comm, stream);
}
ncclResult_t ncclRecv(void *buffer, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
    return message(Recv, buffer, count, type, peer, comm, stream);
}

ncclResult_t ncclGroupStart(void) {
    open_groups++;
    return ncclSuccess;
}
ncclResult_t ncclGroupEnd(void) {
    if (open_groups == 0) return refuse(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
    if (--open_groups > 0) return ncclSuccess;
    Call call;
    std::vector<Queued> queued = std::move(group);
    ncclResult_t result = group_result;
    group.clear();
    group_result = ncclSuccess;
    for (const Queued &each : queued)
        if (result == ncclSuccess) result = enqueue_queued(each);
    return result;
}

} // extern "C"
#endif
