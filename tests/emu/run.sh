#!/bin/bash
# The CUDA stand-in tests itself: bash tests/emu/run.sh BUILD, from the repository's root. Builds it three times into
# BUILD/emu-self-{plain,asan,tsan}; everything right must pass in every order of threads, and every planted bug must be
# seen by each build that is named for it. Prints one line a check and exits 1 if any fails.
#
# What the stand-in reads from the environment:
#   KDIFFE_EMU_ORDER        which thread goes on: ascending (default), descending, random:SEED
#   KDIFFE_EMU_STREAMS      when queued work is done: starve (default: when a wait needs it), eager (at once), random:SEED
#   KDIFFE_EMU_MEM          bytes of device memory (default 4 GiB)
#   KDIFFE_EMU_DEVICES      number of devices (default 1; 0: as on a machine without one)
#   KDIFFE_EMU_LAUNCHES     file that programs linked with loads.cc write what they launched into
#   KDIFFE_EMU_MULTIPROCESSORS  of a device (default 4)
#   KDIFFE_EMU_FAIL_MALLOC  number of the cudaMalloc, counted from 1, that finds no memory
#   KDIFFE_EMU_LT_LEAST     cublasLt has no algorithm for products of fewer rows, columns or terms of a sum (default 1)
#   KDIFFE_EMU_NCCL_DIE     number of the collective, counted from 1, at which the last rank is killed
#   KDIFFE_EMU_NCCL_TIMEOUT seconds that ranks wait for each other, in joining and in blocking waits (default 60)
set -u
build=${1:-build}
CXX=g++ # the sanitizers of clang 14 miss two of the planted bugs
cuda=${CUDA_HOME:-/usr/local/cuda}
if [ ! -f "$cuda/include/cuda_runtime.h" ]; then
    echo "skipped: no CUDA headers"
    exit 0
fi
common=(-std=c++17 -Wall -Wextra -Werror -Wshadow -g -ffp-contract=off -Itests -Isrc -isystem "$cuda/include")
engine="fibers barriers shared blas"      # never instrumented, see tests/emu/sanitizers.h
runtime="runtime errors streams graphs peers collective transfers nccl" # instrumented like the program
tests="test_emu test_runtime test_nccl test_peers planted"
failed=0

pass() { echo "ok    $1"; }
fail() {
    echo "FAIL  $1"
    failed=1
}

# compile OBJECT SOURCE FLAGS...: unless the object is newer than the source and every header.
compile() {
    object=$1 source=$2
    shift 2
    if [ -f "$object" ] && [ -z "$(find "$source" tests/emu/*.h src/kernels/cuda/launch.h src/kernels/cuda/mma.h tests/emu/run.sh -newer "$object")" ]; then
        return 0
    fi
    "$CXX" "${common[@]}" "$@" -x c++ -c "$source" -o "$object"
}

# build VARIANT FLAGS...
build() {
    variant=$1
    shift
    into=$build/emu-self-$variant
    mkdir -p "$into" || return 1
    objects=()
    for name in $engine; do
        compile "$into/$name.o" "tests/emu/$name.cc" -O3 || return 1
        objects+=("$into/$name.o")
    done
    for name in $runtime $tests; do
        source=tests/emu/$name.cc
        [ -f "$source" ] || source=tests/emu/$name.cu
        compile "$into/$name.o" "$source" "$@" || return 1
        objects+=("$into/$name.o")
    done
    "$CXX" "$@" "${objects[@]}" -o "$into/test_emu"
}

# run VARIANT ARGUMENTS...: output in $output, exit code in $code; a deadlock of the stand-in ends after a minute.
run() {
    variant=$1
    shift
    output=$(timeout 60 "$build/emu-self-$variant/test_emu" "$@" 2>&1)
    code=$?
}

# good NAME VARIANT [ranks]: all cases without their bugs, in the present environment.
good() {
    run "$2" ${3:-}
    if [ "$code" -eq 0 ]; then pass "$1"; else fail "$1: exit code $code: $(head -c 600 <<<"$output")"; fi
}

# bug NAME VARIANTS ORDERS WORDS: with its bug the case fails in each variant and order, and WORDS say so.
bug() {
    for variant in $2; do
        for order in $3; do
            KDIFFE_EMU_ORDER=$order run "$variant" bug "$1"
            if [ "$code" -eq 0 ]; then
                fail "$1 is not noticed, $variant, $order"
            elif ! grep -qF -- "$4" <<<"$output"; then
                fail "$1, $variant, $order: exit code $code, expected '$4' in: $(head -c 600 <<<"$output")"
            else
                pass "$1 is noticed, $variant, $order"
            fi
        done
    done
}

# knob NAME VARIABLE=VALUE WORDS [CASE]: one case in that environment says WORDS.
knob() {
    export "$2"
    run plain bug "${4:-lost_memory}"
    unset "${2%%=*}"
    if grep -qF -- "$3" <<<"$output"; then pass "$1"; else fail "$1: expected '$3' in: $(head -c 600 <<<"$output")"; fi
}

build plain -O2 || fail "build plain"
build asan -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined || fail "build asan"
build tsan -O1 -fsanitize=thread || fail "build tsan"
[ "$failed" -eq 0 ] || exit 1

all="plain asan tsan"
both="ascending descending"
for variant in $all; do
    for order in ascending descending random:1 random:2; do
        KDIFFE_EMU_ORDER=$order good "everything right passes, $variant, $order" "$variant"
    done
done
for streams in eager random:1 random:2 random:3; do
    KDIFFE_EMU_STREAMS=$streams good "everything right passes, streams $streams" plain
done
has_nccl=
if "$CXX" "${common[@]}" -include nccl.h -x c++ -fsyntax-only /dev/null 2>/dev/null; then has_nccl=yes; fi
if [ "$has_nccl" ]; then
    for variant in $all; do good "several ranks, $variant" "$variant" ranks; done
    for streams in eager random:1; do
        KDIFFE_EMU_STREAMS=$streams good "several ranks, streams $streams" plain ranks
    done
else
    echo "skipped: several ranks: no nccl.h"
fi

bug global_end "asan" "$both" "heap-buffer-overflow"
bug tile_end "asan" "$both" "heap-buffer-overflow"
bug dynamic_shared_end "asan" "$both" "heap-buffer-overflow"
for name in tf32_order tf32_rounding bf16_pairs; do bug $name "$all" "$both" "wrong result"; done
bug tile_overwritten "plain" "$both" "wrong result"
bug tile_overwritten "tsan" "$both random:1" "data race"
bug tree_barrier "plain" "$both" "wrong result"
bug tree_barrier "tsan" "$both random:1" "data race"
bug one_writer "plain" "descending" "wrong result"
bug one_writer "tsan" "$both random:1" "data race"
bug add_in_block "tsan" "$both random:1" "data race"
bug add_between_blocks "tsan" "$both random:1" "data race"
bug warp_memory "tsan" "$both random:1" "data race"
bug last_block_fence "tsan" "$both random:1" "data race"
bug divergent_barrier "$all" "ascending" "wait for each other"
bug divergent_barrier "$all" "descending" "after 24 threads of the block have exited"
bug two_barriers "$all" "$both" "wait at different barriers"
bug shuffle_mask "$all" "$both" "is not in the mask"
bug shuffle_from_gone "$all" "$both" "which is not in the mask 0xffffffff or has exited"
bug unwritten_shared "$all" "$both" "wrong result"
bug unwritten_global "$all" "$both" "wrong result"
bug host_pointer "$all" "ascending" "is not a live pointer to device memory"
bug misaligned_load "asan" "$both" "misaligned address"
bug misaligned_ldg "$all" "ascending" "which is not aligned to 16"
bug too_much_shared "$all" "ascending" "static and dynamic shared memory"
for name in event_wait read_before_sync pinned_reused sync_in_capture malloc_in_capture free_in_capture copy_in_capture \
    pageable_in_capture wait_in_capture unjoined_capture; do
    bug $name "$all" "ascending" "wrong result"
done
bug graph_memory_freed "$all" "ascending" "is not a live pointer to device memory"
bug freed_memory "$all" "ascending" "is not a live pointer to device memory"
bug lost_memory "asan" "ascending" "LeakSanitizer"
bug copy_end "$all" "ascending" "cudaErrorInvalidValue"
bug matrix_end "$all" "ascending" "do not lie within an allocation"
bug bias_alignment "$all" "ascending" "emu: ERROR: cublasLtMatmul: the bias"
bug matrix_alignment "$all" "ascending" "emu: ERROR: cublasLtMatmul: A at"
bug workspace_alignment "$all" "ascending" "emu: ERROR: cublasLtMatmul: the workspace"
bug leading_dimension "$all" "ascending" "cublasLtMatmulAlgoGetHeuristic(handle, op, la, lb, lc, lc, wish, 1, &found, &count): status 7"
for name in grid_too_high block_too_large; do bug $name "$all" "ascending" "cudaErrorInvalidConfiguration"; done
if [ "$has_nccl" ]; then
    bug counts_differ "$all" "ascending" "ranks disagree"
    bug turn_sizes_differ "$all" "ascending" "rank 2 sends 16385 float32 to rank 0, which takes 16384 float32"
    for name in sum_beside sum_captured sum_read_early turn_captured; do bug $name "$all" "ascending" "wrong result"; done
    for call in ncclAllReduce ncclSend; do bug host_buffer "$all" "ascending" "$call: the 4000 bytes"; done
    bug never_comes "$all" "ascending" "has waited 0.3 s in collective 1, ncclAllReduce of 1000 float32, for rank 1"
    bug never_sends "$all" "ascending" "has waited 0.3 s in ncclRecv of 1000 float32, for rank 1"
fi

knob "no device" KDIFFE_EMU_DEVICES=0 "cudaErrorNoDevice"
knob "memory ends" KDIFFE_EMU_MEM=1000 "cudaErrorMemoryAllocation"
knob "an allocation fails" KDIFFE_EMU_FAIL_MALLOC=1 "cudaErrorMemoryAllocation"
knob "a product without an algorithm" KDIFFE_EMU_LT_LEAST=2 "status 15" products
knob "an unknown order is refused" KDIFFE_EMU_STREAMS=fast "starve, eager or random:SEED"
exit $failed
