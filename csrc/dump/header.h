/* The 64-bit crash-dump header: which file this is, and what its fields say. */
#ifndef LHI_DUMP_HEADER_H
#define LHI_DUMP_HEADER_H

#include "dump/formats.h"

/* Offsets of DUMP_HEADER64 (Windows SDK mindumpdef.h; facts 1.2). */
#define LHI_HEADER_SIZE    0x2000u
#define LHI_HEADER_RUNS    0x88u  /* PhysicalMemoryBlockBuffer */
#define LHI_HEADER_CONTEXT 0x348u /* ContextRecord, of the processor that stopped the machine */

/* Fields that Windows never set hold the text PAGE (facts 1.9). */
#define LHI_UNSET32 0x45474150u
#define LHI_UNSET64 0x4547415045474150ull

/* IMAGE_FILE_MACHINE_* of the PE specification. */
#define LHI_MACHINE_X64   0x8664u
#define LHI_MACHINE_ARM64 0xaa64u

/* Whether these bytes are a whole header of a dump of this DumpType. */
bool lhi_header_has_type(const uint8_t *bytes, size_t size, uint32_t type);

/* Takes the fields of file->header into file->info. Fails with LH_ERR_UNSUPPORTED for a machine that is not
 * read, and for an encrypted dump. */
lh_status lhi_header_read(lhi_opened *file, lh_error *err);

/* Always fails, for a file that no format claims: with LH_ERR_UNSUPPORTED naming what it is where that is
 * known, else with LH_ERR_FORMAT. */
lh_status lhi_header_refuse(const lh_source *source, const uint8_t *bytes, size_t size, lh_error *err);

/* What a file that is no 64-bit Windows crash dump is, from its first bytes; NULL when unknown. */
const char *lhi_identify(const uint8_t *bytes, size_t size);

#endif
