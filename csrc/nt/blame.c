/* The driver that the kernel itself blames: KiBugCheckDriver, a pointer to the name in a module's record. */
#include "nt/kernel.h"
#include "nt/read.h"
#include "nt/text.h"

bool lhi_blamed_driver(const lh_kernel *kernel, char *name, size_t size, uint64_t *address)
{
    char path[1024] = {0};
    uint64_t at = 0, string = 0;
    uint64_t variable = lhi_kernel_global(kernel, LHI_G_KiBugCheckDriver);
    if (variable == 0 || lhi_space_u64(&kernel->space, variable, &string) != LH_PRESENT ||
        !lhi_is_object(string, 8) ||
        lhi_text_unicode_string(&kernel->space, string, true, path, sizeof path, &at) != LH_PRESENT)
        return false;
    lhi_text_copy(lhi_text_base_name(path), name, size);
    *address = string;
    return name[0] != 0;
}
