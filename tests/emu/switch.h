/* Changing from one stack to another. By hand on x86-64, where swapcontext's system calls would cost 30 times as much.
 */
#ifndef KD_EMU_SWITCH_H
#define KD_EMU_SWITCH_H

#include <cstddef>
#include <cstdint>

namespace emu {

#if defined(__x86_64__) && !defined(KDIFFE_EMU_UCONTEXT)

struct Context {
    void *stack_pointer;
};

/* Saves what a called function must keep, exchanges the stack pointers, returns on the other stack. */
extern "C" void kdiffe_emu_switch(void **save, void *resume);
asm(R"(
.text
.type kdiffe_emu_switch,@function
kdiffe_emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size kdiffe_emu_switch, .-kdiffe_emu_switch
)");

inline void context_make(Context *context, char *stack, size_t bytes, void (*function)()) {
    void **top = reinterpret_cast<void **>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~(uintptr_t)15);
    *--top = nullptr; /* where function would return to; puts the stack where a call leaves it */
    *--top = reinterpret_cast<void *>(function);
    for (int saved = 0; saved < 6; saved++) *--top = nullptr;
    context->stack_pointer = top;
}

inline void context_switch(Context *from, Context *to) { kdiffe_emu_switch(&from->stack_pointer, to->stack_pointer); }

#else

} // namespace emu
#include <ucontext.h>
namespace emu {

struct Context {
    ucontext_t saved;
};

inline void context_make(Context *context, char *stack, size_t bytes, void (*function)()) {
    getcontext(&context->saved);
    context->saved.uc_stack.ss_sp = stack;
    context->saved.uc_stack.ss_size = bytes;
    context->saved.uc_link = nullptr;
    makecontext(&context->saved, function, 0);
}

inline void context_switch(Context *from, Context *to) { swapcontext(&from->saved, &to->saved); }

#endif

} // namespace emu

#endif
