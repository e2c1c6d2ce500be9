# Sourced by scripts that run several ranks, after checks.sh: MPI's settings, and what ranks leave behind.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_orte_execute_quiet=1 OMPI_MCA_btl_vader_single_copy_mechanism=none

# agree A B [FROM]: every number of every epoch, times and, with FROM, what follows that word aside, to 1e-5. Two items with
# scores as near as rounding may change places in a list, and its metrics by thousandths: "valid" leaves metrics out.
agree() {
    local from=${3:-seconds}
    numbers() { grep '"event":"epoch"' "$1/metrics.jsonl" | sed "s/\"$from\".*//" | grep -o '[-0-9.e]*[0-9]' | grep '[0-9]'; }
    numbers "$1" >a && numbers "$2" >b && [ "$(wc -l <a)" = "$(wc -l <b)" ] && [ "$(wc -l <a)" -gt 20 ] &&
        paste a b | awk '{d = $1 - $2; if (d < 0) d = -d; m = $1 < 0 ? -$1 : $1; if (!(d <= 1e-5 * (m > 1 ? m : 1))) bad = 1}
            END {exit bad}'
}

# single NAME: one rank alone has said what went wrong, in err.
single() { same "$1: one line" 1 "$(grep -c '^kdiffe: ' err)"; }

# die_often RUN: ten times one rank of the job is killed, each time another and at another moment, and another number of
# ranks goes on. The script says how: `start N` begins with N ranks, `go_on N` resumes, `ranks_of RUN` lists processes,
# `moment K` is when, in seconds after all are there, and `after_death CODE` looks at what the K-th death left.
die_often() {
    local run=$1 n=2 job victim begin code
    kills=0
    start $n >out 2>err &
    job=$!
    while [ $kills -lt 10 ]; do
        for _ in $(seq 200); do [ "$(ranks_of "$run" | wc -l)" -ge $n ] && break; sleep 0.02; done
        sleep "$(moment $kills)"
        victim=$(ranks_of "$run" | sed -n "$((kills % n + 1))p")
        [ -n "$victim" ] && kill -KILL "$victim" 2>/dev/null || break
        begin=$(date +%s)
        wait $job
        code=$?
        [ $code -ne 0 ] || break
        kills=$((kills + 1))
        after_death $code $n
        [ $(($(date +%s) - begin)) -le 30 ] || fail "death $kills: the job took more than 30 s to end"
        [ -z "$(ranks_of "$run")" ] || fail "death $kills: orphans"
        n=$((kills % 3 + 1))
        if ls "$run"/checkpoint-*.safetensors >/dev/null 2>&1; then go_on $n >out 2>err & else start $n >out 2>err & fi
        job=$!
    done
    wait $job
    same "after deaths of ranks: ends well" 0 $?
    holds "after deaths of ranks: at least five" test $kills -ge 5
}
