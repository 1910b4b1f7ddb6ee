/* Code at the end of a function, read as the unwinding of its own frame. */
#ifndef LHI_NT_EPILOGUE_H
#define LHI_NT_EPILOGUE_H

#include "image/functions.h"
#include "nt/unwind.h"

/* LHI_YES: the code at `rva` is the rest of an epilogue of `function`, and *registers are those at its return
 * (RSP at the return address). LHI_NO: it is not, *registers untouched. LHI_UNKNOWN: code or stack is not in
 * the dump: *why and *at. `info` is the unwind data of `function`. */
lhi_answer lhi_epilogue_undo(const lhi_image *image, const lhi_function *function,
                             const lhi_unwind_info *info, uint32_t rva, lhi_registers *registers,
                             lh_absence *why, uint64_t *at);

#endif
