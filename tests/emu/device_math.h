/* Loads, arithmetic and bit functions that CUDA has and C++ has not. Fast-math ones are computed exactly here: their
 * error is the GPU's to show. */
#ifndef KD_EMU_DEVICE_MATH_H
#define KD_EMU_DEVICE_MATH_H

#include <math.h>

#include <cfloat>
#include <climits>
#include <limits>

namespace emu {
template <class T> T aligned_load(const T *p, const char *name) {
    if (reinterpret_cast<uintptr_t>(p) % alignof(T))
        fatal("%s at %p, which is not aligned to %zu", name, static_cast<const void *>(p), alignof(T));
    return *p;
}
} // namespace emu

template <class T> T __ldg(const T *p) { return emu::aligned_load(p, "__ldg"); }
template <class T> T __ldca(const T *p) { return emu::aligned_load(p, "__ldca"); }
template <class T> T __ldcg(const T *p) { return emu::aligned_load(p, "__ldcg"); }
template <class T> T __ldcs(const T *p) { return emu::aligned_load(p, "__ldcs"); }
template <class T> void __stcg(T *p, T value) { *p = value; }
template <class T> void __stcs(T *p, T value) { *p = value; }

inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10.0f, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline void __sincosf(float x, float *s, float *c) { *s = sinf(x), *c = cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float sinpif(float x) { return (float)sin(M_PI * (double)x); }
inline float cospif(float x) { return (float)cos(M_PI * (double)x); }
inline void sincospif(float x, float *s, float *c) { *s = sinpif(x), *c = cospif(x); }
inline double sinpi(double x) { return sin(M_PI * x); }
inline double cospi(double x) { return cos(M_PI * x); }

inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return (float)(1.0 / sqrt((double)x)); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __ddiv_rn(double x, double y) { return x / y; }
inline double __dsqrt_rn(double x) { return sqrt(x); }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }

inline int __float_as_int(float x) { return emu::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emu::bits<unsigned>(x); }
inline float __int_as_float(int x) { return emu::bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emu::bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu::bits<double>(x); }

/* Conversions of a GPU saturate and take NaN to 0, where C++ has no defined answer. */
namespace emu {
template <class To> To saturate(double x) {
    if (x != x) return 0;
    if (x <= (double)std::numeric_limits<To>::min()) return std::numeric_limits<To>::min();
    if (x >= (double)std::numeric_limits<To>::max()) return std::numeric_limits<To>::max();
    return (To)x;
}
} // namespace emu
inline int __float2int_rn(float x) { return emu::saturate<int>(nearbyint((double)x)); }
inline int __float2int_rz(float x) { return emu::saturate<int>(trunc((double)x)); }
inline int __float2int_rd(float x) { return emu::saturate<int>(floor((double)x)); }
inline int __float2int_ru(float x) { return emu::saturate<int>(ceil((double)x)); }
inline unsigned __float2uint_rn(float x) { return emu::saturate<unsigned>(nearbyint((double)x)); }
inline unsigned __float2uint_rz(float x) { return emu::saturate<unsigned>(trunc((double)x)); }
inline unsigned __float2uint_rd(float x) { return emu::saturate<unsigned>(floor((double)x)); }
inline long long __float2ll_rn(float x) { return emu::saturate<long long>(nearbyint((double)x)); }
inline long long __float2ll_rz(float x) { return emu::saturate<long long>(trunc((double)x)); }
inline long long __double2ll_rn(double x) { return emu::saturate<long long>(nearbyint(x)); }
inline long long __double2ll_rd(double x) { return emu::saturate<long long>(floor(x)); }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline float __ll2float_rn(long long x) { return (float)x; }
inline float __ull2float_rn(unsigned long long x) { return (float)x; }
inline double __ll2double_rn(long long x) { return (double)x; }
inline double __ull2double_rn(unsigned long long x) { return (double)x; }
inline float __double2float_rn(double x) { return (float)x; }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= ((x >> i) & 1u) << (31 - i);
    return reversed;
}
inline int __mulhi(int x, int y) { return (int)(((int64_t)x * y) >> 32); }
inline unsigned __umulhi(unsigned x, unsigned y) { return (unsigned)(((uint64_t)x * y) >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return (unsigned long long)(((unsigned __int128)x * y) >> 64);
}

/* The same overloads as CUDA's, no templates: what is ambiguous for nvcc is ambiguous here. */
#define KD_EMU_MIN_MAX(result, first, second)                                                      \
    inline result min(first x, second y) { return (result)x < (result)y ? (result)x : (result)y; } \
    inline result max(first x, second y) { return (result)x > (result)y ? (result)x : (result)y; }
KD_EMU_MIN_MAX(int, int, int)
KD_EMU_MIN_MAX(unsigned, unsigned, unsigned)
KD_EMU_MIN_MAX(unsigned, int, unsigned)
KD_EMU_MIN_MAX(unsigned, unsigned, int)
KD_EMU_MIN_MAX(long, long, long)
KD_EMU_MIN_MAX(unsigned long, unsigned long, unsigned long)
KD_EMU_MIN_MAX(unsigned long, long, unsigned long)
KD_EMU_MIN_MAX(unsigned long, unsigned long, long)
KD_EMU_MIN_MAX(long long, long long, long long)
KD_EMU_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
KD_EMU_MIN_MAX(unsigned long long, long long, unsigned long long)
KD_EMU_MIN_MAX(unsigned long long, unsigned long long, long long)
#undef KD_EMU_MIN_MAX
inline float min(float x, float y) { return fminf(x, y); }
inline float max(float x, float y) { return fmaxf(x, y); }
inline double min(double x, double y) { return fmin(x, y); }
inline double max(double x, double y) { return fmax(x, y); }
inline double min(float x, double y) { return fmin((double)x, y); }
inline double max(float x, double y) { return fmax((double)x, y); }
inline double min(double x, float y) { return fmin(x, (double)y); }
inline double max(double x, float y) { return fmax(x, (double)y); }

#endif
