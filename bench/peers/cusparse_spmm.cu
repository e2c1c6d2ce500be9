/* Y = A X by every algorithm that cuSPARSE has for CSR, each preprocessed, checked against a plain sum, then timed.
 *
 * usage: cusparse_spmm FILE WIDTH ITERATIONS [ALGORITHM]
 *
 * FILE: int64 rows, columns, entries; int32 row pointers and columns; float values. X [columns, WIDTH] and Y are
 * row-major, as the engine's are, and X is that of `kdiffe bench`. One JSON object a line and algorithm; one that is
 * wrong has no times, and the exit status is 1. */
#include <cuda_runtime.h>
#include <cusparse.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define CHECK(call)                                                                       \
    do {                                                                                  \
        auto status_ = (call);                                                            \
        if (status_ != 0) {                                                               \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, text(status_)); \
            exit(2);                                                                      \
        }                                                                                 \
    } while (0)

static const char *text(cudaError_t status) { return cudaGetErrorString(status); }
static const char *text(cusparseStatus_t status) { return cusparseGetErrorString(status); }

static const int WARM_UPS = 3, MOST_CALLS = 1000;
static const double LONG_ENOUGH = 1000.0; /* microseconds between two events, so that what starts them is small */
static const double TOLERANCE = 1e-5;     /* of the largest element, as in check.py */

static const struct {
    const char *name;
    cusparseSpMMAlg_t value;
} ALGORITHMS[] = {{"default", CUSPARSE_SPMM_ALG_DEFAULT},
                  {"csr_alg1", CUSPARSE_SPMM_CSR_ALG1},
                  {"csr_alg2", CUSPARSE_SPMM_CSR_ALG2},
                  {"csr_alg3", CUSPARSE_SPMM_CSR_ALG3}};

struct Matrix {
    int64_t rows, cols, entries;
    std::vector<int32_t> ptr, col;
    std::vector<float> val;
};

template <typename T> static void read(FILE *f, const char *path, T *out, size_t count) {
    if (fread(out, sizeof(T), count, f) == count) return;
    fprintf(stderr, "%s: ends early\n", path);
    exit(2);
}

static Matrix read_matrix(const char *path) {
    Matrix a = {};
    int64_t size[3];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(2);
    }
    read(f, path, size, 3);
    a.rows = size[0], a.cols = size[1], a.entries = size[2];
    a.ptr.resize((size_t)a.rows + 1), a.col.resize((size_t)a.entries), a.val.resize((size_t)a.entries);
    read(f, path, a.ptr.data(), a.ptr.size());
    read(f, path, a.col.data(), a.col.size());
    read(f, path, a.val.data(), a.val.size());
    fclose(f);
    return a;
}

/* Uniform in [-1, 1): splitmix64 of a counter, as src/host/bench/inputs.c draws. */
static std::vector<float> make_input(size_t count) {
    std::vector<float> x(count);
    for (size_t i = 0; i < count; i++) {
        uint64_t z = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        z ^= z >> 31;
        x[i] = (float)(z >> 40) * 0x1p-23f - 1.0f;
    }
    return x;
}

/* Largest error over the largest element; NaN where a result is none. */
static double largest_error(const Matrix &a, int64_t width, const std::vector<float> &x, const std::vector<float> &y) {
    double error = 0.0, scale = 0.0;
    for (int64_t r = 0; r < a.rows; r++)
        for (int64_t c = 0; c < width; c++) {
            double sum = 0.0;
            for (int32_t k = a.ptr[(size_t)r]; k < a.ptr[(size_t)r + 1]; k++)
                sum += (double)a.val[(size_t)k] * x[(size_t)(a.col[(size_t)k] * width + c)];
            double miss = std::fabs(y[(size_t)(r * width + c)] - sum);
            if (!(miss <= error) && !std::isnan(error)) error = miss;
            scale = std::max(scale, std::fabs(sum));
        }
    return error / scale;
}

template <typename T> static T *upload(const std::vector<T> &host) {
    void *device;
    CHECK(cudaMalloc(&device, host.size() * sizeof(T)));
    CHECK(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    return (T *)device;
}

struct Product {
    cusparseHandle_t handle;
    cusparseSpMatDescr_t a;
    cusparseDnMatDescr_t x, y;
    cusparseSpMMAlg_t algorithm;
    size_t bytes;
    void *buffer;
    cudaEvent_t begin, end;
};

static const float ONE = 1.0f, ZERO = 0.0f;
static const cusparseOperation_t AS_IT_IS = CUSPARSE_OPERATION_NON_TRANSPOSE;

static void multiply(const Product &p) {
    CHECK(cusparseSpMM(p.handle, AS_IT_IS, AS_IT_IS, &ONE, p.a, p.x, &ZERO, p.y, CUDA_R_32F, p.algorithm, p.buffer));
}

static double elapsed(const Product &p) {
    float milliseconds;
    CHECK(cudaEventRecord(p.end));
    CHECK(cudaEventSynchronize(p.end));
    CHECK(cudaEventElapsedTime(&milliseconds, p.begin, p.end));
    return 1e3 * milliseconds;
}

/* Takes the workspace that the algorithm asks for and prepares it; microseconds of the preparation. */
static double prepare(Product *p) {
    CHECK(cusparseSpMM_bufferSize(p->handle, AS_IT_IS, AS_IT_IS, &ONE, p->a, p->x, &ZERO, p->y, CUDA_R_32F,
                                  p->algorithm, &p->bytes));
    CHECK(cudaMalloc(&p->buffer, std::max(p->bytes, (size_t)1)));
    CHECK(cudaEventRecord(p->begin));
    CHECK(cusparseSpMM_preprocess(p->handle, AS_IT_IS, AS_IT_IS, &ONE, p->a, p->x, &ZERO, p->y, CUDA_R_32F,
                                  p->algorithm, p->buffer));
    return elapsed(*p);
}

static double time_calls(const Product &p, int calls) {
    CHECK(cudaEventRecord(p.begin));
    for (int i = 0; i < calls; i++) multiply(p);
    return elapsed(p) / calls;
}

static std::vector<double> sorted_times(const Product &p, int iterations) {
    std::vector<double> sample;
    double once = 0.0;
    for (int i = 0; i < WARM_UPS; i++) once = time_calls(p, 1);
    int calls = once >= LONG_ENOUGH ? 1 : (int)std::min(LONG_ENOUGH / std::max(once, 1e-3) + 1.0, (double)MOST_CALLS);
    for (int i = 0; i < iterations; i++) sample.push_back(time_calls(p, calls));
    std::sort(sample.begin(), sample.end());
    return sample;
}

/* One line; false if the result was wrong. */
static bool report(Product p, const char *name, const Matrix &a, int64_t width, const std::vector<float> &x, float *y,
                   int iterations) {
    std::vector<float> result((size_t)(a.rows * width));
    double prepared = prepare(&p), error;
    CHECK(cudaMemset(y, 0xff, result.size() * sizeof(float))); /* NaN: what is not written is seen */
    multiply(p);
    CHECK(cudaMemcpy(result.data(), y, result.size() * sizeof(float), cudaMemcpyDeviceToHost));
    error = largest_error(a, width, x, result);
    bool right = error <= TOLERANCE;
    printf("{\"algorithm\": \"%s\", \"rows\": %lld, \"cols\": %lld, \"nnz\": %lld, \"width\": %lld", name,
           (long long)a.rows, (long long)a.cols, (long long)a.entries, (long long)width);
    printf(", \"workspace_bytes\": %zu, \"preprocess_us\": %.3f", p.bytes, prepared);
    if (std::isfinite(error)) printf(", \"max_err\": %.3g", error);
    if (right) {
        std::vector<double> t = sorted_times(p, iterations);
        size_t n = t.size(), last = (size_t)std::ceil(0.99 * (double)n) - 1;
        printf(", \"iters\": %zu, \"min_us\": %.3f, \"med_us\": %.3f, \"p99_us\": %.3f", n, t[0],
               0.5 * (t[(n - 1) / 2] + t[n / 2]), t[last]);
    }
    printf("}\n");
    CHECK(cudaFree(p.buffer));
    return right;
}

int main(int argc, char **argv) {
    int64_t width = argc > 3 ? atoll(argv[2]) : 0;
    int iterations = argc > 3 ? atoi(argv[3]) : 0;
    if (argc < 4 || argc > 5 || width < 1 || iterations < 1) {
        fprintf(stderr, "usage: cusparse_spmm FILE WIDTH ITERATIONS [ALGORITHM]\n");
        return 2;
    }
    Matrix a = read_matrix(argv[1]);
    std::vector<float> x = make_input((size_t)(a.cols * width));
    float *y = upload(std::vector<float>((size_t)(a.rows * width)));
    Product p = {};
    CHECK(cusparseCreate(&p.handle));
    CHECK(cusparseCreateCsr(&p.a, a.rows, a.cols, a.entries, upload(a.ptr), upload(a.col), upload(a.val),
                            CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO, CUDA_R_32F));
    CHECK(cusparseCreateDnMat(&p.x, a.cols, width, width, upload(x), CUDA_R_32F, CUSPARSE_ORDER_ROW));
    CHECK(cusparseCreateDnMat(&p.y, a.rows, width, width, y, CUDA_R_32F, CUSPARSE_ORDER_ROW));
    CHECK(cudaEventCreate(&p.begin));
    CHECK(cudaEventCreate(&p.end));
    int tried = 0, wrong = 0;
    for (const auto &algorithm : ALGORITHMS) {
        if (argc == 5 && strcmp(argv[4], algorithm.name) != 0) continue;
        p.algorithm = algorithm.value;
        wrong += !report(p, algorithm.name, a, width, x, y, iterations);
        tried++;
    }
    if (tried == 0) fprintf(stderr, "%s: no such algorithm\n", argv[4]);
    return tried == 0 ? 2 : wrong > 0;
}
