#!/bin/bash
# gpu_pack.sh: the folder of make gpu-pack, of the stand-in's programs and small data, where nothing is but glibc, python3
# and sh: no step may fail for want of a file. $KDIFFE is the stand-in's build.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
build=$(dirname "$KDIFFE")
python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
if [ -z "$python" ]; then
    echo "skipped: no python3 here: the folder of make gpu-pack"
    exit 0
fi

# What the loader takes, at its place in the root. Programs keep their own places.
root=$dir/root
keep() { # keep FILE...: each under the names by which it can be asked for
    local f
    for f; do
        mkdir -p "$root$(dirname "$f")"
        [ -e "$root$f" ] || cp -L "$f" "$root$f"
    done
}
needed_by() { ldd "$@" 2>/dev/null | grep -o '/[^ :)]*\.so[^ :)]*' | sort -u; }
make_root() {
    local stdlib library sh=/bin/sh
    stdlib=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["stdlib"])')
    mkdir -p "$root/tmp" "$root/proc" "$root/dev/shm" "$root/usr/bin" "$root$stdlib"
    : >"$root/dev/null"
    keep "$sh" "$python" "$(command -v rm)" # tests take away with it what they wrote
    ln -s "$python" "$root/usr/bin/python3"
    (cd "$stdlib" && tar -cf - --exclude=site-packages --exclude=test --exclude=idlelib --exclude=ensurepip \
        --exclude=__pycache__ --exclude='config-*' .) | tar -xf - -C "$root$stdlib"
    for library in $(needed_by "$sh" "$python" "$stdlib"/lib-dynload/*.so) \
        $(needed_by "$KDIFFE" | grep -E '/(ld-linux|lib(c|m|dl|rt|pthread|util)\.so)'); do
        keep "$library"
    done
}

check "synth" 0 "" "$KDIFFE" synth data --users=60 --items=40 --tastes=4 --modalities=image:8,audio:8 --seed=3
check "the folder" 0 "pack: " sh -c "cd '$here/..' && exec python3 tests/gpu/pack.py '$build' '$dir/pack' --data='$dir/data' \
    --golden=tests/cases/two-mixed --no-curve"
words="--quick --seconds=600 --hidden=32 --dim=16"
once="--skip=epochs fp32,epochs bf16" # other words, no other files
bare="env -i PATH=/usr/bin:/bin KDIFFE_EMU_DEVICES=1 KDIFFE_TEST_MOST=33 OMP_WAIT_POLICY=passive"
make_root
cp -r pack "$root/pack"
inside=
for way in "$(command -v chroot)" "$(command -v unshare) -r $(command -v chroot)"; do
    [ -n "$inside" ] || ! $way "$root" /bin/sh -c : 2>/dev/null || inside=$way
done
if [ -n "$inside" ]; then
    results=$root/out
    $bare $inside "$root" /bin/sh /pack/run.sh /out $words "$once" >out 2>err
else
    echo "skipped: chroot is not permitted here: an empty root; its programs run in a clean environment instead"
    results=$dir/results
    $bare PATH="$(dirname "$python"):/usr/bin:/bin" sh pack/run.sh "$results" $words "$once" >out 2>err
fi
code=$?
same "exit code $(head -c 300 err)" 0 $code
sed -n '/verdict": "failed"/p; /verdict": "cut"/p' "$results/steps.jsonl"
verdicts() { grep -c "\"verdict\": \"$1\"" "$results/steps.jsonl"; }
same "nothing failed, nothing was cut" "0 0" "$(verdicts failed) $(verdicts cut)"
for step in device golden test_columns test_graph_columns "epochs tf32" ops trace test_training_columns test_naive_columns \
    test_split test_ops precisions "2 ranks on this card" curve; do
    holds "passed: $step" grep -q "^{\"step\": \"$step\", \"verdict\": \"passed\"" "$results/steps.jsonl"
done
skips() { # skips STEP WHY
    holds "skipped, and why: $1" \
        grep -q "^{\"step\": \"$1\", \"verdict\": \"skipped\".*\"why\": \"$2" "$results/steps.jsonl"
}
if [ -n "$inside" ]; then
    skips peers "python3 here lacks numpy or torch"
    skips ncu "no ncu here"
    skips "memcheck test_columns" "no compute-sanitizer here"
    skips "racecheck test_graph_columns" "no compute-sanitizer here"
fi
holds "the summary is short" test "$(wc -l <"$results/summary.txt")" -le 40
holds "few files" test "$(ls "$results" | wc -l)" -le 8
holds "the record has the summary" grep -q '^passed: device' "$results/record.txt"
holds "the record has the steps" grep -q '^{"step": "curve"' "$results/record.txt"

# What is longer than its time is cut, and what was there is there.
$bare PATH="$(dirname "$python"):/usr/bin:/bin" sh pack/run.sh "$dir/short" $words --seconds=6 >out 2>err
same "six seconds: exit code" 0 $?
holds "six seconds: what is cut is named" grep -q '^cut: .*curve: no time was left' short/summary.txt
KDIFFE_EMU_DEVICES=0 check "no device: one line" 2 "gpu-run: kdiffe: device: cuda" sh pack/run.sh none
exit $failed
