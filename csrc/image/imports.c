/* Does an image import a routine of the kernel? By the import table's names, else by its address table. */
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "image/read.h"

/* After the PE format specification (.idata section). */
enum {
    DIRECTORY_IMPORT = 1,
    DIRECTORY_IAT = 12,
    DESCRIPTOR_SIZE = 20,
    DESCRIPTOR_NAMES = 0, /* OriginalFirstThunk */
    DESCRIPTOR_DLL = 12,
    DESCRIPTOR_SLOTS = 16, /* FirstThunk */
    THUNK_SIZE = 8,
    HINT_SIZE = 2,
    MOST_DESCRIPTORS = 1024,
    MOST_DLL_NAME = 16, /* longer than any name of the kernel */
    MOST_NAME = 128     /* longer than any routine asked for */
};
#define BY_ORDINAL 0x8000000000000000ull
/* Thunks of one image: the largest drivers import about three thousand. Bounds tables that overlap. */
#define MOST_THUNKS 0x10000u

typedef struct lhi_question {
    const lhi_image *image;
    const char *const *names;
    size_t count;
    const lhi_exports *exports; /* of the kernel; may be NULL */
    uint32_t budget;            /* thunks still allowed */
    size_t found;               /* index into names, once the answer is yes */
} lhi_question;

static bool is_dll(const uint8_t *name, size_t length, const char *dll)
{
    size_t same = 0;
    while (same < length && dll[same] != 0) {
        uint8_t byte = name[same];
        if (byte >= 'A' && byte <= 'Z')
            byte = (uint8_t)(byte + ('a' - 'A'));
        if (byte != (uint8_t)dll[same])
            break;
        same++;
    }
    return same == length && dll[same] == 0;
}

/* hal.dll forwards to the kernel in newer builds, but its own routines lock nothing. */
static bool is_kernel_name(const uint8_t *name, size_t length)
{
    return is_dll(name, length, "ntoskrnl.exe") || is_dll(name, length, "ntkrnlmp.exe");
}

static bool wanted_name(lhi_question *question, const uint8_t *name, size_t length)
{
    for (size_t i = 0; i < question->count; i++) {
        if (strlen(question->names[i]) == length && memcmp(question->names[i], name, length) == 0) {
            question->found = i;
            return true;
        }
    }
    return false;
}

/* One descriptor's names, when it is the kernel's. NO: read to the end, none is wanted. */
static lhi_answer ask_names(lhi_question *question, uint32_t thunks)
{
    lhi_answer answer = LHI_NO;
    uint32_t seen = 0;

    if (thunks == 0)
        return LHI_UNKNOWN;
    for (;; seen++) {
        uint8_t thunk[THUNK_SIZE] = {0};
        uint8_t name[MOST_NAME] = {0};
        size_t length = 0;
        if (question->budget == 0 ||
            lhi_rva_get(question->image, (uint64_t)thunks + (uint64_t)seen * THUNK_SIZE, thunk,
                        sizeof thunk) != LH_PRESENT)
            return LHI_UNKNOWN;
        question->budget--;
        uint64_t value = lhi_u64(thunk);
        if (value == 0)
            break;
        if ((value & BY_ORDINAL) != 0 ||
            lhi_rva_string(question->image, value + HINT_SIZE, name, sizeof name, &length) != LH_PRESENT ||
            length == 0) {
            answer = LHI_UNKNOWN; /* this one could be it; the others are still asked */
            continue;
        }
        if (wanted_name(question, name, length))
            return LHI_YES;
    }
    /* a table that begins with its end has been wiped: nobody imports nothing from the kernel */
    return seen == 0 ? LHI_UNKNOWN : answer;
}

/* Calls for each descriptor; false at the end or where the table can't be read (*whole tells which). */
static bool next_descriptor(const lhi_image *image, uint32_t index, uint8_t out[DESCRIPTOR_SIZE], bool *whole)
{
    static const uint8_t end[DESCRIPTOR_SIZE] = {0};
    lhi_directory directory = image->directories[DIRECTORY_IMPORT];

    *whole = false;
    if (index >= MOST_DESCRIPTORS ||
        lhi_rva_get(image, (uint64_t)directory.rva + (uint64_t)index * DESCRIPTOR_SIZE, out,
                    DESCRIPTOR_SIZE) != LH_PRESENT)
        return false;
    /* the loader stops where there is no name or no address table */
    if (memcmp(out, end, sizeof end) == 0 || lhi_u32(out + DESCRIPTOR_DLL) == 0 ||
        lhi_u32(out + DESCRIPTOR_SLOTS) == 0) {
        *whole = index > 0; /* nothing at all in a table that exists: wiped */
        return false;
    }
    return true;
}

static lhi_answer ask_table(lhi_question *question)
{
    lhi_answer answer = LHI_NO;
    uint8_t descriptor[DESCRIPTOR_SIZE] = {0};
    bool whole = false;

    for (uint32_t i = 0; next_descriptor(question->image, i, descriptor, &whole); i++) {
        uint8_t dll[MOST_DLL_NAME] = {0};
        size_t length = 0;
        lhi_answer part = LHI_NO;
        if (lhi_rva_string(question->image, lhi_u32(descriptor + DESCRIPTOR_DLL), dll, sizeof dll, &length) !=
                LH_PRESENT ||
            length == 0)
            part = LHI_UNKNOWN; /* could be the kernel */
        else if (is_kernel_name(dll, length))
            part = ask_names(question, lhi_u32(descriptor + DESCRIPTOR_NAMES));
        if (part == LHI_YES)
            return LHI_YES;
        if (part == LHI_UNKNOWN)
            answer = LHI_UNKNOWN;
    }
    return whole ? answer : LHI_UNKNOWN;
}

/* One run of address slots, which belongs to one DLL. */
typedef struct lhi_slot_run {
    bool from_kernel; /* a slot holds the address of a kernel export */
    bool strange;     /* a slot holds something that is no kernel export */
    bool inside;      /* such a slot points into the kernel */
} lhi_slot_run;

/* A run of the kernel's in which a slot is no export was edited, for instance by Driver Verifier, whose
 * stand-ins hide which routine was imported: no "no" from there. */
static bool run_hides_nothing(const lhi_slot_run *run)
{
    return !run->inside && !(run->from_kernel && run->strange);
}

static bool is_wanted_address(lhi_question *question, uint64_t address)
{
    for (size_t i = 0; i < question->count; i++) {
        uint64_t export = lhi_exports_address(question->exports, question->names[i]);
        if (export != 0 && export == address) {
            question->found = i;
            return true;
        }
    }
    return false;
}

/* True: it is the address of a routine asked for. */
static bool look_at_slot(lhi_question *question, uint64_t value, lhi_slot_run *run)
{
    const lhi_exports *exports = question->exports;

    if (lhi_exports_name(exports, value) == NULL) {
        run->strange = true;
        if (value >= exports->items[0].address && value <= exports->items[exports->count - 1].address)
            run->inside = true;
        return false;
    }
    run->from_kernel = true;
    return is_wanted_address(question, value);
}

/* Every slot of the address table against the kernel's exports, page by page. */
static lhi_answer ask_slots(lhi_question *question)
{
    lhi_directory iat = question->image->directories[DIRECTORY_IAT];
    bool sure = question->exports->complete;
    bool bound = false;
    lhi_slot_run run = {0};
    uint32_t size = iat.size / THUNK_SIZE * THUNK_SIZE;

    if (iat.rva == 0 || iat.rva % THUNK_SIZE != 0 || size == 0 || size / THUNK_SIZE > MOST_THUNKS)
        return LHI_UNKNOWN;
    for (uint32_t at = 0; at < size;) {
        uint8_t page[LHI_PAGE_SIZE] = {0};
        uint64_t rva = (uint64_t)iat.rva + at;
        uint32_t part = LHI_PAGE_SIZE - (uint32_t)(rva % LHI_PAGE_SIZE);
        if (part > size - at)
            part = size - at;
        bool there = lhi_rva_get(question->image, rva, page, part) == LH_PRESENT;
        sure = sure && there;
        for (uint32_t i = 0; there && i < part; i += THUNK_SIZE) {
            uint64_t value = lhi_u64(page + i);
            if (value != 0) {
                if (look_at_slot(question, value, &run))
                    return LHI_YES;
                continue;
            }
            sure = sure && run_hides_nothing(&run);
            bound = bound || run.from_kernel;
            run = (lhi_slot_run){0};
        }
        at += part;
    }
    sure = sure && run_hides_nothing(&run);
    bound = bound || run.from_kernel;
    /* a table without a single kernel export was not bound (or wiped), so it can't say no */
    return sure && bound ? LHI_NO : LHI_UNKNOWN;
}

lhi_answer lhi_image_imports(const lhi_image *image, const char *const *names, size_t count,
                             const lhi_exports *kernel_exports, const char **which)
{
    lhi_question question = {
        .image = image, .names = names, .count = count, .exports = kernel_exports, .budget = MOST_THUNKS};
    lhi_answer answer = LHI_UNKNOWN;

    if (count == 0)
        return LHI_NO;
    if (image->directories[DIRECTORY_IMPORT].rva != 0)
        answer = ask_table(&question);
    else if (image->directories[DIRECTORY_IAT].rva == 0)
        answer = LHI_NO; /* imports nothing */
    if (answer == LHI_UNKNOWN && kernel_exports != NULL && kernel_exports->count > 0)
        answer = ask_slots(&question);
    if (answer == LHI_YES && which != NULL)
        *which = names[question.found];
    return answer;
}

bool lhi_image_has_imports(const lhi_image *image)
{
    return image->directories[DIRECTORY_IMPORT].rva != 0 || image->directories[DIRECTORY_IAT].rva != 0;
}

lhi_answer lhi_image_imports_nt_alone(const lhi_image *image)
{
    lhi_answer answer = LHI_YES;
    uint8_t descriptor[DESCRIPTOR_SIZE] = {0};
    bool whole = false;

    if (image->directories[DIRECTORY_IMPORT].rva == 0)
        return LHI_UNKNOWN;
    for (uint32_t i = 0; next_descriptor(image, i, descriptor, &whole); i++) {
        uint8_t dll[MOST_DLL_NAME] = {0};
        size_t length = 0;
        lh_absence absence =
            lhi_rva_string(image, lhi_u32(descriptor + DESCRIPTOR_DLL), dll, sizeof dll, &length);
        if (absence != LH_PRESENT || length == 0)
            answer = LHI_UNKNOWN;
        else if (!is_kernel_name(dll, length) && !is_dll(dll, length, "hal.dll"))
            return LHI_NO;
    }
    return whole ? answer : LHI_UNKNOWN;
}

/* The names of one descriptor; `budget` bounds tables that overlap. */
static void visit_names(const lhi_image *image, const char *dll, uint32_t thunks, uint32_t slots,
                        uint32_t *budget, lhi_import_visit *visit, void *user)
{
    for (uint64_t i = 0; thunks != 0 && *budget > 0; i++, (*budget)--) {
        uint8_t thunk[THUNK_SIZE] = {0};
        uint8_t name[LHI_IMPORT_ROUTINE] = {0};
        size_t length = 0;
        if (lhi_rva_get(image, thunks + i * THUNK_SIZE, thunk, sizeof thunk) != LH_PRESENT)
            return;
        uint64_t value = lhi_u64(thunk);
        if (value == 0)
            return;
        if ((value & BY_ORDINAL) == 0 &&
            lhi_rva_string(image, value + HINT_SIZE, name, sizeof name, &length) == LH_PRESENT &&
            length > 0 && length < sizeof name)
            visit(user, dll, (const char *)name, image->base + slots + i * THUNK_SIZE);
    }
}

void lhi_image_each_import(const lhi_image *image, lhi_import_visit *visit, void *user)
{
    uint8_t descriptor[DESCRIPTOR_SIZE] = {0};
    uint32_t budget = MOST_THUNKS;
    bool whole = false;

    if (image->directories[DIRECTORY_IMPORT].rva == 0)
        return;
    for (uint32_t i = 0; next_descriptor(image, i, descriptor, &whole); i++) {
        uint8_t dll[LHI_IMPORT_FILE] = {0};
        size_t length = 0;
        if (lhi_rva_string(image, lhi_u32(descriptor + DESCRIPTOR_DLL), dll, sizeof dll, &length) ==
                LH_PRESENT &&
            length < sizeof dll)
            visit_names(image, (const char *)dll, lhi_u32(descriptor + DESCRIPTOR_NAMES),
                        lhi_u32(descriptor + DESCRIPTOR_SLOTS), &budget, visit, user);
    }
}

bool lhi_import_is_of(const char *dll, const char *file)
{
    size_t i = 0;

    for (; dll[i] != 0 && file[i] != 0; i++) {
        char lower = dll[i] >= 'A' && dll[i] <= 'Z' ? (char)(dll[i] + ('a' - 'A')) : dll[i];
        if (lower != file[i])
            return false;
    }
    return dll[i] == file[i];
}

typedef struct lhi_slot_question {
    uint64_t slot;
    char *out;
    bool found;
} lhi_slot_question;

static void take_name(void *user, const char *dll, const char *name, uint64_t slot)
{
    lhi_slot_question *question = user;

    if (question->found || slot != question->slot || !is_kernel_name((const uint8_t *)dll, strlen(dll)))
        return;
    lhi_image_escape((const uint8_t *)name, strlen(name), question->out, LHI_IMPORT_NAME);
    question->found = true;
}

bool lhi_image_import_name(const lhi_image *image, uint32_t slot, char out[LHI_IMPORT_NAME])
{
    lhi_slot_question question = {.slot = image->base + slot, .out = out};

    lhi_image_each_import(image, take_name, &question);
    return question.found;
}
