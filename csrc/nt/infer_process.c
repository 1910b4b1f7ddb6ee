/* Fields of EPROCESS, probed on and inferred from the processes of the active list and the one that ended.
 *
 * Facts: B.7 (what stands beside what in every known build), G.4 (calibration without symbols), A.2. */
#include "base/bytes.h"
#include "nt/probe.h"
#include "nt/process.h"
#include "nt/read.h"

#include <string.h>

/* EPROCESS has been at most 0xbc0 bytes (facts B.7); room for growth. */
#define LINKS_FIRST  0x80u
#define PROCESS_MOST 0x1400u
#define NAME_LENGTH  15u
#define PID_SYSTEM   4u
#define PID_MOST     0x7fffffffull
/* EPROCESS.Flags: ProcessExiting and ProcessDelete; ProcessInserted from 8.1 on (facts B.7). */
#define FLAGS_ENDED    0xcu
#define FLAGS_INSERTED (1u << 26)
/* NumberOfLockedPages lies this far before ImageFileName on the builds known (facts B.7). */
#define BEFORE_NAME 3
static const uint16_t before_name[BEFORE_NAME] = {0x90, 0xa8, 0xb0};

static bool word(const lhi_witness *w, uint64_t address, uint64_t *out)
{
    uint64_t at = 0;
    return lhi_read_u64(&w->kernel->space, address, out, &at) == LH_PRESENT;
}

static int ask_links(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < w->link_count; i++) {
        int says = w->links[i] - LHI_KERNEL_HALF < offset
                       ? -1
                       : lhi_looks_like_process(w->kernel, w->links[i] - offset);
        agree += says > 0;
        against += says < 0;
    }
    return lhi_weigh(agree, against);
}

/* Process identifiers are multiples of four, no two are the same, and one is that of System. */
static int ask_pid(const lhi_witness *w, uint64_t offset)
{
    uint64_t seen[LHI_WITNESSES] = {0};
    size_t count = 0;
    bool system = false;
    for (size_t i = 0; i < w->process_count; i++) {
        uint64_t pid = 0;
        if (!word(w, w->processes[i] + offset, &pid))
            continue;
        if (pid == 0 || pid % 4 != 0 || pid > PID_MOST)
            return -1;
        for (size_t k = 0; k < count; k++) {
            if (seen[k] == pid)
                return -1;
        }
        seen[count++] = pid;
        system = system || pid == PID_SYSTEM;
    }
    if (!system)
        return w->complete && count == w->link_count && count > 0 ? -1 : 0;
    return (int)count;
}

static int ask_name(const lhi_witness *w, uint64_t offset)
{
    static const uint8_t system[NAME_LENGTH] = "System";
    int agree = 0;
    int against = 0;
    bool system_seen = false;
    for (size_t i = 0; i < w->process_count; i++) {
        uint8_t name[NAME_LENGTH] = {0};
        uint64_t at = 0;
        if (lhi_read(&w->kernel->space, w->processes[i] + offset, name, sizeof name, &at) != LH_PRESENT)
            continue;
        if (w->processes[i] == w->system) {
            if (memcmp(name, system, NAME_LENGTH) != 0)
                return -1;
            system_seen = true;
        }
        if (lhi_is_file_name(name))
            agree++;
        else
            against++;
    }
    return system_seen ? lhi_weigh(agree, against) : 0;
}

/* Symbols give the field, and others of the structure were seen to be right: a value that does not fit says
 * something about the process. */
static bool certain(const lhi_witness *w, lhi_field field)
{
    const lhi_field_state *states = w->kernel->row.states;
    return states[field].origin == LHI_FROM_TABLE && states[field].confidence == LHI_VERIFIED &&
           states[LHI_F_EPROCESS_ImageFileName].probe == LHI_PROBE_AGREED;
}

static int ask_locked(const lhi_witness *w, uint64_t offset)
{
    const uint64_t ram = lhi_dump_header(w->kernel->dump)->pages_ram;
    uint64_t value = 0;
    int agree = 0;
    if (w->victim == 0 || w->victim_pages == 0 || !word(w, w->victim + offset, &value))
        return 0;
    if (value != w->victim_pages)
        /* 24H2 counts elsewhere and may leave it 0 (facts A.5). */
        return (value == 0 && w->kernel->row.counters_pointer != LHI_NO_OFFSET) ||
                       certain(w, LHI_F_EPROCESS_NumberOfLockedPages)
                   ? 0
                   : -1;
    agree = 1;
    for (size_t i = 0; i < w->process_count; i++) {
        if (!word(w, w->processes[i] + offset, &value))
            continue;
        if (ram != 0 && value > ram && !certain(w, LHI_F_EPROCESS_NumberOfLockedPages))
            return -1;
        agree++;
    }
    return agree;
}

static int ask_exit(const lhi_witness *w, uint64_t offset)
{
    const lh_dump_info *header = lhi_dump_header(w->kernel->dump);
    const uint64_t now = header->system_time;
    const uint64_t boot = now > header->system_uptime ? now - header->system_uptime : 0;
    uint64_t value = 0;
    int agree = 0;
    if (now == 0)
        return 0;
    for (size_t i = 0; i < w->process_count; i++) {
        if (!word(w, w->processes[i] + offset, &value))
            continue;
        /* One that ended and is still referred to stays on the list. */
        if (value != 0 && (w->processes[i] == w->system || value < boot || value > now))
            return -1;
        agree++;
    }
    if (w->victim == 0 || !word(w, w->victim + offset, &value) || value < boot || value > now || value == 0)
        return 0;
    return agree;
}

static int ask_flags(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    uint64_t value = 0;
    for (size_t i = 0; i < w->process_count; i++) {
        if (!word(w, w->processes[i] + offset, &value))
            continue;
        if (w->processes[i] == w->system && (value & FLAGS_ENDED) != 0)
            return -1;
        agree += (value & FLAGS_INSERTED) != 0;
    }
    if (w->victim == 0 || !word(w, w->victim + offset, &value) || (value & FLAGS_ENDED) != FLAGS_ENDED)
        return 0;
    return agree;
}

static int ask_trackers(const lhi_witness *w, uint64_t offset)
{
    uint64_t value = 0;
    if (w->victim == 0 || w->victim_trackers == 0 || !word(w, w->victim + offset, &value))
        return 0;
    return value == w->victim_trackers ? 1 : certain(w, LHI_F_EPROCESS_LockedPagesList) ? 0 : -1;
}

static void note_pids(lhi_witness *w)
{
    uint64_t offset = 0;
    memset(w->pids, 0, sizeof w->pids);
    if (!lhi_layout_offset(w->kernel->layout, LHI_F_EPROCESS_UniqueProcessId, &offset))
        return;
    for (size_t i = 0; i < w->process_count; i++) {
        if (word(w, w->processes[i] + offset, &w->pids[i]) && w->pids[i] == PID_SYSTEM && w->system == 0)
            w->system = w->processes[i];
    }
}

/* The structure is not the one of the row: what was not seen to be right is not believed either. */
static void distrust(lhi_witness *w)
{
    lhi_layout_row *row = &w->kernel->row;
    bool failed = false;
    for (int f = LHI_F_EPROCESS_UniqueProcessId; f <= LHI_F_EPROCESS_InheritedFromUniqueProcessId; f++)
        failed = failed || row->states[f].probe == LHI_PROBE_FAILED;
    if (!failed)
        return;
    w->kernel->probing.identity_failed = true;
    row->counters_pointer = row->counters_first = LHI_NO_OFFSET;
    for (int f = LHI_F_EPROCESS_UniqueProcessId; f <= LHI_F_EPROCESS_InheritedFromUniqueProcessId; f++) {
        if (row->states[f].probe == LHI_NOT_PROBED && row->states[f].origin != LHI_FROM_DUMP)
            lhi_field_drop(row, (lhi_field)f);
    }
}

void lhi_settle_processes(lhi_witness *w)
{
    const lhi_layout_row *row = &w->kernel->row;
    const uint64_t stated = w->kernel->kdbg.offsets.process_size;
    const uint64_t last = stated >= 0x100 && stated <= PROCESS_MOST ? stated - 8 : PROCESS_MOST;
    uint16_t preferred[2 * BEFORE_NAME + 1] = {0};
    size_t n = 0;
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_EPROCESS_ActiveProcessLinks,
                      .ask = ask_links,
                      .first = LINKS_FIRST,
                      .last = last,
                      .step = 8,
                      .least = 2,
                      .overrule = true,
                      .source = "the active process list: every entry leads to a process object",
                  });
    lhi_witness_processes(w);
    const uint64_t links = row->offsets[LHI_F_EPROCESS_ActiveProcessLinks];
    if (links == LHI_NO_OFFSET)
        return;
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_EPROCESS_UniqueProcessId,
                      .ask = ask_pid,
                      .first = links - 8,
                      .last = links - 8,
                      .step = 8,
                      .least = 2,
                      .source = "beside the list links, four in the System process, different in all",
                  });
    note_pids(w);
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_EPROCESS_ImageFileName,
                      .ask = ask_name,
                      .first = LINKS_FIRST,
                      .last = last - 8,
                      .step = 4,
                      .least = 2,
                      .source = "\"System\" in the process with PID 4, a file name in all others",
                  });
    distrust(w);
    const uint64_t name = row->offsets[LHI_F_EPROCESS_ImageFileName];
    for (size_t i = 0; i < BEFORE_NAME && name != LHI_NO_OFFSET; i++) {
        if (name > before_name[i])
            preferred[n++] = (uint16_t)(name - before_name[i]);
    }
    preferred[n] = LHI_NO_OFFSET;
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_EPROCESS_NumberOfLockedPages,
                      .ask = ask_locked,
                      .first = links + 16,
                      .last = name != LHI_NO_OFFSET ? name - 8 : last,
                      .step = 8,
                      .least = 1,
                      .preferred = preferred,
                      .source = "equal to the bug check's count in the process that ended",
                  });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_EPROCESS_ExitTime,
                      .ask = ask_exit,
                      .first = LINKS_FIRST,
                      .last = last,
                      .step = 8,
                      .least = 2,
                      .source = "a time before the crash in the process that ended, none in System",
                  });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_EPROCESS_Flags,
                      .ask = ask_flags,
                      .first = LINKS_FIRST,
                      .last = last,
                      .step = 4,
                      .least = 3,
                      .source = "bits of an ending process set in the one that ended, clear in System",
                  });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_EPROCESS_LockedPagesList,
                      .ask = ask_trackers,
                      .first = links + 16,
                      .last = last,
                      .step = 8,
                      .least = 1,
                      .source = "equal to the bug check's fourth parameter in the process that ended",
                  });
    distrust(w);
}
