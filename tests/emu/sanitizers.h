/* What the sanitizers must be told about fibers. The engine itself is compiled without them, once for every build:
 * these symbols are weak, and null where a program is linked without that sanitizer. */
#ifndef KD_EMU_SANITIZERS_H
#define KD_EMU_SANITIZERS_H

#include <cstddef>

extern "C" {
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size) __attribute__((weak));
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *size) __attribute__((weak));
void *__tsan_get_current_fiber(void) __attribute__((weak));
void *__tsan_create_fiber(unsigned flags) __attribute__((weak));
void __tsan_switch_to_fiber(void *fiber, unsigned flags) __attribute__((weak));
void __tsan_acquire(void *address) __attribute__((weak));
void __tsan_release(void *address) __attribute__((weak));
}

namespace emu {

inline bool under_tsan() { return __tsan_create_fiber != nullptr; }
inline bool under_asan() { return __sanitizer_start_switch_fiber != nullptr; }

/* Something that orders threads: all that came before a release comes before what follows an acquire. */
struct Order {
    char word[8];
    void release() {
        if (under_tsan()) __tsan_release(word);
    }
    void acquire() {
        if (under_tsan()) __tsan_acquire(word);
    }
};

/* Goes on as another fiber for ThreadSanitizer, on the same stack; the switch itself orders nothing. */
inline void become_fiber(void *fiber) {
    const unsigned no_synchronization = 1;
    __tsan_switch_to_fiber(fiber, no_synchronization);
}

} // namespace emu

#endif
