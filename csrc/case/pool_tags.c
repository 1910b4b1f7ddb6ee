/* Leads from the tags of pool blocks that keep an MDL and that nobody keeps: whose images have such a tag. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "case/code.h"
#include "image/image.h"
#include "nt/library.h"

#define MOST_TAGS   4u           /* asked for in one case */
#define MOST_USERS  4u           /* a tag that more drivers have says nothing */
#define MOST_BYTES  (256u << 20) /* of images; a machine's drivers are half of that */
#define TAG         4u
#define OVERLAP     (TAG - 1)
#define DISCARDABLE 0x02000000u /* IMAGE_SCN_MEM_DISCARDABLE, PE format: INIT, given back after the start */

typedef struct lhi_tag_user {
    const lhi_module *module;
    uint64_t at; /* the constant */
} lhi_tag_user;

typedef struct lhi_tag {
    const char *text;
    const lhi_step *step; /* the block that has it */
    lhi_tag_user users[MOST_USERS];
    size_t count; /* of images that have it, kept here or not */
    bool system;  /* the kernel has it, or a library that allocates for others */
} lhi_tag;

typedef struct lhi_tag_search {
    lhi_case *c;
    lhi_tag tags[MOST_TAGS];
    size_t count;
    uint64_t bytes;
    size_t images, partial; /* looked at; of them not all there */
} lhi_tag_search;

/* A block on the way to an MDL for which nobody is named. Tags that are not four characters are no constant
 * that a programmer wrote. */
static void take(lhi_tag_search *s, const lhi_step *step)
{
    if (!step->tag || strlen(step->tag) != TAG)
        return;
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->tags[i].text, step->tag) == 0)
            return;
    if (s->count < MOST_TAGS)
        s->tags[s->count++] = (lhi_tag){.text = step->tag, .step = step};
}

/* The way must end at the block: where it goes on to somebody's memory, that says more. */
static void take_tags(lhi_tag_search *s)
{
    const lhi_case *c = s->c;
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        if (!r->in_ledger || r->freed || r->outcome == LHI_OUTCOME_NAMED || r->step_count == 0 ||
            !r->steps[r->step_count - 1].tag)
            continue;
        for (size_t k = r->step_count; k > 0; k--)
            take(s, &r->steps[k - 1]);
    }
}

static bool has_user(const lhi_tag *tag, const lhi_module *module)
{
    return tag->count && tag->count <= MOST_USERS && tag->users[tag->count - 1].module == module;
}

/* SIZE_MAX: it is not there. */
static size_t find(const uint8_t *bytes, size_t size, const char *tag)
{
    for (size_t at = 0; at + TAG <= size; at++) {
        const uint8_t *next = memchr(bytes + at, tag[0], size - OVERLAP - at);
        if (!next)
            break;
        at = (size_t)(next - bytes);
        if (memcmp(next, tag, TAG) == 0)
            return at;
    }
    return SIZE_MAX;
}

static void note_users(lhi_tag_search *s, const lhi_module *module, uint64_t va, const uint8_t *bytes,
                       size_t size)
{
    for (size_t i = 0; i < s->count; i++) {
        lhi_tag *tag = &s->tags[i];
        if (has_user(tag, module))
            continue;
        const size_t at = find(bytes, size, tag->text);
        if (at == SIZE_MAX)
            continue;
        if (tag->count < MOST_USERS)
            tag->users[tag->count] = (lhi_tag_user){module, va + at};
        tag->count++;
        tag->system = tag->system || lhi_is_nt(s->c->kernel, module) || lhi_is_library(module->name);
    }
}

/* Constants stand in code and in data that nobody writes; what is written may be notes on others' blocks. */
static bool search_section(lhi_tag_search *s, const lhi_module *module, const lhi_image *image,
                           const lhi_section *section)
{
    uint8_t bytes[OVERLAP + LHI_PAGE_SIZE] = {0};
    size_t kept = 0;
    bool whole = true;
    uint64_t end = (uint64_t)section->rva + section->size;
    end = end < image->span ? end : image->span;
    for (uint64_t rva = section->rva; rva < end;) {
        size_t part = LHI_PAGE_SIZE - rva % LHI_PAGE_SIZE, done = 0;
        part = part < end - rva ? part : (size_t)(end - rva);
        if (lhi_space_read(image->space, image->base + rva, bytes + kept, part, &done, NULL) != LH_OK ||
            done != part) {
            whole = false;
            kept = 0;
        } else {
            note_users(s, module, image->base + rva - kept, bytes, kept + part);
            size_t keep = kept + part < OVERLAP ? kept + part : OVERLAP;
            memmove(bytes, bytes + kept + part - keep, keep);
            kept = keep;
        }
        rva += part;
        s->bytes += part;
    }
    return whole;
}

static void search_image(lhi_tag_search *s, const lhi_module *module)
{
    lhi_image image = {0};
    lhi_section section = {0};
    lh_absence absence = lhi_image_open(&s->c->kernel->space, module->base, module->size, &image);
    if (absence != LH_PRESENT)
        return;
    bool whole = true;
    for (uint32_t i = 0; s->bytes < MOST_BYTES; i++) {
        absence = lhi_image_section(&image, i, &section);
        if (absence != LH_PRESENT)
            break;
        if (section.flags & LHI_SECTION_WRITE)
            continue;
        const bool there = search_section(s, module, &image, &section);
        whole = whole && (there || section.flags & DISCARDABLE);
    }
    s->images++;
    s->partial += !whole || absence != LH_ABSENT_NOT_MAPPED;
}

/* How far "nobody else has it" reaches. */
static const char *others(lhi_tag_search *s, const lhi_tag *tag)
{
    lhi_arena *arena = &s->c->arena;
    if (tag->count > 1)
        return lhi_arena_printf(arena, "%zu of the %zu images in this dump have the tag", tag->count,
                                s->images);
    if (s->partial)
        return lhi_arena_printf(arena,
                                "no other of the %zu images has the tag, as far as their pages are "
                                "in this dump",
                                s->images);
    return lhi_arena_printf(arena, "no other of the %zu images has the tag", s->images);
}

static lh_status tell(lhi_tag_search *s, const lhi_tag *tag, const lhi_tag_user *user, lh_error *err)
{
    lhi_case *c = s->c;
    lhi_driver driver = {0};
    lhi_driver_from_code(c->kernel, user->at, &driver);
    const size_t party = lhi_case_party(c, &driver, err);
    if (party == LHI_NONE)
        return LH_ERR_NO_MEMORY;
    const char *text = lhi_arena_printf(
        &c->arena,
        "pool block '%s' at 0x%" PRIx64 " leads to the MDL, and %s+0x%" PRIx64
        " is a constant with that tag; %s%s",
        tag->text, tag->step->base, user->module->name, user->at - user->module->base, others(s, tag),
        lhi_case_can_lock(c, party) == LHI_NO ? "; it imports no routine that locks pages" : "");
    return lhi_case_note(c, "pool_tag", party, user->at, text) ? LH_OK : lhi_fail_memory(err);
}

lh_status lhi_case_pool_tags(lhi_case *c, lh_error *err)
{
    lhi_tag_search s = {.c = c};
    lh_status status = LH_OK;
    take_tags(&s);
    if (s.count == 0)
        return LH_OK;
    for (size_t i = 0; status == LH_OK && i < c->kernel->modules.loaded && s.bytes < MOST_BYTES; i++) {
        search_image(&s, &c->kernel->modules.items[i]);
        status = lhi_case_poll(c, err);
    }
    for (size_t i = 0; i < s.count; i++) {
        const lhi_tag *tag = &s.tags[i];
        if (tag->system || tag->count > MOST_USERS)
            continue;
        for (size_t k = 0; status == LH_OK && k < tag->count; k++)
            status = tell(&s, tag, &tag->users[k], err);
    }
    return status;
}
