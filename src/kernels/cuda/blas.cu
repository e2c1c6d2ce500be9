/* cublasLt reads columns first: a row-major C = op(A) op(B) is its C^T = op(B)^T op(A)^T, so A and B change places and
 * nothing is transposed in memory. A bias row of C is then a bias column, which is what its epilogue adds. */
#include "kernels/cuda/blas.h"

#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

/* LEAST_BIAS_ALIGNMENT: the epilogue loads four floats of a bias at once, and no preference says that it may not. */
enum { WORKSPACE_BYTES = 32 << 20, MOST_PLANS = 256, WIDEST_ALIGNMENT = 256, LEAST_BIAS_ALIGNMENT = 16 };

/* What an algorithm was chosen for. */
typedef struct shape {
    int64_t rows, cols, depth, lda, ldb, ldc;
    int32_t transpose_a, transpose_b, has_bias, has_beta;
    int32_t align_a, align_b, align_c, align_bias;
} shape;

typedef struct plan {
    shape of;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
    bool plain; /* cublasLt has no algorithm for it */
} plan;

struct kd_cuda_blas {
    cublasLtHandle_t handle;
    cublasComputeType_t compute;
    bool deterministic;
    void *workspace;
    plan plans[MOST_PLANS]; /* filled once each; a full table starts over */
    int count;
};

static kd_status blas_status(cublasStatus_t error, const char *op) {
    if (error == CUBLAS_STATUS_SUCCESS) return KD_OK;
    return KD_FAIL(KD_ERR_CUDA, "%s: cublasLt: status %d", op, (int)error);
}
#define BLAS_OR_RETURN(call)                                                               \
    do {                                                                                   \
        cublasStatus_t blas_error = (call);                                                \
        if (blas_error != CUBLAS_STATUS_SUCCESS) return blas_status(blas_error, __func__); \
    } while (0)

kd_status kd_cuda_blas_open(kd_precision precision, bool deterministic, struct kd_cuda_blas **out) {
    struct kd_cuda_blas *blas = *out = (struct kd_cuda_blas *)calloc(1, sizeof **out);
    if (!blas) return KD_FAIL(KD_ERR_MEMORY, "context: out of memory");
    blas->deterministic = deterministic;
    blas->compute = precision == KD_PRECISION_FP32   ? CUBLAS_COMPUTE_32F
                    : precision == KD_PRECISION_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                     : CUBLAS_COMPUTE_32F_FAST_16BF;
    BLAS_OR_RETURN(cublasLtCreate(&blas->handle));
    KD_CUDA_OR_RETURN(cudaMalloc(&blas->workspace, WORKSPACE_BYTES));
    return KD_OK;
}

/* Nobody is left to tell where this fails. */
static void forget(plan *p) {
    if (p->operation) cublasLtMatmulDescDestroy(p->operation);
    if (p->a) cublasLtMatrixLayoutDestroy(p->a);
    if (p->b) cublasLtMatrixLayoutDestroy(p->b);
    if (p->c) cublasLtMatrixLayoutDestroy(p->c);
    memset(p, 0, sizeof *p);
}

void kd_cuda_blas_close(struct kd_cuda_blas *blas) {
    if (!blas) return;
    for (int i = 0; i < blas->count; i++) forget(&blas->plans[i]);
    if (blas->handle) cublasLtDestroy(blas->handle);
    cudaFree(blas->workspace);
    free(blas);
}

static int32_t alignment(const void *p) {
    uintptr_t address = (uintptr_t)p, lowest = address & (~address + 1);
    return lowest == 0 || lowest > WIDEST_ALIGNMENT ? (int32_t)WIDEST_ALIGNMENT : (int32_t)lowest;
}

/* What an algorithm may do: no sums that depend on timing, unless they were asked for; no wider loads than these
 * addresses allow. */
static kd_status wish_for(const struct kd_cuda_blas *blas, const shape *of, cublasLtMatmulPreference_t wish) {
    size_t workspace = WORKSPACE_BYTES;
    uint32_t sums = blas->deterministic
                        ? (uint32_t)CUBLASLT_REDUCTION_SCHEME_MASK & ~(uint32_t)CUBLASLT_REDUCTION_SCHEME_INPLACE
                        : (uint32_t)CUBLASLT_REDUCTION_SCHEME_MASK;
    uint32_t align_a = (uint32_t)of->align_b, align_b = (uint32_t)of->align_a, align_c = (uint32_t)of->align_c;
    const struct {
        cublasLtMatmulPreferenceAttributes_t what;
        const void *value;
        size_t bytes;
    } part[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
                {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums, sizeof sums},
                {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &align_a, sizeof align_a},
                {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &align_b, sizeof align_b},
                {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align_c, sizeof align_c},
                {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align_c, sizeof align_c}};
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++)
        BLAS_OR_RETURN(cublasLtMatmulPreferenceSetAttribute(wish, part[i].what, part[i].value, part[i].bytes));
    return KD_OK;
}

/* The library's own choice for this shape, or a plain product where it has none. */
static kd_status choose(const struct kd_cuda_blas *blas, plan *p) {
    kd_status status = KD_OK;
    cublasLtMatmulPreference_t wish = NULL;
    cublasLtMatmulHeuristicResult_t found;
    cublasStatus_t error;
    int results = 0;
    KD_TRY(blas_status(cublasLtMatmulPreferenceCreate(&wish), __func__));
    KD_TRY(wish_for(blas, &p->of, wish));
    error =
        cublasLtMatmulAlgoGetHeuristic(blas->handle, p->operation, p->a, p->b, p->c, p->c, wish, 1, &found, &results);
    p->plain = error == CUBLAS_STATUS_NOT_SUPPORTED || (error == CUBLAS_STATUS_SUCCESS && results == 0);
    if (!p->plain) KD_TRY(blas_status(error, __func__));
    if (!p->plain) p->algorithm = found.algo;
cleanup:
    if (wish) cublasLtMatmulPreferenceDestroy(wish);
    return status;
}

static kd_status make(const struct kd_cuda_blas *blas, const shape *of, const void *bias, plan *p) {
    cublasOperation_t first = of->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t second = of->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    p->of = *of;
    BLAS_OR_RETURN(cublasLtMatmulDescCreate(&p->operation, blas->compute, CUDA_R_32F));
    BLAS_OR_RETURN(cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first));
    BLAS_OR_RETURN(cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second));
    if (of->has_bias) {
        BLAS_OR_RETURN(
            cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
        BLAS_OR_RETURN(
            cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    }
    /* column-major sizes of the stored matrices: a row-major R x C is C x R there */
    uint64_t b_rows = (uint64_t)(of->transpose_b ? of->depth : of->cols),
             b_cols = (uint64_t)(of->transpose_b ? of->cols : of->depth);
    uint64_t a_rows = (uint64_t)(of->transpose_a ? of->rows : of->depth),
             a_cols = (uint64_t)(of->transpose_a ? of->depth : of->rows);
    BLAS_OR_RETURN(cublasLtMatrixLayoutCreate(&p->a, CUDA_R_32F, b_rows, b_cols, of->ldb));
    BLAS_OR_RETURN(cublasLtMatrixLayoutCreate(&p->b, CUDA_R_32F, a_rows, a_cols, of->lda));
    BLAS_OR_RETURN(cublasLtMatrixLayoutCreate(&p->c, CUDA_R_32F, (uint64_t)of->cols, (uint64_t)of->rows, of->ldc));
    return choose(blas, p);
}

static kd_status plan_for(struct kd_cuda_blas *blas, const shape *of, const void *bias, plan **out) {
    for (int i = 0; i < blas->count; i++)
        if (memcmp(&blas->plans[i].of, of, sizeof *of) == 0) {
            *out = &blas->plans[i];
            return KD_OK;
        }
    if (blas->count == MOST_PLANS) {
        for (int i = 0; i < blas->count; i++) forget(&blas->plans[i]);
        blas->count = 0;
    }
    *out = &blas->plans[blas->count];
    kd_status status = make(blas, of, bias, *out);
    if (status == KD_OK)
        blas->count++;
    else
        forget(*out);
    return status;
}

enum { SIDE = 16 }; /* a block makes tiles of so many rows and columns */

typedef struct plain_product {
    bool transpose_a, transpose_b;
    float alpha, beta;
    kd_mat a, b, c, bias;
    int64_t depth;
} plain_product;

/* For what cublasLt does not take: one thread an element, so that the order of its sum is fixed. */
__global__ void multiply(plain_product p) {
    KD_SHARED(float, left, [SIDE][SIDE + 1]);
    KD_SHARED(float, right, [SIDE][SIDE + 1]);
    int x = (int)threadIdx.x % SIDE, y = (int)threadIdx.x / SIDE;
    int64_t wide = (p.c.cols + SIDE - 1) / SIDE, tiles = wide * ((p.c.rows + SIDE - 1) / SIDE);
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int64_t row = tile / wide * SIDE + y, col = tile % wide * SIDE + x;
        float sum = 0.0f;
        for (int64_t k = 0; k < p.depth; k += SIDE) {
            left[y][x] = row >= p.c.rows || k + x >= p.depth ? 0.0f
                         : p.transpose_a                     ? p.a.data[(k + x) * p.a.ld + row]
                                                             : p.a.data[row * p.a.ld + k + x];
            right[y][x] = col >= p.c.cols || k + y >= p.depth ? 0.0f
                          : p.transpose_b                     ? p.b.data[col * p.b.ld + k + y]
                                                              : p.b.data[(k + y) * p.b.ld + col];
            __syncthreads();
            for (int i = 0; i < SIDE; i++) sum += left[y][i] * right[i][x];
            __syncthreads();
        }
        if (row >= p.c.rows || col >= p.c.cols) continue;
        float *to = p.c.data + row * p.c.ld + col;
        float value = p.alpha * sum;
        if (p.bias.data) value += p.bias.data[col];
        *to = p.beta == 0.0f ? value : value + p.beta * *to;
    }
}

static kd_status multiply_plainly(kd_ctx *ctx, const kd_gemm_args *args, kd_mat bias) {
    const plain_product p = {args->transpose_a,
                             args->transpose_b,
                             args->alpha,
                             args->beta,
                             args->a,
                             args->b,
                             args->c,
                             bias,
                             args->transpose_a ? args->a.rows : args->a.cols};
    KD_LAUNCH(multiply, kd_strided_blocks(ctx, args->c.rows * args->c.cols), SIDE * SIDE, 0, kd_stream(ctx), p);
    return kd_cuda_launched(__func__);
}

kd_status kd_cuda_product(kd_ctx *ctx, const kd_gemm_args *args, kd_mat bias) {
    kd_mat a = args->a, b = args->b, c = args->c;
    struct kd_cuda_blas *blas = kd_cuda_of(ctx)->blas;
    plan *p;
    shape of;
    memset(&of, 0, sizeof of); /* compared byte by byte */
    of.rows = c.rows;
    of.cols = c.cols;
    of.depth = args->transpose_a ? a.rows : a.cols;
    of.lda = a.ld;
    of.ldb = b.ld;
    of.ldc = c.ld;
    of.transpose_a = args->transpose_a;
    of.transpose_b = args->transpose_b;
    of.has_bias = bias.data != NULL;
    of.has_beta = args->beta != 0.0f;
    of.align_a = alignment(a.data);
    of.align_b = alignment(b.data);
    of.align_c = alignment(c.data);
    of.align_bias = alignment(bias.data);
    if (of.depth == 0 || of.align_bias < LEAST_BIAS_ALIGNMENT) return multiply_plainly(ctx, args, bias);
    KD_OR_RETURN(plan_for(blas, &of, bias.data, &p));
    if (p->plain) return multiply_plainly(ctx, args, bias);
    if (bias.data)
        BLAS_OR_RETURN(cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias.data,
                                                      sizeof bias.data));
    BLAS_OR_RETURN(cublasLtMatmul(blas->handle, p->operation, &args->alpha, b.data, p->a, a.data, p->b, &args->beta,
                                  c.data, p->c, c.data, p->c, &p->algorithm, blas->workspace, WORKSPACE_BYTES,
                                  kd_stream(ctx)));
    return KD_OK;
}
