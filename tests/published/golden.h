/* Comparison of the engine with the published implementation's arrays: one folder of arrays and a manifest is one case.
 */
#ifndef KD_TESTS_GOLDEN_H
#define KD_TESTS_GOLDEN_H

#include <cjson/cJSON.h>

#include "host/model/kdiffe/kdiffe.h"
#include "host/train/trainer.h"

typedef struct golden_case {
    const char *folder;
    cJSON *manifest, *files;
    int64_t compared, inputs, failed;
    kd_ctx *ctx;
    kd_comm *comm; /* NULL: one rank */
    kd_config config;
    kd_dataset data;
    kd_kg_edges published_edges; /* kg_edges of the manifest by head */
    float *similarity;           /* S on the bipartite graph's edges, CSR order */
    kd_bipartite graph;
    kd_trainer trainer; /* of the model at hand */
} golden_case;

/* Whether the manifest lists the array. */
bool golden_has(const golden_case *c, const char *name);

/* Loads an array and marks it as used: NULL (and a FAIL line) when it is not to be had. Free with free(). */
float *golden_floats(golden_case *c, const char *name, int64_t shape[4]);
double *golden_doubles(golden_case *c, const char *name, int64_t *count);
int32_t *golden_ints(golden_case *c, const char *name, int64_t shape[4]);

/* Prints `name max_rel_err tol PASS|FAIL`. Error: max|a-b| / max|b|; where the expected array is all zero the largest
 * absolute value against 1e-7. A NaN or a missing array fails. */
void golden_compare(golden_case *c, const char *name, const float *actual, int64_t count);
void golden_compare_absolute(golden_case *c, const char *name, const float *actual, int64_t count);
void golden_compare_doubles(golden_case *c, const char *name, const double *actual, int64_t count, double tolerance);
void golden_compare_ints(golden_case *c, const char *name, const int32_t *actual, int64_t count);

/* Downloads `m`, transposed where asked, and compares. */
void golden_compare_mat(golden_case *c, const char *name, kd_mat m, bool transpose);

/* Uploads array `name` into m, transposed where asked. */
void golden_upload(golden_case *c, const char *name, kd_mat m, bool transpose);

/* x [n] doubles on the device, summed over the ranks, then in host memory. */
void golden_sum(golden_case *c, double *device, int64_t n, double *host);

/* x, which is zero but for this rank's part, = the whole of it. */
void golden_join(golden_case *c, kd_mat x);

/* Of matrices of which ranks may have some columns each, in blocks of the model's dim: m itself where they are whole,
 * else all ranks' columns in memory of `pool`. */
kd_mat golden_whole(golden_case *c, const kd_kdiffe *model, kd_pool *pool, kd_mat m);
void golden_compare_columns(golden_case *c, const kd_kdiffe *model, const char *name, kd_mat m);
/* m = this rank's columns of whole rows: of an array, or of `from` in host memory. */
void golden_upload_columns(golden_case *c, const kd_kdiffe *model, const char *name, kd_mat m);
void golden_take_columns(golden_case *c, const kd_kdiffe *model, const float *from, kd_mat m);

/* "%s" formats into a static buffer of names. */
const char *golden_name(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the program: the test cannot go on. */
void golden_require(kd_status status, const char *what);

/* Data set, configuration and graphs of the case. */
void golden_open(const char *folder, kd_ctx *ctx, kd_comm *comm, golden_case *out);
/* Prints a FAIL line for every array of the manifest that nothing used, and the folder's total. */
void golden_close(golden_case *c);

/* A model with the case's parameters, generated graphs at keep rate 1 and cl_method as given. */
kd_kdiffe *golden_model(golden_case *c, int64_t cl_method);

/* graphs.generated = the edges of the full graph that the manifest's kg_keep keeps. */
void golden_thin_kg(golden_case *c, kd_kdiffe *model);

void golden_check_graphs(golden_case *c, kd_kdiffe *model);
void golden_check_walks(golden_case *c);
void golden_check_views(golden_case *c, kd_kdiffe *model);
void golden_check_losses(golden_case *c, kd_kdiffe *model);
void golden_check_steps(golden_case *c, kd_kdiffe *model);
void golden_check_training(golden_case *c, kd_kdiffe *model);
void golden_check_evaluation(golden_case *c, kd_kdiffe *model);
void golden_check_diffusion(golden_case *c, kd_kdiffe *model);

#endif
