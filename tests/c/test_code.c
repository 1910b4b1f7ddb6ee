/* The decoder's interface: lengths, kinds, targets, and what an instruction does with values. */
#include "check.h"
#include "code/decode.h"

#define AT 0xfffff80212200000ull

#ifdef LHI_ZYDIS

static lhi_code decode(const char *hex)
{
    uint8_t bytes[16] = {0};
    size_t size = strlen(hex) / 2;
    lhi_code code = {0};

    for (size_t i = 0; i < size; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    if (!CHECK(lhi_code_decode(bytes, size, AT, &code)))
        fprintf(stderr, "    it is: %s\n", hex);
    CHECK_EQ(code.length, size);
    CHECK_EQ(code.address, AT);
    return code;
}

static void transfer(const char *hex, lhi_code_kind kind, lhi_code_target targets, uint64_t target)
{
    lhi_code code = decode(hex);

    CHECK_EQ(code.kind, kind);
    CHECK_EQ(code.targets, targets);
    CHECK_EQ(code.target, target);
}

static void test_transfers(void)
{
    transfer("e810000000", LHI_CODE_CALL, LHI_TARGET_DIRECT, AT + 0x15);
    transfer("ff1510000000", LHI_CODE_CALL, LHI_TARGET_SLOT, AT + 0x16);
    transfer("48ff1510000000", LHI_CODE_CALL, LHI_TARGET_SLOT, AT + 0x17); /* import-optimised */
    transfer("ffd0", LHI_CODE_CALL, LHI_TARGET_REGISTER, 0);
    transfer("ff5008", LHI_CODE_CALL, LHI_TARGET_UNKNOWN, 0);
    transfer("65ff142510000000", LHI_CODE_CALL, LHI_TARGET_UNKNOWN, 0); /* gs: */
    transfer("ebfe", LHI_CODE_JUMP, LHI_TARGET_DIRECT, AT);
    transfer("e9fbffffff", LHI_CODE_JUMP, LHI_TARGET_DIRECT, AT);
    transfer("ff25f0ffffff", LHI_CODE_JUMP, LHI_TARGET_SLOT, AT - 10);
    transfer("41ffe2", LHI_CODE_JUMP, LHI_TARGET_REGISTER, 0);
    CHECK_EQ(decode("41ffe2").source, LHI_R10);
    transfer("7402", LHI_CODE_BRANCH, LHI_TARGET_DIRECT, AT + 4);
    CHECK_EQ(decode("7402").condition, 4);
    CHECK_EQ(decode("0f8500010000").condition, 5);
    CHECK_EQ(decode("7c02").condition, 12);
    transfer("c3", LHI_CODE_RETURN, LHI_TARGET_NONE, 0);
    transfer("c20800", LHI_CODE_RETURN, LHI_TARGET_NONE, 0);
    transfer("cc", LHI_CODE_STOP, LHI_TARGET_NONE, 0);
    transfer("cd29", LHI_CODE_STOP, LHI_TARGET_NONE, 0);
    transfer("cd2c", LHI_CODE_OTHER, LHI_TARGET_NONE, 0);
    transfer("0f0b", LHI_CODE_STOP, LHI_TARGET_NONE, 0);
}

static void test_values(void)
{
    lhi_code code = decode("488bcb"); /* mov rcx, rbx */
    CHECK_EQ(code.does, LHI_DOES_COPY);
    CHECK_EQ(code.destination, LHI_RCX);
    CHECK_EQ(code.source, LHI_RBX);
    CHECK_EQ(code.written, 1u << LHI_RCX);
    CHECK_EQ(code.read, 1u << LHI_RBX);
    CHECK(!code.flags);
    CHECK_EQ(decode("8bcb").does, LHI_DOES_COPY_PART);
    CHECK_EQ(decode("8bcb").width, 4);
    CHECK(!decode("8bcb").extends_sign);
    CHECK_EQ(decode("668bcb").does, LHI_DOES_OTHER);
    code = decode("b8ffffffff");
    CHECK_EQ(code.does, LHI_DOES_CONSTANT);
    CHECK_EQ(code.value, 0xffffffffu);
    CHECK_EQ(decode("48c7c0ffffffff").value, UINT64_MAX);
    CHECK_EQ(decode("4533c0").does, LHI_DOES_CONSTANT);
    CHECK_EQ(decode("4533c0").destination, LHI_R8);
    CHECK(decode("4533c0").flags);
    code = decode("488d4c2430"); /* lea rcx, [rsp+30h] */
    CHECK_EQ(code.does, LHI_DOES_ADDRESS);
    CHECK_EQ(code.base, LHI_RSP);
    CHECK_EQ(code.displacement, 0x30);
    CHECK(!code.reads_memory && !code.has_place);
    code = decode("488d0510000000");
    CHECK_EQ(code.does, LHI_DOES_ADDRESS);
    CHECK_EQ(code.place, AT + 0x17);
    CHECK_EQ(decode("488d04cb").does, LHI_DOES_INDEX); /* lea rax, [rbx+rcx*8] */
    code = decode("488b4308");                         /* mov rax, [rbx+8] */
    CHECK_EQ(code.does, LHI_DOES_LOAD);
    CHECK_EQ(code.base, LHI_RBX);
    CHECK_EQ(code.displacement, 8);
    CHECK(code.has_memory && code.reads_memory && !code.writes_memory);
    CHECK_EQ(decode("8b4308").does, LHI_DOES_LOAD_PART);
    CHECK_EQ(decode("0fb64308").does, LHI_DOES_LOAD_PART);
    CHECK_EQ(decode("0fb64308").width, 1);
    code = decode("0fb6c3"); /* movzx eax, bl */
    CHECK_EQ(code.does, LHI_DOES_COPY_PART);
    CHECK_EQ(code.source, LHI_RBX);
    CHECK_EQ(code.width, 1);
    CHECK_EQ(decode("0fb6c7").does, LHI_DOES_OTHER); /* movzx eax, bh */
    code = decode("4863c1");                         /* movsxd rax, ecx */
    CHECK_EQ(code.does, LHI_DOES_COPY_PART);
    CHECK(code.extends_sign);
    CHECK_EQ(code.width, 4);
    code = decode("4898"); /* cdqe */
    CHECK_EQ(code.does, LHI_DOES_COPY_PART);
    CHECK_EQ(code.source, LHI_RAX);
    CHECK(code.extends_sign);
    code = decode("48630c81"); /* movsxd rcx, dword ptr [rcx+rax*4] */
    CHECK_EQ(code.does, LHI_DOES_LOAD_PART);
    CHECK(code.extends_sign);
    CHECK_EQ(code.scale, 4);
    CHECK_EQ(code.index, LHI_RAX);
    CHECK_EQ(code.base, LHI_RCX);
    code = decode("4803c8"); /* add rcx, rax */
    CHECK_EQ(code.does, LHI_DOES_SUM);
    CHECK_EQ(code.source, LHI_RAX);
    code = decode("0f97c0"); /* seta al */
    CHECK_EQ(code.does, LHI_DOES_SET);
    CHECK_EQ(code.condition, 7);
    CHECK_EQ(code.destination, LHI_RAX);
    CHECK_EQ(decode("0f97c4").does, LHI_DOES_OTHER); /* seta ah */
    code = decode("480f44c1");                       /* cmovz rax, rcx */
    CHECK_EQ(code.does, LHI_DOES_CHOOSE);
    CHECK_EQ(code.condition, 4);
    CHECK_EQ(code.source, LHI_RCX);
    CHECK_EQ(code.width, 8);
    CHECK_EQ(decode("480f4401").source, LHI_NO_REGISTER); /* cmovz rax, [rcx] */
    CHECK_EQ(decode("e3fe").condition, LHI_NO_CONDITION); /* jrcxz */
    code = decode("4c8b1510000000");                      /* mov r10, [rip+10h] */
    CHECK_EQ(code.does, LHI_DOES_LOAD);
    CHECK(code.has_place);
    CHECK_EQ(code.place, AT + 0x17);
    code = decode("48897c2440"); /* mov [rsp+40h], rdi */
    CHECK_EQ(code.does, LHI_DOES_STORE);
    CHECK_EQ(code.source, LHI_RDI);
    CHECK(code.writes_memory && !code.reads_memory);
    code = decode("c644242001"); /* mov byte ptr [rsp+20h], 1 */
    CHECK_EQ(code.does, LHI_DOES_STORE_VALUE);
    CHECK_EQ(code.width, 1);
    CHECK_EQ(code.value, 1);
    CHECK_EQ(decode("48c7432000000000").does, LHI_DOES_STORE_VALUE);
    CHECK_EQ(decode("897b08").does, LHI_DOES_STORE_PART);
    CHECK_EQ(decode("897b08").width, 4);
    CHECK_EQ(decode("887b08").width, 1); /* mov [rbx+8], bh */
    CHECK_EQ(decode("887b08").does, LHI_DOES_OTHER);
    CHECK(decode("83e008").operation != 0); /* and eax, 8 */
    CHECK_EQ(decode("83e008").does, LHI_DOES_MASK);
    CHECK_EQ(decode("83e008").value, 8);
    CHECK_EQ(decode("2401").width, 1);               /* and al, 1 */
    CHECK_EQ(decode("80e401").does, LHI_DOES_OTHER); /* and ah, 1 */
    code = decode("4120c5");                         /* and r13b, al */
    CHECK_EQ(code.does, LHI_DOES_BOTH);
    CHECK_EQ(code.width, 1);
    CHECK_EQ(code.destination, 13);
    CHECK_EQ(code.source, LHI_RAX);
    CHECK(code.tells);
    CHECK(decode("0bc1").tells);    /* or eax, ecx */
    CHECK(!decode("0fbdc1").tells); /* bsr eax, ecx */
    CHECK(!decode("0903").tells);   /* or [rbx], eax */
    CHECK(decode("83e008").operation != decode("83e004").operation);
    CHECK_EQ(decode("0f44c1").operation, 0); /* cmovz */
    CHECK_EQ(decode("2303").operation, 0);   /* and eax, [rbx] */
    code = decode("4883ec28");               /* sub rsp, 28h */
    CHECK_EQ(code.does, LHI_DOES_TAKE);
    CHECK_EQ(code.value, 0x28);
    CHECK_EQ(decode("83e805").does, LHI_DOES_TAKE); /* sub eax, 5 */
    CHECK_EQ(decode("83e805").width, 4);
    CHECK_EQ(decode("83c0ff").value, 0xffffffffu); /* add eax, -1 */
    CHECK_EQ(decode("ffc8").does, LHI_DOES_TAKE);  /* dec eax */
    CHECK_EQ(decode("8d41fb").does, LHI_DOES_ADDRESS);
    CHECK_EQ(decode("8d41fb").width, 4); /* lea eax, [rcx-5] */
    code = decode("482be0");             /* sub rsp, rax */
    CHECK_EQ(code.does, LHI_DOES_SUBTRACT);
    CHECK_EQ(code.source, LHI_RAX);
    code = decode("53");
    CHECK_EQ(code.does, LHI_DOES_PUSH);
    CHECK_EQ(code.source, LHI_RBX);
    CHECK(!code.has_memory);
    code = decode("415e");
    CHECK_EQ(code.does, LHI_DOES_POP);
    CHECK_EQ(code.destination, 14);
    code = decode("4885c0");
    CHECK_EQ(code.does, LHI_DOES_TEST);
    CHECK_EQ(code.width, 8);
    CHECK_EQ(code.written, 0);
    CHECK_EQ(decode("85c0").width, 4);
    CHECK_EQ(decode("4885c0").source, LHI_RAX);
    CHECK_EQ(decode("4885c0").other, LHI_RAX);
    CHECK_EQ(decode("4885c8").other, LHI_RCX);
    CHECK_EQ(decode("84e4").does, LHI_DOES_NOTHING); /* test ah, ah */
    code = decode("b301");                           /* mov bl, 1 */
    CHECK_EQ(code.does, LHI_DOES_CONSTANT);
    CHECK_EQ(code.width, 1);
    CHECK_EQ(decode("b701").does, LHI_DOES_OTHER); /* mov bh, 1 */
    code = decode("4883fb00");
    CHECK_EQ(code.does, LHI_DOES_COMPARE);
    CHECK_EQ(code.source, LHI_RBX);
    code = decode("807c242001"); /* cmp byte ptr [rsp+20h], 1 */
    CHECK_EQ(code.does, LHI_DOES_COMPARE);
    CHECK_EQ(code.width, 1);
    CHECK_EQ(code.base, LHI_RSP);
    CHECK_EQ(decode("0f1f440000").does, LHI_DOES_NOTHING); /* nop */
    code = decode("f6430a05");                             /* test byte ptr [rbx+0ah], 5 */
    CHECK_EQ(code.does, LHI_DOES_TEST);
    CHECK_EQ(code.source, LHI_NO_REGISTER);
    CHECK_EQ(code.value, 5);
    code = decode("f348a5"); /* rep movsq */
    CHECK_EQ(code.does, LHI_DOES_OTHER);
    CHECK(code.reads_memory && code.writes_memory);
    CHECK_EQ(code.written, 1u << LHI_RCX | 1u << LHI_RSI | 1u << LHI_RDI);
    CHECK_EQ(decode("b001").written, 1u << LHI_RAX);
    CHECK_EQ(decode("b401").written, 1u << LHI_RAX); /* ah is a part of rax, not of rsp */
}

static void test_text(void)
{
    static const uint8_t call[] = {0xff, 0x15, 0x10, 0, 0, 0};
    char text[LHI_CODE_TEXT] = "x";

    lhi_code_text(call, sizeof call, AT, text);
    CHECK_TEXT(text, "call [0xfffff80212200016]");
    lhi_code_text(call, sizeof call - 1, AT, text);
    CHECK_TEXT(text, "");
}

static void test_refusals(void)
{
    static const uint8_t call[] = {0xff, 0x15, 0x10, 0, 0, 0};
    static const uint8_t old[] = {0x06}; /* push es: not in 64-bit mode */
    lhi_code code = {.length = 77};

    for (size_t size = 0; size < sizeof call; size++)
        CHECK(!lhi_code_decode(call, size, AT, &code));
    CHECK(!lhi_code_decode(old, sizeof old, AT, &code));
    CHECK_EQ(code.length, 77);
}

#endif

int main(void)
{
#ifdef LHI_ZYDIS
    CHECK(lhi_code_available());
    test_transfers();
    test_values();
    test_text();
    test_refusals();
#else
    static const uint8_t one[] = {0xc3};
    lhi_code code = {0};
    char text[LHI_CODE_TEXT] = "x";

    CHECK(!lhi_code_available());
    CHECK(!lhi_code_decode(one, sizeof one, AT, &code));
    lhi_code_text(one, sizeof one, AT, text);
    CHECK_TEXT(text, "");
#endif
    return CHECK_END();
}
