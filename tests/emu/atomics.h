/* Atomic functions of kernels. Real atomics of the host with relaxed order, so that ThreadSanitizer sees exactly what a
 * GPU promises: the one word is safe, nothing around it is ordered. */
#ifndef KD_EMU_ATOMICS_H
#define KD_EMU_ATOMICS_H

namespace emu {
/* Replaces *p by change(*p) in one step and gives the old value; Bits is the unsigned integer of T's size. */
template <class T, class Change> T change_atomically(T *p, Change change) {
    typedef std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t> Bits;
    static_assert(sizeof(T) == sizeof(Bits));
    Bits seen = __atomic_load_n(reinterpret_cast<Bits *>(p), __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(reinterpret_cast<Bits *>(p), &seen, bits<Bits>(change(bits<T>(seen))), false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return bits<T>(seen);
}
} // namespace emu

#define KD_EMU_ATOMIC(name, type, expression)                                           \
    inline type name(type *p, type value) {                                             \
        return emu::change_atomically(p, [=](type old) -> type { return expression; }); \
    }
#define KD_EMU_ATOMIC_INTEGERS(name, expression) \
    KD_EMU_ATOMIC(name, int, expression)         \
    KD_EMU_ATOMIC(name, unsigned, expression)    \
    KD_EMU_ATOMIC(name, unsigned long long, expression)
KD_EMU_ATOMIC(atomicAdd, int, (int)((unsigned)old + (unsigned)value))
KD_EMU_ATOMIC(atomicAdd, unsigned, old + value)
KD_EMU_ATOMIC(atomicAdd, unsigned long long, old + value)
KD_EMU_ATOMIC(atomicAdd, float, old + value)
KD_EMU_ATOMIC(atomicAdd, double, old + value)
KD_EMU_ATOMIC(atomicSub, int, (int)((unsigned)old - (unsigned)value))
KD_EMU_ATOMIC(atomicSub, unsigned, old - value)
KD_EMU_ATOMIC_INTEGERS(atomicMin, old < value ? old : value)
KD_EMU_ATOMIC_INTEGERS(atomicMax, old > value ? old : value)
KD_EMU_ATOMIC(atomicMin, long long, old < value ? old : value)
KD_EMU_ATOMIC(atomicMax, long long, old > value ? old : value)
KD_EMU_ATOMIC_INTEGERS(atomicAnd, old &value)
KD_EMU_ATOMIC_INTEGERS(atomicOr, old | value)
KD_EMU_ATOMIC_INTEGERS(atomicXor, old ^ value)
KD_EMU_ATOMIC_INTEGERS(atomicExch, ((void)old, value))
KD_EMU_ATOMIC(atomicExch, float, ((void)old, value))
KD_EMU_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
KD_EMU_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
#undef KD_EMU_ATOMIC
#undef KD_EMU_ATOMIC_INTEGERS

#define KD_EMU_CAS(type)                                                                            \
    inline type atomicCAS(type *p, type compare, type value) {                                      \
        __atomic_compare_exchange_n(p, &compare, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED); \
        return compare;                                                                             \
    }
KD_EMU_CAS(int)
KD_EMU_CAS(unsigned)
KD_EMU_CAS(unsigned long long)
#undef KD_EMU_CAS

#endif
