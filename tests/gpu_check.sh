#!/usr/bin/env bash
# gpu_check.sh BUILD: everything that only a GPU can confirm, on the machine's first one; writes one dated record into
# bench/results/ and prints it. QUICK=1: memcheck alone of the four sanitizer tools, two epochs in place of thirty, no
# TikTok. Exit 1 if anything failed. make gpu-check builds first, for the card that is there.
set -u
build=$1 quick=${QUICK:-0}
. tests/report.sh
if ! device=$("$build/tests/golden" --device=cuda tests/cases/one-linear 2>&1 >/dev/null) && [ -n "$device" ]; then
    echo "gpu-check: $device" >&2
    exit 2
fi
name=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
card=$(printf '%s' "${name%%,*}" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-')
mkdir -p bench/results
record=bench/results/$(date -u +%Y-%m-%d)-gpu-check-$card.txt
[ -n "$card" ] || record=$build/gpu-check.txt # the stand-in proves the script, not a GPU
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo " with changes")
run=$(mktemp -d)
trap 'rm -rf "$run" "$logs"' EXIT

check() {
    echo "# gpu-check of commit $commit, $(date -u +%Y-%m-%dT%H:%MZ)"
    echo "# device ${name:-the stand-in of tests/emu, no GPU}"
    echo "# $("${NVCC:-nvcc}" --version 2>/dev/null | tail -n 1)"
    run_program "test_columns" "$build/tests/test_columns"
    run_program "test_graph_columns" "$build/tests/test_graph_columns"
    run_program "test_ops" env KDIFFE_TEST_DEVICE=cuda "$build/tests/test_ops"
    run_program "test_split" env KDIFFE_TEST_DEVICE=cuda "$build/tests/test_split"
    run_program "test_naive_columns" "$build/tests/test_naive_columns"
    run_program "test_training_columns" "$build/tests/test_training_columns"
    for folder in tests/cases/*/ ../shared/golden/*/ shared/golden/*/; do
        [ ! -f "$folder/manifest.json" ] || run_golden "golden $folder" "$build/tests/golden" --device=cuda "$folder"
    done
    sanitizers
    precisions
    ranks
    [ "$quick" = 1 ] || tiktok
    summary
}

# The four tools of compute-sanitizer on small sizes: every kernel runs.
sanitizers() {
    local tools="memcheck racecheck initcheck synccheck"
    [ "$quick" = 0 ] || tools=memcheck
    if ! command -v compute-sanitizer >/dev/null; then
        echo "compute-sanitizer: skipped, it is not here"
        skipped=$((skipped + 1))
        return
    fi
    for tool in $tools; do
        for program in test_columns test_graph_columns test_split; do
            run_program "compute-sanitizer $tool $program" env KDIFFE_TEST_MOST=33 KDIFFE_TEST_DEVICE=cuda \
                compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/tests/$program"
            grep '^========= .*SUMMARY' "$log" | sed 's/^/    /'
        done
    done
}

# train LABEL ARGUMENTS...: a run on the device; its best test recall and the median seconds of each stage.
train() {
    local label=$1 status
    shift
    started=$SECONDS
    "$build/kdiffe" train "$@" --device=cuda --out="$run/run" --overwrite >"$log" 2>&1
    status=$?
    add "$label" $status $((status == 0)) $((status != 0)) 0
    [ $status -ne 0 ] || python3 bench/run_summary.py "$run/run/metrics.jsonl" | sed 's/^/    /'
}

precisions() {
    local epochs=10
    [ "$quick" = 0 ] || epochs=2
    "$build/kdiffe" synth "$run/data" --users=3000 --items=1200 --tastes=40 --interactions=12 \
        --modalities=image:64,text:64,audio:32 --seed=1 >/dev/null
    for precision in fp32 tf32 bf16; do
        train "planted data, $precision" "$run/data" --config=datasets/demo.yaml --epochs=$epochs --precision=$precision
    done
}

# on_this_card N COMMAND...: N ranks on this one card: NCCL takes them for hosts, and talks over loopback sockets. For right
# numbers only: what it takes says nothing. Ends with the code of the last rank that failed.
on_this_card() {
    local n=$1 r jobs="" status=0
    shift
    for r in $(seq 0 $((n - 1))); do
        env NCCL_HOSTID="rank$r" NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 NCCL_IB_DISABLE=1 NCCL_SOCKET_IFNAME=lo \
            NCCL_NVLS_ENABLE=0 NCCL_MAX_CTAS=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29533 RANK="$r" LOCAL_RANK="$r" \
            WORLD_SIZE="$n" timeout 120 "$@" 2>&1 &
        jobs="$jobs $!"
    done
    for r in $jobs; do wait "$r" || status=$?; done
    return $status
}

ranks() {
    local n losses=$run/losses status
    local options="--epochs=2 --cl_method=1 --precision=fp32 --device=cuda --config=datasets/demo.yaml" more name
    for n in 2 3; do
        KDIFFE_TEST_DEVICE=cuda run_program "test_ranks, $n ranks on this card" on_this_card $n "$build/tests/test_ranks"
    done
    for name in 1 2 3 "2, divided" "3, divided"; do # without walks: nothing is exchanged before a step is recorded
        started=$SECONDS n=${name%,*} more=--use.attention=false
        [ "$n" = "$name" ] || more="$more --shard=true"
        on_this_card $n "$build/kdiffe" train "$run/data" $options $more --out="$run/ranks" --overwrite >"$log"
        grep -o '"loss":[0-9.e-]*' "$run/ranks/metrics.jsonl" 2>/dev/null | cut -d: -f2 >"$losses.$n"
        paste "$losses.1" "$losses.$n" | awk '{d = $1 - $2; if (d < 0) d = -d; if (!($1 > 0 && d <= 1e-5 * $1)) bad = 1}
            END {exit bad || NR != 2}'
        status=$?
        add "$name ranks on this card" $status $((status == 0)) $((status != 0)) 0
        grep -h '^ranks: ' "$log" | sed 's/^/    /'
        rm -rf "$run/ranks"
    done
}

# The published comparison of docs/reproduction.md.
tiktok() {
    local source=../shared/datasets/tiktok
    [ -d $source ] || source=shared/datasets/tiktok
    if [ ! -d $source ] || ! "$build/kdiffe" convert --from=published $source "$run/tiktok" >/dev/null; then
        echo "TikTok: skipped, ../shared/datasets/tiktok is not here"
        skipped=$((skipped + 1))
        return
    fi
    for precision in tf32 fp32; do
        train "TikTok published, $precision" "$run/tiktok" --epochs=30 --trans=1 --cl_method=1 --temp=0.7 --steps=10 \
            --e_loss=0.7 --guidance_weight.audio=0.3 --epsilon=0.81 --precision=$precision
    done
}

check | tee "$record"
status=${PIPESTATUS[0]}
echo "record: $record"
exit "$status"
