#include "kernels/cpu_level.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/error.h"

/* KD_CPU_LEVELS(X) is X(level) for each level that the Makefile compiles, lowest first. */
#ifndef KD_CPU_LEVELS
#define KD_CPU_LEVELS(X) X(native)
#endif
#define DECLARE(level) extern const kd_ops kd_cpu_ops_##level;
#define ENTRY(level) {#level, &kd_cpu_ops_##level},

KD_CPU_LEVELS(DECLARE)
static const kd_cpu_level LEVELS[] = {KD_CPU_LEVELS(ENTRY)};
enum { LEVEL_COUNT = sizeof LEVELS / sizeof LEVELS[0] };

bool kd_cpu_level_runs(const char *name) {
#ifdef __x86_64__
    bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("popcnt");
    bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    if (strcmp(name, "v2") == 0) return v2;
    if (strcmp(name, "v3") == 0) return v3;
    if (strcmp(name, "v4") == 0) return v4;
#endif
    return strcmp(name, "native") == 0; /* whoever builds that answers for it */
}

bool kd_cpu_has_bf16(void) {
#ifdef __x86_64__
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

kd_status kd_cpu_level_choose(const kd_cpu_level **out) {
    const char *wish = getenv("KDIFFE_CPU");
    char names[64] = "";
    if (wish && !wish[0]) wish = NULL;
    *out = NULL;
    for (int i = 0; i < LEVEL_COUNT; i++) {
        if (!kd_cpu_level_runs(LEVELS[i].name)) continue;
        snprintf(names + strlen(names), sizeof names - strlen(names), " %s", LEVELS[i].name);
        if (!wish || strcmp(wish, LEVELS[i].name) == 0) *out = &LEVELS[i];
    }
    if (*out) return KD_OK;
    if (!wish || !names[0])
        return KD_FAIL(KD_ERR_ARGUMENT, "this processor is older than any that the CPU backend was built for; build it "
                                        "here with `make CPU_LEVELS=native`");
    return KD_FAIL(KD_ERR_ARGUMENT, "KDIFFE_CPU: '%s' is none of the levels that can run here:%s", wish, names);
}
