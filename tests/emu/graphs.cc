/* Capture and graphs. A capture keeps who must come after whom; a graph then runs in an order that this allows but the
 * capture did not have, so that a missing event between two streams shows in a replay as well. */
#include <algorithm>

#include "emu/streams.h"

struct CUgraph_st {
    std::vector<emu::Node> nodes;
};
struct CUgraphExec_st {
    std::vector<emu::Node> nodes; /* in the order of a replay */
};

namespace emu {
namespace {

std::vector<Capture *> &captures = *new std::vector<Capture *>; /* in progress */

void join(std::vector<int> *after, const std::vector<int> &more) {
    for (int node : more)
        if (std::find(after->begin(), after->end(), node) == after->end()) after->push_back(node);
}

/* Does every piece of work come before what the origin would do next? */
bool all_joined(const Capture &capture) {
    std::vector<bool> reached(capture.nodes.size());
    std::vector<int> open = capture.origin->after;
    while (!open.empty()) {
        int node = open.back();
        open.pop_back();
        if (reached[node]) continue;
        reached[node] = true;
        for (int earlier : capture.nodes[node].after) open.push_back(earlier);
    }
    return std::find(reached.begin(), reached.end(), false) == reached.end();
}

/* May it run after those that are done? Turns are kept here and not in `after`, where they would pass for a join. */
bool is_ready(const std::vector<Node> &nodes, int number, const std::vector<bool> &done) {
    if (done[number]) return false;
    for (int earlier : nodes[number].after)
        if (!done[earlier]) return false;
    for (int i = 0; nodes[number].turns && i < number; i++)
        if (nodes[i].turns == nodes[number].turns && !done[i]) return false;
    return true;
}

/* The latest piece of work that may run goes first; as captured if streams are eager. */
std::vector<Node> ordered(const std::vector<Node> &nodes) {
    std::vector<Node> order;
    std::vector<bool> done(nodes.size());
    bool latest_first = settings().streams != Settings::Eager;
    while (order.size() < nodes.size()) {
        int chosen = -1;
        for (int i = 0; i < (int)nodes.size() && (chosen < 0 || latest_first); i++)
            if (is_ready(nodes, i, done)) chosen = i;
        done[chosen] = true;
        order.push_back(nodes[chosen]);
    }
    return order;
}

} // namespace

void capture_work(CUstream_st *stream, Attempt attempt, const std::shared_ptr<Event> &turns) {
    int number = (int)stream->capture->nodes.size();
    stream->capture->nodes.push_back(Node{std::move(attempt), turns, stream->after});
    stream->after = {number};
}

void capture_record(CUstream_st *stream, Event *event) {
    event->capture = stream->capture;
    event->after = stream->after;
}

cudaError_t capture_wait(CUstream_st *stream, const Event &event) {
    if (!event.capture) {
        spoil_capture(stream);
        return cudaErrorStreamCaptureIsolation;
    }
    if (event.capture->ended) return cudaErrorCapturedEvent;
    if (stream->capture && stream->capture != event.capture) {
        spoil_capture(stream);
        event.capture->spoilt = true;
        return cudaErrorStreamCaptureMerge;
    }
    if (!stream->capture) {
        stream->capture = event.capture;
        stream->capture->members.push_back(stream);
        stream->after.clear();
    }
    join(&stream->after, event.after);
    return cudaSuccess;
}

bool blocking_capture_exists() {
    for (Capture *capture : captures)
        for (CUstream_st *member : capture->members)
            if (member->blocking) {
                capture->spoilt = true;
                return true;
            }
    return false;
}

cudaError_t forbidden_in_capture() {
    cudaError_t error = cudaSuccess;
    for (Capture *capture : captures)
        if (capture->mode != cudaStreamCaptureModeRelaxed) {
            capture->spoilt = true;
            error = cudaErrorStreamCaptureUnsupported;
        }
    return error;
}

bool is_capturing(cudaStream_t stream) {
    return stream && stream != cudaStreamLegacy && stream != cudaStreamPerThread && stream->capture;
}
void spoil_capture(cudaStream_t stream) {
    if (is_capturing(stream)) stream->capture->spoilt = true;
}

} // namespace emu

using namespace emu;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    Call call;
    if (!stream || stream == cudaStreamLegacy || stream == cudaStreamPerThread)
        return failed(cudaErrorStreamCaptureUnsupported);
    if (stream->capture) return failed(cudaErrorIllegalState);
    stream->capture = std::make_shared<Capture>(Capture{{}, mode, stream, {stream}, false, false});
    stream->after.clear();
    captures.push_back(stream->capture.get());
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    Call call;
    *graph = nullptr;
    if (!is_capturing(stream)) return failed(cudaErrorIllegalState);
    std::shared_ptr<Capture> capture = stream->capture;
    if (capture->origin != stream) {
        capture->spoilt = true;
        return failed(cudaErrorStreamCaptureUnmatched);
    }
    bool joined = all_joined(*capture);
    for (CUstream_st *member : capture->members) member->capture = nullptr;
    captures.erase(std::find(captures.begin(), captures.end(), capture.get()));
    capture->ended = true;
    if (capture->spoilt) return failed(cudaErrorStreamCaptureInvalidated);
    if (!joined) return failed(cudaErrorStreamCaptureUnjoined);
    *graph = new CUgraph_st{capture->nodes};
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    Call call;
    *status = !is_capturing(stream)     ? cudaStreamCaptureStatusNone
              : stream->capture->spoilt ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *runnable, cudaGraph_t graph, unsigned long long) {
    Call call;
    if (!graph) return failed(cudaErrorInvalidValue);
    *runnable = new CUgraphExec_st{ordered(graph->nodes)};
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *runnable, cudaGraph_t graph, unsigned long long flags) {
    return cudaGraphInstantiate(runnable, graph, flags);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t runnable, cudaStream_t stream) {
    Call call;
    if (!runnable) return failed(cudaErrorInvalidValue);
    bool follows = false; /* pieces of their own, since one of them may not get on yet; attempts are copied unused */
    for (const Node &node : runnable->nodes) {
        if (cudaError_t error = enqueue_attempt(stream, node.attempt, node.turns, follows)) return error;
        follows = true;
    }
    return cudaSuccess;
}

/* Only the count (nodes NULL): what the nodes are is nobody's business but this file's. */
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
    Call call;
    if (!graph || nodes) return failed(cudaErrorInvalidValue);
    *count = graph->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    Call call;
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t runnable) {
    Call call;
    delete runnable;
    return cudaSuccess;
}

} // extern "C"
