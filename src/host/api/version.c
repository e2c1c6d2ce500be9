#include "kdiffe/version.h"

const char *kd_version(void) { return KDIFFE_VERSION; }
