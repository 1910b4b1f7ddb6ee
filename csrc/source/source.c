/* Sources of bytes: a mapped file, positioned reads, memory or callbacks behind one counted handle. */
#include "source/source.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "source/os.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

struct lh_source {
    atomic_size_t references;
    atomic_uint_fast64_t failures; /* of reads */
    uint64_t size;
    char *name;
    const uint8_t *random;     /* bytes in place for look-ups, or NULL */
    const uint8_t *sequential; /* the same bytes advised for a scan, or NULL */
    bool mapped;               /* both views are mappings of ours */
    int fd;                    /* for positioned reads, or -1 */
    lh_source_callbacks callbacks;
};

static lh_source *create(const char *name, uint64_t size)
{
    lh_source *source = lhi_calloc(1, sizeof *source);
    if (!source)
        return NULL;
    source->name = lhi_strdup(name);
    if (!source->name) {
        lhi_free(source);
        return NULL;
    }
    atomic_init(&source->references, 1);
    atomic_init(&source->failures, 0);
    source->size = size;
    source->fd = -1;
    return source;
}

static void destroy(lh_source *source)
{
    if (source->mapped) {
        lhi_os_unmap(source->random, source->size);
        lhi_os_unmap(source->sequential, source->size);
    }
    if (source->fd >= 0)
        lhi_os_close(source->fd);
    if (source->callbacks.destroy)
        source->callbacks.destroy(source->callbacks.user);
    lhi_free(source->name);
    lhi_free(source);
}

static lh_status fail_io(lh_error *err, int error, const char *what)
{
    lhi_fail(err, LH_ERR_IO, "%s: %s", what, strerror(error));
    if (err)
        err->os_error = error;
    return LH_ERR_IO;
}

/* A file that can't be mapped (a file system without mappings, no address space) is read instead. */
static void map(lh_source *source, int fd)
{
    const uint8_t *random = NULL;
    const uint8_t *sequential = NULL;
    if (lhi_os_map(fd, source->size, false, &random) != 0)
        return;
    if (lhi_os_map(fd, source->size, true, &sequential) != 0) {
        lhi_os_unmap(random, source->size);
        return;
    }
    source->random = random;
    source->sequential = sequential;
    source->mapped = true;
}

lh_status lh_source_open_file(const char *path, uint32_t flags, lh_source **out, lh_error *err)
{
    lh_status status = LH_OK;
    lh_source *source = NULL;
    uint64_t size = 0;
    int fd = -1;
    if (!path)
        return lhi_fail_argument(err, "path", "is NULL");
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    if (flags & ~(uint32_t)LH_SOURCE_POSITIONED)
        return lhi_fail_argument(err, "flags", "0x%x has unknown bits", (unsigned)flags);
    int error = lhi_os_open(path, &fd, &size);
    if (error) {
        status = fail_io(err, error, error == ESPIPE ? "neither a file nor a disk" : "can't open");
        lhi_prefix(err, "%s", path);
        goto done;
    }
    source = create(path, size);
    if (!source) {
        status = lhi_fail_memory(err);
        goto done;
    }
    if (size && !(flags & LH_SOURCE_POSITIONED))
        map(source, fd);
    if (!source->mapped) {
        source->fd = fd;
        fd = -1;
    }
    *out = source;
done:
    if (fd >= 0)
        lhi_os_close(fd);
    return status;
}

lh_status lh_source_open_memory(const void *data, size_t size, lh_source **out, lh_error *err)
{
    if (!data && size)
        return lhi_fail_argument(err, "data", "is NULL, but size is not 0");
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    lh_source *source = create("", size);
    if (!source)
        return lhi_fail_memory(err);
    source->random = data;
    source->sequential = data;
    *out = source;
    return LH_OK;
}

lh_status lh_source_open_callbacks(const lh_source_callbacks *callbacks, lh_source **out, lh_error *err)
{
    if (!callbacks)
        return lhi_fail_argument(err, "callbacks", "is NULL");
    if (callbacks->struct_size < sizeof *callbacks)
        return lhi_fail_argument(err, "struct_size", "%zu is less than %zu", callbacks->struct_size,
                                 sizeof *callbacks);
    if (!callbacks->read)
        return lhi_fail_argument(err, "read", "is NULL");
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    lh_source *source = create("", callbacks->size);
    if (!source)
        return lhi_fail_memory(err);
    source->callbacks = *callbacks;
    *out = source;
    return LH_OK;
}

lh_source *lhi_source_retain(lh_source *source)
{
    atomic_fetch_add_explicit(&source->references, 1, memory_order_relaxed);
    return source;
}

void lh_source_release(lh_source *source)
{
    if (source && atomic_fetch_sub_explicit(&source->references, 1, memory_order_acq_rel) == 1)
        destroy(source);
}

uint64_t lhi_source_size(const lh_source *source)
{
    return source->size;
}

const char *lhi_source_name(const lh_source *source)
{
    return source->name;
}

lh_status lhi_source_read(const lh_source *source, uint64_t offset, void *buffer, size_t size, lh_error *err)
{
    int error = 0;
    if (!lhi_span_inside(offset, size, source->size)) {
        lhi_fail(err, LH_ERR_IO, "%zu bytes at 0x%llx lie outside the file of 0x%llx bytes", size,
                 (unsigned long long)offset, (unsigned long long)source->size);
        error = EIO;
    } else if (!size) {
        return LH_OK;
    } else if (source->random) {
        memcpy(buffer, source->random + offset, size);
        return LH_OK;
    } else {
        error = source->fd >= 0 ? lhi_os_pread(source->fd, buffer, size, offset)
                                : source->callbacks.read(source->callbacks.user, offset, buffer, size);
        if (!error)
            return LH_OK;
        fail_io(err, error, "can't read");
        lhi_prefix(err, "%zu bytes at 0x%llx", size, (unsigned long long)offset);
    }
    /* Counting is no change of the source that a reader could see: the cast drops nothing else. */
    atomic_fetch_add(&((lh_source *)(uintptr_t)source)->failures, 1);
    if (err) {
        err->os_error = error;
        err->offset = offset;
    }
    return LH_ERR_IO;
}

uint64_t lhi_source_failures(const lh_source *source)
{
    return atomic_load(&((lh_source *)(uintptr_t)source)->failures);
}

static const uint8_t *view(const lh_source *source, const uint8_t *data, uint64_t offset, uint64_t size)
{
    return data && lhi_span_inside(offset, size, source->size) ? data + offset : NULL;
}

const uint8_t *lhi_source_view(const lh_source *source, uint64_t offset, uint64_t size)
{
    return view(source, source->random, offset, size);
}

const uint8_t *lhi_source_view_sequential(const lh_source *source, uint64_t offset, uint64_t size)
{
    return view(source, source->sequential, offset, size);
}
