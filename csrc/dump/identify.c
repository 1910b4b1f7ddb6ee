/* Names the files that are not 64-bit Windows crash dumps, by their first bytes. */
#include "base/bytes.h"
#include "dump/header.h"

#include <string.h>

typedef struct lhi_signature {
    uint32_t offset;
    uint32_t size;
    const char *bytes;
    const char *name;
} lhi_signature;

/* Memory containers first (sources: facts 2), then what people hand over by mistake (each format's own
 * specification). */
static const lhi_signature signatures[] = {
    {0, 8, "PAGEDUMP", "a 32-bit Windows kernel dump"},
    {0, 4, "MDMP", "a Windows minidump (of a user process, or a small live dump)"},
    {0, 12, "makedumpfile", "a flattened kdump file (makedumpfile -R turns it into a plain one)"},
    {0, 8, "KDUMP   ", "a kdump-compressed file"},
    {0, 8, "DISKDUMP", "a Linux diskdump file"},
    {0, 4, "EMiL", "a LiME memory image"},
    {0, 4, "AVML", "an AVML memory image"},
    {0, 4, "\xd2\xbe\xd2\xbe", "a VMware snapshot or suspend file"},
    {0, 4, "\xd0\xbe\xd2\xbe", "a VMware snapshot or suspend file"},
    {0, 4, "\xd1\xba\xd1\xba", "a VMware snapshot or suspend file"},
    {0, 4, "\xd3\xbe\xd3\xbe", "a VMware snapshot or suspend file"},
    {0, 4, "HIBR", "a Windows hibernation file"},
    {0, 4, "hibr", "a Windows hibernation file"},
    {0, 4, "RSTR", "a Windows hibernation file"},
    {0, 4, "rstr", "a Windows hibernation file"},
    {0, 4, "WAKE", "a Windows hibernation file (already resumed)"},
    {0, 4, "wake", "a Windows hibernation file (already resumed)"},
    {0, 16, "LibvirtQemudSave", "a libvirt save file (virsh dump --memory-only writes a readable one)"},
    {0, 16, "LibvirtQemudPart", "an unfinished libvirt save file"},
    {0, 4, "QEVM", "a QEMU migration stream"},
    {0, 16, "LinuxGuestRecord", "a Xen save file"},
    {0, 28,
     "\x7f"
     "VirtualBox SavedState V2.0\n",
     "a VirtualBox saved state"},
    {0, 4, "\x14\x20\x28\x01", "a Hyper-V saved state"},
    {0, 8, "EVF\x09\x0d\x0a\xff\x00", "an EnCase (E01) image"},
    {0, 4,
     "\x7f"
     "ELF",
     "an ELF file that is not a memory core"},
    {0, 8, "conectix", "a VHD disk image"},
    {0, 8, "vhdxfile", "a VHDX disk image"},
    {0, 4, "KDMV", "a VMDK disk image"},
    {0, 4, "QFI\xfb", "a QCOW disk image"},
    {0, 4, "MSCF", "a cabinet archive (unpack it first)"},
    {0, 4, "PK\x03\x04", "a ZIP archive (unpack it first)"},
    {0, 6, "7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"},
    {0, 6,
     "\xfd"
     "7zXZ\x00",
     "an xz-compressed file (unpack it first)"},
    {0, 4, "\x28\xb5\x2f\xfd", "a zstd-compressed file (unpack it first)"},
    {0, 3, "\x1f\x8b\x08", "a gzip-compressed file (unpack it first)"},
    {0, 3, "BZh", "a bzip2-compressed file (unpack it first)"},
    {0, 6, "Rar!\x1a\x07", "a RAR archive (unpack it first)"},
};

static bool is_elf_core(const uint8_t *bytes, size_t size)
{
    /* e_ident[EI_CLASS], e_ident[EI_DATA] and e_type of the ELF specification; ET_CORE is 4. */
    return size >= 18 &&
           memcmp(bytes,
                  "\x7f"
                  "ELF",
                  4) == 0 &&
           (bytes[5] == 2 ? bytes[16] == 0 && bytes[17] == 4 : bytes[16] == 4 && bytes[17] == 0);
}

const char *lhi_identify(const uint8_t *bytes, size_t size)
{
    if (is_elf_core(bytes, size))
        return "an ELF core file";
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        const lhi_signature *one = &signatures[i];
        if (size >= one->offset && size - one->offset >= one->size &&
            memcmp(bytes + one->offset, one->bytes, one->size) == 0)
            return one->name;
    }
    return NULL;
}
