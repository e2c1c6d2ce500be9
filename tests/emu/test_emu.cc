/* Tests of the stand-in, and of its eyes: every planted bug must be seen. run.sh builds and calls it:
 *
 *   test_emu            every case without its bug; a line for each that is wrong, exit 1 if any is
 *   test_emu ranks      the same for the cases of several ranks, each a process (test_nccl.cc, test_peers.cc)
 *   test_emu bug NAME   one case with its bug: exit 0 if nothing was noticed, else 3 (wrong result) or a sanitizer's
 * code test_emu speed      thread steps a second test_emu rank ID RANK RANKS   what test_peers.cc starts as a rank
 *
 * It asks nothing of the stand-in that CUDA does not promise: compiled by nvcc, it passes on a GPU. */
#include <time.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "emu/cases.h"
#include "emu/planted.h"

namespace emu {
struct Counters {
    uint64_t launches, threads, switches, barriers, warp_ops;
};
extern Counters counters __attribute__((weak)); /* not there on a GPU */
} // namespace emu

namespace {

const size_t ODD = 3; /* so that an array ends within a warp and a block */

std::vector<float> ramp(size_t n) {
    std::vector<float> x(n);
    for (size_t i = 0; i < n; i++) x[i] = (float)(i % 97) * 0.25f;
    return x;
}
std::vector<int> numbers(size_t n, int below) {
    std::vector<int> x(n);
    unsigned state = 1;
    for (int &value : x) {
        state = state * 1664525u + 1013904223u;
        value = (int)(state >> 8) % below;
    }
    return x;
}
bool all_are(const std::vector<int> &x, int value) {
    for (int each : x)
        if (each != value) return false;
    return true;
}

bool global_end(bool bug) {
    const int n = 256 + (int)ODD;
    Device<float> in(ramp(n)), out(n);
    planted_add_one(bug, n, in.p, out.p, 0);
    std::vector<float> expected = ramp(n), got = out.get();
    for (int i = 0; i < n; i++)
        if (!(got[i] == expected[i] + 1.0f)) return false;
    return true;
}

bool is_rotated(const std::vector<int> &a, const std::vector<int> &from) {
    for (size_t i = 0; i < a.size(); i++)
        if (a[i] != 2 * from[(i + 1) % a.size()]) return false;
    return true;
}
bool tile_overwritten(bool bug) {
    Device<int> a(numbers(64, 1000));
    planted_rotate(bug, a.p, 0);
    return is_rotated(a.get(), numbers(64, 1000));
}
bool tile_end(bool bug) {
    Device<int> a(numbers(64, 1000));
    planted_tile_end(bug, a.p, 0);
    return is_rotated(a.get(), numbers(64, 1000));
}

/* Whether planted(a [16, k], b [k, 8], d) gives d = a b. `first`: added to the first element of a, `rounded`: what the
 * tensor cores make of that. */
bool is_product(void (*planted)(bool, const float *, const float *, float *, cudaStream_t), bool bug, int k,
                float first, float rounded) {
    std::vector<float> a((size_t)(16 * k)), b((size_t)(8 * k)), want(16 * 8);
    for (size_t i = 0; i < a.size(); i++) a[i] = (float)(i * 7 % 13) - 6.0f;
    for (size_t i = 0; i < b.size(); i++) b[i] = (float)(i * 5 % 11) - 5.0f;
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < 8; c++)
            for (int i = 0; i < k; i++)
                want[(size_t)(r * 8 + c)] +=
                    (a[(size_t)(r * k + i)] + (r + i == 0 ? rounded : 0.0f)) * b[(size_t)(i * 8 + c)];
    a[0] += first;
    Device<float> left(a), right(b), d(16 * 8);
    planted(bug, left.p, right.p, d.p, 0);
    return d.get() == want;
}
bool tf32_order(bool bug) { return is_product(planted_tf32_order, bug, 8, 0.0f, 0.0f); }
/* -6 - 2^-9 lies halfway between two TF32 numbers. */
bool tf32_rounding(bool bug) { return is_product(planted_tf32_rounding, bug, 8, -0x1p-9f, -0x1p-8f); }
bool bf16_pairs(bool bug) { return is_product(planted_bf16_pairs, bug, 16, 0.0f, 0.0f); }

bool sums_are(const std::vector<float> &sums, size_t each) {
    std::vector<float> in = ramp(sums.size() * each);
    for (size_t b = 0; b < sums.size(); b++) {
        double sum = 0.0;
        for (size_t i = 0; i < each; i++) sum += (double)in[b * each + i];
        if (!(fabs(sum - (double)sums[b]) <= 1e-3)) return false;
    }
    return true;
}
bool tree_barrier(bool bug) {
    Device<float> in(ramp(4 * 256)), out(4);
    planted_tree(bug, 4, in.p, out.p, 0);
    return sums_are(out.get(), 256);
}
bool dynamic_shared_end(bool bug) {
    Device<float> in(ramp(4 * 256)), out(4);
    planted_tree_bytes(bug, 4, in.p, out.p, 0);
    return sums_are(out.get(), 256);
}
bool one_writer(bool bug) {
    Device<int> a((size_t)128);
    planted_one_writer(bug, a.p, 0);
    return all_are(a.get(), 42);
}
bool add_in_block(bool bug) {
    Device<int> x(numbers(256, 8)), counts(std::vector<int>(8, 0));
    planted_histogram(bug, x.p, counts.p, 0);
    std::vector<int> expected(8, 0);
    for (int value : numbers(256, 8)) expected[value]++;
    return counts.get() == expected;
}
bool add_between_blocks(bool bug) {
    Device<int> total(std::vector<int>(1, 0));
    planted_block_count(bug, total.p, 0);
    return all_are(total.get(), 6);
}
bool warp_memory(bool bug) {
    Device<int> a(numbers(32, 1000));
    planted_warp_exchange(bug, a.p, 0);
    std::vector<int> expected = numbers(32, 1000), got = a.get();
    for (int i = 0; i < 32; i++)
        if (got[i] != expected[i ^ 1]) return false;
    return true;
}
bool last_block_fence(bool bug) {
    Device<float> in(ramp(5 * 32)), partial(5), out(1);
    Device<unsigned> tickets(std::vector<unsigned>(1, 0u));
    planted_last_block(bug, 5, in.p, partial.p, tickets.p, out.p, 0);
    return sums_are(out.get(), 5 * 32);
}
bool divergent_barrier(bool bug) {
    Device<int> a((size_t)64);
    planted_divergent(bug, a.p, 0);
    return all_are(a.get(), 1);
}
bool two_barriers(bool bug) {
    Device<int> a((size_t)64);
    planted_two_barriers(bug, a.p, 0);
    return all_are(a.get(), 1);
}
bool is_crossed(const std::vector<int> &a) {
    for (int i = 0; i < 32; i++)
        if (a[i] != (i ^ 16)) return false;
    return true;
}
bool shuffle_mask(bool bug) {
    Device<int> a((size_t)32);
    planted_bad_mask(bug, a.p, 0);
    return is_crossed(a.get());
}
bool shuffle_from_gone(bool bug) {
    Device<int> a((size_t)32);
    planted_gone_lanes(bug, a.p, 0);
    return is_crossed(a.get());
}
bool unwritten_shared(bool bug) {
    Device<float> out(64);
    planted_unwritten(bug, out.p, 0);
    for (float value : out.get())
        if (!(value == 1.0f)) return false;
    return true;
}
bool unwritten_global(bool bug) {
    Device<float> in(64), out(64);
    if (!bug) TRY(cudaMemset(in.p, 0, 64 * sizeof(float)));
    planted_add_one(false, 64, in.p, out.p, 0);
    for (float value : out.get())
        if (!(value == 1.0f)) return false;
    return true;
}
bool host_pointer(bool bug) {
    std::vector<int> on_host = numbers(64, 1000);
    Device<int> a(on_host);
    planted_rotate(false, bug ? on_host.data() : a.p, 0);
    return is_rotated(a.get(), numbers(64, 1000));
}
bool copied_by_fours(void (*copy)(int, const float *, float *, cudaStream_t), bool bug) {
    Device<float> in(ramp(129)), out(128);
    copy(128, bug ? in.p + 1 : in.p, out.p, 0);
    std::vector<float> got = out.get(), expected = ramp(129);
    return memcmp(got.data(), expected.data() + bug, 128 * sizeof(float)) == 0;
}
bool misaligned_load(bool bug) { return copied_by_fours(planted_vector_copy, bug); }
bool misaligned_ldg(bool bug) { return copied_by_fours(planted_vector_ldg, bug); }
bool too_much_shared(bool bug) {
    Device<float> out(1);
    planted_shared_bytes(bug, out.p, 0);
    return out.get()[0] == 1.0f;
}

/* What CUDA's documentation says that each operation answers, written down lane by lane. */
std::vector<unsigned> expected_answers(const int *x, int lane, int wanted) {
    auto shuffled = [&](int source) { return (unsigned)x[source]; };
    unsigned sum = 0, any = 0, odd = 0, most = 0, exclusive = 0, same = 0, half = 0;
    int least = x[0] - 50;
    for (int i = 0; i < 32; i++) {
        sum += (unsigned)x[i];
        any |= x[i] == wanted;
        odd |= (unsigned)(x[i] & 1) << i;
        most = (unsigned)x[i] > most ? (unsigned)x[i] : most;
        least = x[i] - 50 < least ? x[i] - 50 : least;
        exclusive ^= (unsigned)x[i];
        same |= (unsigned)(x[i] % 5 == x[lane] % 5) << i;
        if (i / 16 == lane / 16) half |= (unsigned)((x[i] & (lane < 16 ? 2 : 4)) != 0) << i;
    }
    return {shuffled(5),
            shuffled(lane / 8 * 8 + (lane + 3) % 8),
            shuffled(lane < 3 ? lane : lane - 3),
            shuffled(lane % 8 < 2 ? lane : lane - 2),
            shuffled(lane + 3 > 31 ? lane : lane + 3),
            shuffled(lane % 16 + 2 > 15 ? lane : lane + 2),
            shuffled(lane ^ 7),
            shuffled(lane ^ 1),
            shuffled(lane == 31 ? 31 : lane + 1),
            odd,
            any,
            1u,
            sum,
            (unsigned)least,
            most,
            exclusive,
            same,
            half};
}
bool warp_answers(bool) {
    std::vector<int> x = numbers(64, 100);
    Device<int> in(x);
    Device<unsigned> out((size_t)64 * PLANTED_ANSWERS);
    planted_warp_answers(in.p, out.p, 0);
    std::vector<unsigned> got = out.get();
    for (int i = 0; i < 64; i++) {
        std::vector<unsigned> expected = expected_answers(&x[i / 32 * 32], i % 32, x[0]);
        for (int a = 0; a < PLANTED_ANSWERS; a++)
            if (got[(size_t)i * PLANTED_ANSWERS + a] != expected[a]) {
                printf("answer %d of thread %d: %u, not %u\n", a, i, got[(size_t)i * PLANTED_ANSWERS + a], expected[a]);
                return false;
            }
    }
    return true;
}

bool places(bool) {
    Device<int> out(std::vector<int>(12 * 70, 0));
    planted_places(out.p, 0);
    return all_are(out.get(), 1);
}
bool block_votes(bool) {
    std::vector<int> x = numbers(4 * 96, 3);
    for (int i = 0; i < 96; i++) x[i] = 1 + i % 2; /* a block where all say yes, and one where one says yes */
    x[2 * 96 + 7] = 3;
    Device<int> in(x), out((size_t)12);
    planted_block_votes(4, in.p, out.p, 0);
    std::vector<int> got = out.get();
    for (int b = 0; b < 4; b++) {
        int count = 0, all = 1, any = 0;
        for (int i = 0; i < 96; i++) {
            count += x[b * 96 + i] > 1;
            all &= x[b * 96 + i] > 0;
            any |= x[b * 96 + i] > 2;
        }
        if (got[3 * b] != count || got[3 * b + 1] != all || got[3 * b + 2] != any) return false;
    }
    return true;
}
bool atomics(bool) {
    std::vector<unsigned long long> start(PLANTED_ATOMICS, 0);
    start[1] = ~0ull;
    Device<unsigned long long> out(start);
    planted_atomics(out.p, 0);
    std::vector<unsigned long long> got = out.get();
    float halves;
    double double_halves;
    int least;
    memcpy(&halves, &got[3], sizeof halves);
    memcpy(&double_halves, &got[4], sizeof double_halves);
    memcpy(&least, &got[7], sizeof least);
    return got[0] == 19900ull << 32 && got[1] == 1000000007ull && got[2] == 200000001400ull && halves == 100.0f &&
           double_halves == 100.0 && got[5] == (1ull << 50) - 1 && got[6] == 200 % 7 && least == -199 && got[8] == 600;
}
bool large_shared(bool) {
    Device<float> out(1);
    planted_large_shared(false, out.p, 0);
    if (cudaGetLastError() != cudaErrorInvalidValue) return false;
    planted_large_shared(true, out.p, 0);
    return out.get()[0] == 1.0f;
}
bool launch_error(bool) {
    Device<int> a((size_t)1);
    planted_large_block(true, a.p, 0);
    return cudaGetLastError() == cudaErrorInvalidConfiguration && cudaGetLastError() == cudaSuccess;
}

double seconds() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
/* A step is a thread begun or a switch from one to another. */
void measure(const char *what, void (*run)()) {
    uint64_t before = &emu::counters ? emu::counters.threads + emu::counters.switches : 0;
    double start = seconds();
    run();
    TRY(cudaDeviceSynchronize());
    double taken = seconds() - start;
    uint64_t steps = &emu::counters ? emu::counters.threads + emu::counters.switches - before : 0;
    printf("%-32s %8.1f ms %8.1f million steps/s\n", what, taken * 1e3, (double)steps / taken * 1e-6);
}
int speed() {
    static Device<float> in(ramp(4096 * 256)), out(4096 * 256);
    static Device<int> x(numbers(64, 100));
    static Device<unsigned> answers((size_t)64 * PLANTED_ANSWERS);
    measure("threads that do not wait", [] { planted_add_one(false, 4096 * 256, in.p, out.p, 0); });
    measure("tree with 9 barriers", [] { planted_tree(false, 4096, in.p, out.p, 0); });
    measure("18 operations of a warp", [] {
        for (int i = 0; i < 2000; i++) planted_warp_answers(x.p, answers.p, 0);
    });
    return 0;
}

int run_all(const std::vector<Case> &cases) {
    int wrong = 0;
    for (const Case &each : cases)
        if (!each.right(false)) {
            printf("%s: wrong result\n", each.name);
            wrong++;
        }
    return wrong;
}
int run_bug(const char *name) {
    for (const std::vector<Case> *cases : {&kernel_cases, &runtime_cases, &rank_cases, &peer_cases})
        for (const Case &each : *cases) {
            if (strcmp(each.name, name) != 0) continue;
            bool right = each.right(true);
            printf("%s: %s\n", name, right ? "not noticed" : "wrong result");
            return right ? 0 : 3;
        }
    fprintf(stderr, "test_emu: no case %s\n", name);
    return 2;
}

} // namespace

const std::vector<Case> kernel_cases = {{"global_end", global_end},
                                        {"tf32_order", tf32_order},
                                        {"tf32_rounding", tf32_rounding},
                                        {"bf16_pairs", bf16_pairs},
                                        {"tile_overwritten", tile_overwritten},
                                        {"tile_end", tile_end},
                                        {"tree_barrier", tree_barrier},
                                        {"dynamic_shared_end", dynamic_shared_end},
                                        {"one_writer", one_writer},
                                        {"add_in_block", add_in_block},
                                        {"add_between_blocks", add_between_blocks},
                                        {"warp_memory", warp_memory},
                                        {"last_block_fence", last_block_fence},
                                        {"divergent_barrier", divergent_barrier},
                                        {"two_barriers", two_barriers},
                                        {"shuffle_mask", shuffle_mask},
                                        {"shuffle_from_gone", shuffle_from_gone},
                                        {"unwritten_shared", unwritten_shared},
                                        {"unwritten_global", unwritten_global},
                                        {"host_pointer", host_pointer},
                                        {"misaligned_load", misaligned_load},
                                        {"misaligned_ldg", misaligned_ldg},
                                        {"too_much_shared", too_much_shared},
                                        {"warp_answers", warp_answers},
                                        {"places", places},
                                        {"block_votes", block_votes},
                                        {"atomics", atomics},
                                        {"large_shared", large_shared},
                                        {"launch_error", launch_error}};

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "bug") == 0) return run_bug(argv[2]);
    if (argc == 2 && strcmp(argv[1], "speed") == 0) return speed();
    if (argc == 5 && strcmp(argv[1], "rank") == 0) return run_rank(argv[2], atoi(argv[3]), atoi(argv[4]));
    bool ranks = argc == 2 && strcmp(argv[1], "ranks") == 0;
    int wrong = ranks ? run_all(rank_cases) + run_all(peer_cases) : run_all(kernel_cases) + run_all(runtime_cases);
    size_t all = ranks ? rank_cases.size() + peer_cases.size() : kernel_cases.size() + runtime_cases.size();
    printf("%zu cases, %d wrong\n", all, wrong);
    return wrong != 0;
}
