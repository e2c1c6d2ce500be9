#!/bin/sh
# kdiffe bench from outside: its table, its files, what it refuses.
set -u
. "$(dirname "$0")/checks.sh"

small="--batch=32 --dim=8 --hidden=16 --steps=3 --attention.walks=2 --attention.walk_steps=8 --device=cpu"
check "synth" 0 "" "$KDIFFE" synth data --users=60 --items=40 --tastes=4 --seed=3
check "every op" 0 "n_wrong" "$KDIFFE" bench data --iterations=2 --json=all.json $small
cp out table
holds "no result is wrong" awk '/^[a-z]/ && $1 != "op" && $NF != 0 {bad = 1} END {exit bad}' table
for op in gemm_in linear spmm_64 spmm_modality_64 rgat_forward rgat_backward adam infonce_users bpr group permutation q_sample \
    denoise_loss topk_20 modality_graph_build kg_generate walk_cumulative prefix_jaccard; do
    holds "measures $op" grep -q "^$op " table
done
holds "measures whole epochs" grep -q "^epoch" table
holds "says what it was measured on" grep -q "^# device: cpu: " table
holds "says the ceilings" grep -q "^# ceilings: copy " table
check "a family, beside an earlier run" 0 "new/old" "$KDIFFE" bench data --ops=spmm --iterations=2 --compare=all.json $small
check "an op that is not there" 2 "the nearest is 'spmm'" "$KDIFFE" bench data --ops=spm $small
check "a shape that is not there" 2 "expected tiktok or large, got 'huge'" "$KDIFFE" bench --shape=huge --ops=spmm
check "a shape beside data" 2 "--shape" "$KDIFFE" bench data --shape=large --ops=spmm
if sh -c "ulimit -v 3000000; exec '$KDIFFE' --version" >/dev/null 2>&1; then # not under AddressSanitizer
    check "synth, larger" 0 "" "$KDIFFE" synth larger --users=6000 --items=6000 --tastes=4
    check "what does not fit is left out" 1 "nothing was measured" \
        sh -c "ulimit -v 3000000; exec '$KDIFFE' bench larger --ops=gemm_in --hidden=65536 --batch=6000 --device=cpu"
    cp out table
    holds "and said" grep -q "^# gemm_in: left out: .*out of memory" table
fi
check "no such data" 3 "nowhere" "$KDIFFE" bench nowhere --ops=spmm $small
check "an earlier run that is none" 3 "table" "$KDIFFE" bench data --ops=spmm --compare=table $small
check "an earlier run that is not there" 3 "none.json" "$KDIFFE" bench data --ops=spmm --compare=none.json $small
holds "nothing half-written" sh -c '! ls | grep -q "\.tmp\."'
exit $failed
