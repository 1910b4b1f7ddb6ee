/* The yardstick: a plain sum over memory with the widest loads that most machines have, on several threads.
 */
#include <immintrin.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

typedef struct part {
    const uint64_t *words;
    size_t count;
    uint64_t result;
    pthread_t thread;
} part;

enum { MOST_THREADS = 256 };

/* Four accumulators of 32 bytes: one addition a load, so that memory is the limit and not the adder. */
__attribute__((target("avx2"))) static void *sum_avx2(void *argument)
{
    part *p = argument;
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 16 <= p->count; i += 16) {
        const __m256i *at = (const __m256i *)(p->words + i);
        a = _mm256_add_epi64(a, _mm256_loadu_si256(at));
        b = _mm256_add_epi64(b, _mm256_loadu_si256(at + 1));
        c = _mm256_add_epi64(c, _mm256_loadu_si256(at + 2));
        d = _mm256_add_epi64(d, _mm256_loadu_si256(at + 3));
    }
    uint64_t lanes[4];
    _mm256_storeu_si256((__m256i *)lanes, _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d)));
    p->result = lanes[0] + lanes[1] + lanes[2] + lanes[3];
    for (; i < p->count; i++)
        p->result += p->words[i];
    return NULL;
}

static void *sum_plain(void *argument)
{
    part *p = argument;
    uint64_t total = 0;
    for (size_t i = 0; i < p->count; i++)
        total += p->words[i];
    p->result = total;
    return NULL;
}

/* No memory at all: what a second thread adds here is what the machine has to give. */
static void *spin(void *argument)
{
    part *p = argument;
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < p->count; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    p->result = x;
    return NULL;
}

static int on_threads(void *(*run)(void *), part *parts, unsigned threads)
{
    unsigned started = 0;
    int error = 0;
    for (; started < threads && error == 0; started += error == 0)
        error = pthread_create(&parts[started].thread, NULL, run, &parts[started]);
    for (unsigned i = 0; i < started; i++)
        pthread_join(parts[i].thread, NULL);
    return error;
}

int plain_sum(const void *data, size_t size, unsigned threads, uint64_t *out);
int spin_on(size_t rounds, unsigned threads);

/* The sum of the whole 8-byte words of data, split evenly. 0, or an errno value. */
int plain_sum(const void *data, size_t size, unsigned threads, uint64_t *out)
{
    part parts[MOST_THREADS];
    const size_t words = size / 8;
    threads = threads > MOST_THREADS ? MOST_THREADS : threads;
    for (unsigned i = 0; i < threads; i++) {
        const size_t begin = words / threads * i;
        const size_t end = i + 1 == threads ? words : begin + words / threads;
        parts[i] = (part){.words = (const uint64_t *)data + begin, .count = end - begin};
    }
    const int error = on_threads(__builtin_cpu_supports("avx2") ? sum_avx2 : sum_plain, parts, threads);
    *out = 0;
    for (unsigned i = 0; i < threads && error == 0; i++)
        *out += parts[i].result;
    return error;
}

/* Counts `rounds` on each of the threads. */
int spin_on(size_t rounds, unsigned threads)
{
    part parts[MOST_THREADS];
    threads = threads > MOST_THREADS ? MOST_THREADS : threads;
    for (unsigned i = 0; i < threads; i++)
        parts[i] = (part){.count = rounds};
    return on_threads(spin, parts, threads);
}
