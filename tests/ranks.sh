# Sourced by scripts that run several ranks, after checks.sh: MPI's settings, and what ranks leave behind.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_orte_execute_quiet=1 OMPI_MCA_btl_vader_single_copy_mechanism=none

# agree A B: every number of every epoch, times aside, to 1e-5.
agree() {
    numbers() { grep '"event":"epoch"' "$1/metrics.jsonl" | sed 's/"seconds".*//' | grep -o '[-0-9.e]*[0-9]' | grep '[0-9]'; }
    numbers "$1" >a && numbers "$2" >b && [ "$(wc -l <a)" = "$(wc -l <b)" ] && [ "$(wc -l <a)" -gt 20 ] &&
        paste a b | awk '{d = $1 - $2; if (d < 0) d = -d; m = $1 < 0 ? -$1 : $1; if (!(d <= 1e-5 * (m > 1 ? m : 1))) bad = 1}
            END {exit bad}'
}

# single NAME: one rank alone has said what went wrong, in err.
single() { same "$1: one line" 1 "$(grep -c '^kdiffe: ' err)"; }
