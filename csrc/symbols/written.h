/* Layouts of ARM64 kernels, written by hand: no symbol table of one is at hand. */
#ifndef LHI_SYMBOLS_WRITTEN_H
#define LHI_SYMBOLS_WRITTEN_H

#include "symbols/layout.h"

/* A row for any build: at least the structures that do not depend on the processor. */
void lhi_layout_arm64(uint32_t build, lhi_layout_row *out);

#endif
