/* What a dump format is: how a file shows that it has it, and what opens it. */
#ifndef LHI_DUMP_FORMATS_H
#define LHI_DUMP_FORMATS_H

#include "dump/notes.h"
#include "dump/pages.h"
#include "dump/runs.h"
#include "dump/triage.h"

/* A file that is being opened, and what it turns out to hold. A dump keeps it where it was filled, so that
 * the parts may refer to each other. */
typedef struct lhi_opened {
    lh_source *source; /* lives as long as this */
    /* LHI_HEADER_SIZE bytes: the first of the file, zeros behind its end. A file that does not begin with the
     * crash-dump header of Windows puts a copy of it there. */
    uint8_t *header;
    lh_dump_info info; /* the format's number is there; the format adds what it knows, but no counts */
    lhi_runs runs;     /* the machine's; valid when pages->ram is not 0, and always in a full dump */
    lhi_notes notes;
    lhi_pages *pages;   /* the page lookup, which every format makes */
    lhi_triage *triage; /* of a triage dump, else NULL */
} lhi_opened;

typedef struct lhi_format {
    const char *name; /* in JSON */
    /* Whether the file is of this format, by its first bytes: at most LHI_HEADER_SIZE, `size` of them real.
     */
    bool (*claims)(const uint8_t *bytes, size_t size);
    /* Fills info and pages. What it made and left in *file when it fails is released by the dump. */
    lh_status (*open)(lhi_opened *file, lh_error *err);
} lhi_format;

#define FORMAT(number, name) extern const lhi_format lhi_format_##name;
#include "dump/formats.inc"
#undef FORMAT

/* Opens file->source by the format that claims it. What no format claims fails with LH_ERR_UNSUPPORTED naming
 * what the file is where that is known, else with LH_ERR_FORMAT. */
lh_status lhi_formats_open(lhi_opened *file, lh_error *err);

#endif
