/* Streams and events. A stream is a queue, and nothing in it runs before somebody waits for it; then only what that
 * wait needs. So a wait that is missing shows: the work is not done. KDIFFE_EMU_STREAMS=eager runs everything at once
 * as far as it gets instead, random:SEED lets chance choose among the streams. The legacy default stream runs at once,
 * after all blocking ones. */
#include "emu/streams.h"

#include <time.h>

#include <algorithm>

namespace emu {
namespace {

std::vector<CUstream_st *> &streams = *new std::vector<CUstream_st *>;

double milliseconds_now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

bool is_default(cudaStream_t stream) { return !stream || stream == cudaStreamLegacy || stream == cudaStreamPerThread; }

/* Closed streams vanish with their last step: to be asked again after every step. */
bool has_steps(CUstream_st *stream) {
    return std::find(streams.begin(), streams.end(), stream) != streams.end() && !stream->steps.empty();
}

bool can_run(const CUstream_st *stream) {
    if (stream->steps.empty()) return false;
    const Step &first = stream->steps.front();
    return first.kind != Step::Wait || first.event->done >= first.number;
}

/* False if the step must be tried again. */
bool run_first(CUstream_st *stream, double waited) {
    Step step = std::move(stream->steps.front());
    stream->steps.pop_front();
    if (step.kind == Step::Run) {
        if (!step.attempt(waited)) {
            stream->steps.push_front(std::move(step));
            return false;
        }
    } else if (step.kind == Step::Record) {
        step.event->done = step.number;
        step.event->milliseconds = milliseconds_now();
    }
    if (!stream->closed || !stream->steps.empty()) return true;
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
    return true;
}

CUstream_st *recorder(const Event *event, uint64_t number) {
    for (CUstream_st *stream : streams)
        for (const Step &step : stream->steps)
            if (step.kind == Step::Record && step.event.get() == event && step.number == number) return stream;
    fatal("a stream waits for an event that no stream will record");
}

/* One step that brings the stream's first step nearer: that step, or one of a stream it waits for. False if that step
 * cannot be done yet. */
bool advance(CUstream_st *stream, double waited) {
    if (settings().streams == Settings::Random) {
        static unsigned x = settings().seed;
        std::vector<CUstream_st *> able;
        for (CUstream_st *other : streams)
            if (can_run(other)) able.push_back(other);
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        if (!able.empty() && run_first(able[x % able.size()], 0.0)) return true;
    }
    while (!can_run(stream)) stream = recorder(stream->steps.front().event.get(), stream->steps.front().number);
    return run_first(stream, waited);
}

/* What a query does, or a program that asks again and again would never end. */
void advance_by_a_call(CUstream_st *stream) {
    while (advance(stream, 0.0) && has_steps(stream) && stream->steps.front().follows)
        ;
}

/* step(waited) is done until done(). Where it does not get on, soon and then seldom again. */
template <class Done, class Do> void wait_until(Done done, Do step) {
    const unsigned SOON_US = 50, SELDOM_US = 1000;
    double since = 0.0, waited = 0.0;
    while (!done()) {
        if (step(waited)) {
            since = waited = 0.0;
            continue;
        }
        if (since == 0.0) since = milliseconds_now();
        rest(waited < 0.02 ? SOON_US : SELDOM_US);
        waited = (milliseconds_now() - since) * 1e-3;
    }
}

void finish_stream(CUstream_st *stream) {
    wait_until([=] { return !has_steps(stream); }, [=](double waited) { return advance(stream, waited); });
}
void finish_event(std::shared_ptr<Event> event, uint64_t number) {
    wait_until([&] { return event->done >= number; },
               [&](double waited) { return advance(recorder(event.get(), number), waited); });
}

void push(CUstream_st *stream, Step step) {
    stream->steps.push_back(std::move(step));
    if (settings().streams != Settings::Eager) return;
    while (has_steps(stream) && advance(stream, 0.0))
        ;
}

/* Waiting for this stream now would wait for work that is only being recorded. */
cudaError_t forbidden_wait(cudaStream_t stream) {
    if (!is_default(stream) && stream->capture) {
        spoil_capture(stream);
        return cudaErrorStreamCaptureUnsupported;
    }
    return forbidden_in_capture();
}

void check_pointers(const Launch &what) {
    for (auto [place, p] : what.pointers)
        if (p && !is_device_memory(p, 1) && !is_pinned_memory(p, 1))
            fatal("argument %d of %s, %p, is not a live pointer to device memory", place, what.kernel, p);
}

} // namespace

void finish(cudaStream_t stream) {
    if (!is_default(stream)) finish_stream(stream);
}
void finish_turns(const std::shared_ptr<Event> &turns) { finish_event(turns, turns->recorded); }
void finish_everything() {
    auto nothing_left = [] {
        return std::all_of(streams.begin(), streams.end(), [](CUstream_st *stream) { return stream->steps.empty(); });
    };
    wait_until(nothing_left, [](double waited) { /* one that does not get on must not hold up the others */
                                                 for (CUstream_st *stream : streams)
                                                     if (!stream->steps.empty() && advance(stream, waited)) return true;
                                                 return false;
    });
}
void finish_blocking_streams() {
    std::vector<CUstream_st *> now = streams;
    for (CUstream_st *stream : now)
        if (has_steps(stream) && stream->blocking) finish_stream(stream);
}

cudaError_t enqueue_attempt(cudaStream_t stream, Attempt attempt, const std::shared_ptr<Event> &turns, bool follows) {
    if (is_default(stream)) {
        if (blocking_capture_exists()) return failed(cudaErrorStreamCaptureImplicit);
        finish_blocking_streams();
        if (turns) finish_turns(turns);
        bool done = false;
        wait_until([&] { return done; }, [&](double waited) { return done = attempt(waited); });
    } else if (stream->capture) {
        capture_work(stream, std::move(attempt), turns);
    } else {
        if (turns) push(stream, Step{Step::Wait, {}, turns, turns->recorded, follows});
        push(stream, Step{Step::Run, std::move(attempt), nullptr, 0, follows || turns});
        if (turns) push(stream, Step{Step::Record, {}, turns, ++turns->recorded, true});
    }
    return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, Task task) {
    Attempt attempt = [task = std::move(task)](double) {
        task();
        return true;
    };
    return enqueue_attempt(stream, std::move(attempt), nullptr, false);
}

void launch(Launch what, std::function<void()> body) {
    Call call;
    const dim3 grid = what.grid, block = what.block;
    if (settings().devices < 1) {
        failed(cudaErrorNoDevice);
        return;
    }
    bool sizes_fit = grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && block.x >= 1 && block.y >= 1 && block.z >= 1 &&
                     grid.x <= 2147483647u && grid.y <= 65535 && grid.z <= 65535 && block.x <= 1024 &&
                     block.y <= 1024 && block.z <= 64 && block.x * block.y * block.z <= 1024;
    if (!sizes_fit) {
        failed(cudaErrorInvalidConfiguration);
        return;
    }
    if (what.shared_bytes > dynamic_shared_limit(what.function)) {
        failed(cudaErrorInvalidValue);
        return;
    }
    check_pointers(what); /* here, where a debugger shows the caller, and again when a graph replays it */
    cudaStream_t stream = what.stream;
    enqueue(stream, [what = std::move(what), body = std::move(body)] {
        check_pointers(what);
        run_grid(what, body);
    });
}

} // namespace emu

using namespace emu;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    Call call;
    if (settings().devices < 1) return failed(cudaErrorNoDevice);
    *stream = new CUstream_st{{}, (flags & cudaStreamNonBlocking) == 0, false, nullptr, {}};
    streams.push_back(*stream);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int) {
    return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    Call call;
    *least = 0;
    *greatest = -5; /* as on cards of today; the stand-in heeds none */
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    Call call;
    if (is_default(stream)) return failed(cudaErrorInvalidResourceHandle);
    if (stream->capture) {
        spoil_capture(stream);
        return failed(cudaErrorStreamCaptureUnsupported);
    }
    stream->closed = true;
    if (!stream->steps.empty()) return cudaSuccess;
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    Call call;
    if (cudaError_t error = forbidden_wait(stream)) return failed(error);
    if (is_default(stream))
        finish_blocking_streams();
    else
        finish_stream(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    Call call;
    if (cudaError_t error = forbidden_wait(stream)) return failed(error);
    if (is_default(stream) || stream->steps.empty()) return cudaSuccess;
    advance_by_a_call(stream);
    return stream->steps.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize(void) {
    Call call;
    if (settings().devices < 1) return failed(cudaErrorNoDevice);
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    finish_everything();
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data) {
    Call call;
    return enqueue(stream, [=] { function(data); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    Call call;
    if (settings().devices < 1) return failed(cudaErrorNoDevice);
    *event = new CUevent_st{std::make_shared<Event>()};
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    Call call;
    if (!event) return failed(cudaErrorInvalidResourceHandle);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    Call call;
    if (!is_default(stream) && stream->capture) {
        capture_record(stream, event->event.get());
        return cudaSuccess;
    }
    event->event->capture = nullptr;
    uint64_t number = ++event->event->recorded;
    if (is_default(stream)) {
        finish_blocking_streams();
        event->event->done = number;
        event->event->milliseconds = milliseconds_now();
    } else {
        push(stream, Step{Step::Record, {}, event->event, number, false});
    }
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    Call call;
    if (is_default(stream)) { /* runs at once, so it waits at once */
        finish_event(event->event, event->event->recorded);
        return cudaSuccess;
    }
    if (stream->capture || event->event->capture) return failed(capture_wait(stream, *event->event));
    push(stream, Step{Step::Wait, {}, event->event, event->event->recorded, false});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    Call call;
    if (event->event->capture) return failed(cudaErrorCapturedEvent);
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    std::shared_ptr<Event> inside = event->event;
    finish_event(inside, inside->recorded);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    Call call;
    if (event->event->capture) return failed(cudaErrorCapturedEvent);
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    uint64_t number = event->event->recorded;
    if (event->event->done < number) advance_by_a_call(recorder(event->event.get(), number));
    return event->event->done < number ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    Call call;
    if (!start->event->recorded || !end->event->recorded) return failed(cudaErrorInvalidResourceHandle);
    if (start->event->done < start->event->recorded || end->event->done < end->event->recorded)
        return cudaErrorNotReady;
    *milliseconds = (float)(end->event->milliseconds - start->event->milliseconds);
    return cudaSuccess;
}

} // extern "C"
