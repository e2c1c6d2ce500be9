/* Cases about streams, memory, graphs and cublasLt; see test_emu.cc. */
#include <cublasLt.h>

#include <cmath>
#include <cstring>

#include "emu/cases.h"
#include "emu/planted.h"

namespace {

const int N = 300;

bool all_equal(const float *x, int n, float value) {
    for (int i = 0; i < n; i++)
        if (!(x[i] == value)) return false;
    return true;
}
bool all_equal(const std::vector<float> &x, float value) { return all_equal(x.data(), (int)x.size(), value); }
std::vector<float> filled(float value) { return std::vector<float>((size_t)N, value); }

/* One stream computes what another takes home. Bug: it does not wait for it. */
bool event_wait(bool bug) {
    Stream computes, copies;
    Happening computed;
    Device<float> in(filled(1.0f)), out(filled(0.0f));
    Pinned<float> home(N);
    planted_add_one(false, N, in.p, out.p, computes.s);
    TRY(cudaEventRecord(computed.e, computes.s));
    if (!bug) TRY(cudaStreamWaitEvent(copies.s, computed.e, 0));
    TRY(cudaMemcpyAsync(home.p, out.p, N * sizeof(float), cudaMemcpyDeviceToHost, copies.s));
    TRY(cudaStreamSynchronize(copies.s));
    return all_equal(home.p, N, 2.0f);
}

bool read_before_sync(bool bug) {
    Stream stream;
    Device<float> in(filled(3.0f));
    Pinned<float> home(N);
    memset(home.p, 0, N * sizeof(float));
    TRY(cudaMemcpyAsync(home.p, in.p, N * sizeof(float), cudaMemcpyDeviceToHost, stream.s));
    if (!bug) TRY(cudaStreamSynchronize(stream.s));
    return all_equal(home.p, N, 3.0f);
}

/* Bug: page-locked memory is filled anew while the copy of what it held may still be going on. */
bool pinned_reused(bool bug) {
    Stream stream;
    Happening copied;
    Device<float> first(N), second(N);
    Pinned<float> staging(N);
    for (int i = 0; i < N; i++) staging.p[i] = 1.0f;
    TRY(cudaMemcpyAsync(first.p, staging.p, N * sizeof(float), cudaMemcpyHostToDevice, stream.s));
    TRY(cudaEventRecord(copied.e, stream.s));
    if (!bug) TRY(cudaEventSynchronize(copied.e));
    for (int i = 0; i < N; i++) staging.p[i] = 2.0f;
    TRY(cudaMemcpyAsync(second.p, staging.p, N * sizeof(float), cudaMemcpyHostToDevice, stream.s));
    TRY(cudaStreamSynchronize(stream.s));
    return all_equal(first.get(), 1.0f) && all_equal(second.get(), 2.0f);
}

/* Ordinary memory may be used again as soon as the call is back. */
bool pageable_reused(bool) {
    Stream stream;
    Device<float> out(N);
    std::vector<float> from = filled(5.0f), back = filled(0.0f);
    TRY(cudaMemcpyAsync(out.p, from.data(), N * sizeof(float), cudaMemcpyHostToDevice, stream.s));
    from = filled(0.0f);
    TRY(cudaMemcpyAsync(back.data(), out.p, N * sizeof(float), cudaMemcpyDeviceToHost, stream.s));
    return all_equal(back, 5.0f);
}

/* The default stream waits for blocking streams without being told to. */
bool default_stream(bool) {
    cudaStream_t blocking;
    Device<float> in(filled(1.0f)), out(N);
    TRY(cudaStreamCreate(&blocking));
    planted_add_one(false, N, in.p, out.p, blocking);
    planted_add_one(false, N, out.p, in.p, 0);
    std::vector<float> back = filled(0.0f);
    TRY(cudaMemcpy(back.data(), in.p, N * sizeof(float), cudaMemcpyDeviceToHost));
    TRY(cudaStreamDestroy(blocking));
    return all_equal(back, 3.0f);
}

/* Work outlives its stream's and its events' handles, and a program that only asks gets there. */
bool handles_gone(bool) {
    Device<float> in(filled(1.0f)), out(N);
    Happening done;
    {
        Stream first, second;
        Happening between;
        planted_add_one(false, N, in.p, out.p, first.s);
        TRY(cudaEventRecord(between.e, first.s));
        TRY(cudaStreamWaitEvent(second.s, between.e, 0));
        planted_add_one(false, N, out.p, in.p, second.s);
        TRY(cudaEventRecord(done.e, second.s));
    }
    cudaError_t state;
    while ((state = cudaEventQuery(done.e)) == cudaErrorNotReady)
        ;
    TRY(state);
    return all_equal(in.get(), 3.0f);
}

bool elapsed_time(bool) {
    cudaEvent_t start, end;
    Device<float> in(filled(1.0f)), out(N);
    float milliseconds = -1.0f;
    TRY(cudaEventCreate(&start));
    TRY(cudaEventCreate(&end));
    TRY(cudaEventRecord(start, 0));
    planted_add_one(false, N, in.p, out.p, 0);
    TRY(cudaEventRecord(end, 0));
    TRY(cudaEventSynchronize(end));
    TRY(cudaEventElapsedTime(&milliseconds, start, end));
    TRY(cudaEventDestroy(start));
    TRY(cudaEventDestroy(end));
    return milliseconds >= 0.0f && milliseconds < 1e4f;
}

/* Ends the capture and runs it `times` times; false if there is nothing to run. */
bool replayed(cudaStream_t stream, int times) {
    cudaGraph_t graph;
    cudaGraphExec_t runnable;
    if (cudaStreamEndCapture(stream, &graph) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    TRY(cudaGraphInstantiateWithFlags(&runnable, graph, 0));
    TRY(cudaGraphDestroy(graph));
    for (int i = 0; i < times; i++) TRY(cudaGraphLaunch(runnable, stream));
    TRY(cudaGraphExecDestroy(runnable));
    TRY(cudaStreamSynchronize(stream));
    return true;
}

/* Bug: what is being recorded is waited for. */
bool sync_in_capture(bool bug) {
    Stream stream;
    Device<float> a(filled(1.0f)), b(N);
    TRY(cudaStreamBeginCapture(stream.s, cudaStreamCaptureModeThreadLocal));
    planted_add_one(false, N, a.p, b.p, stream.s);
    if (bug) cudaStreamSynchronize(stream.s);
    planted_add_one(false, N, b.p, a.p, stream.s);
    return replayed(stream.s, 3) && all_equal(a.get(), 7.0f);
}

/* Bug: memory is asked for while something is being recorded. */
bool malloc_in_capture(bool bug) {
    Stream stream;
    Device<float> a(filled(1.0f)), b(N);
    void *more = nullptr;
    TRY(cudaStreamBeginCapture(stream.s, cudaStreamCaptureModeGlobal));
    planted_add_one(false, N, a.p, b.p, stream.s);
    if (bug) cudaMalloc(&more, 1);
    planted_add_one(false, N, b.p, a.p, stream.s);
    return replayed(stream.s, 1) && all_equal(a.get(), 3.0f);
}

/* Bug: memory is given back while something is being recorded. */
bool free_in_capture(bool bug) {
    Stream stream;
    Device<float> a(filled(1.0f)), b(N);
    float *more;
    TRY(cudaMalloc((void **)&more, 1));
    TRY(cudaStreamBeginCapture(stream.s, cudaStreamCaptureModeThreadLocal));
    planted_add_one(false, N, a.p, b.p, stream.s);
    if (bug) cudaFree(more);
    planted_add_one(false, N, b.p, a.p, stream.s);
    bool right = replayed(stream.s, 1) && all_equal(a.get(), 3.0f);
    TRY(cudaFree(more));
    return right;
}

/* Bug: what is recorded is copied to the host by a call that waits. */
bool copy_in_capture(bool bug) {
    Stream stream;
    Device<float> a(filled(1.0f)), b(N);
    std::vector<float> home = filled(0.0f);
    TRY(cudaStreamBeginCapture(stream.s, cudaStreamCaptureModeThreadLocal));
    planted_add_one(false, N, a.p, b.p, stream.s);
    if (bug) cudaMemcpy(home.data(), b.p, N * sizeof(float), cudaMemcpyDeviceToHost);
    planted_add_one(false, N, b.p, a.p, stream.s);
    return replayed(stream.s, 1) && all_equal(a.get(), 3.0f);
}

/* Bug: the memory of the host that a recorded copy goes to is not page-locked. */
bool pageable_in_capture(bool bug) {
    Stream stream;
    Device<float> a(filled(1.0f)), b(N);
    Pinned<float> pinned(N);
    std::vector<float> pageable = filled(0.0f);
    float *home = bug ? pageable.data() : pinned.p;
    TRY(cudaStreamBeginCapture(stream.s, cudaStreamCaptureModeThreadLocal));
    planted_add_one(false, N, a.p, b.p, stream.s);
    cudaMemcpyAsync(home, b.p, N * sizeof(float), cudaMemcpyDeviceToHost, stream.s);
    return replayed(stream.s, 1) && all_equal(home, N, 2.0f);
}

/* Bug: a grid has more rows than any device takes. */
bool grid_too_high(bool bug) {
    Device<int> out(std::vector<int>(65536, 0));
    planted_high_grid(bug, out.p, 0);
    TRY(cudaGetLastError());
    return out.get()[65534] == 1;
}

/* Bug: a block has more threads than any device takes. */
bool block_too_large(bool bug) {
    Device<int> out(std::vector<int>(1056, 0));
    planted_large_block(bug, out.p, 0);
    TRY(cudaGetLastError());
    return out.get()[1023] == 1;
}

enum class Forgotten { Nothing, WaitForWork, Join };
/* One stream adds one while another takes part in the capture and copies the result. */
bool forked_capture(Forgotten forgotten) {
    Stream origin, other;
    Happening forked, added, copied;
    Device<float> a(filled(1.0f)), b(filled(0.0f)), c(filled(0.0f));
    TRY(cudaStreamBeginCapture(origin.s, cudaStreamCaptureModeThreadLocal));
    TRY(cudaEventRecord(forked.e, origin.s));
    TRY(cudaStreamWaitEvent(other.s, forked.e, 0));
    planted_add_one(false, N, a.p, b.p, origin.s);
    TRY(cudaEventRecord(added.e, origin.s));
    if (forgotten != Forgotten::WaitForWork) TRY(cudaStreamWaitEvent(other.s, added.e, 0));
    TRY(cudaMemcpyAsync(c.p, b.p, N * sizeof(float), cudaMemcpyDeviceToDevice, other.s));
    TRY(cudaEventRecord(copied.e, other.s));
    if (forgotten != Forgotten::Join) TRY(cudaStreamWaitEvent(origin.s, copied.e, 0));
    return replayed(origin.s, 1) && all_equal(c.get(), 2.0f);
}
bool wait_in_capture(bool bug) { return forked_capture(bug ? Forgotten::WaitForWork : Forgotten::Nothing); }
bool unjoined_capture(bool bug) { return forked_capture(bug ? Forgotten::Join : Forgotten::Nothing); }

/* Bug: memory that a graph uses is freed before the graph runs. */
bool graph_memory_freed(bool bug) {
    Stream stream;
    Device<float> a(filled(1.0f));
    float *b;
    TRY(cudaMalloc((void **)&b, N * sizeof(float)));
    TRY(cudaStreamBeginCapture(stream.s, cudaStreamCaptureModeThreadLocal));
    planted_add_one(false, N, a.p, b, stream.s);
    planted_add_one(false, N, b, a.p, stream.s);
    cudaGraph_t graph;
    cudaGraphExec_t runnable;
    TRY(cudaStreamEndCapture(stream.s, &graph));
    TRY(cudaGraphInstantiate(&runnable, graph, 0));
    if (bug) TRY(cudaFree(b));
    TRY(cudaGraphLaunch(runnable, stream.s));
    TRY(cudaStreamSynchronize(stream.s));
    if (!bug) TRY(cudaFree(b));
    TRY(cudaGraphExecDestroy(runnable));
    TRY(cudaGraphDestroy(graph));
    return all_equal(a.get(), 3.0f);
}

bool freed_memory(bool bug) {
    Device<float> in(filled(1.0f));
    float *out;
    TRY(cudaMalloc((void **)&out, N * sizeof(float)));
    if (bug) TRY(cudaFree(out));
    planted_add_one(false, N, in.p, out, 0);
    TRY(cudaDeviceSynchronize());
    if (!bug) TRY(cudaFree(out));
    return true;
}

bool lost_memory(bool bug) {
    float *p;
    TRY(cudaMalloc((void **)&p, N * sizeof(float)));
    if (!bug) TRY(cudaFree(p));
    p = nullptr;
    return true;
}

bool copy_end(bool bug) {
    Device<float> out(N);
    std::vector<float> from((size_t)N + 1, 1.0f);
    TRY(cudaMemcpy(out.p, from.data(), (N + bug) * sizeof(float), cudaMemcpyHostToDevice));
    return all_equal(out.get(), 1.0f);
}

bool memory_errors(bool) {
    size_t before, after, total;
    void *p, *none = &p;
    TRY(cudaMemGetInfo(&before, &total));
    TRY(cudaMalloc(&p, (size_t)64 << 20));
    TRY(cudaMemGetInfo(&after, &total));
    bool counted = before - after >= (size_t)64 << 20 && before <= total;
    bool refused = cudaMalloc(&none, total + 1) == cudaErrorMemoryAllocation && !none;
    bool wrong_way = cudaMemcpy(p, p, 1, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue;
    cudaGetLastError();
    TRY(cudaFree(p));
    TRY(cudaFree(nullptr));
    return counted && refused && wrong_way;
}

bool error_texts(bool) {
    return strcmp(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation") == 0 &&
           strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory") == 0 &&
           strcmp(cudaGetErrorString(cudaErrorNoDevice), "no CUDA-capable device is detected") == 0;
}

/* D = alpha op(A) op(B) + beta C + bias, column-major. */
struct Matmul {
    int rows, cols, depth;
    bool transpose_a, transpose_b, bias, in_place;
    float beta;
    int missing_columns; /* of B, by which its allocation is too small */
    int shift_bias = 0;  /* floats by which the bias, */
    int shift_room = 0;  /* and bytes by which the workspace lies after a multiple of 256 bytes */
    int shift_a = 0;     /* floats for A, and */
    int narrow_b = 0;    /* rows of B that do not fit its leading dimension */
};

std::vector<float> random_matrix(int n) {
    static unsigned state = 1;
    std::vector<float> x((size_t)n);
    for (float &value : x) value = (float)((state = state * 1664525u + 1013904223u) >> 20) / 4096.0f - 0.5f;
    return x;
}

void lt_try(cublasStatus_t status, const char *what) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    fprintf(stderr, "%s: status %d\n", what, (int)status);
    exit(2);
}
#define LT_TRY(call) lt_try(call, #call)

void multiply(const Matmul &m, const float *a, const float *b, const float *bias, const float *c, float *d,
              cudaStream_t stream) {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t la, lb, lc;
    cublasLtMatmulPreference_t wish;
    cublasLtMatmulHeuristicResult_t found;
    cublasOperation_t transposed = CUBLAS_OP_T;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    float alpha = 0.5f;
    int count;
    LT_TRY(cublasLtCreate(&handle));
    LT_TRY(cublasLtMatmulDescCreate(&op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    if (m.transpose_a)
        LT_TRY(cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
    if (m.transpose_b)
        LT_TRY(cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_TRANSB, &transposed, sizeof transposed));
    if (m.bias) {
        LT_TRY(cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
        LT_TRY(cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    }
    uint64_t rows = (uint64_t)m.rows, cols = (uint64_t)m.cols, depth = (uint64_t)m.depth;
    LT_TRY(m.transpose_a ? cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, depth, rows, m.depth)
                         : cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, rows, depth, m.rows));
    LT_TRY(m.transpose_b ? cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, cols, depth, m.cols - m.narrow_b)
                         : cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, depth, cols, m.depth - m.narrow_b));
    LT_TRY(cublasLtMatrixLayoutCreate(&lc, CUDA_R_32F, rows, cols, m.rows));
    LT_TRY(cublasLtMatmulPreferenceCreate(&wish));
    LT_TRY(cublasLtMatmulAlgoGetHeuristic(handle, op, la, lb, lc, lc, wish, 1, &found, &count));
    Device<char> room(512);
    LT_TRY(cublasLtMatmul(handle, op, &alpha, a, la, b, lb, &m.beta, c, lc, d, lc, &found.algo, room.p + m.shift_room,
                          256, stream));
    LT_TRY(cublasLtMatmulPreferenceDestroy(wish));
    LT_TRY(cublasLtMatrixLayoutDestroy(la));
    LT_TRY(cublasLtMatrixLayoutDestroy(lb));
    LT_TRY(cublasLtMatrixLayoutDestroy(lc));
    LT_TRY(cublasLtMatmulDescDestroy(op));
    TRY(cudaStreamSynchronize(stream));
    LT_TRY(cublasLtDestroy(handle));
}

bool product_is_right(const Matmul &m) {
    Stream stream;
    std::vector<float> a = random_matrix(m.rows * m.depth), b = random_matrix(m.depth * m.cols),
                       bias = random_matrix(m.rows), c = random_matrix(m.rows * m.cols);
    if (m.beta == 0.0f) c.assign(c.size(), NAN); /* must not be read */
    a.insert(a.begin(), (size_t)m.shift_a, 0.0f);
    bias.insert(bias.begin(), (size_t)m.shift_bias, 0.0f);
    Device<float> da(a), db(std::vector<float>(b.begin(), b.end() - m.missing_columns * m.depth)), dbias(bias), dc(c),
        dd(c.size());
    multiply(m, da.p + m.shift_a, db.p, dbias.p + m.shift_bias, dc.p, m.in_place ? dc.p : dd.p, stream.s);
    std::vector<float> got = m.in_place ? dc.get() : dd.get();
    a.erase(a.begin(), a.begin() + m.shift_a);
    bias.erase(bias.begin(), bias.begin() + m.shift_bias);
    for (int i = 0; i < m.rows; i++)
        for (int j = 0; j < m.cols; j++) {
            double sum = 0.0;
            for (int l = 0; l < m.depth; l++)
                sum += (double)a[m.transpose_a ? i * m.depth + l : l * m.rows + i] *
                       (double)b[m.transpose_b ? l * m.cols + j : j * m.depth + l];
            sum *= 0.5;
            if (m.bias) sum += (double)bias[i];
            if (m.beta != 0.0f) sum += (double)(m.beta * c[(size_t)(j * m.rows + i)]);
            if (!(fabs(sum - (double)got[(size_t)(j * m.rows + i)]) <= 1e-5)) return false;
        }
    return true;
}

bool products(bool) {
    for (int how = 0; how < 32; how++) {
        Matmul m = {270, 21, 17, (how & 1) != 0, (how & 2) != 0, (how & 4) != 0, (how & 8) != 0, how & 16 ? 2.0f : 0.0f,
                    0};
        if (!product_is_right(m)) return false;
        m.rows = 5;
        m.cols = 2;
        m.depth = 1;
        if (!product_is_right(m)) return false;
    }
    return true;
}
bool matrix_end(bool bug) { return product_is_right({8, 4, 8, false, false, false, false, 0.0f, bug}); }

/* A product of 8 x 4 x 8 with a bias, and, one a case, what a card refuses or breaks off at. */
const Matmul BIASED = {8, 4, 8, false, false, true, false, 0.0f, 0};
/* Bug: a bias lies after one float of something else. */
bool bias_alignment(bool bug) {
    Matmul m = BIASED;
    m.shift_bias = bug;
    return product_is_right(m);
}
/* Bug: an algorithm gets a matrix that is less aligned than what it was chosen for. */
bool matrix_alignment(bool bug) {
    Matmul m = BIASED;
    m.shift_a = 2 * bug;
    return product_is_right(m);
}
/* Bug: the workspace begins in the middle of an allocation. */
bool workspace_alignment(bool bug) {
    Matmul m = BIASED;
    m.shift_room = 64 * bug;
    return product_is_right(m);
}
/* Bug: a column is longer than the way to the next one. */
bool leading_dimension(bool bug) {
    Matmul m = BIASED;
    m.narrow_b = bug;
    return product_is_right(m);
}

} // namespace

const std::vector<Case> runtime_cases = {{"event_wait", event_wait},
                                         {"read_before_sync", read_before_sync},
                                         {"pinned_reused", pinned_reused},
                                         {"pageable_reused", pageable_reused},
                                         {"default_stream", default_stream},
                                         {"handles_gone", handles_gone},
                                         {"elapsed_time", elapsed_time},
                                         {"sync_in_capture", sync_in_capture},
                                         {"malloc_in_capture", malloc_in_capture},
                                         {"free_in_capture", free_in_capture},
                                         {"copy_in_capture", copy_in_capture},
                                         {"pageable_in_capture", pageable_in_capture},
                                         {"grid_too_high", grid_too_high},
                                         {"block_too_large", block_too_large},
                                         {"wait_in_capture", wait_in_capture},
                                         {"unjoined_capture", unjoined_capture},
                                         {"graph_memory_freed", graph_memory_freed},
                                         {"freed_memory", freed_memory},
                                         {"lost_memory", lost_memory},
                                         {"copy_end", copy_end},
                                         {"memory_errors", memory_errors},
                                         {"error_texts", error_texts},
                                         {"products", products},
                                         {"matrix_end", matrix_end},
                                         {"bias_alignment", bias_alignment},
                                         {"matrix_alignment", matrix_alignment},
                                         {"workspace_alignment", workspace_alignment},
                                         {"leading_dimension", leading_dimension}};
