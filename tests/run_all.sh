#!/usr/bin/env bash
# run_all.sh BUILD: every test program, golden folder and command-line script; names what it skips and why; ends with
# "N passed, N failed, N skipped" over single tests, golden arrays and scripts. Exits 1 if any failed or none passed.
set -u
build=$1
passed=0 failed=0 skipped=0
log=$(mktemp) errors=$(mktemp)
trap 'rm -f "$log" "$errors"' EXIT
export OMP_WAIT_POLICY=passive # other processes may want the cores

count() { grep -c "$1" "$log" || true; }
indent() { sed 's/^/    /' "$@"; }

# A skipped test by name, with the reason that it printed before.
name_skipped() {
    awk '/^\[  SKIPPED \]/ { sub(/^skipped: /, "", said); print "skipped " $4 ": " (said ? said : "gives no reason") }
         { said = /^\[/ ? "" : $0 }' "$log" | indent
}

for source in tests/test_*.c; do
    name=$(basename "$source" .c)
    # Results go to stdout; stderr repeats the failed and skipped ones in a summary, which must not be counted again.
    "$build/tests/$name" >"$log" 2>"$errors"
    status=$?
    ok=$(count '^\[       OK \]') bad=$(count '^\[  FAILED  \]') skip=$(count '^\[  SKIPPED \]')
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    printf '%-40s %s ok, %s failed, %s skipped\n' "$name" "$ok" "$bad" "$skip"
    grep -E '^[^ ]*: Pearson|^[a-z_]+: (AUC|recall)' "$log" | indent
    name_skipped
    if [ "$bad" -gt 0 ]; then
        echo "    exit status $status"
        indent "$log" "$errors"
    fi
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
    [ "$bad" -eq 0 ] || grep -vE 'PASS$' "$log" | indent
    passed=$((passed + ok)) failed=$((failed + bad))
done

for script in tests/cli_*.sh; do
    if KDIFFE=$build/kdiffe bash "$script" >"$log" 2>&1; then
        printf '%-40s ok\n' "$(basename "$script")"
        passed=$((passed + 1))
    else
        printf '%-40s FAILED\n' "$(basename "$script")"
        indent "$log"
        failed=$((failed + 1))
    fi
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
