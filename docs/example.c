/* Trains on a data set, says what the model is worth, and recommends: cc example.c $(pkg-config --cflags --libs kdiffe)
 */
#include <kdiffe/kdiffe.h>
#include <stdio.h>
#include <stdlib.h>

/* Called after each epoch; false would end the run. */
static bool on_epoch(void *context, const kd_epoch_record *record) {
    (void)context;
    printf("epoch %lld: loss %.4f%s\n", (long long)record->epoch, record->loss,
           record->best ? ", the best so far" : "");
    return true;
}

static int failed(kd_status status) {
    fprintf(stderr, "example: %s\n", kd_last_error());
    return kd_exit_code(status);
}

int main(int argc, char **argv) {
    enum { K = 5 };
    const char *const keys[] = {"epochs=3", "dim=16", "topk=5,20", "threads=2"};
    const int64_t cuts[] = {K, 20};
    const int32_t user = 0;
    kd_training training = {.epoch = on_epoch}; /* without a folder: the model stays in memory */
    kd_config *config = NULL;
    kd_dataset *data = NULL;
    kd_run *run = NULL;
    kd_metrics metrics;
    kd_array items;
    int32_t item[K];
    float score[K];
    kd_status status;

    if (argc != 2) {
        fprintf(stderr, "usage: example DATA, a folder that `kdiffe convert` or `kdiffe synth` has made\n");
        return 2;
    }
    if ((status = kd_config_open(NULL, 4, keys, &config)) != KD_OK) goto end;
    if ((status = kd_dataset_open(argv[1], &data)) != KD_OK) goto end;
    if ((status = kd_run_train(data, config, &training, NULL, &run)) != KD_OK) goto end;

    if ((status = kd_run_evaluate(run, KD_SUBSET_TEST, 2, cuts, &metrics)) != KD_OK) goto end;
    printf("test: recall@%d %.4f, recall@20 %.4f\n", K, metrics.recall[0], metrics.recall[1]);

    if ((status = kd_run_recommend(run, 1, &user, K, item, score)) != KD_OK) goto end;
    for (int i = 0; i < K && item[i] >= 0; i++)
        printf("user %s, item %s: %.4f\n", kd_dataset_id(data, KD_ID_USER, user),
               kd_dataset_id(data, KD_ID_ITEM, item[i]), score[i]);

    items = kd_run_find(run, "view.item"); /* not a copy */
    printf("an item is %lld numbers, the first of item 0 is %.4f\n", (long long)items.shape[1], items.data[0]);
end:
    if (status != KD_OK) status = failed(status);
    kd_run_close(run);
    kd_dataset_close(data);
    kd_config_close(config);
    return status;
}
