/* The tree of lockhound.locks/1 as text for people. */
#ifndef LHI_REPORT_LOCKS_TEXT_H
#define LHI_REPORT_LOCKS_TEXT_H

#include "report/out.h"
#include "report/tree.h"

void lhi_report_locks_text(const lhi_node *root, lhi_out *out);

#endif
