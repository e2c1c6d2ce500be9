#!/usr/bin/env bash
# run_all.sh BUILD [STAND_IN KIND]: every test program, golden folder and command-line script of BUILD, then, where a build
# with the CUDA stand-in is given, what stand_in.sh runs of it; ends with "N passed, N failed, N skipped".
set -u
build=$1 stand_in=${2:-}
export OMP_WAIT_POLICY=passive # other processes may want the cores
. tests/report.sh
together=$(nproc)

export KDIFFE_EMU_DEVICES=0 # a build with the stand-in computes on the CPU here
for source in tests/test_*.c; do
    name=$(basename "$source" .c)
    case "$name" in
    test_ranks) continue ;; # several run it: below
    *columns) [ -z "$stand_in" ] || continue ;; # they compare the CPU with a device: below
    esac
    run_program "$name" "$build/tests/$name"
done
for folder in tests/cases/*/ ../shared/golden/*/; do
    [ ! -f "$folder/manifest.json" ] || run_golden "golden $folder" "$build/tests/golden" "$folder"
done
if [ ! -d ../shared/golden ]; then
    echo "golden: skipped ../shared/golden, which is not there; tests/cases is compared"
    skipped=$((skipped + 1))
fi
if can_run_ranks "several ranks" "$build/tests/test_ranks"; then
    for n in 2 3 4; do # published losses and gradients, and the library, by several ranks together
        run_ranks run_program "test_ranks, $n ranks" $n "$build/tests/test_ranks"
        run_ranks run_program "test_library, $n ranks" $n "$build/tests/test_library"
        for folder in tests/cases/*/; do
            run_ranks run_golden "golden $folder, $n ranks" $n "$build/tests/golden" "$folder"
        done
    done
fi
for level in v2 v3 v4; do # of the CPU column: those that this build and this machine have
    if KDIFFE_CPU=$level "$build/tests/golden" tests/cases/*/ 2>&1 | grep -q 'KDIFFE_CPU: '; then
        echo "level $level: skipped, this build or this machine does not have it"
        skipped=$((skipped + 1))
        continue
    fi
    run_program "test_ops, level $level" env KDIFFE_CPU=$level "$build/tests/test_ops"
    for folder in tests/cases/*/; do
        run_golden "golden $folder, level $level" env KDIFFE_CPU=$level "$build/tests/golden" "$folder"
    done
done
for script in tests/cli_*.sh; do
    run_script "$(basename "$script" .sh)" env KDIFFE="$build/kdiffe" bash "$script"
done
if [ -n "$stand_in" ]; then
    export KDIFFE_EMU_DEVICES=1
    . tests/stand_in.sh "$stand_in" "$3"
else
    echo "the CUDA column on the stand-in: skipped, no CUDA headers or no C++ compiler here"
    skipped=$((skipped + 1))
fi
summary
