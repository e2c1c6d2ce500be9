/* safetensors files: an 8-byte little-endian header length, a JSON header, then the raw arrays. Holds data only. */
#ifndef KD_CHECKPOINT_SAFETENSORS_H
#define KD_CHECKPOINT_SAFETENSORS_H

#include "host/train/train.h"
#include "host/util/file.h"

/* An opened file, mapped read-only; tensor[i].data points into the mapping. */
typedef struct kd_safetensors {
    int64_t count;
    kd_tensor *tensor;
    struct cJSON *metadata; /* the header's __metadata__ object; NULL if it has none */
    kd_mapped_file file;
} kd_safetensors;

/* Writes `path` (temporary file, fsync, rename, fsync of the folder). metadata: pairs key, value (2 * metadata_count).
 * KD_ERR_ARGUMENT for a rank other than 1 or 2, a size that is negative or overflows, a name that is given twice;
 * KD_ERR_IO, KD_ERR_MEMORY. On failure a file that was there stays. */
kd_status kd_safetensors_save(const char *path, int64_t count, const kd_tensor *tensors, int64_t metadata_count,
                              const char *const *metadata);

/* Checks header, offsets, overlaps and sizes before anything is used; only F32 arrays of rank 1 or 2 are accepted.
 * *out is overwritten; on failure, KD_ERR_FORMAT with the array's name or KD_ERR_MEMORY, it is empty. */
kd_status kd_safetensors_open(const char *path, kd_safetensors *out);
void kd_safetensors_close(kd_safetensors *file);

/* The tensor of that name, NULL if there is none. */
const kd_tensor *kd_safetensors_find(const kd_safetensors *file, const char *name);

/* The text of a metadata key, NULL if there is none. */
const char *kd_safetensors_metadata(const kd_safetensors *file, const char *key);

#endif
