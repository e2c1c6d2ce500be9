/* Measures ops and whole epochs: results are checked before they are timed, against the reference (kernels/ref/) on the
 * same inputs, at their full size or, where that takes a plain loop too long, in a sample of rows; and times stand
 * beside the floor that this machine's copy rate and GEMM rate set. docs/bench.md says what every figure is and counts
 * bytes and operations. */
#ifndef KD_BENCH_BENCH_H
#define KD_BENCH_BENCH_H

#include "host/model/kdiffe/kdiffe.h"
#include "host/train/train.h"
#include "kernels/device.h"
#include "kernels/ops.h"

/* What all cases of a run share: the data set, its graphs on the device, sizes. */
typedef struct kd_bench_setting {
    kd_ctx *ctx;
    const kd_config *config;
    const kd_dataset *data;
    kd_bipartite graph;   /* the training interactions */
    kd_kdiffe_plan *plan; /* shape, sizes and host copies of the knowledge graphs */
    kd_pool pool;
    kd_graphs graphs; /* without attention: A-hat has the same entries with and without */
    kd_ctx *ref;      /* the reference's, */
    kd_pool ref_pool; /* and its own graphs, which are the same ones where the device's memory is the host's */
    kd_graphs ref_graphs;
    int64_t rows;           /* of a denoiser's batch: config->batch, or fewer where there are fewer users */
    int64_t entries;        /* of a batch of interactions, likewise */
    double dense_tolerance; /* of what goes through dense products at the context's precision, relative as others */
} kd_bench_setting;

/* Builds the graphs on the device. KD_ERR_MEMORY, KD_ERR_ARGUMENT as of training; on failure *out is empty. */
kd_status kd_bench_setting_open(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, kd_bench_setting *out);
void kd_bench_setting_close(kd_bench_setting *setting);

/* Planted data of a shape that is measured where no data set is given. "tiktok": 9,308 users, 6,710 items, about 59,500
 * training interactions with the published data's tails, features of 128, 768 and 128 columns, a knowledge graph of
 * three hubs. "large": a million users and items, 20 million interactions, a graph of two million entities and 20
 * million triples. KD_ERR_ARGUMENT for another word. */
kd_status kd_bench_data(const char *shape, kd_dataset *out);

/* One case on one context while it is measured: what it allocated, what it says about itself, what its check found. */
typedef struct kd_bench {
    const kd_bench_setting *setting;
    kd_ctx *ctx;
    const kd_graphs *graphs; /* the setting's, in memory of this context */
    kd_pool pool;            /* device blocks of the case */
    int64_t host_count, host_capacity;
    void **host;    /* and its host blocks */
    void *state;    /* one of them: what set_up keeps for run and check */
    uint64_t draws; /* random inputs so far */
    char shape[48];
    int64_t nnz;
    double bytes, flops; /* the fewest a call must move and do */
    int64_t checked, wrong;
    double max_err; /* largest error relative to the largest of what it stands among; NaN stays */
} kd_bench;

typedef struct kd_bench_case {
    const char *name;   /* what --ops calls it: spmm_64 */
    const char *family; /* --ops takes this too, for all of the family: spmm */
    bool needs_kg;
    int64_t parameter; /* a width or a k, where the family has one */
    kd_status (*set_up)(kd_bench *bench, int64_t parameter);
    kd_status (*run)(kd_bench *bench); /* one call of the op */
    /* After the first call: runs the same, or parts of it, on `ref`, which was set up alike for the reference and whose
     * device memory is the host's, and compares what both left behind. */
    kd_status (*check)(kd_bench *bench, kd_bench *ref);
} kd_bench_case;

/* Case i of all of them, NULL beyond the last. */
const kd_bench_case *kd_bench_case_at(int64_t i);

/* Whether a word of the list names the case or its family, or is `all`. */
bool kd_bench_selects(const char *list, const kd_bench_case *c);

/* KD_ERR_ARGUMENT, with the nearest known word, unless each word of the comma-separated list names a case, a family,
 * `epoch` or `all`. */
kd_status kd_bench_words_check(const char *list);

/* Whether one of the words of the list is `word`, or `all`. */
bool kd_bench_listed(const char *list, const char *word);

/* Times of one case or stage in microseconds a call. */
typedef struct kd_bench_result {
    char name[48], shape[48];
    int64_t nnz, iterations;
    double min, median, p99;
    double bytes, flops;
    double max_err; /* -1: nothing to compare with */
    int64_t wrong;
} kd_bench_result;

/* Bytes a microsecond of a large copy, reads and writes both counted, and operations a microsecond of a large product.
 */
typedef struct kd_bench_ceilings {
    double copy, gemm;
} kd_bench_ceilings;
kd_status kd_bench_ceilings_measure(kd_ctx *ctx, kd_bench_ceilings *out);

/* The time below which a call cannot go at these ceilings. */
double kd_bench_floor(const kd_bench_ceilings *ceilings, double bytes, double flops);

/* Sets one case up, calls it once and checks it, then times it `iterations` times, or as often as fits in a few
 * seconds. A wrong result is no failure here: it is counted in out->wrong. KD_ERR_INTERRUPTED after a signal. */
kd_status kd_bench_measure(const kd_bench_setting *setting, const kd_bench_case *c, int64_t iterations,
                           kd_bench_result *out);

enum { KD_BENCH_STAGES = KD_STAGE_COUNT + 1 };
/* Trains `epochs` epochs after a first one that is left out. out[0 .. KD_BENCH_STAGES-1]: each stage of an epoch, then
 * all of it; attention is the one time of the run. *count = how many of them there are. */
kd_status kd_bench_epochs(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, int64_t epochs, int64_t *count,
                          kd_bench_result out[KD_BENCH_STAGES]);

/* A run's header and its lines. */
enum { KD_BENCH_MOST = 64 };
typedef struct kd_bench_report {
    char device[256], backend[16], data[320], flags[512];
    kd_bench_ceilings ceilings;
    int64_t count;
    kd_bench_result result[KD_BENCH_MOST];
} kd_bench_report;

void kd_bench_print_header(const kd_bench_report *report);
void kd_bench_print(const kd_bench_report *report, const kd_bench_result *result);

/* KD_ERR_CHECK, naming the first, if a result of the report was wrong. */
kd_status kd_bench_verdict(const kd_bench_report *report);

/* The report as one JSON object, written whole or not at all; and back. KD_ERR_IO, KD_ERR_FORMAT. */
kd_status kd_bench_save(const kd_bench_report *report, const char *path);
kd_status kd_bench_load(const char *path, kd_bench_report *out);

/* How far apart two medians may be without saying anything: the wider of the two runs' spreads, p99 - min. */
double kd_bench_noise(const kd_bench_result *old, const kd_bench_result *now);

/* One line for each result of `now` that `old` has too, marked where it moved beyond noise. */
void kd_bench_compare(const kd_bench_report *old, const kd_bench_report *now);

#endif
