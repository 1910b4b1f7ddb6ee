/* Text output in memory: a growing buffer that never holds a control character or broken UTF-8 from
 * elsewhere. */
#ifndef LHI_REPORT_OUT_H
#define LHI_REPORT_OUT_H

#include "base/error.h"

#include <stdarg.h>

typedef struct lhi_out {
    char *data;
    size_t length, capacity;
    bool failed;
} lhi_out;

void lhi_out_raw(lhi_out *out, const char *text); /* our own text */
void lhi_out_bytes(lhi_out *out, const char *text, size_t length);
void lhi_out_format(lhi_out *out, const char *format, ...) LHI_PRINTF(2, 3);
/* A JSON string with its quotes; what is hidden (base/utf8.h) is escaped, what is not UTF-8 becomes U+FFFD.
 */
void lhi_out_json_string(lhi_out *out, const char *text);
/* For terminals: each character as lhi_safe_character writes it. */
void lhi_out_safe(lhi_out *out, const char *text);
/* For the text of an HTML element or a quoted attribute: the same, with markup written as character
 * references. */
void lhi_out_html(lhi_out *out, const char *text);

#endif
