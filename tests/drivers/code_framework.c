/* A client of KMDF that calls the framework through its table of routines, as Microsoft's headers do: by a
 * pointer to the table, or with COPY by the driver's own copy of it. */
#include "kernel.h"

#define NOT_INLINE __attribute__((noinline))

typedef void routine(void);
#ifdef COPY
#define COUNT 438
routine *table_of_framework[COUNT];
#else
#define COUNT 458
routine **table_of_framework;
#endif
routine **table_of_somebody;
void *globals_of_framework;

/* WDF_BIND_INFO (fxldr.h). */
typedef struct bind_info {
    u32 size;
    const u16 *component;
    u32 major, minor, build, count;
    void *table, *module;
} bind_info;
_Static_assert(sizeof(bind_info) == 0x30, "WDF_BIND_INFO");

static const u16 component[] = u"KmdfLibrary";
bind_info info = {sizeof info, component, 1, 15, 0, COUNT, &table_of_framework, 0};

IMPORT status WdfVersionBind(driver *self, text *path, bind_info *with, void **globals);
#ifdef LOOKS
IMPORT void *MmGetSystemRoutineAddress(text *name);
#endif
#ifdef CLASS
IMPORT status WdfVersionBindClass(bind_info *with, void **globals, void *class);
#endif

/* By wdffuncenum.h. */
#define SEND                184 /* WdfIoTargetSendWriteSynchronously */
#define COMPLETE            263 /* WdfRequestComplete */
#define RETRIEVE_OUTPUT_MDL 272 /* WdfRequestRetrieveOutputWdmMdl */
#define UNSAFE_INPUT        273 /* WdfRequestRetrieveUnsafeUserInputBuffer */
#define LOCK_FOR_READ       278 /* WdfRequestProbeAndLockUserBufferForRead */
#define LOCK_FOR_WRITE_TO   279 /* WdfRequestProbeAndLockUserBufferForWrite */

typedef status call_lock(void *globals, void *request, void *buffer, u64 size, void **memory);
typedef status call_mdl(void *globals, void *request, mdl **out);
typedef void call_end(void *globals, void *request, status with);
typedef status call_send(void *globals, void *target, void *request, void *memory, void *offset,
                         void *options, u64 *done);

#define FRAMEWORK(type, which) ((type *)table_of_framework[which])

#if defined(__clang__)
/* What a guarded call goes through. */
void *__guard_dispatch_icall_fptr, *__guard_check_icall_fptr;
__asm__(".text\n.globl dispatch_rax\n.balign 16, 0xcc\ndispatch_rax: jmpq *%rax\n.balign 16, 0xcc\n");
#endif

u64 step_count;

#ifdef LOCKS
NOT_INLINE status lock_for_read(void *request, void *buffer, u64 size, void **memory)
{
    status result = FRAMEWORK(call_lock, LOCK_FOR_READ)(globals_of_framework, request, buffer, size, memory);
    step_count++;
    return result;
}

NOT_INLINE status lock_for_write(void *request, void *buffer, u64 size, void **memory)
{
    return FRAMEWORK(call_lock, LOCK_FOR_WRITE_TO)(globals_of_framework, request, buffer, size, memory);
}

/* The pointer to the table stays in a register that calls keep. */
NOT_INLINE status lock_both(void *request, void **buffers, void **memory)
{
    for (u32 i = 0; i < 2; i++) {
        status result =
            FRAMEWORK(call_lock, LOCK_FOR_READ)(globals_of_framework, request, buffers[i], 64, &memory[i]);
        if (result < 0) {
            FRAMEWORK(call_end, COMPLETE)(globals_of_framework, request, result);
            return result;
        }
    }
    return STATUS_SUCCESS;
}

NOT_INLINE status send_down(void *target, void *memory)
{
    u64 done = 0;
    status result = FRAMEWORK(call_send, SEND)(globals_of_framework, target, 0, memory, 0, 0, &done);
    step_count += done;
    return result;
}
#endif

NOT_INLINE status borrow(void *request)
{
    mdl *m = 0;
    status result = FRAMEWORK(call_mdl, RETRIEVE_OUTPUT_MDL)(globals_of_framework, request, &m);
    if (result >= 0)
        step_count += m->byte_count;
    return result;
}

NOT_INLINE status look(void *request, void **buffer)
{
    status result = FRAMEWORK(call_lock, UNSAFE_INPUT)(globals_of_framework, request, 0, 0, buffer);
    step_count++;
    return result;
}

/* Another table with the same places. */
NOT_INLINE status not_the_framework(void *request, void *buffer, void **memory)
{
    status result =
        ((call_lock *)table_of_somebody[LOCK_FOR_READ])(globals_of_framework, request, buffer, 64, memory);
    step_count++;
    return result;
}

status DriverEntry(driver *self, text *path)
{
#ifdef CLASS
    (void)WdfVersionBindClass(&info, &globals_of_framework, 0);
#endif
    return WdfVersionBind(self, path, &info, &globals_of_framework);
}

void Unload(driver *self)
{
    (void)self;
    IoFreeMdl(0);
#ifdef LOOKS
    (void)MmGetSystemRoutineAddress(0);
#endif
}
