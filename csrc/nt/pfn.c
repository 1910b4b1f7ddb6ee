/* Entries of the PFN database: who still refers to a physical page.
 *
 * Layout: public PDB type _MMPFN by the layout tables; meanings: facts B.8. */
#include "base/bytes.h"
#include "base/checked.h"
#include "nt/memory.h"
#include "nt/read.h"

#include <string.h>

/* Size of an entry on every x64 kernel (facts B.8). */
#define ENTRY_SIZE 0x30u
/* u3: ReferenceCount in the first 16 bits, PageLocation in the low 3 bits of the byte behind them. */
#define U3_LOCATION 2u
/* u4 on every x64 kernel: the frame of the page table in the low bits, and from bit 48 on marks, of which one
 * says that the PTE is a prototype (bit 57 on Windows 7, 63 on 22000). */
#define U4       0x28u
#define U4_MARKS 48u

static lh_absence from_variable(const lh_kernel *kernel, uint64_t variable, uint64_t *database, uint64_t *at)
{
    uint64_t value = 0;
    lh_absence absence = lhi_read_u64(&kernel->space, variable, &value, at);
    if (absence != LH_PRESENT)
        return absence;
    if (!lhi_is_object(value, LHI_PAGE_SIZE)) {
        *at = variable;
        return LH_ABSENT_LAYOUT;
    }
    *database = value;
    return LH_PRESENT;
}

/* The array's address. The header may hold it, or the address of the kernel's variable with it (facts
 * live-memory, "Format facts"): a variable lies inside an image, and the array begins a page. */
static lh_absence find_database(const lh_kernel *kernel, uint64_t *database, uint64_t *at)
{
    const uint64_t header = lhi_dump_header(kernel->dump)->pfn_database;
    lh_absence absence = LH_ABSENT_LAYOUT;
    *at = 0;
    if (lhi_is_object(kernel->kdbg.pfn_database, 8))
        absence = from_variable(kernel, kernel->kdbg.pfn_database, database, at);
    if (absence == LH_PRESENT)
        return LH_PRESENT;
    if (lhi_is_object(header, 8) && lhi_module_at(&kernel->modules, header))
        return from_variable(kernel, header, database, at);
    if (lhi_is_object(header, LHI_PAGE_SIZE)) {
        *database = header;
        return LH_PRESENT;
    }
    return absence;
}

lh_absence lhi_pfn_database(const lh_kernel *kernel, uint64_t *database, uint64_t *absent_at)
{
    return find_database(kernel, database, absent_at);
}

static uint64_t entry_size(const lh_kernel *kernel)
{
    return kernel->layout->sizes[LHI_SIZE_MMPFN] ? kernel->layout->sizes[LHI_SIZE_MMPFN] : ENTRY_SIZE;
}

static lh_absence find_entry(const lh_kernel *kernel, uint64_t pfn, uint64_t *entry, uint64_t *at)
{
    const uint64_t size = entry_size(kernel);
    uint64_t database = 0;
    uint64_t offset = 0;
    lh_absence absence = find_database(kernel, &database, at);
    if (absence != LH_PRESENT)
        return absence;
    if (!lhi_mul(pfn, size, &offset) || !lhi_add(database, offset, entry)) {
        *at = database;
        return LH_ABSENT_NONCANONICAL;
    }
    return LH_PRESENT;
}

bool lhi_pfn_address(const lh_kernel *kernel, uint64_t pfn, uint64_t *entry)
{
    uint64_t at = 0;
    return find_entry(kernel, pfn, entry, &at) == LH_PRESENT;
}

/* Free pages are linked to each other and keep what their PTE was: their entries are not zero throughout. */
bool lhi_pfn_is_blank(const lh_kernel *kernel, uint64_t entry)
{
    const uint64_t words = entry_size(kernel) / 8;
    uint64_t word = 0;
    for (uint64_t i = 0; i < words && word == 0; i++)
        if (lhi_space_u64(&kernel->space, entry + 8 * i, &word) != LH_PRESENT)
            return false;
    return word == 0;
}

/* The memory manager gives every page in use a PTE: whoever wrote an entry without one kept only counts. */
static bool has_counts_alone(const lh_kernel *kernel, uint64_t entry, uint64_t pte_address)
{
    uint64_t word = 0;
    return pte_address == 0 && lhi_space_u64(&kernel->space, entry + U4, &word) == LH_PRESENT &&
           word >> U4_MARKS == 0;
}

void lhi_pfn_read(const lh_kernel *kernel, uint64_t pfn, lhi_pfn_entry *out)
{
    uint64_t entry = 0;
    uint64_t word = 0;
    memset(out, 0, sizeof *out);
    out->absence = find_entry(kernel, pfn, &entry, &out->absent_at);
    if (out->absence != LH_PRESENT)
        return;
    out->absence =
        lhi_read_field(&kernel->space, kernel->layout, entry, LHI_F_MMPFN_u3, 4, &word, &out->absent_at);
    if (out->absence == LH_PRESENT)
        out->absence = lhi_read_field(&kernel->space, kernel->layout, entry, LHI_F_MMPFN_PteAddress, 8,
                                      &out->pte_address, &out->absent_at);
    if (out->absence != LH_PRESENT)
        return;
    out->references = (uint16_t)word;
    out->location = (uint8_t)(word >> (8 * U3_LOCATION) & 7);
    out->absent_at = 0;
    out->blank = out->references == 0 && lhi_pfn_is_blank(kernel, entry);
    out->counts_alone = has_counts_alone(kernel, entry, out->pte_address);
}

#define HALF 256u /* PML4 entries of the kernel half */

lhi_self_map lhi_self_map_find(const lh_kernel *kernel)
{
    uint8_t entries[HALF * sizeof(uint64_t)]; /* of the kernel half */
    uint64_t root = kernel->space.dtb & ~0xfffull;
    if (kernel->space.blocks ||
        lhi_pages_read(kernel->space.pages, root + sizeof entries, entries, sizeof entries, NULL) != LH_OK)
        return (lhi_self_map){0, 0};
    for (uint64_t slot = HALF; slot < (uint64_t)2 * HALF; slot++) {
        uint64_t entry = lhi_u64(entries + (size_t)8 * (size_t)(slot - HALF));
        if ((entry & 1) && (entry & 0xffffffffff000ull) == root) {
            uint64_t begin = 0xffff000000000000ull | slot << 39;
            return (lhi_self_map){begin, begin + (1ull << 39) - 1};
        }
    }
    return (lhi_self_map){0, 0};
}
