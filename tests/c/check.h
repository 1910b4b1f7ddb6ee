/* The C tests' harness: checks that count themselves, and a main that fails when nothing was checked. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long check_done;
static unsigned long check_failed;

static inline int check_that(int holds, const char *file, int line, const char *text)
{
    check_done++;
    if (!holds) {
        check_failed++;
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
    }
    return holds;
}

static inline int check_equal(uint64_t got, uint64_t wanted, const char *file, int line, const char *text)
{
    check_done++;
    if (got != wanted) {
        check_failed++;
        fprintf(stderr, "%s:%d: %s is 0x%" PRIx64 ", not 0x%" PRIx64 "\n", file, line, text, got, wanted);
    }
    return got == wanted;
}

static inline int check_text(const char *got, const char *wanted, const char *file, int line,
                             const char *text)
{
    int same = got && wanted ? strcmp(got, wanted) == 0 : got == wanted;
    check_done++;
    if (!same) {
        check_failed++;
        fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", file, line, text, got ? got : "(null)",
                wanted ? wanted : "(null)");
    }
    return same;
}

/* Each gives whether it holds and goes on, so that one failure does not hide the next. */
#define CHECK(condition)        check_that((condition) != 0, __FILE__, __LINE__, #condition)
#define CHECK_EQ(got, wanted)   check_equal((uint64_t)(got), (uint64_t)(wanted), __FILE__, __LINE__, #got)
#define CHECK_TEXT(got, wanted) check_text((got), (wanted), __FILE__, __LINE__, #got)
/* The text holds the part. */
#define CHECK_HAS(text, part)                                                                                \
    (CHECK(strstr((text), (part)) != NULL) || (fprintf(stderr, "    it is: %s\n", (text)), 0))

/* Last line of main: return CHECK_END(); */
#define CHECK_END() check_end(__FILE__)
static inline int check_end(const char *file)
{
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    if (!check_done)
        fprintf(stderr, "%s: nothing was checked\n", name);
    printf("%s: %lu checks, %lu failed\n", name, check_done, check_failed);
    return check_done && !check_failed ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
