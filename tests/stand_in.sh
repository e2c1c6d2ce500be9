# Sourced with BUILD and a kind by a runner that has sourced report.sh, or run with them by itself: the CUDA column on the
# CPU stand-in. plain: every test in three orders of threads; asan: every test once, under AddressSanitizer and UBSan; tsan:
# small grids, since every CUDA thread is a fiber that ThreadSanitizer follows.
build=$1 kind=$2
own=
type begin >/dev/null 2>&1 || { . tests/report.sh && own=yes; }
case "$kind" in
plain) orders="ascending descending random:7" ;;
*) orders=ascending ;;
esac
# ThreadSanitizer cannot see into OpenMP's runtime: the CPU column, which is not what it is asked about, keeps to one thread.
[ "$kind" != tsan ] || export OMP_THREAD_LIMIT=1
together=$(nproc)
[ "$kind" != plain ] || begin script "the stand-in itself" bash tests/emu/run.sh "$build" # long, and beside the others
for order in $orders; do
    export KDIFFE_EMU_ORDER=$order
    filter=
    [ "$order" = ascending ] || filter=two_epochs_agree
    if [ "$kind" = tsan ]; then
        export KDIFFE_TEST_MOST=33
        filter=a_few_users_agree
    fi
    run_program "$kind, $order: test_columns" "$build/tests/test_columns"
    run_program "$kind, $order: test_graph_columns" "$build/tests/test_graph_columns"
    run_program "$kind, $order: test_split" env KDIFFE_TEST_DEVICE=cuda "$build/tests/test_split"
    run_program "$kind, $order: test_training_columns" env KDIFFE_TEST_FILTER="${filter:-*}" \
        "$build/tests/test_training_columns"
    [ "$kind" != tsan ] || continue
    run_program "$kind, $order: test_ops" env KDIFFE_TEST_DEVICE=cuda "$build/tests/test_ops"
    [ "$order" != ascending ] || run_program "$kind: test_ops, cublasLt without algorithms" \
        env KDIFFE_TEST_DEVICE=cuda KDIFFE_EMU_LT_LEAST=1000000 "$build/tests/test_ops"
    run_program "$kind, $order: test_lightgcn" env KDIFFE_TEST_DEVICE=cuda "$build/tests/test_lightgcn"
    run_program "$kind, $order: test_naive_columns" "$build/tests/test_naive_columns"
    for folder in tests/cases/*/ ../shared/golden/*/; do
        [ ! -f "$folder/manifest.json" ] ||
            run_golden "$kind, $order: golden $folder" "$build/tests/golden" --device=cuda "$folder"
    done
done
[ "$kind" = tsan ] || run_program "$kind: test_resume" env KDIFFE_TEST_DEVICE=cuda "$build/tests/test_resume"
unset KDIFFE_EMU_ORDER KDIFFE_TEST_MOST OMP_THREAD_LIMIT
[ "$kind" = tsan ] || run_script "$kind: cli_device" env KDIFFE="$build/kdiffe" sh tests/cli_device.sh
# Several ranks: processes with a GPU each, which NCCL's stand-in adds up. The golden arrays are split over them under MPI.
if [ "$kind" = plain ]; then
    run_script "$kind: launches" bash tests/launches.sh "$build"
    run_script "$kind: gpu_ranks" env KDIFFE="$build/kdiffe" bash tests/gpu_ranks.sh
    run_script "$kind: gpu_pack" env KDIFFE="$build/kdiffe" bash tests/gpu_pack.sh
fi
if [ "$kind" = plain ] && can_run_ranks "$kind: several ranks under MPI" "$build/tests/test_ranks"; then
    for n in 2 3 4; do
        KDIFFE_TEST_DEVICE=cuda run_ranks run_program "$kind: test_ranks, $n ranks" $n "$build/tests/test_ranks"
    done
    for n in 2 3; do
        for folder in tests/cases/*/; do
            run_ranks run_golden "$kind: golden $folder, $n ranks" $n "$build/tests/golden" --device=cuda "$folder"
        done
    done
fi
[ -z "$own" ] || summary
