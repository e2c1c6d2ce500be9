#include "kernels/cuda/staging.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2, SLOT_BYTES = 8 << 20 };

struct kd_cuda_staging {
    cudaStream_t stream;
    cudaEvent_t computed;    /* the compute stream has come this far: what is overwritten is no longer read */
    cudaEvent_t sent[SLOTS]; /* the slot's last copy is done: it may be filled anew */
    void *slot[SLOTS];
    int next;
};

static kd_status open_parts(struct kd_cuda_staging *s) {
    KD_CUDA_OR_RETURN(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking));
    KD_CUDA_OR_RETURN(cudaEventCreateWithFlags(&s->computed, cudaEventDisableTiming));
    for (int i = 0; i < SLOTS; i++) {
        KD_CUDA_OR_RETURN(cudaEventCreateWithFlags(&s->sent[i], cudaEventDisableTiming));
        KD_CUDA_OR_RETURN(cudaMallocHost(&s->slot[i], SLOT_BYTES));
    }
    return KD_OK;
}

kd_status kd_cuda_staging_open(struct kd_cuda_staging **out) {
    *out = (struct kd_cuda_staging *)calloc(1, sizeof **out);
    if (!*out) return KD_FAIL(KD_ERR_MEMORY, "context: out of memory");
    return open_parts(*out);
}

void kd_cuda_staging_close(struct kd_cuda_staging *s) {
    if (!s) return;
    if (s->stream) cudaStreamSynchronize(s->stream);
    for (int i = 0; i < SLOTS; i++) {
        if (s->slot[i]) cudaFreeHost(s->slot[i]);
        if (s->sent[i]) cudaEventDestroy(s->sent[i]);
    }
    if (s->computed) cudaEventDestroy(s->computed);
    if (s->stream) cudaStreamDestroy(s->stream);
    free(s);
}

kd_status kd_cuda_staging_upload(struct kd_cuda_staging *s, cudaStream_t compute, void *device, const void *host,
                                 int64_t bytes) {
    KD_CUDA_OR_RETURN(cudaEventRecord(s->computed, compute));
    KD_CUDA_OR_RETURN(cudaStreamWaitEvent(s->stream, s->computed, 0));
    for (int64_t done = 0; done < bytes; done += SLOT_BYTES) {
        int64_t some = bytes - done < SLOT_BYTES ? bytes - done : (int64_t)SLOT_BYTES;
        int at = s->next;
        s->next = (at + 1) % SLOTS;
        KD_CUDA_OR_RETURN(cudaEventSynchronize(s->sent[at]));
        memcpy(s->slot[at], (const char *)host + done, (size_t)some);
        KD_CUDA_OR_RETURN(
            cudaMemcpyAsync((char *)device + done, s->slot[at], (size_t)some, cudaMemcpyHostToDevice, s->stream));
        KD_CUDA_OR_RETURN(cudaEventRecord(s->sent[at], s->stream));
        KD_CUDA_OR_RETURN(cudaStreamWaitEvent(compute, s->sent[at], 0));
    }
    return KD_OK;
}
