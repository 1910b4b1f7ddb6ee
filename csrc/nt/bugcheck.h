/* What the parameters of a bug check name, by the table of their meanings. */
#ifndef LHI_NT_BUGCHECK_H
#define LHI_NT_BUGCHECK_H

#include <stdbool.h>
#include <stdint.h>

/* The index of the first parameter that is an MDL's address, or a page frame number; -1: none is. */
int lhi_bugcheck_mdl(uint32_t code, const uint64_t parameters[4]);
int lhi_bugcheck_frame(uint32_t code, const uint64_t parameters[4]);
/* It is about an MDL, and no public source says which parameter that is. */
bool lhi_bugcheck_about_mdl(uint32_t code, const uint64_t parameters[4]);

#endif
