/* Stand-in for the part of cublasLt that is used: products of column-major float matrices, with a bias column if
 * wanted. The descriptors live in the space that the real header gives them. Compiled without sanitizers, which would
 * make it many times slower; instead every matrix is checked to lie in live device memory. */
#include <cublasLt.h>

#include <algorithm>
#include <cmath>

#include "emu/runtime.h"

struct cublasLtContext {};

namespace {

struct Layout {
    cudaDataType type;
    int32_t order, batches;
    uint64_t rows, cols;
    int64_t ld, stride;
};
struct Operation {
    cublasComputeType_t compute;
    cudaDataType scale_type, bias_type;
    cublasLtPointerMode_t pointer_mode;
    cublasOperation_t transpose_a, transpose_b, transpose_c;
    cublasLtEpilogue_t epilogue;
    const void *bias;
};
/* An algorithm may rely on the alignments it was asked for. */
struct Algorithm {
    uint32_t known, align_a, align_b, align_c, align_d;
};
struct Preference {
    uint64_t workspace_bytes;
    Algorithm algorithm;
};
const uint32_t KNOWN = 0x6b64656d;
/* Four floats of a bias are loaded at once, whatever an algorithm was asked for; so is a workspace's alignment. */
const uint32_t BIAS_ALIGNMENT = 16, WORKSPACE_ALIGNMENT = 256;

template <class Inside, class Outside> Inside *in(Outside *outside) {
    static_assert(sizeof(Inside) <= sizeof *outside, "does not fit the real header's space");
    return reinterpret_cast<Inside *>(outside);
}

/* Takes a value of exactly this size, as the real library does. */
template <class T> cublasStatus_t take(T *value, const void *from, size_t bytes) {
    if (!from || bytes != sizeof *value) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(value, from, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

enum class Rounding { None, Tf32, Bf16 };

struct Product {
    int64_t rows, cols, depth;
    bool transpose_a, transpose_b;
    float alpha, beta;
    Rounding rounding;
    const float *a, *b, *c, *bias;
    float *d;
    int64_t lda, ldb, ldc, ldd;
};

/* To the nearest value of fewer mantissa bits; infinities and NaN stay what they are. */
float rounded(float x, Rounding rounding) {
    if (rounding == Rounding::None || !std::isfinite(x)) return x;
    uint32_t dropped = rounding == Rounding::Tf32 ? 13 : 16, bits = emu::bits<uint32_t>(x);
    bits += (1u << (dropped - 1)) - 1 + (bits >> dropped & 1);
    return emu::bits<float>(bits >> dropped << dropped);
}

/* One strip of rows at a time, a few columns together: the strip of op(A) stays in the cache. */
void multiply(const Product &p) {
    const int64_t STRIP = 256, COLUMNS = 4;
    std::vector<float> strip((size_t)(STRIP * std::max<int64_t>(p.depth, 1)));
    for (int64_t i0 = 0; i0 < p.rows; i0 += STRIP) {
        int64_t height = std::min(STRIP, p.rows - i0);
        for (int64_t l = 0; l < p.depth; l++)
            for (int64_t i = 0; i < height; i++)
                strip[(size_t)(l * STRIP + i)] =
                    rounded(p.transpose_a ? p.a[(i0 + i) * p.lda + l] : p.a[l * p.lda + i0 + i], p.rounding);
        for (int64_t j0 = 0; j0 < p.cols; j0 += COLUMNS) {
            float sum[COLUMNS][STRIP] = {};
            int64_t width = std::min(COLUMNS, p.cols - j0);
            for (int64_t l = 0; l < p.depth; l++)
                for (int64_t j = 0; j < width; j++) {
                    const float *column = &strip[(size_t)(l * STRIP)];
                    float factor =
                        rounded(p.transpose_b ? p.b[l * p.ldb + j0 + j] : p.b[(j0 + j) * p.ldb + l], p.rounding);
                    for (int64_t i = 0; i < height; i++) sum[j][i] += column[i] * factor;
                }
            for (int64_t j = 0; j < width; j++)
                for (int64_t i = 0; i < height; i++) {
                    float value = p.alpha * sum[j][i];
                    if (p.beta != 0.0f) value += p.beta * p.c[(j0 + j) * p.ldc + i0 + i];
                    if (p.bias) value += p.bias[i0 + i];
                    p.d[(j0 + j) * p.ldd + i0 + i] = value;
                }
        }
    }
}

bool supported(const Layout &layout) { return layout.type == CUDA_R_32F && layout.order == CUBLASLT_ORDER_COL; }

/* Do the sizes of the operation and of its matrices agree? */
cublasStatus_t check_shapes(const Operation &op, const Layout &a, const Layout &b, const Layout &c, const Layout &d) {
    bool known_compute = op.compute == CUBLAS_COMPUTE_32F || op.compute == CUBLAS_COMPUTE_32F_PEDANTIC ||
                         op.compute == CUBLAS_COMPUTE_32F_FAST_TF32 || op.compute == CUBLAS_COMPUTE_32F_FAST_16BF;
    if (!known_compute || op.scale_type != CUDA_R_32F || op.pointer_mode != CUBLASLT_POINTER_MODE_HOST ||
        op.transpose_c != CUBLAS_OP_N || !supported(a) || !supported(b) || !supported(c) || !supported(d) ||
        (op.epilogue != CUBLASLT_EPILOGUE_DEFAULT && op.epilogue != CUBLASLT_EPILOGUE_BIAS))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    bool ta = op.transpose_a != CUBLAS_OP_N, tb = op.transpose_b != CUBLAS_OP_N;
    uint64_t rows = ta ? a.cols : a.rows, depth = ta ? a.rows : a.cols, cols = tb ? b.rows : b.cols;
    bool agree =
        (tb ? b.cols : b.rows) == depth && c.rows == rows && c.cols == cols && d.rows == rows && d.cols == cols;
    bool spaced = a.ld >= (int64_t)a.rows && b.ld >= (int64_t)b.rows && c.ld >= (int64_t)rows && d.ld >= (int64_t)rows;
    bool batches = a.batches == d.batches && b.batches == d.batches && c.batches == d.batches && d.batches >= 1;
    bool sized = rows > 0 && cols > 0 && depth > 0;
    return agree && spaced && batches && sized ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

void check_memory(const char *name, const void *p, const Layout &layout) {
    size_t floats =
        (size_t)(layout.batches - 1) * (size_t)layout.stride + (layout.cols - 1) * (size_t)layout.ld + layout.rows;
    if (!emu::is_device_memory(p, floats * sizeof(float)))
        emu::fatal("cublasLtMatmul: the %zu bytes of %s at %p do not lie within an allocation of the device",
                   floats * sizeof(float), name, p);
}

/* On a card a wider load than an address allows is a misaligned address, long after the call. */
void check_alignment(const char *name, const void *p, uint32_t alignment) {
    alignment = std::max(alignment, 4u);
    if (reinterpret_cast<uintptr_t>(p) % alignment != 0)
        emu::fatal("cublasLtMatmul: %s at %p is not aligned to %u bytes", name, p, alignment);
}

} // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    if (emu::settings().devices < 1) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = new cublasLtContext;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t, cudaDataType type,
                                                 uint64_t rows, uint64_t cols, int64_t ld) {
    *in<Layout>(layout) = Layout{type, CUBLASLT_ORDER_COL, 1, rows, cols, ld, 0};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
    *layout = new cublasLtMatrixLayoutOpaque_t{};
    return cublasLtMatrixLayoutInit_internal(*layout, sizeof **layout, type, rows, cols, ld);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    delete layout;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void *value,
                                                size_t bytes) {
    Layout *inside = in<Layout>(layout);
    switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE: return take(&inside->type, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return take(&inside->order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS: return take(&inside->rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return take(&inside->cols, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD: return take(&inside->ld, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return take(&inside->batches, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return take(&inside->stride, value, bytes);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t operation, size_t, cublasComputeType_t compute,
                                               cudaDataType scale_type) {
    *in<Operation>(operation) = Operation{compute,     scale_type,  CUDA_R_32F,  CUBLASLT_POINTER_MODE_HOST,
                                          CUBLAS_OP_N, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT,
                                          nullptr};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *operation, cublasComputeType_t compute,
                                        cudaDataType scale_type) {
    *operation = new cublasLtMatmulDescOpaque_t{};
    return cublasLtMatmulDescInit_internal(*operation, sizeof **operation, compute, scale_type);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
    delete operation;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes) {
    Operation *inside = in<Operation>(operation);
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE: return take(&inside->compute, value, bytes);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE: return take(&inside->scale_type, value, bytes);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE: return take(&inside->pointer_mode, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA: return take(&inside->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return take(&inside->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSC: return take(&inside->transpose_c, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return take(&inside->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return take(&inside->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return take(&inside->bias_type, value, bytes);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference, size_t) {
    *in<Preference>(preference) = Preference{0, Algorithm{KNOWN, 256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
    *preference = new cublasLtMatmulPreferenceOpaque_t{};
    return cublasLtMatmulPreferenceInit_internal(*preference, sizeof **preference);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    delete preference;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                                    size_t bytes) {
    Preference *inside = in<Preference>(preference);
    uint32_t ignored;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return take(&inside->workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return take(&ignored, value, bytes);
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE: return take(&ignored, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return take(&inside->algorithm.align_a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return take(&inside->algorithm.align_b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return take(&inside->algorithm.align_c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return take(&inside->algorithm.align_d, value, bytes);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int *count) {
    *count = 0;
    if (!handle || !preference || wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t status =
        check_shapes(*in<Operation>(operation), *in<Layout>(a), *in<Layout>(b), *in<Layout>(c), *in<Layout>(d));
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    const Layout &la = *in<Layout>(a), &ld = *in<Layout>(d);
    uint64_t depth = in<Operation>(operation)->transpose_a != CUBLAS_OP_N ? la.rows : la.cols;
    if (std::min({ld.rows, ld.cols, depth}) < emu::settings().lt_least) return CUBLAS_STATUS_NOT_SUPPORTED;
    memset(&results[0], 0, sizeof results[0]);
    *in<Algorithm>(&results[0].algo) = in<Preference>(preference)->algorithm;
    results[0].state = CUBLAS_STATUS_SUCCESS;
    *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
    emu::Call call;
    if (!handle || !operation || !alpha || !beta || !a_layout || !b_layout || !c_layout || !d_layout)
        return CUBLAS_STATUS_INVALID_VALUE;
    const Operation op = *in<Operation>(operation);
    const Layout la = *in<Layout>(a_layout), lb = *in<Layout>(b_layout), lc = *in<Layout>(c_layout),
                 ld = *in<Layout>(d_layout);
    cublasStatus_t status = check_shapes(op, la, lb, lc, ld);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    if (algorithm) {
        const Algorithm *chosen = in<const Algorithm>(algorithm);
        if (chosen->known != KNOWN) return CUBLAS_STATUS_INVALID_VALUE;
        check_alignment("A", a, chosen->align_a);
        check_alignment("B", b, chosen->align_b);
        check_alignment("C", c, chosen->align_c);
        check_alignment("D", d, chosen->align_d);
    }
    if (workspace_bytes && !emu::is_device_memory(workspace, workspace_bytes)) return CUBLAS_STATUS_INVALID_VALUE;
    if (workspace_bytes) check_alignment("the workspace", workspace, WORKSPACE_ALIGNMENT);
    if (c == d && lc.ld != ld.ld) return CUBLAS_STATUS_INVALID_VALUE;

    Product p{};
    p.rows = (int64_t)ld.rows;
    p.cols = (int64_t)ld.cols;
    p.transpose_a = op.transpose_a != CUBLAS_OP_N;
    p.transpose_b = op.transpose_b != CUBLAS_OP_N;
    p.depth = (int64_t)(p.transpose_a ? la.rows : la.cols);
    p.alpha = *static_cast<const float *>(alpha);
    p.beta = *static_cast<const float *>(beta);
    p.rounding = op.compute == CUBLAS_COMPUTE_32F_FAST_TF32   ? Rounding::Tf32
                 : op.compute == CUBLAS_COMPUTE_32F_FAST_16BF ? Rounding::Bf16
                                                              : Rounding::None;
    p.a = static_cast<const float *>(a);
    p.b = static_cast<const float *>(b);
    p.c = static_cast<const float *>(c);
    p.d = static_cast<float *>(d);
    p.bias = op.epilogue == CUBLASLT_EPILOGUE_BIAS ? static_cast<const float *>(op.bias) : nullptr;
    p.lda = la.ld, p.ldb = lb.ld, p.ldc = lc.ld, p.ldd = ld.ld;
    if (op.epilogue == CUBLASLT_EPILOGUE_BIAS && (!op.bias || op.bias_type != CUDA_R_32F))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (p.bias) check_alignment("the bias", p.bias, BIAS_ALIGNMENT);

    auto check = [=] {
        check_memory("A", a, la);
        check_memory("B", b, lb);
        check_memory("D", d, ld);
        if (p.beta != 0.0f) check_memory("C", c, lc);
        if (p.bias) check_memory("the bias", p.bias, Layout{CUDA_R_32F, 0, 1, ld.rows, 1, (int64_t)ld.rows, 0});
    };
    check(); /* here, where a debugger shows the caller, and again when a graph replays it */
    cudaError_t error = emu::enqueue(stream, [=] {
        check();
        for (int64_t i = 0; i < ld.batches; i++) {
            Product one = p;
            one.a += i * la.stride, one.b += i * lb.stride, one.c += i * lc.stride, one.d += i * ld.stride;
            multiply(one);
        }
    });
    return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

const char *cublasLtGetStatusName(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "a cublasLt error";
}
const char *cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

} // extern "C"
