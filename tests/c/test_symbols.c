/* Tests of symbols: the layout of a kernel by its PDB, by its build, and of a kernel nobody knows. */
#include "check.h"
#include "symbols/tables.h"
#include "symbols/written.h"

/* ntkrnlmp.pdb 10.0.19041.804, {5278AFF8-6C34-1677-D7D7-835C85B7B844}, age 1, as a debug directory holds it
 */
static const uint8_t guid_19041_804[16] = {0xf8, 0xaf, 0x78, 0x52, 0x34, 0x6c, 0x77, 0x16,
                                           0xd7, 0xd7, 0x83, 0x5c, 0x85, 0xb7, 0xb8, 0x44};
/* 6.1.7601.24540, {339E7413-3576-439C-BCDF-7E0229DA3773} */
static const uint8_t guid_7601_24540[16] = {0x13, 0x74, 0x9e, 0x33, 0x76, 0x35, 0x9c, 0x43,
                                            0xbc, 0xdf, 0x7e, 0x02, 0x29, 0xda, 0x37, 0x73};

static uint64_t offset(const lhi_layout *layout, lhi_field field)
{
    uint64_t out = UINT64_MAX;

    return lhi_layout_offset(layout, field, &out) ? out : UINT64_MAX;
}

static void by_pdb(void)
{
    /* the build given with it does not matter */
    const lhi_layout *layout = lhi_layout_find(12345, guid_19041_804, 1);

    CHECK_EQ(layout->basis, LHI_LAYOUT_PDB);
    CHECK_EQ(layout->build, 19041);
    CHECK_TEXT(layout->source, "JPCERTCC/Windows-Symbol-Tables (BSD-3-Clause), ntkrnlmp.pdb 10.0.19041.804 "
                               "{5278AFF86C341677D7D7835C85B7B844}-1");
    CHECK_EQ(offset(layout, LHI_F_EPROCESS_NumberOfLockedPages), 0x500);
    CHECK_EQ(offset(layout, LHI_F_EPROCESS_ImageFileName), 0x5a8);
    CHECK_EQ(offset(layout, LHI_F_KPRCB_Context), 0x85c0);
    CHECK_EQ(layout->sizes[LHI_SIZE_EPROCESS], 0xa40);
    CHECK_EQ(layout->sizes[LHI_SIZE_LOCK_HEADER], 0x28);
    CHECK(layout->globals != NULL);
    for (int i = 0; layout->globals != NULL && i < LHI_GLOBAL_COUNT; i++)
        CHECK(layout->globals[i] != 0);

    layout = lhi_layout_find(0, guid_7601_24540, 1);
    CHECK_EQ(layout->basis, LHI_LAYOUT_PDB);
    CHECK_EQ(layout->build, 7601);
    CHECK_EQ(offset(layout, LHI_F_ETHREAD_IrpList), 0x3f0);
    CHECK_EQ(offset(layout, LHI_F_LOCK_TRACKER_Mdl), UINT64_MAX);
    CHECK_EQ(layout->sizes[LHI_SIZE_LOCK_TRACKER], 0);
    CHECK_EQ(layout->globals[LHI_G_ObHeaderCookie], 0); /* came with Windows 10 */
    CHECK_EQ(layout->globals[LHI_G_PsLoadedModuleList], 0x239c90);
}

static void by_build(void)
{
    static const uint8_t strange[16] = {1, 2, 3};
    const lhi_layout *layout = lhi_layout_find(19041, strange, 1);

    CHECK_EQ(layout->basis, LHI_LAYOUT_BUILD);
    CHECK_EQ(layout->build, 19041);
    CHECK(layout->globals == NULL);
    CHECK_HAS(layout->source, "build 19041");
    CHECK_EQ(offset(layout, LHI_F_EPROCESS_LockedPagesList), 0x608);
    /* a known GUID with another age is another kernel */
    CHECK_EQ(lhi_layout_find(19041, guid_19041_804, 2)->basis, LHI_LAYOUT_BUILD);
    CHECK(lhi_layout_find(19041, NULL, 0) == layout);
    for (uint32_t build = 19042; build <= 19045; build++)
        CHECK(lhi_layout_find(build, NULL, 0) == layout);
    CHECK_EQ(lhi_layout_find(19046, NULL, 0)->basis, LHI_LAYOUT_STABLE);
    CHECK(lhi_layout_find(18363, NULL, 0) == lhi_layout_find(18362, NULL, 0));
    CHECK_EQ(lhi_layout_find(18362, NULL, 0)->build, 18362);
    /* updates moved these inside the build, so its number is not enough (facts B.7) */
    CHECK_EQ(offset(lhi_layout_find(14393, NULL, 0), LHI_F_EPROCESS_ExitTime), UINT64_MAX);
    CHECK_EQ(offset(lhi_layout_find(7601, NULL, 0), LHI_F_ETHREAD_Cid), UINT64_MAX);
    CHECK_EQ(offset(lhi_layout_find(7601, NULL, 0), LHI_F_EPROCESS_ImageFileName), 0x2e0);
}

static void by_nothing(void)
{
    static const uint32_t builds[] = {7600, 9200, 10240, 18361, 22621, 26100, 28000, UINT32_MAX};

    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        const lhi_layout *layout = lhi_layout_find(builds[i], NULL, 0);
        CHECK_EQ(layout->basis, LHI_LAYOUT_STABLE);
        CHECK_EQ(layout->build, 0);
        CHECK(layout->globals == NULL);
        CHECK_HAS(layout->source, "unknown build");
        CHECK_EQ(offset(layout, LHI_F_MDL_Process), 0x10);
        CHECK_EQ(offset(layout, LHI_F_IRP_CurrentStackLocation), 0xb8);
        CHECK_EQ(offset(layout, LHI_F_OBJECT_HEADER_TypeIndex), 0x18);
        CHECK_EQ(offset(layout, LHI_F_EPROCESS_ImageFileName), UINT64_MAX);
        CHECK_EQ(offset(layout, LHI_F_KPRCB_PPLookasideList), UINT64_MAX);
        CHECK_EQ(offset(layout, LHI_F_KLDR_DATA_TABLE_ENTRY_TimeDateStamp), UINT64_MAX);
        CHECK_EQ(layout->sizes[LHI_SIZE_IRP], 0xd0);
        CHECK_EQ(layout->sizes[LHI_SIZE_EPROCESS], 0);
    }
    /* Server 2003 and Vista: what had another shape then is unknown */
    for (uint32_t build = 3790; build <= 6002; build += 2212) {
        const lhi_layout *layout = lhi_layout_find(build, NULL, 0);
        CHECK_EQ(layout->basis, LHI_LAYOUT_STABLE);
        CHECK_HAS(layout->source, "before Windows 7");
        CHECK_EQ(offset(layout, LHI_F_MDL_Process), 0x10);
        CHECK_EQ(offset(layout, LHI_F_OBJECT_HEADER_TypeIndex), UINT64_MAX);
        CHECK_EQ(offset(layout, LHI_F_FILE_OBJECT_IrpList), UINT64_MAX);
        CHECK_EQ(layout->sizes[LHI_SIZE_FILE_OBJECT], 0);
    }
}

static void rows(void)
{
    size_t checked = 0;

    CHECK_EQ(lhi_kernel_row_count, 213);
    for (size_t i = 0; i < lhi_kernel_row_count; i++) {
        const lhi_kernel_row *row = &lhi_kernel_rows[i];
        checked += lhi_layout_find(0, row->guid, row->age) == &row->layout; /* no two rows share a GUID */
        CHECK(row->layout.globals != NULL && row->layout.globals[LHI_G_MmUnlockPages] != 0);
        /* what a build's row says holds for each of its kernels */
        const lhi_layout *build = lhi_layout_find(row->layout.build, NULL, 0);
        CHECK_EQ(build->basis, LHI_LAYOUT_BUILD);
        for (int field = 0; field < LHI_FIELD_COUNT; field++)
            CHECK(build->offsets[field] == LHI_NO_OFFSET ||
                  build->offsets[field] == row->layout.offsets[field]);
        for (int size = 0; size < LHI_SIZE_COUNT; size++)
            CHECK(build->sizes[size] == 0 || build->sizes[size] == row->layout.sizes[size]);
    }
    CHECK_EQ(checked, lhi_kernel_row_count);
}

/* ------------------------------------------------------------------ rows of one's own */

enum { X64, ARM64 };

static void choose(uint32_t machine, uint32_t build, lhi_layout_row *row)
{
    if (machine == X64)
        lhi_layout_choose(build, NULL, 0, row);
    else
        lhi_layout_arm64(build, row);
}

static uint16_t chosen(uint32_t machine, uint32_t build, lhi_field field)
{
    static lhi_layout_row row;
    choose(machine, build, &row);
    CHECK(row.layout.offsets == row.offsets && row.layout.sizes == row.sizes);
    return row.offsets[field];
}

static void copies(void)
{
    static lhi_layout_row row;
    const lhi_layout *found = lhi_layout_find(19041, NULL, 0);
    lhi_layout_choose(19041, NULL, 0, &row);
    CHECK_EQ(row.layout.basis, LHI_LAYOUT_BUILD);
    CHECK_EQ(row.confidence, LHI_VERIFIED);
    CHECK(row.layout.source == found->source);
    for (int field = 0; field < LHI_FIELD_COUNT; field++) {
        CHECK_EQ(row.offsets[field], found->offsets[field]);
        CHECK_EQ(row.states[field].origin,
                 found->offsets[field] == LHI_NO_OFFSET ? LHI_FROM_NOWHERE : LHI_FROM_TABLE);
    }
    CHECK_EQ(row.counters_pointer, LHI_NO_OFFSET);
    lhi_layout_choose(26100, guid_19041_804, 1, &row); /* the very kernel, whatever the number */
    CHECK_EQ(row.layout.basis, LHI_LAYOUT_PDB);
    CHECK(row.layout.globals != NULL);
}

/* Facts B.7, B.9 and C.1, read off by eye. */
static void facts(void)
{
    static const struct {
        uint32_t machine, build;
        uint16_t pid, locked, name, exit;
    } rows_of[] = {
        {X64, 9200, 0x2e0, 0x390, 0x438, 0x610},    {X64, 10240, 0x2e8, 0x3a0, 0x448, LHI_NO_OFFSET},
        {X64, 10586, 0x2e8, 0x3a0, 0x450, 0x678},   {X64, 15063, 0x2e0, 0x3a0, 0x450, 0x690},
        {X64, 16299, 0x2e0, 0x3a0, 0x450, 0x690},   {X64, 17134, 0x2e0, 0x3a0, 0x450, 0x690},
        {X64, 22621, 0x440, 0x500, 0x5a8, 0x840},   {X64, 22631, 0x440, 0x500, 0x5a8, 0x840},
        {X64, 26019, 0x1d0, 0x290, 0x338, 0x5c0},   {X64, 26100, 0x1d0, 0x290, 0x338, 0x5c0},
        {X64, 28000, 0x1d0, 0x290, 0x338, 0x5c0},   {ARM64, 19041, 0x3f8, 0x4b8, 0x560, 0x900},
        {ARM64, 26100, 0x1c0, 0x280, 0x328, 0x680},
    };
    for (size_t i = 0; i < sizeof rows_of / sizeof rows_of[0]; i++) {
        const uint32_t machine = rows_of[i].machine;
        const uint32_t build = rows_of[i].build;
        CHECK_EQ(chosen(machine, build, LHI_F_EPROCESS_UniqueProcessId), rows_of[i].pid);
        CHECK_EQ(chosen(machine, build, LHI_F_EPROCESS_ActiveProcessLinks), rows_of[i].pid + 8);
        CHECK_EQ(chosen(machine, build, LHI_F_EPROCESS_NumberOfLockedPages), rows_of[i].locked);
        CHECK_EQ(chosen(machine, build, LHI_F_EPROCESS_ImageFileName), rows_of[i].name);
        CHECK_EQ(chosen(machine, build, LHI_F_EPROCESS_ExitTime), rows_of[i].exit);
        CHECK_EQ(chosen(machine, build, LHI_F_MDL_Process), 0x10);
        static lhi_layout_row row;
        choose(machine, build, &row);
        CHECK_EQ(row.layout.basis, LHI_LAYOUT_FACTS);
        CHECK(row.layout.globals == NULL);
        CHECK(row.states[LHI_F_EPROCESS_ImageFileName].source != NULL);
        CHECK_EQ(row.states[LHI_F_EPROCESS_ImageFileName].origin, LHI_FROM_FACTS);
    }
    CHECK_EQ(chosen(X64, 9200, LHI_F_MMPFN_u3), 0x18);
    CHECK_EQ(chosen(X64, 10240, LHI_F_MMPFN_u3), 0x20);
    CHECK_EQ(chosen(X64, 10586, LHI_F_LOCK_TRACKER_Page), 0x38);
    CHECK_EQ(chosen(X64, 26100, LHI_F_LOCK_TRACKER_Page), 0x40);
    CHECK_EQ(chosen(X64, 22621, LHI_F_LOCK_HEADER_Valid), 0x20);
    CHECK_EQ(chosen(X64, 26100, LHI_F_LOCK_HEADER_Valid), 0x1c);
    CHECK_EQ(chosen(X64, 26100, LHI_F_KTHREAD_Process), 0x220);
    CHECK_EQ(chosen(X64, 26100, LHI_F_ETHREAD_Cid), LHI_NO_OFFSET);
    CHECK_EQ(chosen(X64, 26100, LHI_F_KPRCB_PPLookasideList), LHI_NO_OFFSET);
    static const uint32_t without[] = {26018, 28001, 22622, 9201, 40000};
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++)
        CHECK_EQ(chosen(X64, without[i], LHI_F_EPROCESS_ImageFileName), LHI_NO_OFFSET);
    /* Nothing of an x64 kernel stands for one of another processor. */
    CHECK_EQ(chosen(ARM64, 22000, LHI_F_EPROCESS_ImageFileName), 0x560);
    CHECK_EQ(chosen(ARM64, 22000, LHI_F_EPROCESS_NumberOfLockedPages), LHI_NO_OFFSET);
    CHECK_EQ(chosen(ARM64, 17763, LHI_F_KPRCB_CurrentThread), LHI_NO_OFFSET);
    CHECK_EQ(chosen(ARM64, 17763, LHI_F_KPROCESS_DirectoryTableBase), 0x28);
    CHECK_EQ(chosen(ARM64, 17763, LHI_F_IRP_MdlAddress), 8);
}

int main(void)
{
    copies();
    facts();
    by_pdb();
    by_build();
    by_nothing();
    rows();
    return CHECK_END();
}
