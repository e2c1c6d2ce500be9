/* Status codes, the error message of the last failure, and the exit code that belongs to each class. */
#ifndef KDIFFE_STATUS_H
#define KDIFFE_STATUS_H

/* A function of the library's; every other symbol of it is hidden. */
#define KD_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kd_status {
    KD_OK = 0,
    KD_ERR_ARGUMENT,    /* usage, configuration, or a shape that does not fit: exit 2 */
    KD_ERR_IO,          /* output could not be written: exit 1 */
    KD_ERR_FORMAT,      /* input missing, truncated, malformed or out of range: exit 3 */
    KD_ERR_MEMORY,      /* an allocation or the memory plan failed: exit 4 */
    KD_ERR_CUDA,        /* CUDA runtime or library: exit 1 */
    KD_ERR_NCCL,        /* collective communication: exit 6 */
    KD_ERR_MPI,         /* launcher or MPI: exit 6 */
    KD_ERR_NUMERIC,     /* a non-finite loss: exit 5 */
    KD_ERR_CHECK,       /* a benchmark found a wrong result: exit 1 */
    KD_ERR_INTERRUPTED, /* a signal or the caller asked for a stop: exit 128 + signal */
} kd_status;

/* The message of the last failure on this thread, one line without a newline; "" if none. Never NULL. */
KD_API const char *kd_last_error(void);

/* The process exit code for a status; for KD_ERR_INTERRUPTED 128 + the signal that was caught. */
KD_API int kd_exit_code(kd_status status);

#ifdef __cplusplus
}
#endif
#endif
