/* How a failure is recorded where it happens and passed up: one message per failure, and a way out that the line names.
 *
 *   return KD_FAIL(KD_ERR_X, ...);       a failure found here, in a function that has nothing to free
 *   KD_OR_RETURN(f(...));                a call's failure, there
 *   KD_FAIL_TO_CLEANUP(KD_ERR_X, ...);   the same two where something is to be freed or closed: the label `cleanup`,
 *   KD_TRY(f(...));                      one a function, does that, and `return status;` ends it
 *
 * A label that would free nothing is left out, and no other macro of a source file returns unless its name ends in
 * _OR_RETURN. */
#ifndef KD_BASE_ERROR_H
#define KD_BASE_ERROR_H

#include "kdiffe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Records "message" for kd_last_error() and returns status. With KDIFFE_DEBUG set in the environment the source
 * position is appended. The message names the file and line or offset of the input and what was expected, on one line.
 */
kd_status kd_record_error(kd_status status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A message of kd_last_error() again, as it was; returns status. */
kd_status kd_repeat_error(kd_status status, const char *message);

/* The last failure has been said: kd_last_error() is "" again. */
void kd_forget_error(void);

#ifdef __cplusplus
}
#endif

#define KD_FAIL(status, ...) kd_record_error((status), __FILE__, __LINE__, __VA_ARGS__)

/* Returns the status of `expression` from the enclosing function unless it is KD_OK: where nothing has to be freed. */
#define KD_OR_RETURN(expression)                                      \
    do {                                                              \
        kd_status kd_or_return_status = (expression);                 \
        if (kd_or_return_status != KD_OK) return kd_or_return_status; \
    } while (0)

/* Both need a local `kd_status status` and a label `cleanup`. */
#define KD_TRY(expression)                 \
    do {                                   \
        status = (expression);             \
        if (status != KD_OK) goto cleanup; \
    } while (0)

#define KD_FAIL_TO_CLEANUP(class, ...)          \
    do {                                        \
        status = KD_FAIL((class), __VA_ARGS__); \
        goto cleanup;                           \
    } while (0)

#endif
