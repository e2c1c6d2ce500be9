/* Philox4x32-10 (Salmon et al., SC11): the one source of randomness. A draw is a pure function of (seed, stream,
 * instance, step, row, column), so walks, noise, dropout, negatives and shuffles are the same on every backend,
 * whatever the number of threads or ranks. Compiled for the host and for CUDA. */
#ifndef KD_COMMON_PHILOX_H
#define KD_COMMON_PHILOX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define KD_HOST_DEVICE __host__ __device__
#else
#define KD_HOST_DEVICE
#endif

/* What a draw is for: part of its key, so that no two uses ever share numbers. */
typedef enum kd_rng_stream {
    KD_RNG_INIT,            /* initial parameters; instance: tensor */
    KD_RNG_WALK,            /* random walks */
    KD_RNG_TRIPLET_CAP,     /* which edges of a head message passing uses */
    KD_RNG_NEGATIVE,        /* negative items */
    KD_RNG_SHUFFLE,         /* orders of rows and interactions; instance: loader */
    KD_RNG_DIFFUSION_STEP,  /* t of each training row; instance: denoiser */
    KD_RNG_NOISE,           /* noise of x_t; instance: denoiser */
    KD_RNG_INPUT_DROPOUT,   /* dropout on x_t; instance: denoiser */
    KD_RNG_SAMPLE_NOISE,    /* noise of the reverse chain's start; instance: denoiser */
    KD_RNG_MESSAGE_DROPOUT, /* dropout of the relation-aware attention; instance: forward pass and hop */
    KD_RNG_THIN_MODALITY,   /* thinning of A_m; instance: modality */
    KD_RNG_THIN_KG,         /* thinning of the generated knowledge graph */
    KD_RNG_SPLIT,           /* splits of a data set */
    KD_RNG_SYNTH,           /* planted data; instance: what is drawn */
} kd_rng_stream;

/* A family of draws. step counts epochs or batches, whichever the stream's user says; *clock, where there is one, is
 * device memory and is added to it, so that a recorded step draws anew each time it is replayed. */
typedef struct kd_rng {
    uint64_t seed;
    uint32_t stream;   /* kd_rng_stream */
    uint32_t instance; /* below 65536 */
    uint32_t step;
    const int64_t *clock; /* NULL: step alone */
} kd_rng;

/* The same family with its clock read: what draws take. To be called where the clock's memory can be read. */
static inline KD_HOST_DEVICE kd_rng kd_rng_now(kd_rng rng) {
    if (rng.clock) rng.step += (uint32_t)*rng.clock;
    rng.clock = NULL;
    return rng;
}

/* out = Philox4x32-10(counter, key). */
static inline KD_HOST_DEVICE void kd_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Four draws for (row, block): counter = {block, row, step, stream << 16 | instance}, key = seed. */
static inline KD_HOST_DEVICE void kd_rng_draw4(const kd_rng *rng, uint32_t row, uint32_t block, uint32_t out[4]) {
    uint32_t counter[4] = {block, row, rng->step, rng->stream << 16 | rng->instance};
    uint32_t key[2] = {(uint32_t)rng->seed, (uint32_t)(rng->seed >> 32)};
    kd_philox4x32(counter, key, out);
}

/* Uniform in [0, 1) with 24 bits, exact in float32. */
static inline KD_HOST_DEVICE float kd_uniform(uint32_t bits) { return (float)(bits >> 8) * 0x1p-24f; }

/* Uniform integer in [0, n), n in 1..2^32-1, by multiplication (bias below n / 2^32). */
static inline KD_HOST_DEVICE uint32_t kd_uniform_below(uint32_t bits, uint32_t n) {
    return (uint32_t)((uint64_t)bits * n >> 32);
}

#endif
