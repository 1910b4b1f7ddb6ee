/* Errors: filling a caller's lh_error with one clean line, and the names of all codes. */
#include "base/error.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_OF(number) #number
#define NUMBER(number)  TEXT_OF(number)
#define VERSION_TEXT    NUMBER(LH_VERSION_MAJOR) "." NUMBER(LH_VERSION_MINOR) "." NUMBER(LH_VERSION_PATCH)
#define MESSAGE_SIZE    sizeof(((lh_error *)0)->message)

const char *lh_version(void)
{
    return VERSION_TEXT;
}

const char *lh_status_name(lh_status status)
{
    switch (status) {
    case LH_OK:
        return "ok";
    case LH_ERR_NO_MEMORY:
        return "no_memory";
    case LH_ERR_INVALID_ARGUMENT:
        return "invalid_argument";
    case LH_ERR_IO:
        return "io";
    case LH_ERR_FORMAT:
        return "format";
    case LH_ERR_UNSUPPORTED:
        return "unsupported";
    case LH_ERR_ABSENT:
        return "absent";
    case LH_ERR_CANCELLED:
        return "cancelled";
    case LH_ERR_TIMEOUT:
        return "timeout";
    case LH_ERR_LIMIT:
        return "limit";
    case LH_ERR_INTERNAL:
        return "internal";
    }
    return "unknown";
}

const char *lh_absence_name(lh_absence absence)
{
    switch (absence) {
    case LH_PRESENT:
        return "present";
    case LH_ABSENT_NOT_CAPTURED:
        return "not_captured";
    case LH_ABSENT_CLIPPED:
        return "clipped";
    case LH_ABSENT_NOT_RAM:
        return "not_ram";
    case LH_ABSENT_NOT_MAPPED:
        return "not_mapped";
    case LH_ABSENT_PAGED_OUT:
        return "paged_out";
    case LH_ABSENT_DEMAND_ZERO:
        return "demand_zero";
    case LH_ABSENT_PROTOTYPE:
        return "prototype";
    case LH_ABSENT_TABLE:
        return "table";
    case LH_ABSENT_NONCANONICAL:
        return "noncanonical";
    case LH_ABSENT_LAYOUT:
        return "layout";
    }
    return "unknown";
}

/* Paths and names in a message are foreign: one line of valid UTF-8 without hidden characters comes out, each
 * of them written as everywhere. What does not fit is left off, by whole characters. */
static void clean(const char *text, char *out, size_t size)
{
    size_t used = 0;
    while (*text) {
        char shown[LHI_SAFE_MOST];
        text += lhi_safe_character(text, shown);
        size_t length = strlen(shown);
        if (length >= size - used)
            break;
        memcpy(out + used, shown, length);
        used += length;
    }
    out[used] = '\0';
}

LHI_PRINTF(2, 0) static void set_message(lh_error *err, const char *format, va_list arguments)
{
    char text[2 * MESSAGE_SIZE] = {0}; /* so that clean cuts it, between characters, and not vsnprintf */
    if (vsnprintf(text, sizeof text, format, arguments) < 0)
        text[0] = '\0';
    clean(text, err->message, sizeof err->message);
}

static void set_field(lh_error *err, const char *field)
{
    clean(field, err->field, sizeof err->field);
}

lh_status lhi_fail(lh_error *err, lh_status code, const char *format, ...)
{
    if (!err)
        return code;
    lh_error made = {.code = code};
    va_list arguments;
    va_start(arguments, format);
    set_message(&made, format, arguments);
    va_end(arguments);
    *err = made; /* last, because an argument may point into *err */
    return code;
}

lh_status lhi_fail_field(lh_error *err, lh_status code, const char *field, uint64_t offset,
                         const char *format, ...)
{
    if (!err)
        return code;
    lh_error made = {.code = code, .offset = offset};
    va_list arguments;
    va_start(arguments, format);
    set_message(&made, format, arguments);
    va_end(arguments);
    set_field(&made, field);
    *err = made;
    lhi_prefix(err, "%s at 0x%llx", err->field, (unsigned long long)offset);
    return code;
}

lh_status lhi_fail_argument(lh_error *err, const char *argument, const char *format, ...)
{
    if (!err)
        return LH_ERR_INVALID_ARGUMENT;
    lh_error made = {.code = LH_ERR_INVALID_ARGUMENT};
    va_list arguments;
    va_start(arguments, format);
    set_message(&made, format, arguments);
    va_end(arguments);
    set_field(&made, argument);
    *err = made;
    lhi_prefix(err, "argument %s", err->field);
    return LH_ERR_INVALID_ARGUMENT;
}

static const char *absence_text(lh_absence absence)
{
    switch (absence) {
    case LH_ABSENT_NOT_CAPTURED:
        return "the page is not in this dump";
    case LH_ABSENT_CLIPPED:
        return "the file ends before this page";
    case LH_ABSENT_NOT_RAM:
        return "the machine has no memory there";
    case LH_ABSENT_NOT_MAPPED:
        return "nothing is mapped there";
    case LH_ABSENT_PAGED_OUT:
        return "the page is in a page file";
    case LH_ABSENT_DEMAND_ZERO:
        return "the page was never touched (demand zero)";
    case LH_ABSENT_PROTOTYPE:
        return "a prototype entry leads nowhere in this dump";
    case LH_ABSENT_TABLE:
        return "a page table on the way is not in this dump";
    case LH_ABSENT_NONCANONICAL:
        return "the address is not canonical";
    case LH_ABSENT_LAYOUT:
        return "no structure layout is known for this build";
    case LH_PRESENT:
        break;
    }
    return "not there";
}

lh_status lhi_fail_absent(lh_error *err, lh_absence absence, int level, uint64_t address, const char *what)
{
    if (!err)
        return LH_ERR_ABSENT;
    if (level)
        lhi_fail(err, LH_ERR_ABSENT, "%s 0x%llx: %s (level %d)", what, (unsigned long long)address,
                 absence_text(absence), level);
    else
        lhi_fail(err, LH_ERR_ABSENT, "%s 0x%llx: %s", what, (unsigned long long)address,
                 absence_text(absence));
    err->absence = absence;
    err->level = level;
    err->address = address;
    return LH_ERR_ABSENT;
}

lh_status lhi_fail_memory(lh_error *err)
{
    return lhi_fail(err, LH_ERR_NO_MEMORY, "out of memory");
}

void lhi_prefix(lh_error *err, const char *format, ...)
{
    if (!err)
        return;
    char given[4 * MESSAGE_SIZE] = {0}; /* paths are longer than messages: their end says most */
    char context[sizeof given * 4] = {0};
    char text[2 * MESSAGE_SIZE] = {0};
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(given, sizeof given, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    clean(given, context, sizeof context);
    /* A long path must not push out what went wrong: the context gets half the line at most. */
    const size_t most = MESSAGE_SIZE / 2;
    const char *shown = context;
    if (strlen(context) > most) {
        shown += strlen(context) - (most - 3);
        while (((uint8_t)*shown & 0xc0) == 0x80) /* not in the middle of a character */
            shown++;
    }
    snprintf(text, sizeof text, "%s%.*s: %.*s", shown == context ? "" : "...", (int)most, shown,
             (int)MESSAGE_SIZE - 1, err->message);
    clean(text, err->message, sizeof err->message);
}
