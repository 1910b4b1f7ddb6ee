/* Layout rows of builds for which no symbols are at hand: every offset with its source and its confidence.
 *
 * Hexadecimal offsets from published tables, by section of the project's collection of facts: B.7 processes
 * and threads, B.8 PFN entries, B.9 processor structures, C.1 lock trackers; "real dumps" are fields seen in
 * public triage dumps of the build. What stands in no row is left to the debugger block and to inference. */
#include "symbols/tables.h"

#define V       LHI_VERIFIED
#define S       LHI_SUPPOSED
#define F(name) LHI_F_##name

static const char b7[] = "public symbols of the build";           /* facts B.7 */
static const char b8[] = "the same in all builds around it";      /* facts B.8 */
static const char b9[] = "public symbols of the build";           /* facts B.9 */
static const char b9_near[] = "the same in the builds around it"; /* facts B.9 */
static const char c1[] = "the same in the builds around it";      /* facts C.1 */

/* ------------------------------------------------------------------ shapes that several builds share */

/* KTHREAD, 8.0 to 22000. */
static const lhi_fact thread_8[] = {
    {F(KTHREAD_StackBase), 0x38, V, b7}, {F(KTHREAD_KernelStack), 0x58, V, b7},
    {F(KTHREAD_ApcState), 0x98, V, b7},  {F(KTHREAD_State), 0x184, V, b7},
    {F(KTHREAD_Process), 0x220, V, b7},  {0, 0, 0, NULL},
};

/* Builds after 22000: what was frozen for so long probably still is; the stack's fields are known to be. */
static const char b7_frozen[] = "the same from 8.0 to 22000";
static const char b7_stack[] = "published offsets of all builds up to 28000";
static const lhi_fact thread_after[] = {
    {F(KTHREAD_StackBase), 0x38, V, b7_stack},
    {F(KTHREAD_KernelStack), 0x58, V, b7_stack},
    {F(KTHREAD_ApcState), 0x98, S, b7_frozen},
    {F(KTHREAD_State), 0x184, S, b7_frozen},
    {F(KTHREAD_Process), 0x220, S, b7_frozen},
    {F(KTHREAD_ThreadListEntry), 0x2f8, S, b7_frozen},
    {0, 0, 0, NULL},
};

/* MMPFN, 5.2 to 8.1 and from 10 on. */
static const lhi_fact frames_6[] = {
    {F(MMPFN_PteAddress), 0x10, S, b8},
    {F(MMPFN_u3), 0x18, S, b8},
    {F(MMPFN_OriginalPte), 0x20, S, b8},
    {0, 0, 0, NULL},
};
static const lhi_fact frames_10[] = {
    {F(MMPFN_PteAddress), 0x8, S, b8},
    {F(MMPFN_OriginalPte), 0x10, S, b8},
    {F(MMPFN_u3), 0x20, S, b8},
    {0, 0, 0, NULL},
};

/* KLDR_DATA_TABLE_ENTRY of Windows 10. */
static const lhi_fact modules_10[] = {
    {F(KLDR_DATA_TABLE_ENTRY_ExceptionTable), 0x10, S, "the layout of Windows 10"},
    {F(KLDR_DATA_TABLE_ENTRY_ExceptionTableSize), 0x18, S, "the layout of Windows 10"},
    {F(KLDR_DATA_TABLE_ENTRY_TimeDateStamp), 0x9c, S, "the layout of Windows 10"},
    {0, 0, 0, NULL},
};

/* Processor state and lookaside lists: before 15063, and from there on (the lists of 15063 to 17134 are in no
 * table, and show themselves). */
static const lhi_fact processor_old[] = {
    {F(KPRCB_ProcessorState), 0x40, V, b9},
    {F(KPROCESSOR_STATE_ContextFrame), 0xe0, S, b9_near},
    {F(KPRCB_PPLookasideList), 0x780, S, b9_near},
    {0, 0, 0, NULL},
};
static const lhi_fact processor_15063[] = {
    {F(KPRCB_ProcessorState), 0x100, V, b9},
    {F(KPROCESSOR_STATE_ContextFrame), 0xf0, S, b9_near},
    {0, 0, 0, NULL},
};

/* LOCK_HEADER and LOCK_TRACKER: 8.1 to 15063; 16299 to 22000; the header changed again with 24H2. */
static const lhi_fact trackers_old[] = {
    {F(LOCK_HEADER_LockTree), 0x0, S, c1},
    {F(LOCK_HEADER_Count), 0x8, S, c1},
    {F(LOCK_HEADER_Lock), 0x10, S, c1},
    {F(LOCK_HEADER_Valid), 0x18, S, c1},
    {F(LOCK_TRACKER_LockTrackerNode), 0, S, c1},
    {F(LOCK_TRACKER_Mdl), 0x18, S, c1},
    {F(LOCK_TRACKER_StartVa), 0x20, S, c1},
    {F(LOCK_TRACKER_Count), 0x28, S, c1},
    {F(LOCK_TRACKER_Offset), 0x30, S, c1},
    {F(LOCK_TRACKER_Length), 0x34, S, c1},
    {F(LOCK_TRACKER_Page), 0x38, S, c1},
    {F(LOCK_TRACKER_StackTrace), 0x40, S, c1},
    {F(LOCK_TRACKER_Who), 0x80, S, c1},
    {F(LOCK_TRACKER_Process), 0x88, S, c1},
    {0, 0, 0, NULL},
};
static const lhi_fact trackers_16299[] = {
    {F(LOCK_TRACKER_LockTrackerNode), 0, S, c1}, {F(LOCK_TRACKER_Mdl), 0x18, S, c1},
    {F(LOCK_TRACKER_StartVa), 0x20, S, c1},      {F(LOCK_TRACKER_Count), 0x28, S, c1},
    {F(LOCK_TRACKER_Offset), 0x30, S, c1},       {F(LOCK_TRACKER_Length), 0x34, S, c1},
    {F(LOCK_TRACKER_Who), 0x38, S, c1},          {F(LOCK_TRACKER_Hash), 0x3c, S, c1},
    {F(LOCK_TRACKER_Page), 0x40, S, c1},         {F(LOCK_TRACKER_StackTrace), 0x48, S, c1},
    {F(LOCK_TRACKER_Process), 0x88, S, c1},      {0, 0, 0, NULL},
};
static const lhi_fact lock_header_16299[] = {
    {F(LOCK_HEADER_LockTree), 0x0, S, c1}, {F(LOCK_HEADER_LockMdlSwitchedTree), 0x8, S, c1},
    {F(LOCK_HEADER_Count), 0x10, S, c1},   {F(LOCK_HEADER_Lock), 0x18, S, c1},
    {F(LOCK_HEADER_Valid), 0x20, S, c1},   {0, 0, 0, NULL},
};
static const char c1_24h2[] = "published type of the 24H2 generation";
static const lhi_fact lock_header_24h2[] = {
    {F(LOCK_HEADER_LockTree), 0x0, V, c1_24h2}, {F(LOCK_HEADER_LockMdlSwitchedTree), 0x8, V, c1_24h2},
    {F(LOCK_HEADER_Count), 0x10, V, c1_24h2},   {F(LOCK_HEADER_Lock), 0x18, V, c1_24h2},
    {F(LOCK_HEADER_Valid), 0x1c, V, c1_24h2},   {0, 0, 0, NULL},
};

/* ------------------------------------------------------------------ processes and threads by build */

#define PROCESS(pid, links, flags, locked, parent, name, threads, trackers, confidence, source)              \
    {F(EPROCESS_UniqueProcessId), pid, confidence, source},                                                  \
        {F(EPROCESS_ActiveProcessLinks), links, confidence, source},                                         \
        {F(EPROCESS_Flags), flags, confidence, source},                                                      \
        {F(EPROCESS_NumberOfLockedPages), locked, confidence, source},                                       \
        {F(EPROCESS_InheritedFromUniqueProcessId), parent, confidence, source},                              \
        {F(EPROCESS_ImageFileName), name, confidence, source},                                               \
        {F(EPROCESS_ThreadListHead), threads, confidence, source},                                           \
    {                                                                                                        \
        F(EPROCESS_LockedPagesList), trackers, confidence, source                                            \
    }

static const lhi_fact build_9200[] = {
    PROCESS(0x2e0, 0x2e8, 0x2fc, 0x390, 0x3d0, 0x438, 0x470, 0x498, V, b7),
    {F(EPROCESS_ExitTime), 0x610, V, b7},
    {F(ETHREAD_Cid), 0x398, V, b7},
    {F(ETHREAD_IrpList), 0x3d0, V, b7},
    {F(ETHREAD_ThreadListEntry), 0x400, V, b7},
    {F(KPRCB_Context), 0x5968, V, b9},
    {0, 0, 0, NULL},
};
/* ExitTime moved inside 10240 (670, later 678). */
static const lhi_fact build_10240[] = {
    PROCESS(0x2e8, 0x2f0, 0x304, 0x3a0, 0x3e0, 0x448, 0x480, 0x4a8, V, b7),
    {F(ETHREAD_Cid), 0x628, V, b7},
    {F(ETHREAD_IrpList), 0x660, V, b7},
    {F(ETHREAD_ThreadListEntry), 0x690, V, b7},
    {F(KPRCB_Context), 0x6280, V, b9},
    {0, 0, 0, NULL},
};
static const lhi_fact build_10586[] = {
    PROCESS(0x2e8, 0x2f0, 0x304, 0x3a0, 0x3e0, 0x450, 0x488, 0x4b0, V, b7),
    {F(EPROCESS_ExitTime), 0x678, V, b7},
    {F(ETHREAD_Cid), 0x628, V, b7},
    {F(ETHREAD_IrpList), 0x660, V, b7},
    {F(ETHREAD_ThreadListEntry), 0x690, V, b7},
    {F(KPRCB_Context), 0x6280, V, b9},
    {0, 0, 0, NULL},
};
static const lhi_fact build_15063[] = {
    PROCESS(0x2e0, 0x2e8, 0x304, 0x3a0, 0x3e0, 0x450, 0x488, 0x4b0, V, b7),
    {F(EPROCESS_ExitTime), 0x690, V, b7},
    {F(ETHREAD_Cid), 0x638, V, b7},
    {F(ETHREAD_IrpList), 0x670, V, b7},
    {F(ETHREAD_ThreadListEntry), 0x6a0, V, b7},
    {F(KPRCB_Context), 0x6380, V, b9},
    {0, 0, 0, NULL},
};
/* 16299 and 17134. */
static const lhi_fact build_16299[] = {
    PROCESS(0x2e0, 0x2e8, 0x304, 0x3a0, 0x3e0, 0x450, 0x488, 0x4b0, V, b7),
    {F(EPROCESS_ExitTime), 0x690, V, b7},
    {F(ETHREAD_Cid), 0x638, V, b7},
    {F(ETHREAD_IrpList), 0x670, V, b7},
    {F(ETHREAD_ThreadListEntry), 0x6a8, V, b7},
    {F(KPRCB_Context), 0x62c0, V, b9},
    {0, 0, 0, NULL},
};

/* 22H2 and 23H2: two fields of EPROCESS are known not to have moved since 19041, so the rest is taken from
 * there. ETHREAD is not: between 19041 and 22000 it moved. */
static const char b7_22h2[] = "values of 19041, of which two are known to hold";
static const lhi_fact build_22621[] = {
    PROCESS(0x440, 0x448, 0x464, 0x500, 0x540, 0x5a8, 0x5e0, 0x608, S, b7_22h2),
    {F(EPROCESS_ExitTime), 0x840, S, b7_22h2},
    {F(KPRCB_ProcessorState), 0x100, S, b9_near},
    {F(KPROCESSOR_STATE_ContextFrame), 0xf0, S, b9_near},
    {F(KPRCB_PPLookasideList), 0x800, S, b9_near},
    {0, 0, 0, NULL},
};

/* 24H2 generation. NumberOfLockedPages may stay 0 there: four counters elsewhere sum up (facts A.5). */
static const char b7_24h2[] = "published types of the 24H2 generation, cross-checked on six fields";
/* Facts "real dumps" 1: the distance to the name did not change, and the values are plausible; no symbols say
 * it. */
static const char b7_24h2_locked[] =
    "published types of the 24H2 generation; values in nine public dumps are plausible";
static const char real[] = "seen in nine public dumps of 26100";
static const lhi_fact build_24h2[] = {
    PROCESS(0x1d0, 0x1d8, 0x1f4, 0x290, 0x2d0, 0x338, 0x370, 0x398, V, b7_24h2),
    {F(EPROCESS_NumberOfLockedPages), 0x290, S, b7_24h2_locked},
    {F(EPROCESS_UniqueProcessId), 0x1d0, V, real},
    {F(EPROCESS_ActiveProcessLinks), 0x1d8, V, real},
    {F(EPROCESS_ImageFileName), 0x338, V, real},
    {F(EPROCESS_CreateTime), 0x1f8, V, b7_24h2},
    {F(EPROCESS_ExitTime), 0x5c0, V, b7_24h2},
    {F(KTHREAD_Process), 0x220, V, real},
    {F(KPRCB_ProcessorState), 0x100, S, b9_near},
    {F(KPROCESSOR_STATE_ContextFrame), 0xf0, S, b9_near},
    {0, 0, 0, NULL},
};

/* ------------------------------------------------------------------ rows */

static const lhi_fact_size sizes_9200[] = {
    {LHI_SIZE_EPROCESS, 0x660}, {LHI_SIZE_KPROCESS, 0x2c8}, {LHI_SIZE_KTHREAD, 0x348},
    {LHI_SIZE_ETHREAD, 0x4d0},  {LHI_SIZE_KPRCB, 0x5b80},   {0, 0},
};
static const lhi_fact_size sizes_10240[] = {
    {LHI_SIZE_KPROCESS, 0x2d8}, {LHI_SIZE_KTHREAD, 0x5d8}, {LHI_SIZE_ETHREAD, 0x7c0}, {0, 0}};
static const lhi_fact_size sizes_15063[] = {
    {LHI_SIZE_EPROCESS, 0x818}, {LHI_SIZE_KPROCESS, 0x2d8}, {LHI_SIZE_KTHREAD, 0x5e8},
    {LHI_SIZE_ETHREAD, 0x810},  {LHI_SIZE_KPRCB, 0x6a40},   {0, 0},
};
static const lhi_fact_size sizes_16299[] = {
    {LHI_SIZE_KPROCESS, 0x2d8}, {LHI_SIZE_KTHREAD, 0x5f0}, {LHI_SIZE_ETHREAD, 0x818}, {0, 0}};
static const lhi_fact_size sizes_24h2[] = {
    {LHI_SIZE_EPROCESS, 0x840}, /* facts real-dumps 1 */
    {LHI_SIZE_KPROCESS, 0x1c8}, {LHI_SIZE_LOCK_HEADER, 0x20}, {LHI_SIZE_LOCK_TRACKER, 0x90}, {0, 0},
};

/* Later groups override earlier ones. */
static const lhi_fact *const of_9200[] = {thread_8, frames_6, processor_old, build_9200, NULL};
static const lhi_fact *const of_10240[] = {thread_8,     frames_10,   modules_10, processor_old,
                                           trackers_old, build_10240, NULL};
static const lhi_fact *const of_10586[] = {thread_8,     frames_10,   modules_10, processor_old,
                                           trackers_old, build_10586, NULL};
static const lhi_fact *const of_15063[] = {thread_8,     frames_10,   modules_10, processor_15063,
                                           trackers_old, build_15063, NULL};
static const lhi_fact *const of_16299[] = {thread_8,          frames_10,      modules_10,  processor_15063,
                                           lock_header_16299, trackers_16299, build_16299, NULL};
static const lhi_fact *const of_22621[] = {thread_after,   frames_10,   modules_10, lock_header_16299,
                                           trackers_16299, build_22621, NULL};
static const lhi_fact *const of_24h2[] = {thread_after,   frames_10,  modules_10, lock_header_24h2,
                                          trackers_16299, build_24h2, NULL};

#define NO LHI_NO_OFFSET
const lhi_facts_row lhi_facts_rows[] = {
    {9200, 9200, "published tables from public symbols: build 9200", V, of_9200, sizes_9200, NO, NO},
    {10240, 10240, "published tables from public symbols: build 10240", V, of_10240, sizes_10240, NO, NO},
    {10586, 10586, "published tables from public symbols: build 10586", V, of_10586, sizes_10240, NO, NO},
    {15063, 15063, "published tables from public symbols: build 15063", V, of_15063, sizes_15063, NO, NO},
    {16299, 16299, "published tables from public symbols: build 16299", V, of_16299, sizes_16299, NO, NO},
    {17134, 17134, "published tables from public symbols: build 17134", V, of_16299, sizes_16299, NO, NO},
    {22621, 22621, "22H2, by the values of 19041 (no symbols at hand)", S, of_22621, NULL, NO, NO},
    {22631, 22631, "23H2, by the values of 19041 (no symbols at hand)", S, of_22621, NULL, NO, NO},
    /* 26100 has been taken to count from 200 on; in the others of the generation it may be 240 (facts A.5).
     */
    {26019, 26099, "published types of the 24H2 generation (no symbols at hand)", S, of_24h2, NULL, 0x410,
     NO},
    {26100, 26100, "published types of the 24H2 generation, and public dumps of 26100 (no symbols at hand)",
     V, of_24h2, sizes_24h2, 0x410, 0x200},
    {26101, 28000, "published types of the 24H2 generation (no symbols at hand)", S, of_24h2, NULL, 0x410,
     NO},
};
const size_t lhi_facts_row_count = sizeof lhi_facts_rows / sizeof lhi_facts_rows[0];
