#!/bin/bash
# Ranks with a GPU each, from outside, started without MPI: kdiffe launch, the variables of torchrun and srun, files and
# addresses to meet at, hosts of their own; ranks that die, hang, or were given something else. Run on a build with the
# stand-in of tests/emu (tests/stand_in.sh), or where there are four GPUs.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
. "$here/ranks.sh"
export KDIFFE_EMU_DEVICES=4 OMP_WAIT_POLICY=passive
small="--epochs=2 --dim=8 --hidden=16 --batch=64 --steps=2 --trans=1 --cl_method=1 --threads=1 --device=cuda --precision=fp32"
check "synth" 0 "" "$KDIFFE" synth data --users=60 --items=40 --tastes=6 --interactions=6 --modalities=image:8,text:4
check "one GPU" 0 "" "$KDIFFE" train data --out=one $small
if "$KDIFFE" launch --gpus=2 -- bench --ops=allreduce --most=8 --device=cuda 2>&1 | grep -q 'made without'; then
    echo "skipped: this build has no NCCL: ranks with a GPU each"
    exit $failed
fi

ranks_of() { pgrep -f "^kdiffe train.*=$1( |\$)"; }
launch() { timeout 120 "$KDIFFE" launch "$@"; }

for n in 2 3 4; do
    check "$n ranks" 0 "ranks: $n, NCCL" launch --gpus=$n -- train data --out=r$n $small
    holds "$n ranks: the same numbers" agree one r$n
    same "$n ranks: one of them prints" 1 "$(grep -c 'run folder' out)"
done
wide="$small --dim=16"
check "one GPU, wider rows" 0 "" "$KDIFFE" train data --out=wide $wide
for n in 2 3 4; do
    check "$n ranks, divided" 0 "" launch --gpus=$n -- train data --out=d$n $wide --shard=true
    holds "$n ranks, divided: the same numbers" agree wide d$n
done
check "lightgcn, one GPU" 0 "" "$KDIFFE" train data --out=l1 $wide --model=lightgcn
for n in 2 3 4; do
    check "lightgcn, $n ranks" 0 "" launch --gpus=$n -- train data --out=l$n $wide --model=lightgcn
    holds "lightgcn, $n ranks: the same numbers" agree l1 l$n
done
check "a trace" 0 "" launch --gpus=2 -- train data --out=traced --trace=trace.json $small --epochs=1
holds "the trace shows sums beside the backward pass" \
    grep -q '"name":"sum_ranks beside","ph":"X","pid":1,"tid":2' trace.json
check "all-reduce" 0 "busbw" launch --gpus=3 -- bench --ops=allreduce --most=32768 --iterations=2 --device=cuda
holds "all-reduce: right sums" test "$(grep -c ' 0$' out)" -ge 6

# What launchers other than ours say.
by_hand() { # by_hand OUT COMMON... : ranks 0 and 1 of two, with what COMMON puts before the command
    out=$1
    shift
    env "$@" RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 timeout 60 "$KDIFFE" train data --out="$out" $small ${more:-} >/dev/null 2>err2 &
    env "$@" RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 timeout 60 "$KDIFFE" train data --out="$out" $small ${more:-} >out 2>err
    code=$?
    wait $!
    code2=$?
}
port=$((20000 + $$ % 20000))
by_hand torch MASTER_ADDR=127.0.0.1 MASTER_PORT=$port
same "torchrun's variables: exit codes" "0 0" "$code $code2"
holds "torchrun's variables: the same numbers" agree one torch
more=--rendezvous=file:meet by_hand file
same "a file to meet at: exit codes" "0 0" "$code $code2"
holds "a file to meet at: the same numbers" agree one file
holds "a file to meet at: taken away" test ! -e meet
file() { printf 'kdiffe rendezvous 1\njob %s\nranks 2\nnonce 1\nhost %s\nport %s\nat 127.0.0.1\n' "$1" "$(hostname)" "$2" >meet; }
file 0000000000000000 1
more=--rendezvous=file:meet by_hand stale
same "a stale file: passed over" "0 0" "$code $code2"
file 00000000000000aa 1
RANK=1 WORLD_SIZE=2 check "another job's file" 6 "meet: is of another job" \
    "$KDIFFE" train data --out=none $small --rendezvous=file:meet --comm-timeout=1
rm meet
slurm() { SLURM_JOB_ID=$port SLURM_STEP_ID=0 SLURM_NTASKS=2 SLURM_STEP_NODELIST='localhost,other[1-3]' SLURM_PROCID=$1 \
    SLURM_LOCALID=$1 timeout 60 "$KDIFFE" train data --out=slurm $small; }
slurm 1 >/dev/null 2>err2 &
slurm 0 >out 2>err
same "srun's variables: exit code" 0 $?
wait $!
holds "srun's variables: the same numbers" agree one slurm
RANK=0 WORLD_SIZE=2 check "no address" 2 "MASTER_ADDR" "$KDIFFE" train data --out=none $small
RANK=2 WORLD_SIZE=2 check "a rank beyond the last" 2 "RANK=2" "$KDIFFE" train data --out=none $small
RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port check "a rank that does not come" 6 "rank 1 has not come" \
    "$KDIFFE" train data --out=none $small --comm-timeout=1
RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port check "rank 0 does not come" 6 "rank 0 is not there" \
    "$KDIFFE" train data --out=none $small --comm-timeout=1
check "launch without a command" 2 "expected a command after --" "$KDIFFE" launch --gpus=2
check "launch of several machines" 2 "--rendezvous" "$KDIFFE" launch --gpus=2 --nodes=2 -- train data

# One launcher inside another: the inner one's ranks are what counts.
check "launch inside srun and mpirun" 0 "ranks: 2, NCCL" env SLURM_JOB_ID=5 SLURM_STEP_ID=0 SLURM_NTASKS=3 SLURM_PROCID=1 \
    SLURM_LOCALID=1 PMIX_RANK=1 OMPI_COMM_WORLD_SIZE=3 "$KDIFFE" launch --gpus=2 -- train data --out=inner $small
holds "launch inside srun and mpirun: the same numbers" agree one inner
check "launch of one rank inside srun" 0 "run folder" env SLURM_JOB_ID=5 SLURM_STEP_ID=0 SLURM_NTASKS=3 SLURM_PROCID=1 \
    SLURM_LOCALID=1 "$KDIFFE" launch --gpus=1 -- train data --out=alone $small
check "wrong on all ranks: one line" 2 "comm-timeout" "$KDIFFE" launch --gpus=3 -- train data --out=none --comm-timeout=x
check "a command of one rank" 2 "is not for several ranks" "$KDIFFE" launch --gpus=2 -- eval one

# Two jobs side by side.
launch --gpus=2 -- train data --out=left $small >/dev/null 2>err2 &
check "two jobs: one" 0 "" launch --gpus=2 -- train data --out=right $small --seed=7
wait $!
same "two jobs: the other" 0 $?
holds "two jobs: the same numbers as alone" agree one left

# Two launchers as two machines.
launch --gpus=2 --nodes=2 --node=1 --rendezvous=127.0.0.1:$port -- train data --out=nodes $small >/dev/null 2>err2 &
check "two launchers: one" 0 "ranks: 4" launch --gpus=2 --nodes=2 --node=0 --rendezvous=127.0.0.1:$port -- train data --out=nodes $small
wait $!
same "two launchers: the other" 0 $?
holds "two launchers: the same numbers" agree one nodes

# Ranks that were given something else.
check "other data" 0 "" "$KDIFFE" synth other --users=60 --items=40 --tastes=6 --interactions=6 --modalities=image:8,text:4 --seed=9
apart() { # apart NAME WORDS DATA OPTIONS: rank 1 has these
    MASTER_ADDR=127.0.0.1 MASTER_PORT=$port RANK=1 WORLD_SIZE=2 timeout 60 "$KDIFFE" train $3 --out=odd $small $4 >/dev/null 2>err2 &
    MASTER_ADDR=127.0.0.1 MASTER_PORT=$port RANK=0 WORLD_SIZE=2 timeout 60 "$KDIFFE" train data --out=odd $small >out 2>err
    code=$?
    wait $!
    cat err2 >>err
    holds "$1: exit code" test $code -ne 0
    holds "$1: says so" grep -q "$2" err
    single "$1"
}
apart "another seed" "rank 1 of 2 on .* has another configuration than rank 0" data --seed=5
apart "another data set" "rank 1 of 2 on .* has another data set than rank 0" other ""
apart "no data" "rank 1 of 2 on .*: nowhere" nowhere ""
apart "a CPU" "rank 1 of 2 on .* has another kind of device" data --device=cpu
holds "no run folder after errors" test ! -e odd
KDIFFE_EMU_FAIL_MALLOC=9 check "no memory on a device" 4 "of 2 on" launch --gpus=2 -- train data --out=memory $small

# Killed at ten moments; goes on with another number of ranks to the same numbers.
start() { launch --gpus=$1 -- train data --out=killed --overwrite $small --epochs=4 --checkpoint-every=3steps; }
go_on() { launch --gpus=$1 -- train --resume=killed --checkpoint-every=3steps; }
moment() { echo "0.$(($1 % 5))$1"; }
after_death() { # CODE RANKS
    [ $1 -eq 6 ] || fail "death $kills: exit code $1"
    grep -q "^kdiffe: rank . of $2 on .* was ended by signal 9" err || fail "death $kills: names no rank: $(cat err)"
    [ "$(grep -c '^kdiffe: ' err)" = 1 ] || fail "death $kills: $(grep -c '^kdiffe: ' err) lines"
}
die_often killed
check "four epochs without any" 0 "" "$KDIFFE" train data --out=four $small --epochs=4
holds "after deaths of ranks: the same numbers" agree four killed

# A rank dies in the middle of a sum, which for the others ends as if all were well: what they keep then is whole all the
# same, or they keep nothing. The second epoch's sums of two ranks begin with about the 600th.
kept=0
for sum in $(seq 341 49 660); do
    KDIFFE_EMU_NCCL_DIE=$sum launch --gpus=2 -- train data --out=torn --overwrite $small --checkpoint-every=1steps \
        --checkpoint-keep=1 >out 2>err
    [ $? -eq 6 ] || fail "death in sum $sum: exit code $?"
    ls torn/checkpoint-*.safetensors >/dev/null 2>&1 || continue
    kept=$((kept + 1))
    check "death in sum $sum: goes on" 0 "" launch --gpus=3 -- train --resume=torn
    holds "death in sum $sum: the same numbers" agree one torn
done
holds "deaths in sums: checkpoints were kept" test $kept -ge 5

# The launcher itself is killed: no rank outlives it.
launch --gpus=2 -- train data --out=orphans $small --epochs=1000 >out 2>err &
for _ in $(seq 500); do [ -s orphans/model.safetensors ] && break; sleep 0.02; done
pkill -KILL -f "^$KDIFFE launch.*=orphans( |\$)"
sleep 1
holds "a launcher that is killed: no orphans" test -z "$(ranks_of orphans)"
wait

# A rank that hangs.
launch --gpus=2 -- train data --out=hangs $small --epochs=1000 --comm-timeout=2 >out 2>err &
job=$!
for _ in $(seq 500); do [ -s hangs/model.safetensors ] && break; sleep 0.02; done
kill -STOP "$(ranks_of hangs | tail -n 1)"
begin=$(date +%s)
wait $job
same "a rank that hangs: exit code" 6 $?
holds "a rank that hangs: in time" test $(($(date +%s) - begin)) -le 20
holds "a rank that hangs: says so" grep -q "^kdiffe: rank . of 2 on .*--comm-timeout" err
single "a rank that hangs"
holds "a rank that hangs: no orphans" test -z "$(ranks_of hangs)"

# A signal to one rank, to the launcher, or to every process, stops all of them between the same two steps.
for whom in rank launcher all; do
    launch --gpus=3 -- train data --out=stopped-$whom $small --epochs=4 >out 2>err &
    job=$!
    for _ in $(seq 500); do [ -s stopped-$whom/model.safetensors ] && break; sleep 0.02; done
    victims=$(pgrep -f "^$KDIFFE launch.*=stopped-$whom( |\$)")
    [ $whom = launcher ] || victims=$(ranks_of stopped-$whom | tail -n 1)
    [ $whom != all ] || victims="$(pgrep -f "^$KDIFFE launch.*=stopped-all( |\$)") $(ranks_of stopped-all)" # as schedulers do
    kill -USR1 $victims
    wait $job
    same "a signal to $whom: exit code" 138 $?
    single "a signal to $whom"
    check "a signal to $whom: goes on with fewer" 0 "" launch --gpus=2 -- train --resume=stopped-$whom
    holds "a signal to $whom: the same numbers" agree four stopped-$whom
done

# Control by MPI, sums by NCCL.
if command -v mpirun >/dev/null 2>&1; then
    if timeout 60 mpirun -n 2 "$KDIFFE" train data --out=mpi $small >out 2>err; then
        holds "under mpirun: NCCL" grep -q "ranks: 2, NCCL" out
        holds "under mpirun: the same numbers" agree one mpi
    elif grep -q "has no MPI" err; then
        echo "skipped: this build has no MPI: NCCL under mpirun"
    else
        fail "under mpirun: $(cat err)"
    fi
fi

# Two hosts with addresses of their own: network namespaces. What NCCL's stand-in moves goes through memory all the same;
# ranks meet, and hear of each other's deaths, over the wire.
if ! ip netns add "kd$$a" 2>/dev/null; then
    echo "skipped: no network namespaces here: hosts with their own addresses"
    exit $failed
fi
trap 'ip netns del "kd$$a"; ip netns del "kd$$b"; rm -rf "$dir"' EXIT
ip netns add "kd$$b"
ip link add "va$$" netns "kd$$a" type veth peer name "vb$$" netns "kd$$b"
host() { # host a|b RANK OPTIONS...
    local side=$1 rank=$2
    shift 2
    ip netns exec "kd$$$side" unshare --uts sh -c 'hostname $0; exec "$@"' "host-$side" \
        env RANK=$rank WORLD_SIZE=2 timeout 60 "$KDIFFE" train data $small "$@"
}
for side in a b; do
    ip -n "kd$$$side" link set lo up
    ip -n "kd$$$side" addr add 10.9.8.$([ $side = a ] && echo 1 || echo 2)/24 dev "v$side$$"
    ip -n "kd$$$side" link set "v$side$$" up
done
export MASTER_ADDR=10.9.8.1 MASTER_PORT=29512
host b 1 --out=hosts >/dev/null 2>err2 &
host a 0 --out=hosts >out 2>err
same "two hosts: exit code" 0 $?
wait $!
holds "two hosts: the same numbers" agree one hosts
# rank 0 may call itself localhost, as Kubeflow has it
MASTER_ADDR=10.9.8.1 host b 1 --out=local >/dev/null 2>err2 &
MASTER_ADDR=localhost host a 0 --out=local >out 2>err
same "two hosts, rank 0 on localhost: exit code" 0 $?
wait $!
host b 1 --out=meets --rendezvous=file:meet >/dev/null 2>err2 &
host a 0 --out=meets --rendezvous=file:meet >out 2>err
same "two hosts, a file to meet at: exit code" 0 $?
wait $!
host b 1 --out=dies --epochs=1000 >/dev/null 2>err2 &
host a 0 --out=dies --epochs=1000 >out 2>err &
job=$!
for _ in $(seq 500); do [ -s dies/model.safetensors ] && break; sleep 0.02; done
for pid in $(ip netns pids "kd$$b"); do [ "$(cat /proc/"$pid"/comm)" != kdiffe ] || kill -KILL "$pid"; done
wait $job
same "two hosts, a rank dies: exit code" 6 $?
holds "two hosts, a rank dies: names its host" grep -q "^kdiffe: rank 1 of 2 on host-b is gone" err
wait
host b 1 --out=cut --epochs=1000 --comm-timeout=3 >/dev/null 2>err2 &
host a 0 --out=cut --epochs=1000 --comm-timeout=3 >out 2>err &
job=$!
for _ in $(seq 500); do [ -s cut/model.safetensors ] && break; sleep 0.02; done
ip -n "kd$$b" link set "vb$$" down
begin=$(date +%s)
wait $job
same "two hosts, the wire is cut: exit code" 6 $?
holds "two hosts, the wire is cut: in time" test $(($(date +%s) - begin)) -le 20
holds "two hosts, the wire is cut: names the other" grep -q "^kdiffe: rank 1 of 2 on host-b gives no sign of life" err
wait
exit $failed
