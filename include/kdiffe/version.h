/* Version of the engine. */
#ifndef KDIFFE_VERSION_H
#define KDIFFE_VERSION_H

#include "kdiffe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KDIFFE_VERSION "0.1.0"

/* That of the library which a program runs with: KDIFFE_VERSION is of the headers that it was compiled with. */
KD_API const char *kd_version(void);

#ifdef __cplusplus
}
#endif
#endif
