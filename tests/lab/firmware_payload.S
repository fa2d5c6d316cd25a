# A firmware image of two pages for berth-vmm --firmware, which is mapped so that it ends at 4 GiB. The processor comes
# to its last 16 bytes in real mode, with code segment 0xffff0000.
#
# The first time it says that it is there, what the PCI host bridge is, and whether RAM keeps a word; then it resets the
# machine by the ACPI reset register. The second time, which it knows by the word in RAM, it switches the machine off.
        .set    COM1, 0x3f8
        .set    SLEEP_CONTROL, 0x600
        .set    RESET, 0x602
        .set    WORD, 0x8000                    # in RAM
        .set    MAGIC, 0x42657274

        .text
        .code16
        .globl  _start
_start:
        cli
        xor     %ax, %ax
        mov     %ax, %ds
        mov     $stack_top, %esp
        mov     %ax, %ss
        cmpl    $MAGIC, WORD
        je      second

        mov     $text_up, %si
        call    puts
        mov     $0xcf8, %dx
        mov     $0x80000000, %eax               # bus 0, device 0, function 0, register 0
        out     %eax, %dx
        mov     $0xcfc, %dx
        in      %dx, %eax
        mov     %eax, %ebx
        call    hex
        movl    $MAGIC, WORD
        cmpl    $MAGIC, WORD
        jne     halt
        mov     $text_ram, %si
        call    puts
        mov     $RESET, %dx
        mov     $1, %al
        out     %al, %dx
        jmp     halt

second:
        mov     $text_second, %si
        call    puts
        mov     $SLEEP_CONTROL, %dx
        mov     $0x34, %al                      # S5, enable
        out     %al, %dx
halt:
        hlt
        jmp     halt

# ---- the text at cs:si, to its zero
puts:
        lodsb   %cs:(%si), %al
        test    %al, %al
        jz      1f
        call    putc
        jmp     puts
1:      ret

putc:
        mov     %al, %ah
        mov     $COM1 + 5, %dx
2:      in      %dx, %al
        test    $0x20, %al                      # the transmitter is empty
        jz      2b
        mov     %ah, %al
        mov     $COM1, %dx
        out     %al, %dx
        ret

# ---- ebx as eight digits and the end of the line
hex:
        mov     $8, %cx
3:      rol     $4, %ebx
        mov     %bl, %al
        and     $15, %al
        add     $'0', %al
        cmp     $'9', %al
        jbe     4f
        add     $'a' - '9' - 1, %al
4:      call    putc
        loop    3b
        mov     $'\n', %al
        jmp     putc

text_up:
        .asciz  "firmware: up, host bridge "
text_ram:
        .asciz  "firmware: RAM keeps what is written\n"
text_second:
        .asciz  "firmware: back after a reset\n"

        .set    stack_top, 0x7000

        .org    0x1ff0
        jmp     _start
        .org    0x2000
