/* UTF-8 from elsewhere: which bytes are a character, which characters must not be shown as they are, and the
 * one way in which those are written out. */
#ifndef LHI_BASE_UTF8_H
#define LHI_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LHI_SAFE_MOST 11 /* "\U000e0001" and a NUL */

/* Length of the valid UTF-8 character at `text` (1 to 4); 0: broken. Surrogates and overlong forms are
 * broken. A NUL ends every comparison early, so that nothing behind the text is read. */
size_t lhi_utf8_length(const char *text);
/* The code point of a valid character. */
uint32_t lhi_utf8_code(const char *text, size_t length);
/* Characters that move the cursor, turn the reading direction, end a line, or can't be seen at all, so that
 * two different names would look the same. */
bool lhi_is_hidden(uint32_t code);
/* One character as it may be shown, with a NUL: itself, or \xNN, \uNNNN or \UNNNNNNNN with small digits where
 * it is hidden; a byte that is part of no character becomes \xNN. Returns how many bytes of `text` it was. */
size_t lhi_safe_character(const char *text, char out[LHI_SAFE_MOST]);

#endif
