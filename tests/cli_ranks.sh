#!/bin/bash
# Several ranks from outside, under mpirun: the same numbers for any number of them, checkpoints that go from one number to
# another, ranks that die, hang, or were given something else.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"

if ! command -v mpirun >/dev/null 2>&1; then
    echo "skipped: no mpirun here: several ranks"
    exit 0
fi
if OMPI_COMM_WORLD_SIZE=2 "$KDIFFE" train none --out=none 2>&1 | grep -q "this build has no MPI"; then
    pass "a build without MPI says so"
    echo "skipped: this build has no MPI: several ranks"
    exit 0
fi
. "$here/ranks.sh"
ranks() { timeout 120 mpirun -n "$@"; }

small="--epochs=3 --dim=16 --hidden=32 --batch=64 --steps=3 --trans=1 --cl_method=1 --threads=1"
check "synth" 0 "" "$KDIFFE" synth data --users=300 --items=120 --modalities=image:8,text:4
check "one rank" 0 "" "$KDIFFE" train data --out=one $small --device=cpu

for n in 1 2 3 4; do
    ranks $n "$KDIFFE" train data --out=r$n $small >out 2>err
    same "$n ranks: exit code" 0 $?
    holds "$n ranks: the same numbers" agree one r$n
    same "$n ranks: one of them prints" 1 "$(grep -c 'run folder' out)"
done
holds "says how many there are" grep -q '^ranks: 4' out
check "paper's semantics, one rank" 0 "" "$KDIFFE" train data --out=p1 $small --semantics=paper --cl_method=0 --batch=50
ranks 3 "$KDIFFE" train data --out=p3 $small --semantics=paper --cl_method=0 --batch=50 >out 2>err
holds "paper's semantics, 3 ranks: the same numbers" agree p1 p3
# Another model: its columns are divided, always; a checkpoint of two ranks goes on as one.
check "lightgcn, one rank" 0 "" "$KDIFFE" train data --out=l1 $small --model=lightgcn --device=cpu
for n in 2 3 4; do
    ranks $n "$KDIFFE" train data --out=l$n $small --model=lightgcn >out 2>err
    same "lightgcn, $n ranks: exit code" 0 $?
    holds "lightgcn, $n ranks: the same numbers" agree l1 l$n
done
ranks 2 "$KDIFFE" train data --out=lr $small --model=lightgcn --epochs=2 --checkpoint-every=1 >out 2>err
check "lightgcn: one rank goes on from two" 0 "" "$KDIFFE" train --resume=lr --epochs=3
holds "lightgcn: one rank went on to the same numbers" agree l1 lr
# Walks by shares of edges are in all of the above; by shares of nodes, and of blocks of them, here.
for method in node power; do
    check "attention.method=$method, one rank" 0 "" "$KDIFFE" train data --out=$method-1 $small --attention.method=$method
    ranks 3 "$KDIFFE" train data --out=$method-3 $small --attention.method=$method >out 2>err
    holds "attention.method=$method, 3 ranks: the same numbers" agree $method-1 $method-3
done
check "more ranks than rows: data" 0 "" "$KDIFFE" synth tiny --users=12 --items=16 --tastes=3 --interactions=3 --modalities=image:4
check "more ranks than rows of a batch, one rank" 0 "" "$KDIFFE" train tiny --out=t1 $small --batch=3
ranks 4 "$KDIFFE" train tiny --out=t4 $small --batch=3 >out 2>err
holds "more ranks than rows of a batch: the same numbers" agree t1 t4
check "more ranks than columns: data" 0 "" "$KDIFFE" synth thin --users=12 --items=12 --tastes=3 --interactions=3 --modalities=image:4
ranks 4 "$KDIFFE" train thin --out=none $small >out 2>err
same "more ranks than columns: exit code" 2 $?
holds "more ranks than columns: says so" grep -q "at most one for each four of a denoiser's 12 columns" err
single "more ranks than columns"

# Tables divided over the ranks by columns: the same numbers, less memory on each.
for n in 2 3 4; do
    ranks $n "$KDIFFE" train data --out=d$n $small --shard=true >out 2>err
    same "$n ranks, divided: exit code" 0 $?
    holds "$n ranks, divided: the same numbers" agree one d$n
done
# The kept model, array by array: the header of an .npy file is as long as that of another of the same shape.
check "the model that one rank keeps" 0 "" "$KDIFFE" export one arrays-one
check "divided: the model that is kept" 0 "" "$KDIFFE" export d3 arrays-d3
near() { # near A B: float32 arrays, to 1e-5 of 1
    floats() { od -An -v -t f4 -w4 -j128 "$1"; }
    [ "$(wc -c <"$1")" = "$(wc -c <"$2")" ] && paste <(floats "$1") <(floats "$2") |
        awk '{d = $1 - $2; if (d < 0) d = -d; if (!(d <= 1e-5)) bad = 1} END {exit bad || NR < 2}'
}
for array in arrays-one/*.npy; do
    holds "divided: the kept ${array#*/} is one rank's" near "$array" "arrays-d3/${array#*/}"
done
same "divided: all arrays are kept" 12 "$(ls arrays-d3/*.npy | wc -l)"
bytes_of() { ranks 4 "$KDIFFE" train data --dry-run --dim=64 "$@" 2>/dev/null | awk '$1 == "parameters" {print $2 * ($3 == "MB" ? 1024 : 1)}'; }
whole=$(bytes_of) divided=$(bytes_of --shard=true)
holds "divided: less than half of the parameters' memory ($divided of $whole)" \
    awk "BEGIN {exit !($divided > 0 && 2 * $divided < $whole)}"
ranks 3 "$KDIFFE" train data --out=none $small --dim=2 --shard=true >out 2>err
same "divided, more ranks than columns: exit code" 2 $?
holds "divided, more ranks than columns: says so" grep -q "shard: 3 ranks: at most one for each of dim's 2 columns" err
single "divided, more ranks than columns"
divided() { # divided NAME OPTIONS: three ranks' losses and one's agree
    local name=$1
    shift
    check "$name, one rank" 0 "" "$KDIFFE" train data --out=o $small --overwrite "$@"
    ranks 3 "$KDIFFE" train data --out=d $small --overwrite --shard=true "$@" >out 2>err
    holds "$name, 3 ranks, divided: the same losses" agree o d valid
}
divided "paper's semantics" --semantics=paper --cl_method=0 --batch=50
divided "two layers, two hops, matrices, noised chains" --gnn_layers=2 --kg_hops=2 --trans=0 --sampling_steps=2 --dim=22
divided "fewer columns than fours for all" --dim=7
divided "without a knowledge graph" --use.kg=false
divided "without contrast" --use.contrastive=false
divided "without multimodal views" --use.multimodal=false --guidance=linked_users
divided "every formula as it stands" --naive=chain,output,views,rows,features,scores

# Two jobs side by side know nothing of each other.
ranks 2 "$KDIFFE" train data --out=left $small >out 2>err &
left=$!
ranks 2 "$KDIFFE" train data --out=right $small --seed=7 >out2 2>err2
same "two jobs: one" 0 $?
wait $left
same "two jobs: the other" 0 $?
holds "two jobs: the same numbers as alone" agree one left

# What one rank was given otherwise ends all of them, with one line that names it.
timeout 60 mpirun -n 1 "$KDIFFE" train data --out=odd $small : -n 1 "$KDIFFE" train data --out=odd $small --seed=5 >out 2>err
same "another seed: exit code" 6 $?
holds "another seed: names the rank" grep -q "rank 1 of 2 on .* has another configuration than rank 0" err
single "another seed"
check "synth of other data" 0 "" "$KDIFFE" synth other --users=300 --items=120 --modalities=image:8,text:4 --seed=9
timeout 60 mpirun -n 2 "$KDIFFE" train data --out=odd $small : -n 1 "$KDIFFE" train other --out=odd $small >out 2>err
same "other data: exit code" 6 $?
holds "other data: names the rank" grep -q "rank 2 of 3 on .* has another data set than rank 0" err
timeout 60 mpirun -n 2 "$KDIFFE" train data --out=odd $small : -n 1 "$KDIFFE" train nowhere --out=odd $small >out 2>err
same "no data on one rank: exit code" 3 $?
holds "no data on one rank: names the rank" grep -q "rank 2 of 3 on .*: nowhere" err
single "no data on one rank"
timeout 60 mpirun -n 3 "$KDIFFE" train data --out=odd --epoch=3 >out 2>err
same "a wrong word on all ranks: exit code" 2 $?
single "a wrong word on all ranks"
holds "no run folder after errors" test ! -e odd

# Killed at ten moments, each time by another rank's death; goes on with another number of ranks, every other time with
# divided tables, to the same numbers.
ranks_of() { pgrep -f "^$KDIFFE train.*=$1( |\$)"; }
start() { ranks $1 "$KDIFFE" train data --out=killed --overwrite $small --epochs=6 --checkpoint-every=5steps; }
go_on() { ranks $1 "$KDIFFE" train --resume=killed --checkpoint-every=5steps --shard=$([ $((kills % 2)) = 0 ] && echo true || echo false); }
moment() { echo "0.0$1"; }
after_death() { :; } # the exit code and the lines are mpirun's
die_often killed
check "six epochs without any" 0 "" "$KDIFFE" train data --out=six $small --epochs=6 --device=cpu
holds "after deaths of ranks: the same numbers" agree six killed

# A rank that hangs: the others give up at the deadline.
ranks 2 "$KDIFFE" train data --out=hangs $small --epochs=100000 --comm-timeout=2 >out 2>err &
job=$!
for _ in $(seq 500); do [ -s hangs/model.safetensors ] && break; sleep 0.02; done
kill -STOP "$(ranks_of hangs | tail -n 1)"
begin=$(date +%s)
wait $job
same "a rank that hangs: exit code" 6 $?
holds "a rank that hangs: in time" test $(($(date +%s) - begin)) -le 20
holds "a rank that hangs: says so" grep -q "kdiffe: rank . of 2 on .*: no answer from the other ranks within 2 s" err
single "a rank that hangs"
holds "a rank that hangs: no orphans" test -z "$(ranks_of hangs)"

# A program over the library: what one rank alone knows ends the job at once, after failures that all knew of as well.
begin=$(date +%s)
ranks 3 "$(dirname "$KDIFFE")/tests/test_library" abandon >out 2>err
holds "a program's rank that fails alone: ends the job" test $? -ne 0
holds "a program's rank that fails alone: at once" test $(($(date +%s) - begin)) -le 20
holds "a program's rank that fails alone: says so" grep -q "kdiffe: rank 2 of 3 on .*: /nowhere: No such file" err

# A signal stops all ranks between the same two steps.
ranks 3 "$KDIFFE" train data --out=stopped $small --epochs=6 >out 2>err &
job=$!
for _ in $(seq 500); do [ -s stopped/model.safetensors ] && break; sleep 0.02; done
kill -USR1 "$(ranks_of stopped | tail -n 1)"
wait $job
same "a signal to one rank: exit code" 138 $?
single "a signal to one rank"
timeout 60 mpirun -n 1 "$KDIFFE" train --resume=killed --shard=false : -n 1 "$KDIFFE" train --resume=stopped --shard=false >out 2>err
same "another checkpoint on one rank: exit code" 6 $?
holds "another checkpoint on one rank: names it" grep -q "rank 1 of 2 on .* has another newest checkpoint than rank 0" err
single "another checkpoint on one rank"
ranks 3 "$KDIFFE" train --resume=stopped --seed=5 >out 2>err
same "goes on with another seed: exit code" 2 $?
single "goes on with another seed"
ranks 2 "$KDIFFE" train --resume=stopped >out 2>err
same "goes on with fewer: exit code" 0 $?
holds "goes on with fewer: the same numbers" agree six stopped
exit $failed
