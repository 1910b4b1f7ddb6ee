/* What a compiler at hand would not write: forms of calls, and functions whose blocks lie just so. */

/* ---- forms of calls: what counts is that the site is found */

__asm__(".text\n"
        ".globl dispatch_rax\n"
        "dispatch_rax: jmpq *%rax\n"
        ".balign 16, 0xcc\n"
        ".globl dispatch_r10\n"
        "dispatch_r10: jmpq *%r10\n"
        ".balign 16, 0xcc\n"
        ".globl thunk\n"
        "thunk: jmpq *__imp_MmUnlockPages(%rip)\n"
        ".balign 16, 0xcc\n"
        ".globl __chkstk\n"
        "__chkstk: ret\n"
        ".balign 16, 0xcc\n");

#define FORM(name, body)                                                                                     \
    __asm__(".globl " #name "\n.balign 16, 0xcc\n.seh_proc " #name "\n" #name ":\n"                          \
            "subq $0x28, %rsp\n.seh_stackalloc 0x28\n.seh_endprologue\n" body                                \
            "addq $0x28, %rsp\nret\n.seh_endproc\n")

FORM(unlock_plain, "callq *__imp_MmUnlockPages(%rip)\n");
FORM(unlock_optimised, ".byte 0x48\ncallq *__imp_MmUnlockPages(%rip)\n.byte 0x0f, 0x1f, 0x44, 0, 0\n");
FORM(unlock_linked,
     ".byte 0x48\ncallq *__imp_MmUnlockPages(%rip)\n.byte 0x0f, 0x1f, 0x44, 0, 0\n"); /* the test links it */
FORM(unlock_retpoline, "movq __imp_MmUnlockPages(%rip), %r10\ncallq dispatch_r10\n");
FORM(unlock_guarded, "movq __imp_MmUnlockPages(%rip), %rax\ncallq *guard(%rip)\n");
FORM(unlock_by_thunk, "callq thunk\n");
FORM(unlock_register, "movq __imp_MmUnlockPages(%rip), %rax\nnop\ncallq *%rax\n");
FORM(not_an_unlock, "movq __imp_MmUnlockPages(%rip), %rax\nmovq %rax, sink(%rip)\ncallq helper\n");
FORM(unlock_saved_register,
     "movq __imp_MmUnlockPages(%rip), %rbx\ntestl %ecx, %ecx\nje 1f\ncallq *%rbx\n1: callq *%rbx\n");

/* Two parts, as a compiler lays out cold code: the second one's unwind data is chained to the row of the
 * first. */
__asm__(".globl lost_in_the_second_part\n"
        ".balign 16, 0xcc\n"
        ".seh_proc lost_in_the_second_part\n"
        "lost_in_the_second_part:\n"
        "subq $0x38, %rsp\n"
        ".seh_stackalloc 0x38\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, %rcx\n"
        "movq %rax, 0x28(%rsp)\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "jmp second_part\n"
        "first_end:\n"
        ".seh_endproc\n"
        ".balign 16, 0xcc\n"
        "second_part:\n"
        "callq ask\n"
        "testl %eax, %eax\n"
        "js 1f\n"
        "movq 0x28(%rsp), %rcx\n"
        "callq *__imp_MmUnlockPages(%rip)\n"
        "1: addq $0x38, %rsp\n"
        "ret\n"
        "second_end:\n"
        ".section .xdata,\"dr\"\n"
        ".balign 4\n"
        "first_info: .byte 1, 4, 1, 0, 4, 0x62, 0, 0\n" /* version 1; sub rsp, 38h */
        "second_info: .byte 0x21, 0, 0, 0\n"            /* chained */
        ".long lost_in_the_second_part@IMGREL, first_end@IMGREL, first_info@IMGREL\n"
        ".section .pdata,\"dr\"\n"
        ".balign 4\n"
        ".long second_part@IMGREL, second_end@IMGREL, second_info@IMGREL\n"
        ".text\n");

/* In assembler, since a compiler would think of something better. */
#define BODY(name, body)                                                                                     \
    __asm__(".globl " #name "\n.balign 16, 0xcc\n.seh_proc " #name "\n" #name ":\n"                          \
            "pushq %rbx\n.seh_pushreg %rbx\npushq %rsi\n.seh_pushreg %rsi\n"                                 \
            "subq $0x48, %rsp\n.seh_stackalloc 0x48\n.seh_endprologue\n" body                                \
            "9: addq $0x48, %rsp\npopq %rsi\npopq %rbx\nret\n.seh_endproc\n")
#define CALL(routine)      "callq *__imp_" #routine "(%rip)\n"
#define ALLOCATE_TO(reg)   "movq $0, 0x20(%rsp)\n" CALL(IoAllocateMdl) "movq %rax, " reg "\n"
#define WITH(reg, routine) "movq " reg ", %rcx\n" CALL(routine)

/* The same register has the MDL on one way and nothing on the other: what is stored behind may be either. */
BODY(lost_sight_of,
     ALLOCATE_TO("%rbx") WITH("%rbx", MmProbeAndLockPages) "cmpl $7, sink(%rip)\nje 4f\nxorl %ebx, %ebx\n4: "
                                                           "movq %rbx, kept_globally(%rip)\n");
BODY(lost_sight_of_the_other,
     ALLOCATE_TO("%rbx") WITH("%rbx", MmProbeAndLockPages) "cmpl $7, sink(%rip)\njne 3f\njmp 5f\n5: jmp "
                                                           "6f\n6: jmp 4f\n3: xorl %ebx, %ebx\n4: "
                                                           "movq %rbx, kept_globally(%rip)\n");
BODY(lost_sight_of_in_the_frame,
     ALLOCATE_TO("0x38(%rsp)") "movq 0x38(%rsp), %rcx\n" CALL(
         MmProbeAndLockPages) "cmpl $7, sink(%rip)\nje 4f\nmovq $0, 0x38(%rsp)\n4: movq 0x38(%rsp), "
                              "%rax\nmovq %rax, kept_globally(%rip)\nxorl %eax, %eax\n");
BODY(lost_sight_of_the_other_in_the_frame,
     ALLOCATE_TO("0x38(%rsp)") "movq 0x38(%rsp), %rcx\n" CALL(
         MmProbeAndLockPages) "cmpl $7, sink(%rip)\njne 3f\njmp 5f\n5: jmp 6f\n6: jmp 4f\n3: movq $0, "
                              "0x38(%rsp)\n4: movq 0x38(%rsp), "
                              "%rax\nmovq %rax, kept_globally(%rip)\nxorl %eax, %eax\n");
/* The helper has the address of the frame, in which the MDL is put later. */
BODY(stored_where_others_look,
     "leaq 0x30(%rsp), %rcx\ncallq helper\n" ALLOCATE_TO("0x38(%rsp)") WITH("%rax", MmProbeAndLockPages));
BODY(
    fine_by_a_number,
    ALLOCATE_TO("%rsi") "xorl %ebx, %ebx\ncallq ask\ntestl %eax, %eax\njs 1f\n" WITH(
        "%rsi",
        MmProbeAndLockPages) "movl $1, %ebx\n1: cmpl $1, %ebx\njne 2f\n" WITH("%rsi",
                                                                              MmUnlockPages) "2: " WITH("%rs"
                                                                                                        "i",
                                                                                                        IoFreeMdl));
BODY(fine_by_a_stored_flag,
     ALLOCATE_TO("%rsi") "movb $0, sink(%rip)\ncmpl $7, resolved(%rip)\nje 1f\n" WITH(
         "%rsi", MmProbeAndLockPages) "movb $1, sink(%rip)\n1: cmpb $0, sink(%rip)\nje "
                                      "2f\n" WITH("%rsi", MmUnlockPages) "2: " WITH("%rsi", IoFreeMdl));
BODY(fine_by_zero,
     ALLOCATE_TO("%rsi") "callq ask\nmovl %eax, %ebx\ntestl %ebx, %ebx\njne 1f\n" WITH(
         "%rsi", MmProbeAndLockPages) "testl %ebx, %ebx\njs 1f\n" WITH("%rsi",
                                                                       MmUnlockPages) "1: " WITH("%rsi",
                                                                                                 IoFreeMdl));
BODY(
    fine_by_a_loaded_word,
    "movq %rcx, %rbx\n" ALLOCATE_TO("%rsi") "movl 0x30(%rbx), %eax\ntestl %eax, %eax\nje 1f\n" WITH(
        "%rsi",
        MmProbeAndLockPages) "1: movl 0x30(%rbx), %ecx\ntestl %ecx, %ecx\nje 2f\n" WITH("%rsi",
                                                                                        MmUnlockPages) "2:"
                                                                                                       " " WITH(
                                                                                                           "%"
                                                                                                           "r"
                                                                                                           "s"
                                                                                                           "i",
                                                                                                           IoFreeMdl));
BODY(ends_without_a_stop, ALLOCATE_TO("%rsi") WITH("%rsi", MmProbeAndLockPages) CALL(KeBugCheckEx));

/* The pointer goes by a vector register, which is not followed. */
__asm__(".globl by_a_vector_register\n"
        ".balign 16, 0xcc\n"
        ".seh_proc by_a_vector_register\n"
        "by_a_vector_register:\n"
        "subq $0x48, %rsp\n"
        ".seh_stackalloc 0x48\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, 0x30(%rsp)\n"
        "movq %rax, %rcx\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "movups 0x30(%rsp), %xmm0\n"
        "movups %xmm0, kept_globally(%rip)\n"
        "addq $0x48, %rsp\n"
        "ret\n"
        ".seh_endproc\n");

/* A fifth argument. */
__asm__(".globl given_on_the_stack\n"
        ".balign 16, 0xcc\n"
        ".seh_proc given_on_the_stack\n"
        "given_on_the_stack:\n"
        "pushq %rbx\n"
        ".seh_pushreg %rbx\n"
        "subq $0x30, %rsp\n"
        ".seh_stackalloc 0x30\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, %rbx\n"
        "movq %rax, %rcx\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "movq %rbx, 0x20(%rsp)\n"
        "callq helper\n"
        "addq $0x30, %rsp\n"
        "popq %rbx\n"
        "ret\n"
        ".seh_endproc\n");

/* The helper may write the variable that the flag is in. */
__asm__(".globl flag_given_away\n"
        ".balign 16, 0xcc\n"
        ".seh_proc flag_given_away\n"
        "flag_given_away:\n"
        "pushq %rbx\n"
        ".seh_pushreg %rbx\n"
        "subq $0x40, %rsp\n"
        ".seh_stackalloc 0x40\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, %rbx\n"
        "movl $1, 0x38(%rsp)\n"
        "leaq 0x38(%rsp), %rcx\n"
        "callq helper\n"
        "cmpl $1, 0x38(%rsp)\n"
        "je 1f\n"
        "movq %rbx, %rcx\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "1: addq $0x40, %rsp\n"
        "popq %rbx\n"
        "ret\n"
        ".seh_endproc\n");

/* A way that ends at a table is not followed, and nothing is said about it. */
__asm__(".globl by_a_table\n"
        ".balign 16, 0xcc\n"
        ".seh_proc by_a_table\n"
        "by_a_table:\n"
        "subq $0x38, %rsp\n"
        ".seh_stackalloc 0x38\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, %rcx\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "callq ask\n"
        "leaq 2f(%rip), %rcx\n"
        "addq %rcx, %rax\n"
        "jmpq *%rax\n"
        "2: addq $0x38, %rsp\n"
        "ret\n"
        ".seh_endproc\n");

FORM(not_surely_an_unlock, "testl %ecx, %ecx\nje 1f\nmovq __imp_MmUnlockPages(%rip), %rax\n1: callq *%rax\n");
FORM(not_always_an_unlock,
     "movq __imp_MmUnlockPages(%rip), %rbx\ntestl %ecx, %ecx\nje 1f\nmovq %rdx, %rbx\n1: callq *%rbx\n");

/* ---- tables of jumps as another compiler lays them out: entries counted from the image's base, and where
 * they are few a byte for each case that gives the number of its entry */

#define SELECT_BY_BYTES(name, jump)                                                                          \
    "movslq %ebx, %rax\nleaq __ImageBase(%rip), %rdx\nmovzbl " #name                                         \
    "_numbers@IMGREL(%rdx,%rax), %eax\nmovl " #name "_entries@IMGREL(%rdx,%rax,4), %ecx\naddq %rdx, "        \
    "%rcx\n" jump "\n"
#define LOCKED_BEFORE "movl %edx, %ebx\n" ALLOCATE_TO("%rsi") WITH("%rsi", MmProbeAndLockPages)
#define PUT_AWAY      WITH("%rsi", MmUnlockPages) WITH("%rsi", IoFreeMdl) "jmp 9f\n"
#define BYTES(name, first, second, numbers)                                                                  \
    __asm__(".section .rdata,\"dr\"\n.balign 4\n" #name "_entries: .long " #name first                       \
            "@IMGREL, " #name second "@IMGREL\n" #name "_numbers: .byte " numbers "\n.text\n")

BODY(fine_by_bytes, LOCKED_BEFORE
     "cmpl $5, %ebx\nja fine_by_bytes_1\n" SELECT_BY_BYTES(fine_by_bytes,
                                                           "jmpq *%rcx") "fine_by_bytes_1: " PUT_AWAY
                                                                         "fine_by_bytes_2: " PUT_AWAY);
BYTES(fine_by_bytes, "_1", "_2", "0, 0, 1, 0, 0, 0");
BODY(lost_by_bytes, LOCKED_BEFORE
     "cmpl $5, %ebx\nja lost_by_bytes_1\n" SELECT_BY_BYTES(lost_by_bytes,
                                                           "jmpq *%rcx") "lost_by_bytes_1: " PUT_AWAY
                                                                         "lost_by_bytes_2: jmp 9f\n");
BYTES(lost_by_bytes, "_1", "_2", "0, 0, 1, 0, 0, 0");
/* No case has the number of the entry that loses it. */
BODY(fine_but_for_another_entry,
     LOCKED_BEFORE "cmpl $6, %ebx\njae fine_but_for_another_entry_1\n" SELECT_BY_BYTES(
         fine_but_for_another_entry, "jmpq *%rcx") "fine_but_for_another_entry_1: " PUT_AWAY
                                                   "fine_but_for_another_entry_2: jmp 9f\n");
BYTES(fine_but_for_another_entry, "_1", "_2", "0, 0, 0, 0, 0, 0, 1");
/* The loader makes a jump to a retpoline of it: the test does that. */
BODY(lost_by_a_retpoline, LOCKED_BEFORE "cmpl $5, %ebx\nja lost_by_a_retpoline_1\n" SELECT_BY_BYTES(
                              lost_by_a_retpoline, ".globl retpoline_jump\nretpoline_jump: jmpq *%rcx\n.byte "
                                                   "0xcc, 0xcc, 0xcc\n") "lost_by_a_retpoline_1: " PUT_AWAY
                                                                         "lost_by_a_retpoline_2: jmp 9f\n");
BYTES(lost_by_a_retpoline, "_1", "_2", "0, 0, 1, 0, 0, 0");
/* The comparison stands where the table is jumped to, or a mask is the bound. */
BODY(lost_by_a_mask, LOCKED_BEFORE
     "andl $3, %ebx\n" SELECT_BY_BYTES(lost_by_a_mask, "jmpq *%rcx") "lost_by_a_mask_1: " PUT_AWAY
                                                                     "lost_by_a_mask_2: jmp 9f\n");
BYTES(lost_by_a_mask, "_1", "_2", "0, 0, 1, 0");
BODY(lost_below,
     LOCKED_BEFORE "cmpl $5, %ebx\njbe lost_below_3\nlost_below_1: " PUT_AWAY
                   "lost_below_2: jmp 9f\nlost_below_3: " SELECT_BY_BYTES(lost_below, "jmpq *%rcx"));
BYTES(lost_below, "_1", "_2", "0, 0, 1, 0, 0, 0");
/* Not followed: nothing bounds it; another register is compared; an entry leads elsewhere; the index has
 * changed. */
BODY(table_without_a_bound,
     LOCKED_BEFORE SELECT_BY_BYTES(table_without_a_bound, "jmpq *%rcx") "table_without_a_bound_1: " PUT_AWAY
                                                                        "table_without_a_bound_2: jmp 9f\n");
BYTES(table_without_a_bound, "_1", "_2", "0, 0, 1, 0, 0, 0");
BODY(table_of_another_register,
     LOCKED_BEFORE "cmpl $5, %edi\nja table_of_another_register_1\n" SELECT_BY_BYTES(
         table_of_another_register, "jmpq *%rcx") "table_of_another_register_1: " PUT_AWAY
                                                  "table_of_another_register_2: jmp 9f\n");
BYTES(table_of_another_register, "_1", "_2", "0, 0, 1, 0, 0, 0");
BODY(table_that_leads_elsewhere,
     LOCKED_BEFORE "cmpl $5, %ebx\nja table_that_leads_elsewhere_1\n" SELECT_BY_BYTES(
         table_that_leads_elsewhere, "jmpq *%rcx") "table_that_leads_elsewhere_1: " PUT_AWAY);
__asm__(".globl table_that_leads_elsewhere_2\n.set table_that_leads_elsewhere_2, thunk + 1\n");
BYTES(table_that_leads_elsewhere, "_1", "_2", "0, 0, 1, 0, 0, 0");
BODY(table_of_a_changed_index,
     LOCKED_BEFORE "cmpl $5, %ebx\nja table_of_a_changed_index_1\naddl $1, %ebx\n" SELECT_BY_BYTES(
         table_of_a_changed_index, "jmpq *%rcx") "table_of_a_changed_index_1: " PUT_AWAY
                                                 "table_of_a_changed_index_2: jmp 9f\n");
BYTES(table_of_a_changed_index, "_1", "_2", "0, 0, 1, 0, 0, 0");

/* A part that no chain connects with its function: what is done there can't be told. */
__asm__(".globl goes_on_elsewhere\n.balign 16, 0xcc\n.seh_proc goes_on_elsewhere\ngoes_on_elsewhere:\n"
        "subq $0x38, %rsp\n.seh_stackalloc 0x38\n.seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n" CALL(IoAllocateMdl) "movq %rax, 0x28(%rsp)\n" WITH(
            "%rax", MmProbeAndLockPages) "jmp the_other_part\n.seh_endproc\n"
                                         ".balign 16, 0xcc\n.seh_proc the_other_part\nthe_other_part:\n"
                                         ".seh_stackalloc 0x38\n.seh_endprologue\n" WITH(
                                             "0x28(%rsp)",
                                             MmUnlockPages) "addq $0x38, %rsp\nret\n.seh_endproc\n");
