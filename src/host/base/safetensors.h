/* safetensors files: an 8-byte little-endian header length, a JSON header, then the raw arrays. Holds data only. */
#ifndef KD_BASE_SAFETENSORS_H
#define KD_BASE_SAFETENSORS_H

#include "host/base/file.h"
#include "host/base/tensor.h"

/* An opened file, mapped read-only; tensor[i].data points into the mapping. */
typedef struct kd_safetensors {
    int64_t count;
    kd_tensor *tensor;
    struct cJSON *metadata; /* the header's __metadata__ object; NULL if it has none */
    kd_mapped_file file;
} kd_safetensors;

/* Writes `path` (temporary file, fsync, rename, fsync of the folder). metadata: pairs key, value (2 * metadata_count).
 * KD_ERR_ARGUMENT for a rank other than 1 or 2, a size that is negative or overflows, a name that is given twice;
 * KD_ERR_IO, KD_ERR_MEMORY, what the snapshot's source and confirm say. On failure a file that was there stays. Arrays
 * without data come from the source in pieces.
 */
kd_status kd_safetensors_save(const char *path, const kd_snapshot *arrays, int64_t metadata_count,
                              const char *const *metadata);

/* Asks the source for what kd_safetensors_save would ask it for, in the same order, with `to` NULL, and for the same
 * confirmation: for the other ranks of a job in which one writes. */
kd_status kd_safetensors_ask(const kd_snapshot *arrays);

/* Checks header, offsets, overlaps and sizes before anything is used; only arrays of rank 1 or 2 are accepted, of type
 * F32 or, with `any_type`, F64, I32 and I64. *out is overwritten; on failure, KD_ERR_FORMAT with the array's name or
 * KD_ERR_MEMORY, it is empty. */
kd_status kd_safetensors_open(const char *path, bool any_type, kd_safetensors *out);
void kd_safetensors_close(kd_safetensors *file);

/* The tensor of that name, NULL if there is none. */
const kd_tensor *kd_safetensors_find(const kd_safetensors *file, const char *name);

/* The text of a metadata key, NULL if there is none. */
const char *kd_safetensors_metadata(const kd_safetensors *file, const char *key);

#endif
