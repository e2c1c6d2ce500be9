#!/usr/bin/env bash
# run_all.sh BUILD: every test program, golden folder and command-line script; names what it skips and why; ends with
# "N passed, N failed, N skipped" over single tests.
set -u
build=$1
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export OMP_WAIT_POLICY=passive # other processes may want the cores

count() { grep -c "$1" "$log" || true; }

for program in "$build"/tests/test_*; do
    [ -x "$program" ] && [ ! -d "$program" ] && [[ $program != *.[od] ]] || continue
    CMOCKA_MESSAGE_OUTPUT=STDOUT "$program" >"$log" 2>&1
    status=$?
    ok=$(count '\[       OK \]') bad=$(count '\[  FAILED  \] [^0-9]') skip=$(count '\[  SKIPPED \] [^0-9]')
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    printf '%-40s %s ok, %s failed, %s skipped\n' "$(basename "$program")" "$ok" "$bad" "$skip"
    grep -iE '^skipped|^[^ ]*: Pearson|^[a-z_]+: (AUC|recall)' "$log" | sed 's/^/    /'
    [ "$bad" -eq 0 ] || sed 's/^/    /' "$log"
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
done

folders=()
for folder in tests/cases/*/ ../shared/golden/*/; do
    [ -f "$folder/manifest.json" ] && folders+=("$folder")
done
if [ ! -d ../shared/golden ]; then
    echo "golden: ../shared/golden is not there, only tests/cases is compared"
    skipped=$((skipped + 1))
fi
for folder in "${folders[@]}"; do
    "$build/tests/golden" "$folder" >"$log" 2>&1
    status=$?
    ok=$(count 'PASS$') bad=$(count 'FAIL$')
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    printf '%-40s %s arrays ok, %s failed\n' "golden $folder" "$ok" "$bad"
    [ "$bad" -eq 0 ] || grep -vE 'PASS$' "$log" | sed 's/^/    /'
    passed=$((passed + ok)) failed=$((failed + bad))
done

for script in tests/cli_*.sh; do
    [ -f "$script" ] || continue
    if KDIFFE=$build/kdiffe bash "$script" >"$log" 2>&1; then
        echo "$(basename "$script") ok"
        passed=$((passed + 1))
    else
        echo "$(basename "$script") FAILED"
        sed 's/^/    /' "$log"
        failed=$((failed + 1))
    fi
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
