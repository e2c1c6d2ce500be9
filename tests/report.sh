# Sourced by the runners: runs one test program, golden folder or script after the other, names what is skipped and why,
# and adds single tests up (for golden folders: arrays).
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# How many lines of the log hold a pattern; cmocka's closing summary names failures again and is left out.
count() { sed '/^\[==========\] .* run\.$/q' "$log" | grep -cE "$1"; }

# Skipped tests by name, with the reason that each printed before.
name_skipped() {
    awk '/^\[==========\] .* run\.$/ { exit }
         /^\[  SKIPPED \]/ { sub(/^skipped:? */, "", said); print "skipped " $4 ": " (said ? said : "gives no reason") }
         { said = /^\[/ ? "" : $0 }' "$log"
}

# add NAME STATUS OK BAD SKIPPED: one line, and the log of what failed; a crash counts as one failure.
add() {
    local name=$1 status=$2 ok=$3 bad=$4 skip=$5
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$status" -eq 0 ] && [ $((ok + bad + skip)) -eq 0 ]; then bad=1; fi
    printf '%-36s %4d ok %3d failed %3d skipped %4d s\n' "$name" "$ok" "$bad" "$skip" $((SECONDS - started))
    { grep -E ': Pearson|^[a-z_]+: (AUC|recall)' "$log"; name_skipped; } | sed 's/^/    /'
    [ "$bad" -eq 0 ] || sed "s/^/    /; \$a\\    $name: exit status $status" "$log"
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
}

# run_program LABEL COMMAND...: a cmocka program.
run_program() {
    local label=$1 status
    shift
    started=$SECONDS
    CMOCKA_MESSAGE_OUTPUT=STDOUT "$@" >"$log" 2>&1
    status=$?
    add "$label" $status "$(count '^\[       OK \]')" "$(count '^\[  (FAILED|ERROR)  *\] [^-0-9]')" "$(count '^\[  SKIPPED \]')"
}

# run_golden LABEL COMMAND...: the golden program on one folder.
run_golden() {
    local label=$1 status
    shift
    started=$SECONDS
    "$@" >"$log" 2>&1
    status=$?
    add "$label" $status "$(count ' PASS$')" "$(count ' FAIL$')" 0
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
    $run "$label" bash -c '. tests/ranks.sh && exec timeout 300 mpirun -n "$@"' ranks "$n" "$@"
}

# run_script LABEL COMMAND...: a script that prints `ok NAME` or `FAIL NAME` a check.
run_script() {
    local label=$1 status
    shift
    started=$SECONDS
    "$@" >"$log" 2>&1
    status=$?
    add "$label" $status "$(count '^ok ')" "$(count '^FAIL ')" "$(count '^skipped')"
    grep '^skipped' "$log" | sed 's/^/    /'
}

# summary: the last line; fails if anything did.
summary() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
