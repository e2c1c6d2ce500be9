#!/usr/bin/env bash
# run_all.sh BUILD: every test program, golden folder and command-line script; names what it skips and why; ends with
# "N passed, N failed, N skipped" over single tests (for golden folders: arrays).
set -u
build=$1
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export OMP_WAIT_POLICY=passive # other processes may want the cores

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

for source in tests/test_*.c; do
    name=$(basename "$source" .c) started=$SECONDS
    CMOCKA_MESSAGE_OUTPUT=STDOUT "$build/tests/$name" >"$log" 2>&1
    status=$?
    add "$name" $status "$(count '^\[       OK \]')" "$(count '^\[  (FAILED|ERROR)  *\] [^-0-9]')" "$(count '^\[  SKIPPED \]')"
done

for folder in tests/cases/*/ ../shared/golden/*/; do
    [ -f "$folder/manifest.json" ] || continue
    started=$SECONDS
    "$build/tests/golden" "$folder" >"$log" 2>&1
    status=$?
    add "golden $folder" $status "$(count ' PASS$')" "$(count ' FAIL$')" 0
done
if [ ! -d ../shared/golden ]; then
    echo "golden: skipped ../shared/golden, which is not there; tests/cases is compared"
    skipped=$((skipped + 1))
fi

for script in tests/cli_*.sh; do
    started=$SECONDS
    KDIFFE=$build/kdiffe bash "$script" >"$log" 2>&1
    status=$?
    add "$(basename "$script" .sh)" $status "$(count '^ok ')" "$(count '^FAIL ')" 0
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
