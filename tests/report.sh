# Sourced by the runners: runs test programs, golden folders and scripts, names what is skipped and why, and adds single
# tests up (for golden folders: arrays). Up to `together` programs and golden folders go on beside each other; each is
# told in the order in which they were begun. Scripts and jobs of several ranks, which look at the clock, go alone.
passed=0 failed=0 skipped=0 together=1 begun=0 told=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
set -m # a process group each, which ends with the runner
trap 'kill -TERM -- $(jobs -rp | sed "s/^/-/") 2>/dev/null; exit 130' INT TERM
declare -a kinds labels

# begin KIND LABEL COMMAND...
begin() {
    while [ "$(jobs -rp | wc -l)" -ge "$together" ]; do wait -n; done
    begun=$((begun + 1))
    kinds[begun]=$1 labels[begun]=$2
    shift 2
    {
        SECONDS=0
        "$@"
        echo "$? $SECONDS" >"$logs/$begun.end"
    } >"$logs/$begun" 2>&1 </dev/null &
    if [ "$together" -le 1 ]; then finish; else tell; fi
}

# What has ended, up to the first that has not.
tell() {
    while [ -s "$logs/$((told + 1)).end" ]; do
        told=$((told + 1))
        log=$logs/$told
        local status seconds
        read -r status seconds <"$log.end"
        "tell_${kinds[told]}" "${labels[told]}" "$status" "$seconds"
        [ "$told" -eq "$begun" ] || rm "$log"
    done
}

finish() {
    wait
    tell
    [ "$told" -eq "$begun" ] || { echo "${labels[told + 1]}: was killed" && failed=$((failed + 1)) told=$begun; }
}

# How many lines of the log hold a pattern; cmocka's closing summary names failures again and is left out.
count() { sed '/^\[==========\] .* run\.$/q' "$log" | grep -cE "$1"; }

# Skipped tests by name, with the reason that each printed before.
name_skipped() {
    awk '/^\[==========\] .* run\.$/ { exit }
         /^\[  SKIPPED \]/ { sub(/^skipped:? */, "", said); print "skipped " $4 ": " (said ? said : "gives no reason") }
         { said = /^\[/ ? "" : $0 }' "$log"
}

# add NAME STATUS SECONDS OK BAD SKIPPED: one line, and the log of what failed; a crash counts as one failure.
add() {
    local name=$1 status=$2 seconds=$3 ok=$4 bad=$5 skip=$6
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$status" -eq 0 ] && [ $((ok + bad + skip)) -eq 0 ]; then bad=1; fi
    printf '%-36s %4d ok %3d failed %3d skipped %4d s\n' "$name" "$ok" "$bad" "$skip" "$seconds"
    { grep -E ': Pearson|^[a-z_]+: (AUC|recall)' "$log"; name_skipped; } | sed 's/^/    /'
    [ "$bad" -eq 0 ] || sed "s/^/    /; \$a\\    $name: exit status $status" "$log"
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
}

tell_program() {
    add "$@" "$(count '^\[       OK \]')" "$(count '^\[  (FAILED|ERROR)  *\] [^-0-9]')" "$(count '^\[  SKIPPED \]')"
}
tell_golden() { add "$@" "$(count ' PASS$')" "$(count ' FAIL$')" 0; }
tell_script() {
    add "$@" "$(count '^ok ')" "$(count '^FAIL ')" "$(count '^skipped')"
    grep '^skipped' "$log" | sed 's/^/    /'
}

export CMOCKA_MESSAGE_OUTPUT=STDOUT
# run_program LABEL COMMAND...: a cmocka program. run_golden: the golden program on one folder.
run_program() { begin program "$@"; }
run_golden() { begin golden "$@"; }
# run_script LABEL COMMAND...: a script that prints `ok NAME` or `FAIL NAME` a check.
run_script() { alone begin script "$@"; }

# alone COMMAND...: with nothing beside it.
alone() {
    finish
    "$@"
    finish
}

# can_run_ranks LABEL PROGRAM: is MPI here, and in the program? Otherwise one line says that its tests are skipped, and why.
can_run_ranks() {
    local why
    if ! ldd "$2" | grep -q libmpi; then
        why="this build has no MPI, for which it takes libopenmpi-dev"
    elif ! command -v mpirun >/dev/null 2>&1; then
        why="no mpirun here (openmpi-bin)"
    else
        return 0
    fi
    echo "$1: skipped, $why"
    skipped=$((skipped + 1))
    return 1
}

# run_ranks RUN LABEL N COMMAND...: run_program or run_golden, as N ranks of MPI.
run_ranks() {
    local run=$1 label=$2 n=$3
    shift 3
    alone $run "$label" bash -c '. tests/ranks.sh && exec timeout 300 mpirun -n "$@"' ranks "$n" "$@"
}

# summary: the last line; fails if anything did.
summary() {
    finish
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
