/* The 64-bit crash-dump header: which file this is, and what its fields say. */
#ifndef LHI_DUMP_HEADER_H
#define LHI_DUMP_HEADER_H

#include "dump/notes.h"

/* Offsets of DUMP_HEADER64 (Windows SDK mindumpdef.h; facts 1.2). */
#define LHI_HEADER_SIZE    0x2000u
#define LHI_HEADER_RUNS    0x88u  /* PhysicalMemoryBlockBuffer */
#define LHI_HEADER_CONTEXT 0x348u /* ContextRecord, of the processor that stopped the machine */

/* Fields that Windows never set hold the text PAGE (facts 1.9). */
#define LHI_UNSET32 0x45474150u
#define LHI_UNSET64 0x4547415045474150ull

#define LHI_MACHINE_ARM64 0xaa64u /* IMAGE_FILE_MACHINE_ARM64 of the PE specification */

/* Reads the header into bytes[LHI_HEADER_SIZE]. Fails with LH_ERR_UNSUPPORTED naming what the file is where
 * that is known and not read here, else with LH_ERR_FORMAT. Fills the fields of *info that the header has. */
lh_status lhi_header_read(const lh_source *source, uint8_t *bytes, lh_dump_info *info, lhi_notes *notes,
                          lh_error *err);

/* What a file that is no 64-bit Windows crash dump is, from its first bytes; NULL when unknown. */
const char *lhi_identify(const uint8_t *bytes, size_t size);

#endif
