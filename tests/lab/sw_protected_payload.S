# A guest of a few hundred bytes that converts its memory: for a software-protected VM, whose private memory is
# real guest_memfd memory. Entered by the PVH protocol: 32-bit protected mode without paging.
#
# Its command line begins with two numbers: how many pieces of 2 MiB, from FIRST on, and how many single pages, by
# chance in [LOOSE, + 128 MiB), it converts to private and back by the hypercall KVM_HC_MAP_GPA_RANGE. It writes to
# each side, looks what it finds, and says so on COM1. Where it finds QEMU's edu device it makes it copy from and to
# memory of both kinds. At each line that ends in "waits" it waits for a byte on COM1.
        .set    COM1, 0x3f8
        .set    HYPERCALL_MAP_GPA_RANGE, 12
        .set    ENCRYPTED, 0x10
        .set    SOURCE, 0x2000000               # 32 MiB: stays shared
        .set    FIRST, 0x4000000                # 64 MiB: 512 pieces at most
        .set    LOOSE, FIRST + 0x40000000       # the single pages
        .set    LAST, LOOSE + 0x8000000         # 16 pieces of 2 MiB that are converted at the end
        .set    EDU, 0x11e81234                 # device and vendor
        .set    EDU_BUFFER, 0x40000
        .set    TO_DEVICE, 1
        .set    FROM_DEVICE, 3
        .set    PATTERN, 0xd00dfeed

        .section .note.Xen, "a", @note
        .long   4, 4, 18                        # name and description of 4 bytes, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .long   _start

        .text
        .code32
        .globl  _start
_start:
        mov     $stack_top, %esp
        mov     24(%ebx), %esi                  # cmdline_paddr of the start information
        call    number
        mov     %eax, pieces
        call    number
        mov     %eax, pages
        mov     $text_up, %esi
        call    puts
        xor     %eax, %eax
        cpuid
        cmp     $0x68747541, %ebx               # "Auth"enticAMD
        sete    is_amd
        call    find_device

# ---- all is shared: the device reaches it
        cmpl    $0, device
        je      1f
        movl    $PATTERN, SOURCE
        movl    $PATTERN, SOURCE + 252
        call    load_device
        mov     $FIRST, %edi
        call    from_device
        mov     $text_no_dma, %esi
        cmpl    $PATTERN, FIRST
        jne     wrong
        cmpl    $PATTERN, FIRST + 252
        jne     wrong
        mov     $text_dma, %esi
        call    puts

# ---- pieces of 2 MiB: private, and half of them back
1:      xor     %ebp, %ebp
2:      call    piece
        movl    $0x11111111, (%edi)             # on the shared side
        mov     $512, %ecx
        mov     $ENCRYPTED, %edx
        call    convert
        test    %eax, %eax
        jnz     failed
        mov     $text_not_zero, %esi
        cmpl    $0, (%edi)                      # the private side is new
        jne     wrong
        mov     %ebp, 4096(%edi)
        movl    $0x22222222, (%edi)
        mov     $text_lost, %esi
        cmp     %ebp, 4096(%edi)
        jne     wrong
        inc     %ebp
        cmp     pieces, %ebp
        jne     2b

        cmpl    $0, device
        je      3f
        mov     $FIRST, %edi
        call    from_device
        mov     $FIRST + 0x5000, %edi           # a private page that nobody has touched
        call    from_device
        mov     $text_dma_private, %esi
        cmpl    $0x22222222, FIRST
        jne     wrong
        cmpl    $0, FIRST + 0x5000
        jne     wrong
        # neither can the device read it
        mov     $FIRST, %edi
        call    to_device
        mov     $SOURCE + 0x1000, %edi
        call    from_device
        cmpl    $0x22222222, SOURCE + 0x1000
        je      wrong
        mov     $text_no_dma_private, %esi
        call    puts
3:      mov     $text_private, %esi
        call    await

        xor     %ebp, %ebp
4:      call    piece
        mov     $text_lost, %esi
        cmpl    $0x22222222, (%edi)             # still there
        jne     wrong
        cmp     %ebp, 4096(%edi)
        jne     wrong
        test    $1, %ebp                        # every other piece stays private
        jnz     5f
        mov     $512, %ecx
        xor     %edx, %edx
        call    convert
        test    %eax, %eax
        jnz     failed
        mov     $text_not_zero, %esi
        cmpl    $0, (%edi)                      # what was private is gone, and what was shared before as well
        jne     wrong
5:      inc     %ebp
        cmp     pieces, %ebp
        jne     4b

        cmpl    $0, device
        je      6f
        call    load_device
        mov     $FIRST, %edi                    # is shared again
        call    from_device
        mov     $text_no_dma, %esi
        cmpl    $PATTERN, FIRST
        jne     wrong
        mov     $FIRST + 0x200000, %edi         # is not
        call    from_device
        mov     $text_dma_private, %esi
        cmpl    $0x22222222, FIRST + 0x200000
        jne     wrong
        # one private page between shared ones
        mov     $FIRST + 0x8000, %edi
        mov     $1, %ecx
        mov     $ENCRYPTED, %edx
        call    convert
        test    %eax, %eax
        jnz     failed
        movl    $0x33333333, FIRST + 0x8000
        mov     $FIRST + 0x7000, %edi
        call    from_device
        mov     $FIRST + 0x8000, %edi
        call    from_device
        mov     $FIRST + 0x9000, %edi
        call    from_device
        mov     $text_no_dma, %esi
        cmpl    $PATTERN, FIRST + 0x7000
        jne     wrong
        cmpl    $PATTERN, FIRST + 0x9000
        jne     wrong
        mov     $text_dma_private, %esi
        cmpl    $0x33333333, FIRST + 0x8000
        jne     wrong
        mov     $FIRST + 0x8000, %edi
        mov     $1, %ecx
        xor     %edx, %edx
        call    convert
        test    %eax, %eax
        jnz     failed
        mov     $FIRST + 0x8000, %edi
        call    from_device
        mov     $text_no_dma, %esi
        cmpl    $PATTERN, FIRST + 0x8000
        jne     wrong
        mov     $text_dma_again, %esi
        call    puts
6:      mov     $text_shared, %esi
        call    await

# ---- single pages, each to private and back; what is next to them stays as it is
        mov     $0x1234567, %ebp
        mov     pages, %eax
        mov     %eax, left
7:      imul    $1103515245, %ebp, %ebp
        add     $12345, %ebp
        mov     %ebp, %edi
        shr     $8, %edi
        and     $0x7fff, %edi                   # of 128 MiB
        shl     $12, %edi
        add     $LOOSE, %edi
        mov     %edi, %eax
        xor     $0x1000, %eax
        mov     %ebp, 16(%eax)
        mov     $1, %ecx
        mov     $ENCRYPTED, %edx
        call    convert
        test    %eax, %eax
        jnz     failed
        mov     %ebp, 8(%edi)
        mov     $text_lost, %esi
        cmp     %ebp, 8(%edi)
        jne     wrong
        mov     $1, %ecx
        xor     %edx, %edx
        call    convert
        test    %eax, %eax
        jnz     failed
        mov     $text_not_zero, %esi
        cmpl    $0, 8(%edi)
        jne     wrong
        mov     %edi, %eax
        xor     $0x1000, %eax
        mov     $text_neighbour, %esi
        cmp     %ebp, 16(%eax)
        jne     wrong
        decl    left
        jnz     7b
        mov     $text_pages, %esi
        call    await

# ---- some more pieces, after the host may have changed something
        xor     %ebp, %ebp
8:      mov     %ebp, %edi
        shl     $21, %edi
        add     $LAST, %edi
        mov     $512, %ecx
        mov     $ENCRYPTED, %edx
        call    convert
        test    %eax, %eax
        jnz     failed
        inc     %ebp
        cmp     $16, %ebp
        jne     8b
        mov     $text_last, %esi
        call    await

# ---- what must be refused: registers of devices as private memory
        mov     $0xfec00000, %edi
        mov     $1, %ecx
        mov     $ENCRYPTED, %edx
        call    convert
        mov     $text_refusal, %esi
        test    %eax, %eax
        jz      wrong
        mov     $text_done, %esi
        call    puts
halt:   cli
        hlt
        jmp     halt

failed: mov     $text_failed, %esi
wrong:  call    puts
        mov     $0x600, %dx                     # ACPI sleep control: off
        mov     $0x34, %al
        out     %al, %dx
        jmp     halt

# %edi: where piece %ebp is.
piece:  mov     %ebp, %edi
        shl     $21, %edi
        add     $FIRST, %edi
        ret

# Makes %ecx pages from %edi on private (%edx) or shared; %eax: the result. Changes %ebx, %ecx, %edx, %esi.
convert:
        mov     $HYPERCALL_MAP_GPA_RANGE, %eax
        mov     %edi, %ebx
        xor     %esi, %esi
        cmpb    $0, is_amd
        jne     1f
        vmcall
        ret
1:      vmmcall
        ret

# The next decimal number of the text at %esi, which goes on behind it, in %eax; 0 at its end. Changes %ecx.
number: xor     %eax, %eax
        test    %esi, %esi
        jz      2f
1:      movzbl  (%esi), %ecx
        test    %ecx, %ecx
        jz      2f
        inc     %esi
        sub     $'0', %ecx
        cmp     $9, %ecx
        ja      1b
3:      imul    $10, %eax, %eax
        add     %ecx, %eax
        movzbl  (%esi), %ecx
        sub     $'0', %ecx
        cmp     $9, %ecx
        ja      2f
        inc     %esi
        jmp     3b
2:      ret

# Looks for the device in bus 0; gives it its memory and lets it do DMA.
find_device:
        xor     %edi, %edi
1:      mov     $0, %ebx
        call    config
        in      %dx, %eax
        cmp     $EDU, %eax
        je      2f
        inc     %edi
        cmp     $32, %edi
        jne     1b
        ret
2:      mov     $0x10, %ebx
        call    config
        in      %dx, %eax
        and     $~15, %eax
        mov     %eax, device
        mov     $4, %ebx
        call    config
        mov     $6, %eax
        out     %eax, %dx
        mov     $text_device, %esi
        jmp     puts
# Chooses register %ebx of slot %edi; %dx: the port to reach it by.
config: mov     %edi, %eax
        shl     $11, %eax
        or      %ebx, %eax
        or      $0x80000000, %eax
        mov     $0xcf8, %dx
        out     %eax, %dx
        mov     $0xcfc, %dx
        ret

# 256 bytes between the device's buffer and memory at %edi. Changes %eax, %ebx.
load_device:
        mov     $SOURCE, %edi
to_device:
        mov     device, %ebx
        mov     %edi, 0x80(%ebx)
        movl    $EDU_BUFFER, 0x88(%ebx)
        movl    $256, 0x90(%ebx)
        movl    $TO_DEVICE, 0x98(%ebx)
        jmp     1f
from_device:
        mov     device, %ebx
        movl    $EDU_BUFFER, 0x80(%ebx)
        mov     %edi, 0x88(%ebx)
        movl    $256, 0x90(%ebx)
        movl    $FROM_DEVICE, 0x98(%ebx)
1:      mov     0x98(%ebx), %eax
        test    $1, %al
        jnz     1b
        ret

# Text at %esi to the serial port.
puts:   mov     $COM1, %dx
1:      lodsb
        test    %al, %al
        jz      2f
        out     %al, %dx
        jmp     1b
2:      ret

# So too, and waits for a byte.
await:  call    puts
1:      mov     $COM1 + 5, %dx
        in      %dx, %al
        test    $1, %al
        jnz     3f
        mov     $1000000, %ecx
2:      pause
        loop    2b
        jmp     1b
3:      mov     $COM1, %dx
        in      %dx, %al
        ret

        .data
text_up:        .asciz "payload: up\n"
text_device:    .asciz "payload: has a device\n"
text_dma:       .asciz "payload: DMA reaches shared memory\n"
text_private:   .asciz "payload: the pieces are private, waits\n"
text_no_dma_private: .asciz "payload: DMA does not reach private memory, neither way\n"
text_dma_again: .asciz "payload: DMA reaches what is shared again, and around a private page\n"
text_shared:    .asciz "payload: half of the pieces are shared again, waits\n"
text_pages:     .asciz "payload: single pages went to private and back, waits\n"
text_last:      .asciz "payload: more pieces are private, waits\n"
text_done:      .asciz "payload: done\n"
text_failed:    .asciz "payload: FAILED: a hypercall was refused\n"
text_lost:      .asciz "payload: FAILED: private memory lost what was written\n"
text_not_zero:  .asciz "payload: FAILED: memory of the other side was seen\n"
text_neighbour: .asciz "payload: FAILED: a conversion changed the page next to it\n"
text_no_dma:    .asciz "payload: FAILED: DMA did not reach shared memory\n"
text_dma_private: .asciz "payload: FAILED: DMA reached private memory\n"
text_refusal:   .asciz "payload: FAILED: registers of a device became private memory\n"
        .balign 4
pieces:         .long 0
pages:          .long 0
left:           .long 0
device:         .long 0
is_amd:         .byte 0
        .bss
        .balign 16
        .skip   4096
stack_top:
