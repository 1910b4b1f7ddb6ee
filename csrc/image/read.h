/* Bounded reads inside one mapped image, and the escape for names found there. */
#ifndef LHI_IMAGE_READ_H
#define LHI_IMAGE_READ_H

#include "image/image.h"

/* LH_PRESENT, why a byte of it is absent, or LH_ABSENT_LAYOUT: not inside the image's span. */
lh_absence lhi_rva_get(const lhi_image *image, uint64_t rva, void *buffer, size_t size);
/* Reads bytes up to a NUL or until `size` are there, page by page: what lies behind the NUL need not be
 * present. *length bytes precede the NUL; size: no NUL among them. Nothing is terminated. */
lh_absence lhi_rva_string(const lhi_image *image, uint64_t rva, uint8_t *buffer, size_t size, size_t *length);

/* Printable ASCII as it is, a backslash doubled, every other byte as \xNN; never cuts an escape. Adds NUL. */
void lhi_image_escape(const uint8_t *bytes, size_t length, char *out, size_t size);

#endif
