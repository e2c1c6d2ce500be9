/* Streams and events. A stream is a queue, and nothing in it runs before somebody waits for it; then only what that
 * wait needs. So a wait that is missing shows: the work is not done. KDIFFE_EMU_STREAMS=eager runs everything at once
 * instead, random:SEED lets chance choose among the streams. The legacy default stream runs at once, after all blocking
 * ones. */
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

bool can_run(const CUstream_st *stream) {
    if (stream->steps.empty()) return false;
    const Step &first = stream->steps.front();
    return first.kind != Step::Wait || first.event->done >= first.number;
}

void run_first(CUstream_st *stream) {
    Step step = std::move(stream->steps.front());
    stream->steps.pop_front();
    if (step.kind == Step::Run) {
        step.task();
    } else if (step.kind == Step::Record) {
        step.event->done = step.number;
        step.event->milliseconds = milliseconds_now();
    }
    if (!stream->closed || !stream->steps.empty()) return;
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
}

CUstream_st *recorder(const Event *event, uint64_t number) {
    for (CUstream_st *stream : streams)
        for (const Step &step : stream->steps)
            if (step.kind == Step::Record && step.event.get() == event && step.number == number) return stream;
    fatal("a stream waits for an event that no stream will record");
}

/* One step that brings the stream's first step nearer: that step, or one of a stream it waits for. */
void advance(CUstream_st *stream) {
    if (settings().streams == Settings::Random) {
        static unsigned x = settings().seed;
        std::vector<CUstream_st *> able;
        for (CUstream_st *other : streams)
            if (can_run(other)) able.push_back(other);
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        if (!able.empty()) stream = able[x % able.size()];
    }
    while (!can_run(stream)) stream = recorder(stream->steps.front().event.get(), stream->steps.front().number);
    run_first(stream);
}

void finish_stream(CUstream_st *stream) {
    /* closed streams vanish with their last step, so they are looked up again each time */
    while (std::find(streams.begin(), streams.end(), stream) != streams.end() && !stream->steps.empty())
        advance(stream);
}

void push(CUstream_st *stream, Step step) {
    stream->steps.push_back(std::move(step));
    if (settings().streams == Settings::Eager) finish_stream(stream);
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
void finish_everything() {
    for (bool found = true; found;) {
        found = false;
        for (CUstream_st *stream : streams)
            if (!stream->steps.empty()) {
                found = true;
                advance(stream);
                break;
            }
    }
}
void finish_blocking_streams() {
    std::vector<CUstream_st *> now = streams;
    for (CUstream_st *stream : now)
        if (std::find(streams.begin(), streams.end(), stream) != streams.end() && stream->blocking)
            finish_stream(stream);
}

cudaError_t enqueue(cudaStream_t stream, Task task) {
    if (is_default(stream)) {
        if (blocking_capture_exists()) return failed(cudaErrorStreamCaptureImplicit);
        finish_blocking_streams();
        task();
    } else if (stream->capture) {
        capture_task(stream, std::move(task));
    } else {
        push(stream, Step{Step::Run, std::move(task), nullptr, 0});
    }
    return cudaSuccess;
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
    advance(stream); /* or a program that polls would never end */
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
        push(stream, Step{Step::Record, {}, event->event, number});
    }
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    Call call;
    if (is_default(stream)) { /* runs at once, so it waits at once */
        while (event->event->done < event->event->recorded)
            advance(recorder(event->event.get(), event->event->recorded));
        return cudaSuccess;
    }
    if (stream->capture || event->event->capture) return failed(capture_wait(stream, *event->event));
    push(stream, Step{Step::Wait, {}, event->event, event->event->recorded});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    Call call;
    if (event->event->capture) return failed(cudaErrorCapturedEvent);
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    uint64_t number = event->event->recorded;
    while (event->event->done < number) advance(recorder(event->event.get(), number));
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    Call call;
    if (event->event->capture) return failed(cudaErrorCapturedEvent);
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    uint64_t number = event->event->recorded;
    if (event->event->done < number) advance(recorder(event->event.get(), number));
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
