/* The memory manager's books: PFN entries, pool blocks, lookaside lists of freed packets and MDLs. */
#ifndef LHI_NT_MEMORY_H
#define LHI_NT_MEMORY_H

#include "base/vec.h"
#include "nt/kernel.h"

typedef struct lhi_pfn_entry {
    lh_absence absence; /* LH_PRESENT: the fields are valid */
    uint64_t absent_at;
    uint16_t references; /* u3.ReferenceCount */
    uint8_t location; /* u3.PageLocation: 0 zeroed, 1 free, 2 standby, 3 modified, 6 active, 7 transition */
    uint64_t pte_address; /* low bit set: the PTE is gone */
    bool blank;           /* every byte of it is 0: that of a free page never is */
    bool counts_alone;    /* no PteAddress, and no mark of a shared page: a book of references only */
} lhi_pfn_entry;
/* Address of the array of entries. */
lh_absence lhi_pfn_database(const lh_kernel *kernel, uint64_t *database, uint64_t *absent_at);
/* Address of a frame's entry. */
bool lhi_pfn_address(const lh_kernel *kernel, uint64_t pfn, uint64_t *entry);
/* Every byte of the entry at that address is there, and is 0. */
bool lhi_pfn_is_blank(const lh_kernel *kernel, uint64_t entry);
/* From the PFN database at the header's (or the debugger block's) address. */
void lhi_pfn_read(const lh_kernel *kernel, uint64_t pfn, lhi_pfn_entry *out);

/* Where the page tables map themselves: [begin, end], 0 where no entry does. A PFN entry whose PteAddress
 * lies there is of a private page; the prototype PTE of a shared one lies elsewhere. */
typedef struct lhi_self_map {
    uint64_t begin, end;
} lhi_self_map;
lhi_self_map lhi_self_map_find(const lh_kernel *kernel);

typedef enum lhi_pool_state {
    LHI_POOL_UNKNOWN = 0,
    LHI_POOL_ALLOCATED = 1,
    LHI_POOL_FREE = 2
} lhi_pool_state;
typedef struct lhi_pool_block {
    bool found;           /* a POOL_HEADER whose block spans the address */
    uint64_t body;        /* first byte behind the header */
    uint64_t size;        /* bytes of the body */
    char tag[24];         /* escaped, "Mdl " */
    lhi_pool_state state; /* known only where the header can tell: builds before 18362 (segment heap from
                             there on), and there only when the headers of its page agree with each other */
} lhi_pool_block;
/* The block that an address lies in, by the header directly in front of it (exact) or further up in its page
 * (then only when the BlockSize spans it). */
void lhi_pool_block_at(const lh_kernel *kernel, uint64_t va, lhi_pool_block *out);
/* Does the header in front of an object that is in use say so? LHI_UNKNOWN: there is none with that tag. */
lhi_answer lhi_pool_marks(const lh_kernel *kernel, uint64_t object, const char *tag);
/* No neighbour confirms it, but the header right in front of an object whose block has no known state says
 * that it is free, and headers of objects in use do not say so of those (probing.pool_marks). From 18362 on
 * the tag has to be the object's as well. */
bool lhi_pool_says_free(const lh_kernel *kernel, uint64_t body, const char *tag);

/* Entries on the lookaside lists: freed, whatever their content says. */
typedef struct lhi_free_lists {
    lhi_vec mdls;       /* sorted addresses on the MDL lists */
    lhi_vec irps;       /* sorted, on the small, medium and large packet lists */
    bool complete;      /* every list of every processor was walked to its end */
    bool damaged;       /* a list's links and its count do not agree */
    bool shown;         /* a list was found that no processor's block leads to: by its head alone */
    lh_absence absence; /* of the first gap; LH_ABSENT_LAYOUT: list heads are not known for this build */
    uint64_t absent_at;
} lhi_free_lists;
/* A lookaside list's head of packets or of MDLs, by its tag and size: 1; 0: not in the dump; -1: none. */
int lhi_is_list_head(const lh_kernel *kernel, uint64_t address, bool mdls);
/* Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_free_lists_read(const lh_kernel *kernel, lhi_free_lists *out, lh_error *err);
void lhi_free_lists_free(lhi_free_lists *lists);
/* A head of MDLs shows itself, also where no processor's block leads to it: this far into it stand its tag
 * and the size of what it keeps, as one of these words. */
#define LHI_LIST_MARK  0x28u
#define LHI_LIST_MARKS 64u
uint64_t lhi_free_list_mark(unsigned index);
/* Takes the entries of such a list, if its links and its count agree; sort the lists behind the last one.
 * Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_free_lists_show(const lh_kernel *kernel, uint64_t head, lhi_free_lists *out, lh_error *err);
void lhi_free_lists_sort(lhi_free_lists *lists);
/* An MDL that was given back: it lies on such a list, or in a free pool block. */
bool lhi_mdl_is_freed(const lh_kernel *kernel, const lhi_free_lists *lists, uint64_t mdl);

#endif
