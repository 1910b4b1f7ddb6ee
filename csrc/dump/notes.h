/* Notes: what a dump's own numbers contradict each other in, kept for the coverage of a case. */
#ifndef LHI_DUMP_NOTES_H
#define LHI_DUMP_NOTES_H

#include "base/error.h"

#define LHI_NOTE_SIZE 160u

/* As many as there are kinds of them; each kind is said once. */
typedef struct lhi_notes {
    uint32_t count;
    char text[12][LHI_NOTE_SIZE];
} lhi_notes;

void lhi_note(lhi_notes *notes, const char *format, ...) LHI_PRINTF(2, 3);

#endif
