#!/bin/sh
# Ops of src/kernels/ops/ops.def that compute and have no plain loop in src/kernels/ref/, or none that tests/test_ops.c
# calls, itself or through the subjects that it shares with the columns' tests. Exits 1 if it lists any.
cd "$(dirname "$0")/.." || exit 1
missing=0
lacks() {
    echo "$1: $2"
    missing=$((missing + 1))
}
ops=$(sed -n 's/^KD_OP(\([a-z_0-9]*\))$/\1/p' src/kernels/ops/ops.def)
for op in $ops; do
    grep -q "^kd_status kd_ref_$op(" src/kernels/ref/*.c || lacks "$op" "no reference in src/kernels/ref/"
    grep -q "assert_ok(kd_$op(" tests/test_ops.c tests/op_fixture.h tests/subjects.h tests/graph_subjects.h ||
        lacks "$op" "no row in tests/test_ops.c"
done
[ "$missing" -eq 0 ] || exit 1
echo "ops: $(echo "$ops" | wc -l) compute, each with a reference and a test against it"
