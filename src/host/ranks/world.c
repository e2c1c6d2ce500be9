#include "host/ranks/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Of an srun step; of a batch script, which is none, 1. */
static int64_t slurm_tasks(void) {
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    if (!tasks) tasks = getenv("SLURM_NTASKS");
    return tasks && getenv("SLURM_STEP_ID") ? atoll(tasks) : 1;
}

/* What MPI's launchers say of the number of ranks. */
static int64_t ranks_of_mpi(void) {
    static const char *const NAMES[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        const char *text = getenv(NAMES[i]);
        if (text && atoll(text) > 1) return atoll(text);
    }
#ifdef KD_WITH_MPI
    if (getenv("SLURM_STEP_ID") && getenv("PMIX_RANK")) return slurm_tasks();
#endif
    return 1;
}

static kd_status take_number(const char *name, int64_t least, int64_t below, int64_t *out) {
    const char *text = getenv(name);
    char *end = NULL;
    long long value = text ? strtoll(text, &end, 10) : 0;
    if (!text || end == text || *end || value < least || value >= below)
        return KD_FAIL(KD_ERR_ARGUMENT, "%s=%s: expected a number from %lld to %lld", name, text ? text : "",
                       (long long)least, (long long)below - 1);
    *out = value;
    return KD_OK;
}

/* "node[07-09,12],other" -> "node07". */
static void first_host(const char *list, char *out, size_t size) {
    size_t prefix = strcspn(list, "[,"), number = 0;
    const char *inside = list + prefix;
    if (*inside == '[') number = strcspn(++inside, "-,]");
    snprintf(out, size, "%.*s%.*s", (int)prefix, list, (int)number, inside);
}

static kd_status parse_address(const char *text, kd_world *w) {
    const char *colon = strrchr(text, ':');
    bool bracketed = text[0] == '[' && colon && colon[-1] == ']'; /* as IPv6 addresses are where a port follows */
    if (strncmp(text, "file:", 5) == 0 && text[5]) {
        w->file = text + 5;
        return KD_OK;
    }
    if (!colon || colon == text || colon[1] == '\0' || (w->port = atoi(colon + 1)) < 1 || w->port > 65535)
        return KD_FAIL(KD_ERR_ARGUMENT, "--rendezvous=%s: expected HOST:PORT or file:PATH", text);
    snprintf(w->host, sizeof w->host, "%.*s", (int)(colon - text) - 2 * bracketed, text + bracketed);
    return KD_OK;
}

/* Where rank 0 is to be met, by MASTER_ADDR and MASTER_PORT. */
static kd_status take_master(kd_world *w) {
    int64_t port = 0;
    const char *host = getenv("MASTER_ADDR"), *store = getenv("TORCHELASTIC_USE_AGENT_STORE");
    if (!host || !host[0])
        return KD_FAIL(KD_ERR_ARGUMENT,
                       "%s: %lld ranks, but MASTER_ADDR does not say where rank 0 is; set it, or "
                       "--rendezvous=HOST:PORT or file:PATH",
                       w->launcher, (long long)w->ranks);
    KD_OR_RETURN(take_number("MASTER_PORT", 1, 65535, &port));
    snprintf(w->host, sizeof w->host, "%s", host);
    w->port = (int)port + (store && strcmp(store, "True") == 0); /* the port itself is torchrun's own then */
    return KD_OK;
}

static uint64_t hash_of(const char *const names[], int count) {
    char text[512] = "";
    for (int i = 0; i < count; i++) {
        const char *value = getenv(names[i]);
        size_t used = strlen(text);
        if (value) snprintf(text + used, sizeof text - used, "%s=%s;", names[i], value);
    }
    return text[0] ? XXH3_64bits(text, strlen(text)) : 0;
}

static kd_status world_of_torchrun(const char *rendezvous, kd_world *w) {
    static const char *const JOB[] = {"KDIFFE_JOB", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"};
    w->launcher = getenv("KDIFFE_JOB") ? "kdiffe launch" : "RANK, WORLD_SIZE";
    KD_OR_RETURN(take_number("WORLD_SIZE", 1, 1 << 20, &w->ranks));
    KD_OR_RETURN(take_number("RANK", 0, w->ranks, &w->rank));
    if (getenv("LOCAL_RANK")) KD_OR_RETURN(take_number("LOCAL_RANK", 0, w->ranks, &w->local_rank));
    w->job = hash_of(JOB, 3);
    return rendezvous ? parse_address(rendezvous, w) : take_master(w);
}

/* srun without PMIx: rank 0 is on the step's first machine, and the job's number makes a port that its ranks agree on.
 */
static kd_status world_of_slurm(const char *rendezvous, kd_world *w) {
    static const char *const JOB[] = {"SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"};
    const char *nodes = getenv("SLURM_STEP_NODELIST"), *job = getenv("SLURM_JOB_ID");
    w->launcher = "srun";
    w->ranks = slurm_tasks();
    KD_OR_RETURN(take_number("SLURM_PROCID", 0, w->ranks, &w->rank));
    KD_OR_RETURN(take_number("SLURM_LOCALID", 0, w->ranks, &w->local_rank));
    w->job = hash_of(JOB, 3);
    if (rendezvous) return parse_address(rendezvous, w);
    if (getenv("MASTER_ADDR") && getenv("MASTER_PORT")) return take_master(w);
    if (!nodes || !job)
        return KD_FAIL(KD_ERR_ARGUMENT, "srun: neither SLURM_STEP_NODELIST and SLURM_JOB_ID nor MASTER_ADDR and "
                                        "MASTER_PORT say where rank 0 is");
    first_host(nodes, w->host, sizeof w->host);
    w->port = 20000 + (int)(atoll(job) % 10000) + (int)(atoll(getenv("SLURM_STEP_ID")) % 100);
    return KD_OK;
}

kd_status kd_world_of_environment(const char *rendezvous, kd_world *out) {
    const char *size = getenv("WORLD_SIZE");
    bool torch = size && getenv("RANK"), inner = torch && (getenv("KDIFFE_JOB") || getenv("TORCHELASTIC_RUN_ID"));
    *out = (kd_world){.ranks = 1, .local_rank = -1, .launcher = "mpirun"};
    if (inner && atoll(size) == 1) return KD_OK;
    if (inner)
        return world_of_torchrun(rendezvous, out); /* what mpirun or srun say is of the launcher, not of its ranks */
    out->ranks = ranks_of_mpi();
    out->mpi = out->ranks > 1;
    if (out->mpi) return KD_OK;
    if (torch && atoll(size) > 1) return world_of_torchrun(rendezvous, out);
    if (slurm_tasks() > 1 && getenv("SLURM_PROCID")) return world_of_slurm(rendezvous, out);
    return KD_OK;
}
