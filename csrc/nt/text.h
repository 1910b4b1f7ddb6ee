/* Text out of a dump: hostile until escaped. Control characters, lone surrogates, markup-free UTF-8 out. */
#ifndef LHI_NT_TEXT_H
#define LHI_NT_TEXT_H

#include "space/space.h"

/* Converts `units` UTF-16LE code units to UTF-8 at most size - 1 bytes, never cutting a character; lone
 * surrogates, C0/C1 controls, DEL, bidi controls, U+2028/2029 and invisible characters (zero width, tags)
 * become \uXXXX with small digits, one for each unit; a backslash becomes two. Lower-cases ASCII when asked.
 * Adds NUL; size 0 writes nothing. */
void lhi_text_utf16(const uint8_t *data, size_t units, bool lower, char *out, size_t size);
/* The same for bytes taken as ASCII; bytes below 0x20 and above 0x7e become \xNN. Ends at a NUL byte. */
void lhi_text_bytes(const uint8_t *data, size_t length, char *out, size_t size);

/* A UNICODE_STRING in memory. LH_PRESENT, or why its header or buffer can't be read (*at gets the address);
 * an empty string is LH_PRESENT with "". LH_ABSENT_LAYOUT: Length odd or above MaximumLength, or a buffer
 * that is no kernel address. At most 2048 units are read. */
lh_absence lhi_text_unicode_string(const lhi_space *space, uint64_t va, bool lower, char *out, size_t size,
                                   uint64_t *at);
/* The part behind the last backslash of an (escaped) path: a pointer into it. An escaped backslash is "\\\\".
 */
const char *lhi_text_base_name(const char *path);
/* Copies escaped text, as many whole characters and whole escapes as fit. Adds NUL. */
void lhi_text_copy(const char *text, char *out, size_t size);

#endif
