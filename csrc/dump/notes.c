/* Notes: collects the contradictions that opening a dump met. */
#include "dump/notes.h"

#include <stdarg.h>
#include <stdio.h>

void lhi_note(lhi_notes *notes, const char *format, ...)
{
    if (notes->count == sizeof notes->text / sizeof notes->text[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(notes->text[notes->count], LHI_NOTE_SIZE, format, arguments);
    va_end(arguments);
    notes->count++;
}
