#include "kernels/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/file.h"
#include "host/base/memory.h"
#include "kernels/ctx.h"

enum { DEEPEST = 16, MOST_EVENTS = 4 << 20 /* 96 MB of them */ };

typedef struct event {
    const char *name; /* a literal */
    int line;         /* 1: ops and stages, 2: what goes on beside them */
    double begin, seconds;
} event;

struct kd_trace {
    kd_atomic_file file; /* opened at once: a path that cannot be written shows before the run */
    int64_t count, capacity, lost;
    event *events;
    int depth;
    event open[DEEPEST];
    event beside; /* name NULL: nothing is */
    double start;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool is_on(const kd_ctx *ctx) { return ctx->trace && ctx->profiling; }
bool kd_trace_lets_record(const kd_ctx *ctx) { return !((ctx->trace || ctx->traced_elsewhere) && ctx->profiling); }

void kd_trace_elsewhere(kd_ctx *ctx) {
    ctx->traced_elsewhere = true;
    ctx->profiling = true; /* until a window says otherwise */
}

void kd_range_push(kd_ctx *ctx, const char *name) {
    ctx->ops->range_push(ctx, name);
    if (!is_on(ctx)) return;
    kd_trace *t = ctx->trace;
    if (t->depth < DEEPEST) t->open[t->depth] = (event){.name = name, .begin = now()};
    t->depth++;
}

static void keep(kd_trace *t, event e, int line) {
    e.seconds = now() - e.begin;
    e.line = line;
    if (t->count < MOST_EVENTS &&
        kd_host_grow(&t->events, &t->capacity, t->count + 1, sizeof *t->events, "trace") == KD_OK)
        t->events[t->count++] = e;
    else
        t->lost++;
}

/* Keeping a range waits for its work: on a GPU the trace shows what each op takes alone, not how ops overlap. */
void kd_range_pop(kd_ctx *ctx) {
    kd_trace *t = ctx->trace;
    if (is_on(ctx) && t->depth > 0 && t->depth-- <= DEEPEST) {
        ctx->ops->synchronize(ctx);
        keep(t, t->open[t->depth], 1);
    }
    ctx->ops->range_pop(ctx);
}

void kd_trace_span_begin(kd_ctx *ctx, const char *name) {
    kd_trace *t = ctx->trace;
    if (is_on(ctx) && !t->beside.name) t->beside = (event){.name = name, .begin = now()};
}

void kd_trace_span_end(kd_ctx *ctx) {
    kd_trace *t = ctx->trace;
    if (!is_on(ctx) || !t->beside.name) return;
    keep(t, t->beside, 2);
    t->beside.name = NULL;
}

static void profile(kd_ctx *ctx, bool on) {
    if (ctx->profiling == on) return;
    ctx->profiling = on;
    ctx->ops->profiler(ctx, on);
    if (!ctx->trace) return;
    ctx->trace->depth = 0; /* ranges that began before are not kept */
    ctx->trace->beside.name = NULL;
}

void kd_profile_window(kd_ctx *ctx, int64_t first, int64_t last) {
    ctx->profile_first = first;
    ctx->profile_last = last;
    profile(ctx, false);
}

void kd_profile_step(kd_ctx *ctx, int64_t step) {
    if (ctx->profile_last >= 0) profile(ctx, step >= ctx->profile_first && step < ctx->profile_last);
}

kd_status kd_trace_open(kd_ctx *ctx, const char *path) {
    kd_trace *t = calloc(1, sizeof *t);
    if (!t) return KD_FAIL(KD_ERR_MEMORY, "%s: out of memory", path);
    kd_status status = kd_atomic_open(path, &t->file);
    if (status != KD_OK) {
        free(t);
        return status;
    }
    t->start = now();
    ctx->trace = t;
    profile(ctx, true);
    return KD_OK;
}

static void write_events(const kd_ctx *ctx, const kd_trace *t, FILE *out) {
    fprintf(out, "{\"otherData\":{\"device\":\"%s\",\"lost\":%" PRId64 "},\n\"traceEvents\":[\n", ctx->description,
            t->lost);
    for (int64_t i = 0; i < t->count; i++)
        fprintf(out, "{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f}%s\n",
                t->events[i].name, t->events[i].line, 1e6 * (t->events[i].begin - t->start), 1e6 * t->events[i].seconds,
                i + 1 < t->count ? "," : "");
    fprintf(out, "]}\n");
}

kd_status kd_trace_close(kd_ctx *ctx) {
    kd_trace *t = ctx->trace;
    if (!t) return KD_OK;
    profile(ctx, false);
    write_events(ctx, t, t->file.stream);
    kd_status status = kd_atomic_commit(&t->file);
    kd_trace_free(t);
    ctx->trace = NULL;
    return status;
}

void kd_trace_free(kd_trace *t) {
    if (!t) return;
    kd_atomic_abort(&t->file);
    free(t->events);
    free(t);
}
