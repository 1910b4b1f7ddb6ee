/* Layouts written by hand, for kernels of which no symbol table is public: what other sources say, and no
 * more. */
#ifndef LHI_SYMBOLS_WRITTEN_H
#define LHI_SYMBOLS_WRITTEN_H

#include "symbols/layout.h"

/* A layout with offsets of its own: fill it, then use `layout`. It must not move while that is in use. */
typedef struct lhi_written_layout {
    lhi_layout layout;
    uint16_t offsets[LHI_FIELD_COUNT];
    uint32_t sizes[LHI_SIZE_COUNT];
} lhi_written_layout;

/* machine: IMAGE_FILE_MACHINE_*. ARM64 always gets a layout, at least that of the structures which do not
 * depend on the processor; x64 only for builds that have a row here. False: none, *out untouched. */
bool lhi_layout_written(uint32_t machine, uint32_t build, lhi_written_layout *out);

#endif
