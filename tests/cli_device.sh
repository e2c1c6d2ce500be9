#!/bin/sh
# Devices from outside: none, one with too little memory, one that runs out half-way. On a build with the stand-in of
# tests/emu the device is what KDIFFE_EMU_* say; other builds are asked only what they answer without a device.
set -u
. "$(dirname "$0")/checks.sh"

small="--epochs=2 --dim=8 --hidden=16 --steps=3 --batch=64 --attention.walks=2 --attention.walk_steps=8"
check "synth" 0 "" "$KDIFFE" synth data --users=40 --items=30 --tastes=4 --seed=3
KDIFFE_CPU=v9 check "no such level of the CPU" 2 "KDIFFE_CPU: 'v9' is none of" "$KDIFFE" train data --device=cpu --out=none $small
holds "no such level: no run folder" test ! -e none
level=$("$KDIFFE" train data --device=cpu --dry-run $small | sed -n 's/.*, level \([a-z0-9]*\),.*/\1/p')
KDIFFE_CPU=$level check "the level in use can be asked for" 0 "level $level," "$KDIFFE" train data --device=cpu --dry-run $small
export KDIFFE_EMU_DEVICES=0
if "$KDIFFE" train data --device=cuda --dry-run >out 2>err; then
    echo "skipped: a GPU is here: what a machine without one says"
else
    check "no device: --device=cuda" 2 "device" "$KDIFFE" train data --device=cuda --out=none $small
    holds "no device: no run folder" test ! -e none
    check "no device: auto takes the CPU and says so" 0 "no GPU: " "$KDIFFE" train data --device=auto --out=run $small
fi
export KDIFFE_EMU_DEVICES=1
if ! "$KDIFFE" train data --device=cuda --dry-run >out 2>err || ! grep -q stand-in out; then
    echo "skipped: no stand-in in this build: too little device memory, several precisions"
    exit $failed
fi
check "a run on the device" 0 "cuda: " "$KDIFFE" train data --device=cuda --out=cuda $small
check "auto takes the device" 0 "cuda: " "$KDIFFE" train data --out=auto $small
check "the device evaluates" 0 "recall@20" "$KDIFFE" eval cuda --device=cuda
for precision in fp32 tf32 bf16; do
    check "precision $precision" 0 ", $precision" "$KDIFFE" train data --device=cuda --precision=$precision \
        --out=run-$precision $small
done
check "a trace on the device" 0 "" "$KDIFFE" train data --device=cuda --out=traced $small --trace=trace.json
holds "tells the ops of a step apart" grep -q '"name":"rgat_backward"' trace.json
check "deterministic=false" 0 "any order of sums" "$KDIFFE" train data --device=cuda --deterministic=false --out=loose $small
export KDIFFE_EMU_MEM=70000000 # 60 MB are the backend's own
check "too little device memory" 4 "lower dim, hidden or batch" "$KDIFFE" train data --device=cuda --out=large --dim=256 \
    --hidden=4000 --epochs=1
holds "too little device memory: no run folder" test ! -e large
unset KDIFFE_EMU_MEM
for n in 1 2 3 5 8 13 21 34 55; do
    KDIFFE_EMU_FAIL_MALLOC=$n "$KDIFFE" train data --device=cuda --out=fails-$n $small >out 2>err
    got=$?
    if [ "$got" -eq 4 ] && [ "$(wc -l <err)" -eq 1 ]; then
        pass "allocation $n finds no memory"
    else
        fail "allocation $n finds no memory: exit code $got: $(head -c 300 err)"
    fi
done
exit $failed
