#!/bin/bash
# Runs that are stopped and go on, from outside: signals, kill -9 at many moments, what does not fit.
set -u
. "$(dirname "$0")/checks.sh"

small="--epochs=6 --dim=16 --hidden=32 --batch=64 --steps=3 --trans=1 --cl_method=1 --threads=1 --device=cpu"
check "synth" 0 "" "$KDIFFE" synth data --users=400 --items=200 --modalities=image:8,text:4
check "a run that is never stopped" 0 "" "$KDIFFE" train data --out=whole $small
model() { cksum <"$1/model.safetensors"; }
epochs() { grep '"event":"epoch"' "$1/metrics.jsonl" | sed 's/,"seconds".*"best"/,"best"/'; }

# Once the first epoch is over: a checkpoint, 128 + the signal, one line, and what to do next.
stop_with() {
    run=run-$1
    "$KDIFFE" train data --out="$run" $small >out 2>err &
    pid=$!
    while [ ! -s "$run/model.safetensors" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -"$1" $pid
    wait $pid
    same "SIG$1: exit code" "$2" $?
    same "SIG$1: one line" 1 "$(grep -c '^kdiffe: ' err)"
    holds "SIG$1: says how to go on" grep -q "go on with: kdiffe train --resume=$run" out
    check "SIG$1: goes on" 0 "resumed in epoch" "$KDIFFE" train --resume="$run"
    same "SIG$1: to the same model" "$(model whole)" "$(model "$run")"
    same "SIG$1: with the same records" "$(epochs whole)" "$(epochs "$run")"
}
stop_with TERM 143
stop_with USR1 138

# kill -9 at ever later moments; before the first checkpoint there is nothing to go on from.
"$KDIFFE" train data --out=killed $small --checkpoint-every=3steps >out 2>err &
pid=$!
kills=0
while [ $kills -lt 10 ]; do
    sleep 0.0$((kills + 2))
    kill -KILL $pid 2>/dev/null || break
    wait $pid 2>/dev/null
    kills=$((kills + 1))
    if ls killed/checkpoint-*.safetensors >/dev/null 2>&1; then
        "$KDIFFE" train --resume=killed --checkpoint-every=3steps >out 2>err &
    else
        "$KDIFFE" train data --out=killed --overwrite $small --checkpoint-every=3steps >out 2>err &
    fi
    pid=$!
done
wait $pid
same "after $kills times kill -9: ends well" 0 $?
same "to the same model" "$(model whole)" "$(model killed)"
same "with the same records" "$(epochs whole)" "$(epochs killed)"
same "two checkpoints stay" 2 "$(ls killed | grep -c '^checkpoint-')"
holds "nothing half-written" sh -c '! ls killed | grep -q "\.tmp\."'

check "more epochs" 0 "resumed in epoch 6" "$KDIFFE" train --resume=killed --epochs=7
same "are added" 7 "$(grep -c '"event":"epoch"' killed/metrics.jsonl)"
holds "and stay asked for" grep -q "^epochs: 7" killed/config.yaml
check "nothing left to do" 0 "best epoch" "$KDIFFE" train --resume=killed
check "another model" 2 "was made with temp=0.5, not with temp=0.4" "$KDIFFE" train --resume=killed --temp=0.4
check "a key that is none" 2 "unknown key" "$KDIFFE" train --resume=killed --tempo=0.4
check "other data" 0 "" "$KDIFFE" synth other --users=400 --items=200 --modalities=image:8,text:4 --seed=2
check "are refused" 3 "other data" "$KDIFFE" train other --resume=killed
check "--resume beside --out" 2 "leave out --out" "$KDIFFE" train --resume=killed --out=else
check "no such run" 3 "absent: expected a run folder" "$KDIFFE" train --resume=absent
check "a run without checkpoints" 3 "whole: holds no checkpoint" "$KDIFFE" train --resume=whole
check "--checkpoint-every of nothing" 2 "200steps" "$KDIFFE" train data --out=none --checkpoint-every=0
check "--checkpoint-every of hours" 2 "200steps" "$KDIFFE" train data --out=none --checkpoint-every=2h
check "--checkpoint-keep of none" 2 "checkpoint-keep" "$KDIFFE" train data --out=none --checkpoint-keep=0
newest=$(ls killed/checkpoint-*.safetensors | tail -n 1)
head -c 3000 "$newest" >cut && cp cut "$newest"
check "a damaged checkpoint" 3 "$newest" "$KDIFFE" train --resume=killed
check "--overwrite" 0 "" "$KDIFFE" train data --out=killed --overwrite $small --epochs=1
same "takes old checkpoints away" 0 "$(ls killed | grep -c '^checkpoint-')"
exit $failed
