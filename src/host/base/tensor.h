/* Named arrays as files hold them, and where their bytes come from. */
#ifndef KD_BASE_TENSOR_H
#define KD_BASE_TENSOR_H

#include <stdint.h>

#include "host/base/error.h"

typedef enum kd_dtype { KD_DTYPE_F32, KD_DTYPE_F64, KD_DTYPE_I32, KD_DTYPE_I64, KD_DTYPE_COUNT } kd_dtype;

/* One array, row-major; data in host memory, or NULL: it comes from elsewhere. */
typedef struct kd_tensor {
    char name[96];
    int64_t rank, shape[2];
    const void *data;
    kd_dtype dtype; /* of parameters and views float32 */
} kd_tensor;

/* Where the bytes of an array that is not in host memory come from: `bytes` of array i from byte `first` on into `to`.
 * Where several ranks hold it, all ask for the same in the same order, those that have no use for it with `to` NULL. */
typedef kd_status kd_tensor_source(void *context, int64_t i, int64_t first, int64_t bytes, void *to);

/* Arrays, and the source of those without data. */
typedef struct kd_snapshot {
    int64_t count;
    const kd_tensor *tensor;
    kd_tensor_source *source; /* NULL: all have data */
    /* Called by all ranks once everything has been read and before it is used: KD_OK if every rank is still there, and
     * so what they handed over is whole. NULL: one rank has it all. */
    kd_status (*confirm)(void *context);
    void *context; /* of both */
} kd_snapshot;

#endif
