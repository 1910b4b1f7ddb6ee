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
 *    are only ever added at the end. A struct given as an option is read during the call only, with all that
 *    it points to; one given for a result is the caller's.
 *  - Pointers. Where nothing else is said, a pointer must not be NULL: a function with a status then fails
 *    with LH_ERR_INVALID_ARGUMENT, one without has no way to. Strings are NUL-terminated UTF-8; those
 *    returned as const char * belong to the library or to the handle they were asked of.
 *  - Errors. A call that allocates may fail with LH_ERR_NO_MEMORY, one that reads the file with LH_ERR_IO;
 *    a comment names what else it may fail with.
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

/* What went wrong, in the caller's memory; needs no initialising and no releasing. */
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

/* A stable short name, for logs and other languages: "absent". A static string; "unknown" for no status. */
LH_API const char *lh_status_name(lh_status status);
/* Likewise: "not_captured". */
LH_API const char *lh_absence_name(lh_absence absence);

/* ------------------------------------------------------- cancel and progress */

/* A flag that stops calls. Once set it stays set. */
typedef struct lh_cancel lh_cancel;
/* A new flag, not set; the caller's, until lh_cancel_destroy. */
LH_API lh_status lh_cancel_create(lh_cancel **out, lh_error *err);
/* Stops every call that was given this object: they fail with LH_ERR_CANCELLED. From any thread, also from a
 * signal handler. Accepts NULL. */
LH_API void lh_cancel_set(lh_cancel *cancel);
/* Whether it was set. From any thread; false for NULL. */
LH_API bool lh_cancel_is_set(const lh_cancel *cancel);
/* Not before the calls it was given to have returned. Accepts NULL. */
LH_API void lh_cancel_destroy(lh_cancel *cancel);

/* Called on the thread that made the call about every 50 ms. done and total are bytes.
 * Returns false to stop the call, which then fails with LH_ERR_CANCELLED. */
typedef bool (*lh_progress_fn)(void *user, uint64_t done, uint64_t total);

/* Bounds every question; 0 means the default in brackets. An answer that met a limit says so. Never grows: it
 * is a part of lh_investigate_options. */
typedef struct lh_limits {
    size_t struct_size;
    uint64_t hits;         /* hits of one scan pass inside a case [4194304] */
    uint32_t mdls;         /* MDLs looked at in a case [65536] */
    uint32_t chain_length; /* MDLs followed through Next [4096] */
    uint32_t levels;       /* passes outward from an MDL to its holders [6] */
    double seconds;        /* wall time of the call [no limit] */
} lh_limits;

/* ------------------------------------------------------------------ source */

/* Where the bytes of a dump come from. */
typedef struct lh_source lh_source;

/* Flags of lh_source_open_file. */
enum {
    LH_SOURCE_DEFAULT = 0,
    /* Positioned reads instead of a mapping: for files that may shrink while they are read (a mapped
     * file that is truncated kills the process with SIGBUS) and for network file systems. */
    LH_SOURCE_POSITIONED = 1
};
/* A file or a disk, read only; the path is copied. flags: LH_SOURCE_*; unknown bits are an
 * LH_ERR_INVALID_ARGUMENT. A file that can't be opened, or a pipe, is an LH_ERR_IO with os_error. */
LH_API lh_status lh_source_open_file(const char *path, uint32_t flags, lh_source **out, lh_error *err);
/* `size` bytes of memory. Borrows `data`, which must outlive every handle made from the source and stay
 * unchanged; it may be NULL if size is 0. */
LH_API lh_status lh_source_open_memory(const void *data, size_t size, lh_source **out, lh_error *err);

/* A source of the caller's own: the functions must stay callable until the last handle is released. */
typedef struct lh_source_callbacks {
    size_t struct_size;
    /* Reads exactly `size` bytes at `offset`; returns 0, or an errno value, which becomes an LH_ERR_IO. Must
     * be callable from several threads at once, some of them the library's own. */
    int (*read)(void *user, uint64_t offset, void *buffer, size_t size);
    /* Called once, with the last handle made from the source; may be NULL. Not called when the open fails. */
    void (*destroy)(void *user);
    void *user;    /* handed to both; may be NULL */
    uint64_t size; /* bytes in all */
} lh_source_callbacks;
/* Copies the struct. One that is smaller than this version's is an LH_ERR_INVALID_ARGUMENT. */
LH_API lh_status lh_source_open_callbacks(const lh_source_callbacks *callbacks, lh_source **out,
                                          lh_error *err);
/* Drops the caller's reference; the source lives on while a dump uses it. Accepts NULL. */
LH_API void lh_source_release(lh_source *source);

/* ------------------------------------------------------------------ dump */

/* An opened dump: its header, and which page lies where. */
typedef struct lh_dump lh_dump;

/* Numbers are pinned for ever; new ones are added at the end. */
typedef enum lh_format {
    LH_FORMAT_FULL = 1,
    LH_FORMAT_KERNEL_BITMAP = 2,
    LH_FORMAT_FULL_BITMAP = 3,
    LH_FORMAT_TRIAGE = 4, /* no physical page: pieces of virtual memory */
} lh_format;
/* The name used in JSON: "full", "kernel-bitmap", "full-bitmap", "triage". A static string; "unknown" for
 * another number. */
LH_API const char *lh_format_name(lh_format format);

/* Reads header and page index. A dump cut at its end opens, with the lost pages counted. Another
 * known format fails with LH_ERR_UNSUPPORTED and a message that names it; anything else LH_ERR_FORMAT. */
LH_API lh_status lh_dump_open(lh_source *source, lh_dump **out, lh_error *err);
/* The same, from a file with LH_SOURCE_DEFAULT; errors of lh_source_open_file too. */
LH_API lh_status lh_dump_open_file(const char *path, lh_dump **out, lh_error *err);
/* Drops the caller's reference; the dump lives on while a child of it does. Accepts NULL. */
LH_API void lh_dump_release(lh_dump *dump);

/* What the header says, and what of it is in the file. */
typedef struct lh_dump_info {
    size_t struct_size;
    lh_format format;
    uint32_t machine;              /* IMAGE_FILE_MACHINE_*: 0x8664, in triage dumps also 0xaa64 */
    uint32_t build;                /* MinorVersion of the header */
    uint32_t major;                /* MajorVersion: 15 free, 12 checked build */
    uint32_t processors;           /* NumberProcessors */
    uint32_t bugcheck_code;        /* 0x76, 0xCB or any other */
    uint64_t parameters[4];        /* of the bug check */
    uint64_t directory_table_base; /* low 12 bits cleared */
    uint64_t pfn_database;         /* virtual addresses, as the header has them */
    uint64_t loaded_module_list;
    uint64_t active_process_head;
    uint64_t debugger_data_block;
    uint64_t system_time;     /* FILETIME, 0 where the header does not say */
    uint64_t system_uptime;   /* 100 ns units, 0 likewise */
    uint64_t file_size;       /* bytes */
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
/* Fills what fits into out->struct_size bytes; what a longer struct has beyond it is zeroed. */
LH_API lh_status lh_dump_get_info(const lh_dump *dump, lh_dump_info *out, lh_error *err);

/* What a bug check means, from its number and parameters alone: three static strings.
 * The name, "PROCESS_HAS_LOCKED_PAGES"; NULL for a code this version does not know. */
LH_API const char *lh_bugcheck_name(uint32_t code);
/* One clause on this variant, "pages still locked when the process object was deleted"; NULL where none is
 * known. */
LH_API const char *lh_bugcheck_subtype(uint32_t code, const uint64_t parameters[4]);
/* What parameter `index` (0 to 3) means in this variant; NULL where unknown, and for another index. */
LH_API const char *lh_bugcheck_meaning(uint32_t code, const uint64_t parameters[4], uint32_t index);

/* Reads `size` bytes of physical memory into the caller's buffer. *done (may be NULL) tells how many leading
 * bytes were read, also on failure. A page that is absent ends the read with LH_ERR_ABSENT, absence and
 * address say why and where; an address that passes 2^64 is an LH_ERR_INVALID_ARGUMENT. */
LH_API lh_status lh_dump_read_physical(const lh_dump *dump, uint64_t address, void *buffer, size_t size,
                                       size_t *done, lh_error *err);

/* The next run of present pages at or after *pfn. Sets *pfn to its first and *count to its pages, 0 at the
 * end. A run may touch the next one: they are cut where the file is. */
LH_API lh_status lh_dump_next_run(const lh_dump *dump, uint64_t *pfn, uint64_t *count, lh_error *err);

/* The same dump seen without `count` pages, which then count as not captured: a new dump over the old one.
 * pfns is copied; PFNs that are not present change nothing. Costs memory linear in count. */
LH_API lh_status lh_dump_without_pages(lh_dump *dump, const uint64_t *pfns, size_t count, lh_dump **out,
                                       lh_error *err);
/* The same with some pages replaced, or added: `bytes` holds count * 4096 bytes and is copied; of a PFN given
 * twice the later page counts. For tests and fault injection. */
LH_API lh_status lh_dump_with_pages(lh_dump *dump, const uint64_t *pfns, const void *bytes, size_t count,
                                    lh_dump **out, lh_error *err);

/* ------------------------------------------------------------------ kernel */

/* The kernel's address space in a dump, with what was found in it on opening. */
typedef struct lh_kernel lh_kernel;

/* The kernel address space of a dump: page tables of the header's DirectoryTableBase, modules, layouts. What
 * the dump lacks of these is no error: the questions below answer what they can. */
LH_API lh_status lh_kernel_open(lh_dump *dump, lh_kernel **out, lh_error *err);
/* Drops the caller's reference; the kernel lives on while a child of it does. Accepts NULL. */
LH_API void lh_kernel_release(lh_kernel *kernel);

/* Reads `size` bytes of virtual memory into the caller's buffer, across pages. *done (may be NULL) tells how
 * many leading bytes were read, also on failure; LH_ERR_ABSENT tells why the next byte is not there. */
LH_API lh_status lh_kernel_read(const lh_kernel *kernel, uint64_t address, void *buffer, size_t size,
                                size_t *done, lh_error *err);

/* Reads `size` bytes at each of `count` addresses into the caller's buffer (count * size bytes). absences[i],
 * of `count` entries, gets LH_PRESENT or the lh_absence of the first missing byte of item i, whose bytes are
 * then zeros. */
LH_API lh_status lh_kernel_read_many(const lh_kernel *kernel, const uint64_t *addresses, size_t count,
                                     size_t size, void *buffer, uint8_t *absences, lh_error *err);

/* The way through the page tables to one address. */
typedef struct lh_walk {
    size_t struct_size;
    uint64_t address;   /* the one asked for */
    uint64_t physical;  /* valid when absence is LH_PRESENT or LH_ABSENT_NOT_CAPTURED/CLIPPED/NOT_RAM */
    uint64_t page_size; /* 4096, 2 MiB or 1 GiB; 0 where nothing is mapped */
    lh_absence absence;
    int32_t level;               /* level at which the walk ended: 4 to 1 */
    bool transition;             /* read through a transition PTE: unmapped, content still there */
    uint64_t entries[4];         /* raw entries read, PML4E first */
    uint64_t entry_addresses[4]; /* their physical addresses */
    uint32_t entry_count;        /* of these two, 0 to 4 */
} lh_walk;
/* Walks the page tables for one address. An absence is a result here, not an error. */
LH_API lh_status lh_kernel_walk(const lh_kernel *kernel, uint64_t address, lh_walk *out, lh_error *err);

/* Virtual addresses in the kernel half that map each physical address; the lowest where several do. All three
 * arrays are the caller's and have `count` entries. states[i]: 0 mapped (virtuals[i] valid), 1 no kernel
 * mapping exists, 2 unknown because page tables are missing from the dump. One sweep of the page tables,
 * whatever the count. */
LH_API lh_status lh_kernel_map_physical(const lh_kernel *kernel, const uint64_t *addresses, size_t count,
                                        uint64_t *virtuals, uint8_t *states, lh_error *err);

/* A process object (EPROCESS). The *_known flags tell which fields could be read; the others are 0. */
typedef struct lh_process {
    size_t struct_size;
    uint64_t address;              /* of the object */
    uint64_t pid;                  /* UniqueProcessId */
    uint64_t locked_pages;         /* the kernel's counter NumberOfLockedPages */
    uint64_t directory_table_base; /* physical address of its page tables */
    uint64_t flags;                /* Flags, as they are */
    uint64_t exit_time;            /* FILETIME; 0 while the process lives */
    char name[64];                 /* ImageFileName, UTF-8, control characters escaped */
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

/* A loaded driver image, or one that Windows remembers having unloaded. */
typedef struct lh_module {
    size_t struct_size;
    uint64_t base;      /* virtual address of the image */
    uint64_t size;      /* bytes from there on */
    uint64_t entry;     /* address of its KLDR_DATA_TABLE_ENTRY; 0 for unloaded ones */
    uint32_t timestamp; /* TimeDateStamp of the PE header, or of the list entry; 0 unknown */
    bool unloaded;
    char name[128];   /* BaseDllName, lower case, UTF-8, control characters escaped */
    char version[32]; /* file version "1.2.3.4" of its version resource; "" where not captured */
} lh_module;
/* Modules that were found, loaded and unloaded; 0 for NULL. */
LH_API size_t lh_kernel_module_count(const lh_kernel *kernel);
/* Module `index`, from 0 to lh_kernel_module_count - 1; another index is an LH_ERR_INVALID_ARGUMENT. */
LH_API lh_status lh_kernel_get_module(const lh_kernel *kernel, size_t index, lh_module *out, lh_error *err);

/* How an instruction goes on. Numbers are pinned for ever; new ones are added at the end. */
typedef enum lh_flow {
    LH_FLOW_NEXT = 0, /* goes on with the next instruction */
    LH_FLOW_CALL = 1,
    LH_FLOW_JUMP = 2,
    LH_FLOW_BRANCH = 3, /* jumps or goes on */
    LH_FLOW_RETURN = 4,
    LH_FLOW_STOP = 5,   /* breakpoint, fast fail, undefined on purpose */
    LH_FLOW_INVALID = 6 /* a byte that begins no instruction: data, or the end of what is there */
} lh_flow;
/* "next", "call" ...; static strings. */
LH_API const char *lh_flow_name(lh_flow flow);

/* One instruction of a driver's code. */
typedef struct lh_instruction {
    size_t struct_size;
    uint64_t address; /* of its first byte */
    /* Where a call, jump or branch goes, through its slot too; 0: the code alone does not tell. */
    uint64_t target;
    /* The memory it goes through or refers to, where that is at a fixed place; else 0. */
    uint64_t slot;
    lh_flow flow;
    uint8_t size; /* bytes used of `bytes` */
    uint8_t bytes[15];
    char text[96]; /* Intel syntax, numbers in hexadecimal; "" for LH_FLOW_INVALID */
    /* Of target, else of slot: "nt!MmUnlockPages", "leaky.sys+0x1a2c"; "" where no module has it. */
    char name[192];
} lh_instruction;
/* The instructions that begin in [address, address + size), `room` at most: go on behind the last for more.
 * Set rows[0].struct_size, which is the distance from one row to the next. *count tells how many were
 * written, also on failure; LH_ERR_ABSENT tells why the next byte is not there. LH_ERR_UNSUPPORTED: code of
 * another processor than x64, or a library that was built without a decoder. */
LH_API lh_status lh_kernel_disassemble(const lh_kernel *kernel, uint64_t address, size_t size,
                                       lh_instruction *rows, size_t room, size_t *count, lh_error *err);

/* What lies at an address. Numbers are pinned for ever; new ones are added at the end. */
typedef enum lh_place {
    LH_PLACE_UNKNOWN = 0, /* memory of which nothing is known */
    LH_PLACE_ABSENT =
        1, /* nothing can be read there, and no structure that can be says what it is: `absence` */
    LH_PLACE_USER = 2, /* an address of user space, whichever process's */
    LH_PLACE_MODULE = 3,
    LH_PLACE_UNLOADED_MODULE = 4, /* nothing is mapped; the driver that lay there has been unloaded */
    LH_PLACE_DEVICE = 5,
    LH_PLACE_DEVICE_EXTENSION = 6,
    LH_PLACE_DRIVER = 7,           /* driver object */
    LH_PLACE_DRIVER_EXTENSION = 8, /* its extension, or a client's (IoAllocateDriverObjectExtension) */
    LH_PLACE_PROCESS = 9,
    LH_PLACE_THREAD = 10,
    LH_PLACE_FILE = 11,
    LH_PLACE_IRP = 12,
    LH_PLACE_MDL = 13,
    LH_PLACE_STACK = 14, /* kernel stack of a thread */
    LH_PLACE_POOL = 15,
    LH_PLACE_BIG_POOL = 16, /* an allocation of whole pages, by the kernel's table of those */
    LH_PLACE_PFN_DATABASE = 17,
    LH_PLACE_PAGE_TABLES = 18, /* where the page tables map themselves */
    LH_PLACE_SHARED_PAGE = 19, /* KUSER_SHARED_DATA */
    LH_PLACE_SYSTEM_PTES = 20, /* the part of the address space in which kernel stacks lie; no stack known */
    LH_PLACE_WORK_ITEM = 21,   /* IO_WORKITEM or WORK_QUEUE_ITEM with a driver's routine, in a pool block */
    LH_PLACE_DPC = 22,         /* KDPC, likewise; one in a device's extension is that extension's */
    LH_PLACE_APC = 23,         /* KAPC */
    LH_PLACE_TIMER = 24,       /* IO_TIMER */
    LH_PLACE_LOCK_TRACKER = 25,
    LH_PLACE_FRAMEWORK_OBJECT = 26 /* a block with an object of KMDF, or with a context of one */
} lh_place;
/* The name used in JSON: "module", "device_extension". Static strings. */
LH_API const char *lh_place_name(lh_place place);

/* What lies at an address, and whose it is. */
typedef struct lh_identity {
    size_t struct_size;
    uint64_t address;   /* the one asked for */
    lh_place place;     /* the smallest thing known that contains it */
    uint64_t base;      /* first byte of what contains the address, 0 where not known */
    uint64_t size;      /* its bytes, 0 where not known */
    uint64_t offset;    /* of the address in it: address - base; 0 where the base is not known */
    uint64_t owner;     /* the object that owns it, 0 none known: of a device and of a driver's extension the
                           driver object, of a stack the thread, of a thread the process, of a file the device,
                           of a lock tracker the process */
    lh_absence absence; /* why the byte at the address can't be read; LH_PRESENT: it can */
    int32_t level;      /* of the page tables, as in lh_walk */
    uint32_t state;     /* of a pool block: 0 not known, 1 allocated, 2 free; of what lies on the kernel's
                           lookaside lists, freed packets and MDLs: 3; of a work item: 4 queued, 5 not queued */
    bool code;          /* of a module: the section can be executed */
    bool writable;      /* of a module: the section can be written */
    bool live;          /* of a stack: the word is in use, it lies above the saved stack pointer */
    bool live_known;    /* whether that pointer could be read */
    char tag[24];       /* of a pool block, escaped; "" where none */
    char section[16];   /* of a module, escaped; "" where not known */
    char name[128];     /* module "leaky.sys", device "\Device\Leaky0", process "capture.exe", of a work item
                           "IO_WORKITEM", of an object of KMDF its kind; escaped; "" */
    char owner_name[128]; /* the driver's file name, or the process's of a stack or thread; escaped; "" */
    char text[256];       /* all of that in one line */
    char detail[160];     /* what stands at the very address: "URB.TransferBufferMDL", "KDPC.DeferredContext,
                             routine leaky.sys+0x1230", of a stack "frame of leaky.sys+0x1040"; escaped; "" */
} lh_identity;
/* What is at an address. Nothing known, and nothing captured, are answers and not errors. Objects are
 * believed by what they lead to, never by a tag. Work: the lists of processes, threads and freed packets, the
 * 64 KiB in front of the address; of a stack its frames, of an object of KMDF the data of all images. */
LH_API lh_status lh_kernel_identify(const lh_kernel *kernel, uint64_t address, lh_identity *out,
                                    lh_error *err);
/* The call stack of a thread, unwound by the unwind data of the images in the dump; x64 only. */
typedef struct lh_stack lh_stack;
/* One frame. */
typedef struct lh_frame {
    size_t struct_size;
    uint64_t stack_pointer; /* RSP in this frame */
    uint64_t address;       /* where its code stands: a return address, unless it was interrupted there */
    bool interrupted;       /* where a thread ran that was stopped, or an interrupt or exception came */
    bool unloaded;          /* `module` is an unloaded one, whose range contains the address */
    uint64_t module_base;   /* 0: no module contains the address */
    uint64_t function;      /* begin of its function by the unwind data; 0: not known, or a leaf function */
    char module[128];       /* "leaky.sys"; "" where none is, or its name is not in the dump */
    char symbol[128];       /* the name under which the kernel exports that function; "" where it does not */
} lh_frame;
/* How a stack ends. */
typedef struct lh_stack_end {
    size_t struct_size;
    bool complete;           /* reached user mode or the first frame of a system thread */
    const char *reason;      /* one clause; a static string */
    lh_absence absence;      /* what is missing, where that ended it; else LH_PRESENT */
    uint64_t absent_address; /* 0 where a layout is missing */
} lh_stack_end;
/* thread is the address of a thread object, or 0 for the one that raised the bug check. A stack that can't be
 * followed to its end is an answer, also one without frames: lh_stack_get_end says why it ends. Fails with
 * LH_ERR_INVALID_ARGUMENT when what is at the address is no thread, and with LH_ERR_ABSENT when it is not
 * there, or the build's layout of threads is not known. */
LH_API lh_status lh_kernel_stack(lh_kernel *kernel, uint64_t thread, lh_stack **out, lh_error *err);
/* Frees it; NULL is fine. */
LH_API void lh_stack_release(lh_stack *stack);
/* Frames; 0 for NULL. */
LH_API size_t lh_stack_count(const lh_stack *stack);
/* Frame `index`, from the innermost outwards, 0 to lh_stack_count - 1; another index is an
 * LH_ERR_INVALID_ARGUMENT. */
LH_API lh_status lh_stack_get_frame(const lh_stack *stack, size_t index, lh_frame *out, lh_error *err);
/* Why there is no further frame. */
LH_API lh_status lh_stack_get_end(const lh_stack *stack, lh_stack_end *out, lh_error *err);

/* ------------------------------------------------------------------ search */

/* A needle that matches many values. */
typedef struct lh_range {
    uint64_t begin, end; /* matches begin <= value < end */
} lh_range;

/* What to look for and how; all 0 but struct_size and the needles is a good choice. */
typedef struct lh_search_options {
    size_t struct_size;
    const uint64_t *values;  /* needles; a value matches when (memory & mask) == (needle & mask) */
    size_t value_count;      /* may be 0, values then NULL */
    const lh_range *ranges;  /* needles too: numbered after the values; compared without the mask */
    size_t range_count;      /* may be 0, ranges then NULL */
    uint64_t mask;           /* 0 means all bits */
    uint32_t align;          /* 1, 2, 4 or 8 [8]; unaligned values may cross into the next physical page */
    uint32_t threads;        /* 0: one for each processor */
    uint64_t limit;          /* hits at most; 0 means all. The first `limit` in physical order are kept */
    double seconds;          /* wall time of the call; 0: no deadline */
    lh_cancel *cancel;       /* may be NULL */
    lh_progress_fn progress; /* may be NULL */
    void *progress_user;     /* handed to progress */
} lh_search_options;

/* The places that a search found, as columns. */
typedef struct lh_hits lh_hits;
/* Every needle in one pass over the present pages. With a kernel, hits get virtual addresses too. In a triage
 * dump the pieces of virtual memory are searched: hits have virtual addresses, also without a kernel, and
 * UINT64_MAX for the physical ones, which nothing tells; they ascend by virtual address.
 * kernel may be NULL, else it must be one of this dump. Fails with LH_ERR_CANCELLED and LH_ERR_TIMEOUT, and
 * with LH_ERR_INVALID_ARGUMENT where the options contradict themselves. */
LH_API lh_status lh_search(lh_dump *dump, lh_kernel *kernel, const lh_search_options *options, lh_hits **out,
                           lh_error *err);
/* Drops the caller's reference, and with the last one the columns go. Accepts NULL. */
LH_API void lh_hits_release(lh_hits *hits);
/* Entries of each column; 0 for NULL. */
LH_API size_t lh_hits_count(const lh_hits *hits);
/* Whether there were more than `limit`. */
LH_API bool lh_hits_truncated(const lh_hits *hits);
/* Columns of lh_hits_count entries, in ascending physical order; immutable, owned by the hits. NULL may stand
 * for a column without entries. Physical addresses: */
LH_API const uint64_t *lh_hits_physical(const lh_hits *hits);
/* The 8 bytes found at each. */
LH_API const uint64_t *lh_hits_value(const lh_hits *hits);
/* Which needle matched: an index into the values, then the ranges. */
LH_API const uint32_t *lh_hits_needle(const lh_hits *hits);
/* Virtual addresses; NULL where no kernel was given, and 0 where states say that there is none. */
LH_API const uint64_t *lh_hits_virtual(const lh_hits *hits);
/* What is known of each virtual address, as in lh_kernel_map_physical; NULL likewise. */
LH_API const uint8_t *lh_hits_virtual_state(const lh_hits *hits);

/* ------------------------------------------------------------------ case */

/* An investigated dump: evidence, ledger and verdict. Immutable. */
typedef struct lh_case lh_case;

/* How a case ends. Numbers are pinned for ever. */
typedef enum lh_verdict_kind {
    LH_VERDICT_DRIVER = 1,
    LH_VERDICT_KERNEL = 2,
    LH_VERDICT_UNATTRIBUTED = 3,
    LH_VERDICT_INSUFFICIENT = 4,
    LH_VERDICT_NOT_APPLICABLE = 5
} lh_verdict_kind;
/* The name used in JSON: "driver", "not_applicable". A static string; "unknown" for another number. */
LH_API const char *lh_verdict_kind_name(lh_verdict_kind kind);

/* How to investigate; all 0 but struct_size is a good choice. */
typedef struct lh_investigate_options {
    size_t struct_size;
    uint32_t threads;        /* 0: one for each processor */
    lh_limits limits;        /* its struct_size is not looked at */
    lh_cancel *cancel;       /* may be NULL */
    lh_progress_fn progress; /* may be NULL */
    void *progress_user;     /* handed to progress */
    const char *path;        /* shown as dump.path; may be NULL */
    uint64_t process;        /* EPROCESS to ask about, whatever the bug check; 0: the one that it names */
} lh_investigate_options;

/* Builds the whole case. With `process` the case is about that one: when it lives, what drivers hold of it is
 * ordinary and the kind is LH_VERDICT_NOT_APPLICABLE; what is no process object there fails with
 * LH_ERR_INVALID_ARGUMENT. Only failures of the call itself (memory, cancel, deadline, I/O) are errors: what
 * the dump does not tell is in the case, also why nobody is named. options may be NULL. Fails with
 * LH_ERR_CANCELLED and LH_ERR_TIMEOUT. */
LH_API lh_status lh_investigate(lh_kernel *kernel, const lh_investigate_options *options, lh_case **out,
                                lh_error *err);
/* Drops the caller's reference, and with the last one all that the case owns. Accepts NULL. */
LH_API void lh_case_release(lh_case *lhcase);

/* How it ended. */
LH_API lh_verdict_kind lh_case_kind(const lh_case *lhcase);
/* The first driver named, "leaky.sys"; NULL where none is. Owned by the case. */
LH_API const char *lh_case_driver(const lh_case *lhcase);
/* Score of the verdict, 0 to 1; 0 where nobody is named. No probability. */
LH_API double lh_case_confidence(const lh_case *lhcase);

/* Of a locked MDL: in use, freed with its pages still locked, or not to be told. */
typedef enum lh_mdl_state { LH_MDL_LOCKED = 1, LH_MDL_FREED_LOCKED = 2, LH_MDL_UNKNOWN = 3 } lh_mdl_state;

/* The pages charged to the process against those of the locked MDLs that were found. */
typedef struct lh_ledger {
    size_t struct_size;
    uint64_t charged;               /* pages locked according to the kernel */
    bool charged_known;             /* false: charged and unexplained say nothing */
    uint64_t explained;             /* pages of the MDLs below, each lock once */
    uint64_t unexplained;           /* max(0, charged - explained) */
    size_t mdl_count;               /* may be 0 */
    const uint64_t *mdl_addresses;  /* columns of mdl_count entries, owned by the case; virtual addresses */
    const uint64_t *mdl_pages;      /* pages of each */
    const uint8_t *mdl_states;      /* lh_mdl_state */
    const char *const *mdl_holders; /* driver's name or NULL */
} lh_ledger;
/* Fills what fits into out->struct_size bytes. The columns stay valid as long as the case. */
LH_API lh_status lh_case_get_ledger(const lh_case *lhcase, lh_ledger *out, lh_error *err);

/* A finished audit: immutable, for any number of threads. */
typedef struct lh_audit lh_audit;
/* All processes at once: for each the pages that the kernel charges it with and the MDLs and drivers that
 * hold them. Nobody is blamed: what drivers hold of living processes is ordinary. `process` of the options is
 * not looked at; otherwise as lh_investigate. An audit retains its kernel; release it with
 * lh_audit_release. */
LH_API lh_status lh_audit_run(lh_kernel *kernel, const lh_investigate_options *options, lh_audit **out,
                              lh_error *err);
/* Ends an audit; NULL is allowed. */
LH_API void lh_audit_release(lh_audit *audit);

/* Flags of the views below. */
enum {
    LH_RENDER_REDACT = 1,  /* drop the path and the names of people's things (process names) */
    LH_RENDER_COLOR = 2,   /* ANSI colours in text */
    LH_RENDER_FRAGMENT = 4 /* HTML: one <div> with its style, for a place inside another page */
};
/* The case as JSON (schema lockhound.case/1). UTF-8, NUL-terminated; *length (may be NULL) is the size
 * without the NUL. flags: LH_RENDER_*. The string is the caller's: free it with lh_string_free. */
LH_API lh_status lh_case_json(const lh_case *lhcase, uint32_t flags, char **out, size_t *length,
                              lh_error *err);
/* The same as text for people, of several lines. */
LH_API lh_status lh_case_text(const lh_case *lhcase, uint32_t flags, char **out, size_t *length,
                              lh_error *err);
/* The same as a page of HTML that has everything in itself: no script, nothing that is loaded, readable in
 * light and dark. */
LH_API lh_status lh_case_html(const lh_case *lhcase, uint32_t flags, char **out, size_t *length,
                              lh_error *err);
/* An audit as JSON (schema lockhound.audit/1); as lh_case_json. */
LH_API lh_status lh_audit_json(const lh_audit *audit, uint32_t flags, char **out, size_t *length,
                               lh_error *err);
/* The same as text for people, of several lines. */
LH_API lh_status lh_audit_text(const lh_audit *audit, uint32_t flags, char **out, size_t *length,
                               lh_error *err);
/* The objects dump, bugcheck, process, current_process and coverage of the same schema, without a scan.
 * path is shown as dump.path and may be NULL; flags, out and length as for lh_case_json. */
LH_API lh_status lh_kernel_info_json(lh_kernel *kernel, const char *path, uint32_t flags, char **out,
                                     size_t *length, lh_error *err);
/* The same as text for people. */
LH_API lh_status lh_kernel_info_text(lh_kernel *kernel, const char *path, uint32_t flags, char **out,
                                     size_t *length, lh_error *err);
/* What the code of drivers does with locked pages, read from the images in the dump: call sites of the
 * routines that lock, unlock, allocate and free, in every form of call, and the ways through a function on
 * which a lock is lost. module: a loaded one by its file name ("leaky.sys", "leaky", "nt"); NULL: all that
 * lock or unlock. JSON, schema lockhound.locks/1. Of the options path, cancel, progress (in bytes of images)
 * and limits.seconds are looked at; NULL is allowed. LH_ERR_INVALID_ARGUMENT: no such module;
 * LH_ERR_UNSUPPORTED as in lh_kernel_disassemble. out and length as for lh_case_json. */
LH_API lh_status lh_kernel_locks_json(lh_kernel *kernel, const char *module,
                                      const lh_investigate_options *options, uint32_t flags, char **out,
                                      size_t *length, lh_error *err);
/* The same as text for people. */
LH_API lh_status lh_kernel_locks_text(lh_kernel *kernel, const char *module,
                                      const lh_investigate_options *options, uint32_t flags, char **out,
                                      size_t *length, lh_error *err);
/* Frees a string that one of those above gave out. Accepts NULL. */
LH_API void lh_string_free(char *string);

#ifdef __cplusplus
}
#endif
#endif /* LOCKHOUND_H */
