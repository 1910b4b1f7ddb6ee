/* The 64-bit crash-dump header: tells what a file is and reads the fields every dump type has. */
#include "dump/header.h"

#include "base/bytes.h"
#include "source/source.h"

#include <stdio.h>
#include <string.h>

/* Offsets in DUMP_HEADER64 (Windows SDK mindumpdef.h; facts 1.2). */
enum {
    VALID_DUMP = 0x4,
    MAJOR_VERSION = 0x8,
    MINOR_VERSION = 0xc,
    DIRECTORY_TABLE_BASE = 0x10,
    PFN_DATABASE = 0x18,
    LOADED_MODULE_LIST = 0x20,
    ACTIVE_PROCESS_HEAD = 0x28,
    MACHINE_IMAGE_TYPE = 0x30,
    NUMBER_PROCESSORS = 0x34,
    BUGCHECK_CODE = 0x38,
    BUGCHECK_PARAMETER = 0x40,
    DEBUGGER_DATA_BLOCK = 0x80,
    DUMP_TYPE = 0xf98,
    SYSTEM_TIME = 0xfa8,
    SYSTEM_UPTIME = 0x1030,
    ATTRIBUTES = 0x1050
};

/* DumpType of a 32-bit header (facts 1.3). */
#define DUMP_TYPE_32 0xf88u

/* Attributes (facts 1.2). */
#define ATTRIBUTE_INSUFFICIENT_SPACE 0x4u
#define ATTRIBUTE_ENCRYPTED          0x100u
#define ATTRIBUTE_DECRYPTED          0x200u

static const char *type_name(uint32_t type)
{
    switch (type) { /* facts 1.5 */
    case 1:
        return "full";
    case 2:
        return "summary: kernel pages, Windows 7 and before";
    case 3:
        return "header only";
    case 4:
        return "triage: small memory dump";
    case 5:
        return "full bitmap";
    case 6:
        return "kernel bitmap";
    case 7:
        return "automatic";
    case 8:
        return "range: kernel pages";
    case 9:
        return "range: kernel and user pages";
    case 10:
        return "range: complete";
    default:
        return NULL;
    }
}

static const char *machine_name(uint32_t machine)
{
    switch (machine) { /* IMAGE_FILE_MACHINE_* of the PE specification */
    case 0x14c:
        return "x86";
    case 0x200:
        return "Itanium";
    case 0x1c4:
        return "ARM";
    case LHI_MACHINE_ARM64:
        return "ARM64";
    default:
        return NULL;
    }
}

/* What stands first that a short file lacks. */
static lh_status fail_short(lh_error *err, uint64_t size)
{
    static const struct {
        uint32_t offset;
        uint32_t size;
        const char *name;
    } fields[] = {
        {0, 4, "Signature"},
        {VALID_DUMP, 4, "ValidDump"},
        {MAJOR_VERSION, 4, "MajorVersion"},
        {MINOR_VERSION, 4, "MinorVersion"},
        {DIRECTORY_TABLE_BASE, 8, "DirectoryTableBase"},
        {PFN_DATABASE, 8, "PfnDataBase"},
        {LOADED_MODULE_LIST, 8, "PsLoadedModuleList"},
        {ACTIVE_PROCESS_HEAD, 8, "PsActiveProcessHead"},
        {MACHINE_IMAGE_TYPE, 4, "MachineImageType"},
        {NUMBER_PROCESSORS, 4, "NumberProcessors"},
        {BUGCHECK_CODE, 4, "BugCheckCode"},
        {BUGCHECK_PARAMETER, 32, "BugCheckParameter"},
        {DEBUGGER_DATA_BLOCK, 8, "KdDebuggerDataBlock"},
        {LHI_HEADER_RUNS, 700, "PhysicalMemoryBlock"},
        {LHI_HEADER_CONTEXT, 3000, "ContextRecord"},
        {0xf00, 0x98, "Exception"},
        {DUMP_TYPE, 4, "DumpType"},
        {0xfa0, 8, "RequiredDumpSpace"},
        {SYSTEM_TIME, 8, "SystemTime"},
        {SYSTEM_UPTIME, 8, "SystemUpTime"},
        {ATTRIBUTES, 4, "Attributes"},
        {0x1058, LHI_HEADER_SIZE - 0x1058, "reserved part of the header"},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (size < fields[i].offset + fields[i].size)
            return lhi_fail_field(err, LH_ERR_FORMAT, fields[i].name, fields[i].offset,
                                  "the file ends inside the header, after 0x%llx of 0x%x bytes",
                                  (unsigned long long)size, LHI_HEADER_SIZE);
    return lhi_fail(err, LH_ERR_INTERNAL, "header: nothing is missing");
}

static lh_status fail_32(lh_error *err, const lh_source *source, const char *what)
{
    uint8_t word[4] = {0};
    const char *type = NULL;
    if (lhi_source_size(source) >= DUMP_TYPE_32 + sizeof word &&
        lhi_source_read(source, DUMP_TYPE_32, word, sizeof word, NULL) == LH_OK)
        type = type_name(lhi_u32(word));
    return lhi_fail_field(err, LH_ERR_UNSUPPORTED, "ValidDump", VALID_DUMP,
                          "%s%s%s; only 64-bit ones are read", what, type ? ", type " : "", type ? type : "");
}

static lh_status check_signature(const lh_source *source, const uint8_t *bytes, size_t size, lh_error *err)
{
    if (!size)
        return lhi_fail_field(err, LH_ERR_FORMAT, "Signature", 0, "the file is empty");
    if (size >= 8 && memcmp(bytes, "PAGEDU64", 8) == 0)
        return LH_OK;
    const char *what = lhi_identify(bytes, size);
    if (what && memcmp(bytes, "PAGE", 4) == 0)
        return fail_32(err, source, what);
    if (what)
        return lhi_fail_field(err, LH_ERR_UNSUPPORTED, "Signature", 0, "this is %s, not a Windows crash dump",
                              what);
    if (memcmp(bytes, "PAGEDU64", size < 8 ? size : 8) == 0)
        return fail_short(err, size);
    if (size >= 4 && memcmp(bytes, "PAGE", 4) == 0)
        return lhi_fail_field(err, LH_ERR_FORMAT, "ValidDump", VALID_DUMP,
                              "neither DUMP nor DU64 stands behind PAGE");
    return lhi_fail_field(err, LH_ERR_FORMAT, "Signature", 0,
                          "not a Windows crash dump (no PAGE), nor another known format");
}

static lh_status check_machine(const uint8_t *bytes, lh_error *err)
{
    uint32_t machine = lhi_u32(bytes + MACHINE_IMAGE_TYPE);
    uint32_t attributes = lhi_u32(bytes + ATTRIBUTES);
    if (machine != LHI_MACHINE_X64 && !(machine == LHI_MACHINE_ARM64 && lhi_u32(bytes + DUMP_TYPE) == 4)) {
        const char *name = machine_name(machine);
        return lhi_fail_field(
            err, LH_ERR_UNSUPPORTED, "MachineImageType", MACHINE_IMAGE_TYPE,
            "a dump of a%s%s machine (0x%x); only x64 (0x8664) is read, and ARM64 in triage "
            "dumps",
            name ? "n " : "n unknown", name ? name : "", (unsigned)machine);
    }
    if (attributes != LHI_UNSET32 && (attributes & ATTRIBUTE_ENCRYPTED) &&
        !(attributes & ATTRIBUTE_DECRYPTED))
        return lhi_fail_field(
            err, LH_ERR_UNSUPPORTED, "Attributes", ATTRIBUTES,
            "the dump is encrypted; KernelDumpDecrypt with its private key makes it readable");
    return LH_OK;
}

static lh_status fail_type(const uint8_t *bytes, lh_error *err)
{
    uint32_t type = lhi_u32(bytes + DUMP_TYPE);
    if (type == LHI_UNSET32)
        return lhi_fail_field(err, LH_ERR_FORMAT, "DumpType", DUMP_TYPE, "was never set");
    return lhi_fail_field(err, LH_ERR_UNSUPPORTED, "DumpType", DUMP_TYPE,
                          "a dump of type %u (%s); only 1 (full), 4 (triage), 5 and 6 (bitmap) are read",
                          (unsigned)type, type_name(type) ? type_name(type) : "unknown");
}

bool lhi_header_has_type(const uint8_t *bytes, size_t size, uint32_t type)
{
    return size >= LHI_HEADER_SIZE && memcmp(bytes, "PAGEDU64", 8) == 0 && lhi_u32(bytes + DUMP_TYPE) == type;
}

lh_status lhi_header_refuse(const lh_source *source, const uint8_t *bytes, size_t size, lh_error *err)
{
    lh_status status = check_signature(source, bytes, size, err);
    if (status == LH_OK && size < LHI_HEADER_SIZE)
        status = fail_short(err, size);
    if (status == LH_OK)
        status = check_machine(bytes, err);
    return status == LH_OK ? fail_type(bytes, err) : status;
}

static uint32_t word(const uint8_t *bytes, uint32_t offset)
{
    uint32_t value = lhi_u32(bytes + offset);
    return value == LHI_UNSET32 ? 0 : value;
}

static uint64_t quad(const uint8_t *bytes, uint32_t offset)
{
    uint64_t value = lhi_u64(bytes + offset);
    return value == LHI_UNSET64 ? 0 : value;
}

lh_status lhi_header_read(lhi_opened *file, lh_error *err)
{
    const uint8_t *bytes = file->header;
    lh_dump_info *info = &file->info;
    lh_status status = check_machine(bytes, err);
    if (status != LH_OK)
        return status;
    info->machine = lhi_u32(bytes + MACHINE_IMAGE_TYPE);
    info->build = word(bytes, MINOR_VERSION);
    info->major = word(bytes, MAJOR_VERSION);
    info->processors = word(bytes, NUMBER_PROCESSORS);
    info->bugcheck_code = word(bytes, BUGCHECK_CODE);
    for (uint32_t i = 0; i < 4; i++)
        info->parameters[i] = quad(bytes, BUGCHECK_PARAMETER + 8 * i);
    info->directory_table_base = quad(bytes, DIRECTORY_TABLE_BASE) & ~(uint64_t)0xfff; /* PCID bits */
    info->pfn_database = quad(bytes, PFN_DATABASE);
    info->loaded_module_list = quad(bytes, LOADED_MODULE_LIST);
    info->active_process_head = quad(bytes, ACTIVE_PROCESS_HEAD);
    info->debugger_data_block = quad(bytes, DEBUGGER_DATA_BLOCK);
    info->system_time = quad(bytes, SYSTEM_TIME);
    info->system_uptime = quad(bytes, SYSTEM_UPTIME);
    info->file_size = lhi_source_size(file->source);
    if (word(bytes, ATTRIBUTES) & ATTRIBUTE_INSUFFICIENT_SPACE)
        lhi_note(&file->notes, "the header says that the disk had no room for the whole dump");
    return LH_OK;
}
