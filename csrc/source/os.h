/* The operating system behind one interface; os_linux.c is the only file that knows Linux. */
#ifndef LHI_SOURCE_OS_H
#define LHI_SOURCE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Files. Results are 0 or an errno value. */
int lhi_os_open(const char *path, int *fd, uint64_t *size); /* refuses directories; close-on-exec */
void lhi_os_close(int fd);
int lhi_os_pread(int fd, void *buffer, size_t size,
                 uint64_t offset); /* whole size or an error (EIO at end) */
/* A mapping of the file, advised for a sequential scan or for random look-ups. */
int lhi_os_map(int fd, uint64_t size, bool sequential, const uint8_t **out);
void lhi_os_unmap(const uint8_t *data, uint64_t size);

uint32_t lhi_os_cpu_count(void); /* processors this process may run on, at least 1 */
double lhi_os_now(void);         /* monotonic seconds */

/* Threads: only joined ones. */
typedef struct lhi_thread lhi_thread;
int lhi_thread_start(lhi_thread **out, void (*run)(void *), void *argument); /* ENOMEM, EAGAIN ... */
void lhi_thread_join(lhi_thread *thread);
typedef struct lhi_mutex lhi_mutex;
lhi_mutex *lhi_mutex_create(void); /* NULL: no memory */
void lhi_mutex_destroy(lhi_mutex *mutex);
void lhi_mutex_lock(lhi_mutex *mutex);
void lhi_mutex_unlock(lhi_mutex *mutex);
typedef struct lhi_cond lhi_cond;
lhi_cond *lhi_cond_create(void); /* NULL: no memory */
void lhi_cond_destroy(lhi_cond *cond);
/* Waits until signalled or `seconds` passed; the mutex is held on entry and on return. */
void lhi_cond_wait(lhi_cond *cond, lhi_mutex *mutex, double seconds);
void lhi_cond_broadcast(lhi_cond *cond);

#endif
