/* What lies at a kernel address, and whose it is. */
#ifndef LHI_NT_IDENTIFY_H
#define LHI_NT_IDENTIFY_H

#include "nt/memory.h"
#include "nt/stacks.h"

/* lh_identity.state, behind those of lhi_pool_state. */
enum { LHI_STATE_LOOKASIDE = 3, LHI_STATE_QUEUED = 4, LHI_STATE_NOT_QUEUED = 5 };

/* The address lies in [base, base + size), which is that. */
void lhi_contain(lh_identity *out, lh_place place, uint64_t base, uint64_t size);

/* What is read once for any number of addresses. */
typedef struct lhi_identify {
    const lh_kernel *kernel;
    lhi_stacks stacks;
    lhi_free_lists freed;
} lhi_identify;
/* Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_identify_open(const lh_kernel *kernel, lhi_identify *out, lh_error *err);
void lhi_identify_close(lhi_identify *known);
/* Fills everything but struct_size. Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_identify_address(const lhi_identify *known, uint64_t va, lh_identity *out, lh_error *err);

/* identify_blocks.c: the work item, DPC, APC, timer, lock tracker or object of KMDF in whose block
 * out->address lies. false, *out untouched: none that is sure. */
bool lhi_block_around(const lh_kernel *kernel, uint64_t va, lh_identity *out);
/* Fills in out->detail, of memory that was identified otherwise. */
void lhi_detail_at(const lh_kernel *kernel, lh_identity *out);

/* identify_objects.c: the object around out->address that begins at `lowest` or above, by what it leads to.
 * false, *out untouched: none that is sure. */
bool lhi_object_around(const lh_kernel *kernel, uint64_t va, uint64_t lowest, lh_identity *out);
/* The lowest address at which an object around `va` can begin. */
uint64_t lhi_object_lowest(uint64_t va);
/* A client's extension of a driver object (IoAllocateDriverObjectExtension) in the pool block with this body.
 */
bool lhi_client_extension(const lh_kernel *kernel, uint64_t body, uint64_t *driver);
/* The first block on that list; false: the driver object does not lead to one. */
bool lhi_client_extensions(const lh_kernel *kernel, uint64_t driver, uint64_t *first);
/* The name of an object with its path, as far as the directories are there; "" for none. Escaped. */
void lhi_object_name(const lh_kernel *kernel, uint64_t object, char *out, size_t size);

/* big_pool.c: allocations of whole pages, from the kernel's table of them. */
typedef struct lhi_big_block {
    uint64_t va, size;
    char tag[24];
    bool free;
} lhi_big_block;
uint64_t lhi_big_entry_size(const lh_kernel *kernel);
/* Decodes what may be an entry of that table. */
bool lhi_big_entry(const lh_kernel *kernel, uint64_t entry, lhi_big_block *out);
/* The block an address lies in. false: none, or where the table lies is not known. */
bool lhi_big_block_at(const lh_kernel *kernel, uint64_t va, lhi_big_block *out);

/* All blocks of the table, for who asks of many addresses. */
typedef struct lhi_big_row {
    uint64_t begin, end;
    uint64_t reach; /* the highest end up to this row */
    uint64_t entry; /* of the kernel's table */
} lhi_big_row;
typedef struct lhi_big_blocks {
    const lh_kernel *kernel;
    lhi_big_row *rows; /* ascending by begin */
    size_t count, room;
} lhi_big_blocks;
/* None where the table lies is not known. Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_big_blocks_read(const lh_kernel *kernel, lhi_big_blocks *out, lh_error *err);
/* As lhi_big_block_at. */
bool lhi_big_blocks_at(const lhi_big_blocks *blocks, uint64_t va, lhi_big_block *out);
void lhi_big_blocks_free(lhi_big_blocks *blocks);

#endif
