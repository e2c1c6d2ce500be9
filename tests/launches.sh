#!/bin/bash
# What kernels load, counted on the stand-in: bash tests/launches.sh BUILD, from the repository's root, with the programs
# `launches` and `planted_loads` in BUILD/tests. The counter itself on kernels of which it is known; then one step of each kind
# on data with hubs, where a kernel that is held to them may not go beyond the bounds of bench/launch_report.py. Prints one
# line a check and exits 1 if any fails.
set -u
build=${1:-build/emu}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
failed=0
# Held to the bounds. A kernel that has come within them is added here, and stays.
held="adam_update choose_edges column_sums dot_parts edge_dots kd_each_element kd_sum_rows logit_gradients noise_rows own_entries relation_parts row_means scan_shares share_sums softmax_heads take_kept tensor_sums unit_rows unit_rows_gradient"

expected="hub 2,1,1 128,1,1 2 8 8 10880 200 42.500 100
unrolled 3,1,1 64,1,1 3 6 6 12288 64 64.000 16
one_lane 1,1,1 96,1,1 1 3 3 150 50 50.000 50
elsewhere 1,1,1 64,1,1 1 2 2 64 1 1.000 1
vectors 2,2,1 8,4,1 4 4 4 2560 20 20.000 20
stores 1,1,1 64,1,1 1 2 0 0 0 0.000 0"
for order in ascending descending random:3; do
    KDIFFE_EMU_ORDER=$order KDIFFE_EMU_LAUNCHES=$dir/planted.tsv "$build/tests/planted_loads"
    counted=$(sed 1d "$dir/planted.tsv" | cut -f2- | tr '\t' ' ')
    if [ "$counted" = "$expected" ]; then
        echo "ok    planted loads are counted exactly, $order"
    else
        echo "FAIL  planted loads, $order: counted $counted"
        failed=1
    fi
done

"$build/kdiffe" synth "$dir/tails" --users=500 --items=3000 --tastes=5 --user-tastes=5 --popularity=0.9 --interactions=8 \
    --active-users=8 --activity=0.12 --relations=4 --kg-informative=0 --kg-noise=0 --kg-hubs=3 --modalities=image:16,text:16 \
    >/dev/null &&
    KDIFFE_EMU_MULTIPROCESSORS=132 KDIFFE_EMU_LAUNCHES=$dir/launches.tsv "$build/tests/launches" "$dir/tails" --use.attention=false --device=cuda --precision=tf32 --batch=64 --hidden=32 \
        --steps=2 && python3 bench/launch_report.py check "$dir/launches.tsv" $held || failed=1
exit $failed
