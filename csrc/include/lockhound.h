/*
 * lockhound.h - the whole public C API of liblockhound.
 *
 * lockhound reads Windows kernel dumps with bug check 0x76 (PROCESS_HAS_LOCKED_PAGES) or 0xCB
 * (DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS) and names the driver that left a process's pages locked.
 *
 * Conventions, valid for every declaration below:
 *
 *  - Status. A function that can fail returns lh_status and takes a nullable, caller-owned
 *    `lh_error *` last. On failure the out parameters are left as they were and the error is filled;
 *    on success the error is left alone.
 *  - Ownership. Handles are opaque and counted: lh_*_open/lh_search/lh_investigate give the caller one
 *    reference, lh_*_release drops it and accepts NULL. A child (dump, kernel, case, hits) retains its
 *    parent, so handles may be released in any order.
 *  - Threads. An opened handle is immutable: any number of threads may use one at the same time. The
 *    library keeps no mutable globals, prints nothing, installs no signal handler and never aborts.
 *    Worker threads end before the call that started them returns, so a process may fork between calls.
 *  - Units. Addresses, sizes and file offsets are in bytes; a PFN is a physical address >> 12.
 *  - Structs. Option and result structs carry `struct_size` first: set it to sizeof the struct. Fields
 *    are only ever added at the end.
 *  - Bounds. Work and memory are linear in the bytes present in the dump and in the results asked for;
 *    no count read from a file is trusted before it is checked against the file.
 */
#ifndef LOCKHOUND_H
#define LOCKHOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LH_API __attribute__((visibility("default")))
#else
#define LH_API
#endif

#define LH_VERSION_MAJOR 0
#define LH_VERSION_MINOR 1
#define LH_VERSION_PATCH 0

/* The library's version, "0.1.0"; a static string. */
LH_API const char *lh_version(void);

/* ------------------------------------------------------------------ errors */

/* Numbers are pinned for ever; new ones are added at the end. */
typedef enum lh_status {
    LH_OK = 0,
    LH_ERR_NO_MEMORY = 1,        /* an allocation failed */
    LH_ERR_INVALID_ARGUMENT = 2, /* the caller's argument; `field` names it */
    LH_ERR_IO = 3,               /* the operating system refused to open or read; `os_error` holds errno */
    LH_ERR_FORMAT = 4,           /* damaged input; `field` and `offset` name the place in the file */
    LH_ERR_UNSUPPORTED = 5,      /* recognised, but not read by this version; the message says what it is */
    LH_ERR_ABSENT = 6,           /* memory asked for is not there; see `absence`, `address`, `level` */
    LH_ERR_CANCELLED = 7,        /* lh_cancel_set or the progress callback stopped the call */
    LH_ERR_TIMEOUT = 8,          /* the deadline of the call passed */
    LH_ERR_LIMIT = 9,            /* a limit of lh_limits was met where no partial answer exists */
    LH_ERR_INTERNAL = 10         /* a fault in lockhound itself; please report */
} lh_status;

/* Why a byte of memory can't be read. Numbers are pinned for ever. */
typedef enum lh_absence {
    LH_PRESENT = 0,             /* not absent */
    LH_ABSENT_NOT_CAPTURED = 1, /* mapped, but the physical page is not in this dump */
    LH_ABSENT_CLIPPED = 2,      /* the page should be in the file, but the file ends before it */
    LH_ABSENT_NOT_RAM = 3,      /* the physical page lies outside the machine's memory runs */
    LH_ABSENT_NOT_MAPPED = 4,  /* the page tables have no entry; `level` tells where (4 = PML4 ... 1 = PTE) */
    LH_ABSENT_PAGED_OUT = 5,   /* a page-file PTE */
    LH_ABSENT_DEMAND_ZERO = 6, /* a demand-zero PTE: would read as zeros, was never written */
    LH_ABSENT_PROTOTYPE = 7,   /* a prototype PTE that can't be followed */
    LH_ABSENT_TABLE = 8,       /* a page table on the way is not in the dump; `level` tells which */
    LH_ABSENT_NONCANONICAL = 9, /* the address is not a canonical one */
    LH_ABSENT_LAYOUT = 10       /* no structure layout is known for this build */
} lh_absence;

typedef struct lh_error {
    lh_status code;
    lh_absence absence; /* for LH_ERR_ABSENT */
    int32_t level;      /* page-table level, 4 to 1; 0 where it does not apply */
    int32_t os_error;   /* errno for LH_ERR_IO */
    uint64_t address;   /* virtual or physical address of an absence */
    uint64_t offset;    /* file offset of a damaged field */
    char field[48];     /* name of a damaged field or argument; "" where none */
    char message[256];  /* one line, UTF-8, context first: "MEMORY.DMP: header: ..." */
} lh_error;

/* Stable short names, for logs and other languages: "absent", "not_captured". Static strings. */
LH_API const char *lh_status_name(lh_status status);
LH_API const char *lh_absence_name(lh_absence absence);

/* ------------------------------------------------------- cancel and progress */

typedef struct lh_cancel lh_cancel;
LH_API lh_status lh_cancel_create(lh_cancel **out, lh_error *err);
/* Stops every call that was given this object. Any thread, also a signal handler. */
LH_API void lh_cancel_set(lh_cancel *cancel);
LH_API bool lh_cancel_is_set(const lh_cancel *cancel);
/* Not before the calls it was given to have returned. */
LH_API void lh_cancel_destroy(lh_cancel *cancel);

/* Called on the thread that made the call about every 50 ms. done and total are bytes.
 * Returns false to stop the call, which then fails with LH_ERR_CANCELLED. */
typedef bool (*lh_progress_fn)(void *user, uint64_t done, uint64_t total);

/* Bounds every question; 0 means the default in brackets. An answer that met a limit says so. */
typedef struct lh_limits {
    size_t struct_size;
    uint64_t hits;         /* hits of one scan pass inside a case [4194304] */
    uint32_t mdls;         /* MDLs looked at in a case [65536] */
    uint32_t chain_length; /* MDLs followed through Next [4096] */
    uint32_t levels;       /* passes outward from an MDL to its holders [6] */
    double seconds;        /* wall time of the call [no limit] */
} lh_limits;

/* ------------------------------------------------------------------ source */

typedef struct lh_source lh_source;

enum {
    LH_SOURCE_DEFAULT = 0,
    /* Positioned reads instead of a mapping: for files that may shrink while they are read (a mapped
     * file that is truncated kills the process with SIGBUS) and for network file systems. */
    LH_SOURCE_POSITIONED = 1
};
LH_API lh_status lh_source_open_file(const char *path, uint32_t flags, lh_source **out, lh_error *err);
/* Borrows `data`: it must outlive every handle made from the source. */
LH_API lh_status lh_source_open_memory(const void *data, size_t size, lh_source **out, lh_error *err);

typedef struct lh_source_callbacks {
    size_t struct_size;
    /* Reads exactly `size` bytes at `offset`; returns 0, or an errno value. Must be callable from
     * several threads at once. */
    int (*read)(void *user, uint64_t offset, void *buffer, size_t size);
    void (*destroy)(void *user); /* may be NULL */
    void *user;
    uint64_t size; /* bytes in all */
} lh_source_callbacks;
LH_API lh_status lh_source_open_callbacks(const lh_source_callbacks *callbacks, lh_source **out,
                                          lh_error *err);
LH_API void lh_source_release(lh_source *source);

/* ------------------------------------------------------------------ dump */

typedef struct lh_dump lh_dump;

typedef enum lh_format {
    LH_FORMAT_FULL = 1,
    LH_FORMAT_KERNEL_BITMAP = 2,
    LH_FORMAT_FULL_BITMAP = 3,
    LH_FORMAT_TRIAGE = 4 /* no physical page: pieces of virtual memory */
} lh_format;
/* The name used in JSON: "full", "kernel-bitmap", "full-bitmap", "triage". */
LH_API const char *lh_format_name(lh_format format);

/* Reads header and page index. A dump cut at its end opens, with the lost pages counted. Another
 * known format fails with LH_ERR_UNSUPPORTED and a message that names it; anything else LH_ERR_FORMAT. */
LH_API lh_status lh_dump_open(lh_source *source, lh_dump **out, lh_error *err);
LH_API lh_status lh_dump_open_file(const char *path, lh_dump **out, lh_error *err);
LH_API void lh_dump_release(lh_dump *dump);

typedef struct lh_dump_info {
    size_t struct_size;
    lh_format format;
    uint32_t machine; /* IMAGE_FILE_MACHINE_*: 0x8664, in triage dumps also 0xaa64 */
    uint32_t build;   /* MinorVersion of the header */
    uint32_t major;   /* MajorVersion: 15 free, 12 checked build */
    uint32_t processors;
    uint32_t bugcheck_code;
    uint64_t parameters[4];
    uint64_t directory_table_base; /* low 12 bits cleared */
    uint64_t pfn_database;         /* virtual addresses, as the header has them */
    uint64_t loaded_module_list;
    uint64_t active_process_head;
    uint64_t debugger_data_block;
    uint64_t system_time;   /* FILETIME, 0 where the header does not say */
    uint64_t system_uptime; /* 100 ns units, 0 likewise */
    uint64_t file_size;
    uint64_t pages_present;   /* pages whose bytes are in the file */
    uint64_t pages_described; /* pages the dump says it holds (present + clipped) */
    uint64_t pages_clipped;   /* lost because the file is shorter than it says */
    uint64_t pages_ram;       /* pages of the machine's memory runs; 0 where the header has none */
    uint64_t highest_pfn;     /* highest PFN present */
    /* Of a triage dump, which has no pages: its pieces of virtual memory; 0 in others. */
    uint64_t blocks;
    uint64_t block_bytes;         /* whose bytes are in the file */
    uint64_t block_bytes_clipped; /* lost because the file is shorter than it says */
} lh_dump_info;
LH_API lh_status lh_dump_get_info(const lh_dump *dump, lh_dump_info *out, lh_error *err);

/* What a bug check means, from its number and parameters alone. Static strings.
 * name: "PROCESS_HAS_LOCKED_PAGES", or NULL for a code this version does not know.
 * subtype: one clause on this variant, "pages still locked when the process object was deleted"; NULL where
 * none is known. meaning: of parameter `index` (0 to 3) in this variant; NULL where unknown. */
LH_API const char *lh_bugcheck_name(uint32_t code);
LH_API const char *lh_bugcheck_subtype(uint32_t code, const uint64_t parameters[4]);
LH_API const char *lh_bugcheck_meaning(uint32_t code, const uint64_t parameters[4], uint32_t index);

/* Reads physical memory. *done tells how many leading bytes were read, also on failure. */
LH_API lh_status lh_dump_read_physical(const lh_dump *dump, uint64_t address, void *buffer, size_t size,
                                       size_t *done, lh_error *err);

/* The next run of present pages at or after *pfn. Sets *pfn and *count; *count is 0 at the end. */
LH_API lh_status lh_dump_next_run(const lh_dump *dump, uint64_t *pfn, uint64_t *count, lh_error *err);

/* The same dump seen without some pages (they count as not captured), or with some replaced. `bytes`
 * holds count * 4096 bytes and is copied. For tests and fault injection; costs memory linear in count. */
LH_API lh_status lh_dump_without_pages(lh_dump *dump, const uint64_t *pfns, size_t count, lh_dump **out,
                                       lh_error *err);
LH_API lh_status lh_dump_with_pages(lh_dump *dump, const uint64_t *pfns, const void *bytes, size_t count,
                                    lh_dump **out, lh_error *err);

/* ------------------------------------------------------------------ kernel */

typedef struct lh_kernel lh_kernel;

/* The kernel address space of a dump: page tables of the header's DirectoryTableBase, modules, layouts. */
LH_API lh_status lh_kernel_open(lh_dump *dump, lh_kernel **out, lh_error *err);
LH_API void lh_kernel_release(lh_kernel *kernel);

/* Reads virtual memory, across pages. *done tells how many leading bytes were read, also on failure;
 * LH_ERR_ABSENT tells why the next byte is not there. */
LH_API lh_status lh_kernel_read(const lh_kernel *kernel, uint64_t address, void *buffer, size_t size,
                                size_t *done, lh_error *err);

/* Reads `size` bytes at each of `count` addresses into buffer (count * size bytes). absences[i] gets
 * LH_PRESENT or the lh_absence of the first missing byte of item i, whose bytes are then zeros. */
LH_API lh_status lh_kernel_read_many(const lh_kernel *kernel, const uint64_t *addresses, size_t count,
                                     size_t size, void *buffer, uint8_t *absences, lh_error *err);

typedef struct lh_walk {
    size_t struct_size;
    uint64_t address;
    uint64_t physical;  /* valid when absence is LH_PRESENT or LH_ABSENT_NOT_CAPTURED/CLIPPED/NOT_RAM */
    uint64_t page_size; /* 4096, 2 MiB or 1 GiB; 0 where nothing is mapped */
    lh_absence absence;
    int32_t level;               /* level at which the walk ended: 4 to 1 */
    bool transition;             /* read through a transition PTE: unmapped, content still there */
    uint64_t entries[4];         /* raw entries read, PML4E first */
    uint64_t entry_addresses[4]; /* their physical addresses */
    uint32_t entry_count;
} lh_walk;
/* Walks the page tables for one address. An absence is a result here, not an error. */
LH_API lh_status lh_kernel_walk(const lh_kernel *kernel, uint64_t address, lh_walk *out, lh_error *err);

/* Virtual addresses in the kernel half that map each physical address; the lowest where several do.
 * states[i]: 0 mapped (virtuals[i] valid), 1 no kernel mapping exists, 2 unknown because page tables
 * are missing from the dump. One sweep of the page tables, whatever the count. */
LH_API lh_status lh_kernel_map_physical(const lh_kernel *kernel, const uint64_t *addresses, size_t count,
                                        uint64_t *virtuals, uint8_t *states, lh_error *err);

typedef struct lh_process {
    size_t struct_size;
    uint64_t address;
    uint64_t pid;          /* the *_known flags tell which fields could be read */
    uint64_t locked_pages; /* the kernel's counter NumberOfLockedPages */
    uint64_t directory_table_base;
    uint64_t flags;
    uint64_t exit_time; /* FILETIME; 0 while the process lives */
    char name[64];      /* ImageFileName, UTF-8, control characters escaped */
    bool name_known, pid_known, locked_pages_known, directory_table_base_known, flags_known, exit_time_known;
    lh_absence absence;      /* why the first unknown field is unknown */
    uint64_t absent_address; /* and the address that is missing; 0 for LH_ABSENT_LAYOUT */
} lh_process;
/* The process object at an address. Fails with LH_ERR_ABSENT when nothing of it can be read and with
 * LH_ERR_INVALID_ARGUMENT when what is there is not a process object. */
LH_API lh_status lh_kernel_get_process(const lh_kernel *kernel, uint64_t address, lh_process *out,
                                       lh_error *err);
/* Addresses of the process objects, ascending: those of the kernel's active list, the one that bug check 0x76
 * names (it has left the list) and the one that ran. Fills at most `room` entries of `addresses` (NULL with
 * room 0 asks for the number alone) and sets *count to how many there are. *complete (nullable): the list was
 * walked to its end; where pages of it are missing the processes beyond them are not known. */
LH_API lh_status lh_kernel_list_processes(const lh_kernel *kernel, uint64_t *addresses, size_t room,
                                          size_t *count, bool *complete, lh_error *err);

typedef struct lh_module {
    size_t struct_size;
    uint64_t base;
    uint64_t size;
    uint64_t entry;     /* address of its KLDR_DATA_TABLE_ENTRY; 0 for unloaded ones */
    uint32_t timestamp; /* TimeDateStamp of the PE header, or of the list entry; 0 unknown */
    bool unloaded;
    char name[128];   /* BaseDllName, lower case, UTF-8, control characters escaped */
    char version[32]; /* file version "1.2.3.4" of its version resource; "" where not captured */
} lh_module;
LH_API size_t lh_kernel_module_count(const lh_kernel *kernel);
LH_API lh_status lh_kernel_get_module(const lh_kernel *kernel, size_t index, lh_module *out, lh_error *err);

/* ------------------------------------------------------------------ search */

typedef struct lh_range {
    uint64_t begin, end; /* matches begin <= value < end */
} lh_range;

typedef struct lh_search_options {
    size_t struct_size;
    const uint64_t *values; /* needles; a value matches when (memory & mask) == (needle & mask) */
    size_t value_count;
    const lh_range *ranges; /* needles too: numbered after the values; compared without the mask */
    size_t range_count;
    uint64_t mask;           /* 0 means all bits */
    uint32_t align;          /* 1, 2, 4 or 8 [8]; unaligned values may cross into the next physical page */
    uint32_t threads;        /* 0: one for each processor */
    uint64_t limit;          /* hits at most; 0 means all. The first `limit` in physical order are kept */
    double seconds;          /* 0: no deadline */
    lh_cancel *cancel;       /* may be NULL */
    lh_progress_fn progress; /* may be NULL */
    void *progress_user;
} lh_search_options;

typedef struct lh_hits lh_hits;
/* Every needle in one pass over the present pages. With a kernel, hits get virtual addresses too. In a triage
 * dump the pieces of virtual memory are searched: hits have virtual addresses, also without a kernel, and
 * UINT64_MAX for the physical ones, which nothing tells; they ascend by virtual address. */
LH_API lh_status lh_search(lh_dump *dump, lh_kernel *kernel, const lh_search_options *options, lh_hits **out,
                           lh_error *err);
LH_API void lh_hits_release(lh_hits *hits);
LH_API size_t lh_hits_count(const lh_hits *hits);
LH_API bool lh_hits_truncated(const lh_hits *hits); /* met `limit` */
/* Columns of lh_hits_count entries, in ascending physical order; immutable, owned by the hits. */
LH_API const uint64_t *lh_hits_physical(const lh_hits *hits);
LH_API const uint64_t *lh_hits_value(const lh_hits *hits);        /* the 8 bytes found */
LH_API const uint32_t *lh_hits_needle(const lh_hits *hits);       /* index into values, then ranges */
LH_API const uint64_t *lh_hits_virtual(const lh_hits *hits);      /* NULL: no kernel was given */
LH_API const uint8_t *lh_hits_virtual_state(const lh_hits *hits); /* as in lh_kernel_map_physical */

/* ------------------------------------------------------------------ case */

typedef struct lh_case lh_case;

typedef enum lh_verdict_kind {
    LH_VERDICT_DRIVER = 1,
    LH_VERDICT_KERNEL = 2,
    LH_VERDICT_UNATTRIBUTED = 3,
    LH_VERDICT_INSUFFICIENT = 4,
    LH_VERDICT_NOT_APPLICABLE = 5
} lh_verdict_kind;
LH_API const char *lh_verdict_kind_name(lh_verdict_kind kind);

typedef struct lh_investigate_options {
    size_t struct_size;
    uint32_t threads; /* 0: one for each processor */
    lh_limits limits;
    lh_cancel *cancel;
    lh_progress_fn progress;
    void *progress_user;
    const char *path; /* shown as dump.path; may be NULL */
} lh_investigate_options;

/* Builds the whole case. Only failures of the call itself (memory, cancel, deadline, I/O) are errors: what
 * the dump does not tell is in the case. options may be NULL. */
LH_API lh_status lh_investigate(lh_kernel *kernel, const lh_investigate_options *options, lh_case **out,
                                lh_error *err);
LH_API void lh_case_release(lh_case *lhcase);

LH_API lh_verdict_kind lh_case_kind(const lh_case *lhcase);
/* The first driver named, "leaky.sys"; NULL where none is. Owned by the case. */
LH_API const char *lh_case_driver(const lh_case *lhcase);
LH_API double lh_case_confidence(const lh_case *lhcase); /* 0 to 1 */

typedef enum lh_mdl_state { LH_MDL_LOCKED = 1, LH_MDL_FREED_LOCKED = 2, LH_MDL_UNKNOWN = 3 } lh_mdl_state;

typedef struct lh_ledger {
    size_t struct_size;
    uint64_t charged; /* pages locked according to the kernel */
    bool charged_known;
    uint64_t explained;   /* pages of the MDLs below, each lock once */
    uint64_t unexplained; /* max(0, charged - explained) */
    size_t mdl_count;
    const uint64_t *mdl_addresses; /* columns of mdl_count entries, owned by the case */
    const uint64_t *mdl_pages;
    const uint8_t *mdl_states;      /* lh_mdl_state */
    const char *const *mdl_holders; /* driver's name or NULL */
} lh_ledger;
LH_API lh_status lh_case_get_ledger(const lh_case *lhcase, lh_ledger *out, lh_error *err);

enum {
    LH_RENDER_REDACT = 1,  /* drop the path and the names of people's things (process names) */
    LH_RENDER_COLOR = 2,   /* ANSI colours in text */
    LH_RENDER_FRAGMENT = 4 /* HTML: one <div> with its style, for a place inside another page */
};
/* The case as JSON (schema lockhound.case/1), as text for people, or as a page of HTML that has everything in
 * itself: no script, nothing that is loaded, readable in light and dark. UTF-8, NUL-terminated; length
 * without the NUL. Free with lh_string_free. */
LH_API lh_status lh_case_json(const lh_case *lhcase, uint32_t flags, char **out, size_t *length,
                              lh_error *err);
LH_API lh_status lh_case_text(const lh_case *lhcase, uint32_t flags, char **out, size_t *length,
                              lh_error *err);
LH_API lh_status lh_case_html(const lh_case *lhcase, uint32_t flags, char **out, size_t *length,
                              lh_error *err);
/* The objects dump, bugcheck, process, current_process and coverage of the same schema, without a scan. */
LH_API lh_status lh_kernel_info_json(lh_kernel *kernel, const char *path, uint32_t flags, char **out,
                                     size_t *length, lh_error *err);
/* The same as text for people. */
LH_API lh_status lh_kernel_info_text(lh_kernel *kernel, const char *path, uint32_t flags, char **out,
                                     size_t *length, lh_error *err);
LH_API void lh_string_free(char *string);

#ifdef __cplusplus
}
#endif
#endif /* LOCKHOUND_H */
