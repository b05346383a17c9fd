# The parts of a libc that the program needs: the entry point, the return from a signal handler, and
# the memory functions that the compiler calls. They are for x86-64 with the System V calling
# convention, and are small rather than fast.

.section .text._start, "ax", @progbits
.globl _start
_start:
    xor     ebp, ebp                # marks the outermost stack frame
    mov     rdi, rsp                # argc, argv, 0, envp, 0, auxiliary vector
    and     rsp, -16
    call    start
    mov     edi, eax
    mov     eax, 231                # exit_group
    syscall
    ud2

.section .text.return_from_signal, "ax", @progbits
.globl return_from_signal
return_from_signal:
    mov     eax, 15                 # rt_sigreturn
    syscall
    ud2

.section .text.memmove, "ax", @progbits
.globl memcpy, memmove
memcpy:
memmove:
    mov     rax, rdi
    mov     rcx, rdx
    mov     r8, rdi
    sub     r8, rsi
    cmp     r8, rdx                 # copy backwards if the destination begins in the source
    jb      2f
    rep     movsb
    ret
2:  lea     rdi, [rdi + rcx - 1]
    lea     rsi, [rsi + rcx - 1]
    std
    rep     movsb
    cld
    ret

.section .text.memset, "ax", @progbits
.globl memset
memset:
    mov     r8, rdi
    mov     eax, esi
    mov     rcx, rdx
    rep     stosb
    mov     rax, r8
    ret

.section .text.memcmp, "ax", @progbits
.globl memcmp, bcmp
memcmp:
bcmp:
    mov     rcx, rdx
    xor     eax, eax                # sets the zero flag: 0 bytes are equal
    repe    cmpsb
    je      2f
    movzx   eax, byte ptr [rdi - 1]
    movzx   edx, byte ptr [rsi - 1]
    sub     eax, edx
2:  ret

.section .text.strlen, "ax", @progbits
.globl strlen
strlen:
    xor     eax, eax
    mov     rcx, -1
    repne   scasb
    not     rcx
    lea     rax, [rcx - 1]
    ret

.section .note.GNU-stack, "", @progbits
.text
