/* Compiles needles: windows and hashed bit sets for the kernels, exact tables for what they let through. */
#include "scan/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* An empty set: both bits of the smallest table are clear. */
static const uint32_t EMPTY_WORDS[1] = {0};

/* A range longer than this is compared on its own: its granules would fill the bit set. */
#define WIDE_LENGTH 0x100000u

typedef struct keyed {
    uint64_t key, end;
    uint32_t needle;
} keyed;

/* A closed interval of values that some needle matches. */
typedef struct interval {
    uint64_t begin, last;
} interval;

static int compare_keyed(const void *left, const void *right)
{
    const keyed *a = left;
    const keyed *b = right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->needle < b->needle ? -1 : a->needle > b->needle;
}

static int compare_interval(const void *left, const void *right)
{
    const interval *a = left;
    const interval *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->last < b->last ? -1 : a->last > b->last;
}

/* Sorts and joins what overlaps or touches; returns the new count. */
static size_t merge_intervals(interval *items, size_t count)
{
    size_t kept = 0;
    qsort(items, count, sizeof *items, compare_interval);
    for (size_t i = 0; i < count; i++) {
        if (kept != 0 && (items[kept - 1].last == UINT64_MAX || items[i].begin <= items[kept - 1].last + 1)) {
            if (items[i].last > items[kept - 1].last)
                items[kept - 1].last = items[i].last;
        } else {
            items[kept++] = items[i];
        }
    }
    return kept;
}

static unsigned log2_above(uint64_t n, unsigned least, unsigned most)
{
    unsigned bits = least;
    while (bits < most && 1ull << bits < n)
        bits++;
    return bits;
}

/* Covers sorted, disjoint intervals by at most `most` windows, cut at the widest gaps. A gap below 1/16 of
 * the span is left in: a further window costs every vector, and would keep out little. */
static void add_windows(lhi_plan *plan, const interval *items, size_t count, size_t most, uint64_t mask)
{
    size_t cuts[LHI_PLAN_WINDOWS] = {0}; /* index of the interval after the gap */
    uint64_t gaps[LHI_PLAN_WINDOWS] = {0};
    size_t cut_count = 0;
    uint64_t least = 0;
    size_t first = 0;
    if (count == 0)
        return;
    least = (items[count - 1].last - items[0].begin) / 16;
    for (size_t i = 1; i < count; i++) {
        uint64_t gap = items[i].begin - items[i - 1].last;
        size_t at = 0;
        if (gap <= least)
            continue;
        while (at < cut_count && gaps[at] >= gap)
            at++;
        if (at >= most - 1)
            continue;
        if (cut_count < most - 1)
            cut_count++;
        for (size_t j = cut_count - 1; j > at; j--) {
            gaps[j] = gaps[j - 1];
            cuts[j] = cuts[j - 1];
        }
        gaps[at] = gap;
        cuts[at] = i;
    }
    while (first < count) {
        size_t next = count;
        for (size_t i = 0; i < cut_count; i++)
            if (cuts[i] > first && cuts[i] < next)
                next = cuts[i];
        plan->windows[plan->window_count++] =
            (lhi_window){mask, items[first].begin, items[next - 1].last - items[first].begin};
        first = next;
    }
}

static uint32_t *new_words(unsigned bits, lhi_bitset *set)
{
    uint32_t *words = lhi_calloc((size_t)1 << (bits - 5), sizeof *words);
    if (words != NULL)
        *set = (lhi_bitset){words, 64 - bits};
    return words;
}

static void set_bit(uint32_t *words, unsigned shift, uint64_t x)
{
    uint64_t at = lhi_plan_hash(x, shift);
    words[at >> 5] |= 1u << (at & 31);
}

static bool build_values(lhi_plan *plan, const lhi_scan_options *options)
{
    size_t count = options->value_count;
    keyed *sorted = lhi_calloc(count, sizeof *sorted);
    unsigned bits = log2_above(count * 2, 1, 32);
    bool ok = false;
    plan->value = lhi_calloc(count, sizeof *plan->value);
    plan->needle = lhi_calloc(count, sizeof *plan->needle);
    plan->slots = lhi_calloc((size_t)1 << bits, sizeof *plan->slots);
    plan->slot_shift = 64 - bits;
    if (sorted == NULL || plan->value == NULL || plan->needle == NULL || plan->slots == NULL)
        goto done;
    for (size_t i = 0; i < count; i++)
        sorted[i] = (keyed){options->values[i] & plan->mask, 0, (uint32_t)i};
    qsort(sorted, count, sizeof *sorted, compare_keyed);
    plan->value_count = count;
    for (size_t i = 0; i < count; i++) {
        plan->value[i] = sorted[i].key;
        plan->needle[i] = sorted[i].needle;
        if (i == 0 || sorted[i].key != sorted[i - 1].key) {
            size_t at = (size_t)lhi_plan_hash(sorted[i].key, plan->slot_shift);
            while (plan->slots[at] != 0)
                at = (at + 1) & (((size_t)1 << bits) - 1);
            plan->slots[at] = (uint32_t)(i + 1);
        }
    }
    ok = true;
done:
    lhi_free(sorted);
    return ok;
}

/* The greatest end in each subtree of the implicit tree: the root of [low, high) is its middle. */
static uint64_t build_reach(lhi_plan *plan, size_t low, size_t high)
{
    size_t middle = low + (high - low) / 2;
    uint64_t reach = plan->range[middle].end;
    if (low < middle) {
        uint64_t left = build_reach(plan, low, middle);
        reach = left > reach ? left : reach;
    }
    if (middle + 1 < high) {
        uint64_t right = build_reach(plan, middle + 1, high);
        reach = right > reach ? right : reach;
    }
    plan->reach[middle] = reach;
    return reach;
}

static bool build_ranges(lhi_plan *plan, const lhi_scan_options *options)
{
    size_t count = 0;
    keyed *sorted = lhi_calloc(options->range_count, sizeof *sorted);
    bool ok = false;
    plan->range = lhi_calloc(options->range_count, sizeof *plan->range);
    plan->range_needle = lhi_calloc(options->range_count, sizeof *plan->range_needle);
    plan->reach = lhi_calloc(options->range_count, sizeof *plan->reach);
    if (sorted == NULL || plan->range == NULL || plan->range_needle == NULL || plan->reach == NULL)
        goto done;
    for (size_t i = 0; i < options->range_count; i++) {
        lh_range r = options->ranges[i];
        if (r.begin < r.end)
            sorted[count++] = (keyed){r.begin, r.end, (uint32_t)(options->value_count + i)};
    }
    qsort(sorted, count, sizeof *sorted, compare_keyed);
    for (size_t i = 0; i < count; i++) {
        plan->range[i] = (lh_range){sorted[i].key, sorted[i].end};
        plan->range_needle[i] = sorted[i].needle;
    }
    plan->range_count = count;
    if (count != 0)
        build_reach(plan, 0, count);
    ok = true;
done:
    lhi_free(sorted);
    return ok;
}

/* Takes the longest intervals out of items as wide ranges; returns the new count. */
static size_t take_wide(lhi_plan *plan, interval *items, size_t count)
{
    for (unsigned w = 0; w < LHI_PLAN_WIDE; w++) {
        size_t longest = SIZE_MAX;
        for (size_t i = 0; i < count; i++)
            if (items[i].last - items[i].begin >= WIDE_LENGTH &&
                (longest == SIZE_MAX ||
                 items[i].last - items[i].begin > items[longest].last - items[longest].begin))
                longest = i;
        if (longest == SIZE_MAX)
            break;
        /* An end is exclusive in lh_range, so that no last value is UINT64_MAX and + 1 can't overflow. */
        plan->wide[w] = (lh_range){items[longest].begin, items[longest].last + 1};
        memmove(items + longest, items + longest + 1, (count - longest - 1) * sizeof *items);
        count--;
    }
    return count;
}

/* The finest granule whose bit set stays a small multiple of the ranges. */
static uint64_t choose_granule(lhi_plan *plan, const interval *items, size_t count)
{
    uint64_t total = 0;
    uint64_t most = 8 * (uint64_t)count + 4096;
    for (plan->granule = 0; plan->granule < 63; plan->granule++) {
        total = 0;
        for (size_t i = 0; i < count && total <= most; i++) {
            uint64_t granules = (items[i].last >> plan->granule) - (items[i].begin >> plan->granule);
            total = granules >= most ? most + 1 : total + granules + 1;
        }
        if (total <= most)
            break;
    }
    return total;
}

static bool build_filters(lhi_plan *plan)
{
    interval *items = lhi_calloc(plan->value_count + plan->range_count, sizeof *items);
    size_t values = 0;
    size_t ranges = 0;
    bool together = plan->mask == UINT64_MAX;
    bool ok = false;
    if (items == NULL)
        goto done;
    /* Many needles want a bit set that stays in the first-level cache when it can; 32 bits a value let one
     * of 32 strangers through. */
    plan->values = plan->ranges = (lhi_bitset){EMPTY_WORDS, 63};
    if (plan->value_count != 0) {
        unsigned bits = log2_above((uint64_t)plan->value_count * 32, 10, 24);
        plan->value_words = new_words(bits, &plan->values);
        if (plan->value_words == NULL)
            goto done;
        for (size_t i = 0; i < plan->value_count; i++) {
            set_bit(plan->value_words, plan->values.shift, plan->value[i]);
            if (i == 0 || plan->value[i] != plan->value[i - 1])
                items[values++] = (interval){plan->value[i], plan->value[i]};
        }
    }
    if (plan->range_count == 0 && values <= LHI_PLAN_DIRECT) {
        for (size_t i = 0; i < values; i++)
            plan->direct[i] = items[i].begin;
        plan->direct_count = (uint32_t)values;
        ok = true;
        goto done;
    }
    if (plan->range_count != 0) {
        interval *own = items + values;
        uint64_t granules = 0;
        unsigned bits = 0;
        size_t narrow = 0;
        plan->has_ranges = true;
        for (size_t i = 0; i < plan->range_count; i++)
            own[i] = (interval){plan->range[i].begin, plan->range[i].end - 1};
        ranges = merge_intervals(own, plan->range_count);
        if (!together)
            add_windows(plan, own, ranges, values != 0 ? LHI_PLAN_WINDOWS / 2 : LHI_PLAN_WINDOWS, UINT64_MAX);
        narrow = take_wide(plan, own, ranges);
        if (narrow != 0) {
            granules = choose_granule(plan, own, narrow);
            bits = log2_above(granules * 32, 10, 24);
            plan->range_words = new_words(bits, &plan->ranges);
            if (plan->range_words == NULL)
                goto done;
        }
        for (size_t i = 0; i < narrow; i++)
            for (uint64_t g = own[i].begin >> plan->granule; g <= own[i].last >> plan->granule; g++)
                set_bit(plan->range_words, plan->ranges.shift, g);
        ranges = narrow;
        for (unsigned w = 0; together && w < LHI_PLAN_WIDE; w++)
            if (plan->wide[w].end != 0)
                own[ranges++] = (interval){plan->wide[w].begin, plan->wide[w].end - 1};
    }
    if (together)
        add_windows(plan, items, merge_intervals(items, values + ranges), LHI_PLAN_WINDOWS, UINT64_MAX);
    else
        add_windows(plan, items, values, LHI_PLAN_WINDOWS - plan->window_count, plan->mask);
    ok = true;
done:
    lhi_free(items);
    return ok;
}

lh_status lhi_plan_init(lhi_plan *plan, const lhi_scan_options *options, lh_error *err)
{
    *plan = (lhi_plan){0};
    if (options->value_count > UINT32_MAX / 2 || options->range_count > UINT32_MAX / 2)
        return lhi_fail_argument(err, "values", "more than 2^31 needles");
    for (size_t i = 0; i < options->range_count; i++)
        if (options->ranges[i].begin > options->ranges[i].end)
            return lhi_fail_argument(err, "ranges", "range %zu ends before it begins", i);
    plan->mask = options->mask != 0 ? options->mask : UINT64_MAX;
    if ((options->value_count != 0 && !build_values(plan, options)) ||
        (options->range_count != 0 && !build_ranges(plan, options)) || !build_filters(plan)) {
        lhi_plan_free(plan);
        return lhi_fail_memory(err);
    }
    return LH_OK;
}

void lhi_plan_free(lhi_plan *plan)
{
    lhi_free(plan->value);
    lhi_free(plan->needle);
    lhi_free(plan->slots);
    lhi_free(plan->range);
    lhi_free(plan->range_needle);
    lhi_free(plan->reach);
    lhi_free(plan->value_words);
    lhi_free(plan->range_words);
    *plan = (lhi_plan){0};
}

/* Ranges that contain x, in the subtree [low, high). Depth is the logarithm of the count. */
static bool collect_ranges(const lhi_plan *plan, size_t low, size_t high, uint64_t x, lhi_vec *needles)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (plan->reach[middle] <= x)
            return true;
        if (!collect_ranges(plan, low, middle, x, needles))
            return false;
        if (plan->range[middle].begin > x)
            return true;
        if (x < plan->range[middle].end && !lhi_vec_push(needles, plan->range_needle[middle]))
            return false;
        low = middle + 1;
    }
    return true;
}

bool lhi_plan_resolve(const lhi_plan *plan, uint64_t x, lhi_vec *needles)
{
    needles->count = 0;
    if (plan->range_count != 0) {
        if (!collect_ranges(plan, 0, plan->range_count, x, needles))
            return false;
        if (needles->count > 1)
            lhi_vec_sort_unique(needles);
    }
    if (plan->value_count != 0) {
        uint64_t key = x & plan->mask;
        size_t last = ((size_t)1 << (64 - plan->slot_shift)) - 1;
        size_t at = (size_t)lhi_plan_hash(key, plan->slot_shift);
        size_t ranges = needles->count;
        while (plan->slots[at] != 0 && plan->value[plan->slots[at] - 1] != key)
            at = (at + 1) & last;
        if (plan->slots[at] == 0)
            return true;
        for (size_t i = plan->slots[at] - 1; i < plan->value_count && plan->value[i] == key; i++)
            if (!lhi_vec_push(needles, plan->needle[i]))
                return false;
        /* Values are numbered before ranges. */
        if (ranges != 0)
            lhi_vec_sort_unique(needles);
    }
    return true;
}
