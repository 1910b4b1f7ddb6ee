/* Reads the code of images that were made up at random: whatever they hold, an answer that agrees with
 * itself. */
#include "base/alloc.h"
#include "code/profile.h"
#include "pe_writer.h"

#define CODE      0x8000u /* pages 8 and 9 */
#define CODE_SIZE 0x2000u
#define PDATA     0x7000u
#define UNWIND    0x7800u
#define ROUNDS    300u

#ifdef LHI_ZYDIS

static const char *const routines[] = {"IoAllocateMdl", "MmProbeAndLockPages", "MmUnlockPages", "IoFreeMdl",
                                       "IofCallDriver", "MmMapLockedPages",    "KeBugCheckEx"};
enum { ROUTINES = sizeof routines / sizeof routines[0] };

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 16;
}

/* Pieces of code of which functions that lock are made. */
static const char *const pieces[] = {
    "4885c0",             /* test rax, rax */
    "85db",               /* test ebx, ebx */
    "488bd8",             /* mov rbx, rax */
    "488bcb",             /* mov rcx, rbx */
    "33c9",               /* xor ecx, ecx */
    "b301",               /* mov bl, 1 */
    "48c744242000000000", /* mov qword ptr [rsp+20h], 0 */
    "48895c2430",         /* mov [rsp+30h], rbx */
    "488b4c2430",         /* mov rcx, [rsp+30h] */
    "807c243801",         /* cmp byte ptr [rsp+38h], 1 */
    "c644243801",         /* mov byte ptr [rsp+38h], 1 */
    "488d4c2440",         /* lea rcx, [rsp+40h] */
    "48894708",           /* mov [rdi+8], rax */
    "488b4f08",           /* mov rcx, [rdi+8] */
    "4883ec50",           /* sub rsp, 50h */
    "4883c450",           /* add rsp, 50h */
    "53",                 /* push rbx */
    "5b",                 /* pop rbx */
    "482be0",             /* sub rsp, rax */
    "4883e4f0",           /* and rsp, -16 */
    "f348a5",             /* rep movsq */
    "0f1044c420",         /* movups xmm0, [rsp+rax*8+20h] */
    "480f44cb",           /* cmovz rcx, rbx */
    "48874f08",           /* xchg [rdi+8], rcx */
    "ffe0",               /* jmp rax */
    "ffd3",               /* call rbx */
    "c3",                 /* ret */
    "cc",                 /* int3 */
    "06",                 /* nothing in 64-bit mode */
};
enum { PIECES = sizeof pieces / sizeof pieces[0] };

static uint32_t put_hex(machine *m, uint32_t at, const char *hex)
{
    for (; hex[0] != 0; hex += 2, at++) {
        char digits[3] = {hex[0], hex[1], 0};
        *rva(m, at) = (uint8_t)strtoul(digits, NULL, 16);
    }
    return at;
}

static uint32_t put_piece(machine *m, uint32_t at, uint64_t *seed)
{
    uint64_t kind = next(seed) % 12;

    if (kind < 4) { /* call [slot] */
        uint32_t slot = IAT + 16 + 8 * (uint32_t)(next(seed) % (ROUTINES + 1));
        *rva(m, at) = 0xff;
        *rva(m, at + 1) = next(seed) % 6 == 0 ? 0x25 : 0x15;
        put32(m, at + 2, slot - (at + 6));
        return at + 6;
    }
    if (kind < 6) { /* a short branch, forward or back, perhaps into the middle of something */
        *rva(m, at) = next(seed) % 5 == 0 ? 0xeb : (uint8_t)(0x70 + next(seed) % 16);
        *rva(m, at + 1) = (uint8_t)(next(seed) % 3 == 0 ? 0u - next(seed) % 100 : next(seed) % 60);
        return at + 2;
    }
    if (kind == 6) { /* call or jump to somewhere near */
        *rva(m, at) = next(seed) % 3 == 0 ? 0xe9 : 0xe8;
        put32(m, at + 1, next(seed) % 0x4000 - 0x2000);
        return at + 5;
    }
    return put_hex(m, at, pieces[next(seed) % PIECES]);
}

#define TABLES     0x7900u
#define TABLE_MOST 12u

/* A jump through a table whose bound, entries and targets are mostly right. */
static uint32_t put_jump(machine *m, uint32_t at, uint32_t number, uint64_t *seed)
{
    uint32_t count = 1 + (uint32_t)(next(seed) % TABLE_MOST);
    uint32_t table = TABLES + 4 * TABLE_MOST * (number % 32);
    uint32_t end = 0;

    at = put_hex(m, at, next(seed) % 2 ? "8d41fb" : "8bc1"); /* lea eax, [rcx-5]; mov eax, ecx */
    at = put_hex(m, at, "83f8");                             /* cmp eax, count - 1 */
    *rva(m, at++) = (uint8_t)(count - 1 + (next(seed) % 16 == 0 ? next(seed) % 200 : 0));
    *rva(m, at++) = next(seed) % 16 ? 0x77 : (uint8_t)(0x70 + next(seed) % 16);
    *rva(m, at++) = (uint8_t)(17 + (next(seed) % 8 == 0)); /* ja, behind the jump */
    at = put_hex(m, at, "488d15");                         /* lea rdx, [table] */
    put32(m, at, table - (at + 4));
    at = put_hex(m, at + 4, next(seed) % 8 ? "48630482" : "8b0482"); /* movsxd rax, dword ptr [rdx+rax*4] */
    at = put_hex(m, at, "4803c2ffe0");                               /* add rax, rdx; jmp rax */
    end = at;
    for (uint32_t i = 0; i < count; i++)
        put32(m, table + 4 * i, end + 2 * (uint32_t)(next(seed) % 4) - table);
    return put_hex(m, at, "9090909090909090");
}

static void put_row(machine *m, uint32_t index, uint32_t begin, uint32_t end, uint32_t unwind)
{
    put32(m, PDATA + 12 * index, begin);
    put32(m, PDATA + 12 * index + 4, end);
    put32(m, PDATA + 12 * index + 8, unwind);
}

/* Functions one behind the other; some are parts of the one before. */
static void put_table(machine *m, uint64_t *seed)
{
    uint32_t count = 0;

    *rva(m, UNWIND) = 1;              /* version 1, no codes */
    *rva(m, UNWIND + 8) = 1 | 4 << 3; /* chained to the row that follows */
    put32(m, UNWIND + 12, CODE);
    put32(m, UNWIND + 16, CODE + 0x100);
    put32(m, UNWIND + 20, UNWIND);
    *rva(m, UNWIND + 0x20) = 1 | 1 << 3; /* with a handler, and two guarded stretches */
    put32(m, UNWIND + 0x28, 2);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t from = CODE + (uint32_t)(next(seed) % 0x400);
        put32(m, UNWIND + 0x2c + 16 * i, from);
        put32(m, UNWIND + 0x30 + 16 * i, from + (uint32_t)(next(seed) % 0x100));
        put32(m, UNWIND + 0x34 + 16 * i, 1);
        put32(m, UNWIND + 0x38 + 16 * i, from + (uint32_t)(next(seed) % 0x100));
    }
    for (uint32_t at = CODE; at < CODE + CODE_SIZE - 0x100 && count < 60; count++) {
        uint32_t size = 0x20 + (uint32_t)(next(seed) % 0x400);
        put_row(m, count, at, at + size, next(seed) % 8 == 0 ? UNWIND + 8 : UNWIND);
        at += size + (uint32_t)(next(seed) % 3 == 0 ? next(seed) % 0x40 : 0);
    }
    directory(m, 3, PDATA, 12 * count);
}

static uint32_t put_call(machine *m, uint32_t at, uint32_t routine)
{
    *rva(m, at) = 0xff;
    *rva(m, at + 1) = 0x15;
    put32(m, at + 2, IAT + 16 + 8 * routine - (at + 6));
    return at + 6;
}

/* A function as a compiler could have made it: MDLs, calls, branches that lead to the next call. */
static uint32_t put_function(machine *m, uint32_t at, uint32_t number, const uint32_t *entries,
                             uint64_t *seed)
{
    uint32_t open = 0; /* where a branch waits for its distance */

    at = put_hex(m, at, "4883ec50");
    if (next(seed) % 4 == 0)
        at = put_jump(m, at, number, seed);
    for (uint64_t i = 3 + next(seed) % 8; i > 0; i--) {
        uint32_t routine = (uint32_t)(next(seed) % 4);
        if (next(seed) % 6 == 0) { /* a call of one of the others, or of itself */
            at = put_hex(m, at, "488bcbe8");
            put32(m, at, entries[next(seed) % (number + 1)] - (at + 4));
            at = put_hex(m, at + 4, next(seed) % 2 ? "488bd8" : "4885c0");
        }
        at = put_hex(m, at, next(seed) % 4 ? "48c744242000000000" : "48895c2420");
        if (routine != 0)
            at = put_hex(m, at, next(seed) % 8 ? "488bcb" : "488b4f08");
        at = put_call(m, at, routine);
        if (routine == 0)
            at = put_hex(m, at, "488bd8");
        if (open != 0) {
            *rva(m, open - 1) = (uint8_t)(at - open);
            open = 0;
        } else if (next(seed) % 2) {
            at = put_hex(m, at, next(seed) % 2 ? "4885db" : "85ff");
            *rva(m, at) = (uint8_t)(0x74 + next(seed) % 2);
            at = open = at + 2;
        }
        if (next(seed) % 16 == 0)
            at = put_hex(m, at, pieces[next(seed) % PIECES]);
    }
    if (open != 0)
        *rva(m, open - 1) = (uint8_t)(at - open);
    return put_hex(m, at, "4883c450c3");
}

static void put_functions(machine *m, uint64_t *seed)
{
    uint32_t count = 0;
    uint32_t entries[100] = {0};

    for (uint32_t at = CODE; at < CODE + CODE_SIZE - 0x400 && count < 100; count++) {
        entries[count] = at;
        uint32_t end = put_function(m, at, count, entries, seed);
        put_row(m, count, at, end, next(seed) % 4 ? UNWIND : UNWIND + 0x20);
        at = end;
    }
    directory(m, 3, PDATA, 12 * count);
}

static void put_wild_code(machine *m, uint64_t *seed)
{
    for (uint32_t at = CODE; at < CODE + CODE_SIZE - 16;)
        at = put_piece(m, at, seed);
}

/* What an image can have wrong. */
static void spoil(machine *m, uint64_t *seed)
{
    switch (next(seed) % 6) {
    case 0:
        m->missing[TABLE_PAGES + next(seed) % IMAGE_PAGES] = next(seed) % 4 != 0;
        break;
    case 1:
        put32(m, PDATA + 4 * (uint32_t)(next(seed) % 100), next(seed));
        break;
    case 2:
        put32(m, UNWIND + (uint32_t)(next(seed) % 32), next(seed));
        break;
    case 3:
        put32(m, SECTIONS + 8 + 4 * (uint32_t)(next(seed) % 2), next(seed) % 3 ? next(seed) : UINT32_MAX);
        break;
    case 4:
        directory(m, 3, PDATA, (uint32_t)next(seed));
        break;
    default:
        break;
    }
}

static machine *made_up(uint64_t *seed)
{
    lhi_image ignored = {0};
    machine *m = whole(&ignored);
    uint64_t bound[ROUTINES] = {0};

    write_imports(m, "ntoskrnl.exe", routines, bound, ROUTINES);
    section(m, 0, ".text\0\0\0", CODE, CODE_SIZE);
    put32(m, SECTIONS + 36, 0x60000020); /* code, execute, read */
    put_table(m, seed);
    if (next(seed) % 2)
        put_wild_code(m, seed);
    else
        put_functions(m, seed);
    return m;
}

static size_t tables_left;

static bool is_site(const lhi_profile *profile, uint64_t address)
{
    for (size_t i = 0; i < profile->site_count; i++)
        if (profile->sites[i].address == address)
            return true;
    return false;
}

/* A call, or a jump out of the function. */
static bool is_call(machine *m, uint64_t address)
{
    lhi_code code = {0};

    return address >= BASE && address < BASE + SIZE - LHI_CODE_LONGEST &&
           lhi_code_decode(rva(m, (uint32_t)(address - BASE)), LHI_CODE_LONGEST, address, &code) &&
           (code.kind == LHI_CODE_CALL || code.kind == LHI_CODE_JUMP || code.kind == LHI_CODE_BRANCH);
}

/* What must hold of every answer. */
static void check_profile(machine *m, const lhi_profile *profile)
{
    for (size_t i = 0; i < profile->site_count; i++) {
        const lhi_site *site = &profile->sites[i];
        CHECK(site->address >= BASE && site->address < BASE + SIZE);
        CHECK(site->function >= BASE && site->function < BASE + SIZE);
        CHECK(site->routine != NULL && lhi_role_name(site->routine->role) != NULL);
    }
    for (size_t i = 0; i < profile->finding_count; i++) {
        const lhi_finding *found = &profile->findings[i];
        CHECK(found->block_count > 0 && found->block_count <= LHI_FINDING_BLOCKS);
        CHECK_EQ(found->blocks[0], found->function);
        CHECK(is_site(profile, found->first) || is_call(m, found->first));
        CHECK(found->kind == LHI_FINDING_LOCK_LOST || is_site(profile, found->last) ||
              is_call(m, found->last));
        CHECK(found->cut == (found->block_count == LHI_FINDING_BLOCKS) || !found->cut);
    }
    CHECK(profile->open <= profile->followed);
    CHECK(profile->open_count <= profile->open);
    for (size_t i = 0; i < profile->open_count; i++) {
        CHECK(profile->open_ways[i].at >= profile->open_ways[i].function ||
              profile->open_ways[i].at >= BASE + CODE);
        CHECK(profile->open_ways[i].why != NULL);
        if (strcmp(profile->open_ways[i].why, "a table of jumps is not followed") == 0)
            tables_left++;
    }
}

static lh_status read_profile(machine *m, lhi_profile *profile, lh_error *err)
{
    lh_kernel kernel = {.space = m->space};
    const lhi_module module = {.base = BASE, .size = SIZE, .name = "made.sys"};
    lhi_routines found = {0};
    lh_status status = lhi_routines_find(&kernel, &found, err);

    if (status == LH_OK)
        status = lhi_profile_read(&found, &module, NULL, profile, err);
    lhi_routines_free(&found);
    return status;
}

static void test_random_images(void)
{
    uint64_t seed = 0x1234567;
    size_t sites = 0, findings = 0, open = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        lhi_profile profile = {0};
        machine *m = made_up(&seed);
        for (unsigned i = 0; i < round % 4; i++)
            spoil(m, &seed);
        CHECK_EQ(read_profile(m, &profile, NULL), LH_OK);
        check_profile(m, &profile);
        sites += profile.site_count;
        findings += profile.finding_count;
        open += profile.open;
        lhi_profile_free(&profile);
        free(m);
    }
    /* the images are what they are meant to be */
    CHECK(sites > 20 * ROUNDS);
    CHECK(findings > ROUNDS);
    CHECK(open > ROUNDS);
    CHECK(tables_left > 0);
}

/* A branch in every second instruction, each to somewhere else: work stays bounded by the instructions. */
static void test_many_ways(void)
{
    uint64_t seed = 99;
    lhi_profile profile = {0};
    machine *m = made_up(&seed);

    for (uint32_t at = CODE; at < CODE + CODE_SIZE; at++)
        *rva(m, at) = 0xcc;
    uint32_t at = put_hex(m, CODE, "4883ec50");
    while (at < CODE + CODE_SIZE - 0x100) {
        uint32_t slot = IAT + 16 + 8 * (uint32_t)(next(&seed) % 4);
        at = put_hex(m, at, next(&seed) % 2 ? "488bcb" : "488bd8");
        *rva(m, at) = 0xff;
        *rva(m, at + 1) = 0x15;
        put32(m, at + 2, slot - (at + 6));
        *rva(m, at + 6) = (uint8_t)(0x70 + next(&seed) % 16);
        *rva(m, at + 7) = 11; /* over the next two */
        at += 8;
    }
    put_hex(m, at, "4883c450c3");
    put_row(m, 0, CODE, CODE + CODE_SIZE, UNWIND);
    directory(m, 3, PDATA, 12);
    CHECK_EQ(read_profile(m, &profile, NULL), LH_OK);
    check_profile(m, &profile);
    CHECK_EQ(profile.followed, 1);
    CHECK(profile.site_count > 500);
    lhi_profile_free(&profile);
    free(m);
}

static void test_no_memory(void)
{
    uint64_t seed = 0x1234567;
    machine *m = made_up(&seed);
    unsigned failed = 0;

    for (uint64_t n = 1;; n++) {
        lhi_profile profile = {0};
        lh_error err = {0};
        lhi_alloc_fail_at(n, 0);
        lh_status status = read_profile(m, &profile, &err);
        lhi_alloc_fail_at(0, 0);
        if (status == LH_OK) {
            lhi_profile_free(&profile);
            break;
        }
        failed++;
        CHECK_EQ(status, LH_ERR_NO_MEMORY);
        CHECK_EQ(err.code, LH_ERR_NO_MEMORY);
    }
    CHECK(failed > 10);
    free(m);
}

#endif

int main(void)
{
#ifdef LHI_ZYDIS
    test_random_images();
    test_many_ways();
    test_no_memory();
#else
    CHECK(!lhi_code_available());
#endif
    return CHECK_END();
}
