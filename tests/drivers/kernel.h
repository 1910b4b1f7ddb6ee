/* What these drivers need of the Windows driver interface, declared anew from Microsoft's public
 * documentation: there is no WDK here. */
#ifndef DRIVERS_KERNEL_H
#define DRIVERS_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int status;

#define STATUS_SUCCESS                  0
#define STATUS_PENDING                  0x103
#define STATUS_INSUFFICIENT_RESOURCES   ((status)0xC000009A)
#define STATUS_MORE_PROCESSING_REQUIRED ((status)0xC0000016)

#define MAJOR_CREATE         0
#define MAJOR_CLOSE          2
#define MAJOR_READ           3
#define MAJOR_WRITE          4
#define MAJOR_DEVICE_CONTROL 14
#define MAJOR_CLEANUP        18
#define MAJOR_COUNT          28

#define SL_PENDING_RETURNED 0x01
#define SL_INVOKE_ON_ALL    0xE0
#define DO_DIRECT_IO        0x10
#define LOCK_FOR_WRITE      1
#define USER_MODE           1

typedef struct text {
    u16 length, maximum;
    const u16 *buffer;
} text;

typedef struct links {
    struct links *forward, *backward;
} links;

typedef struct mdl {
    struct mdl *next;
    u16 size, flags, processor, reserved;
    void *process, *mapped, *start;
    u32 byte_count, byte_offset;
} mdl;

struct device;
struct irp;
struct driver;

typedef status completion(struct device *device, struct irp *irp, void *context);
typedef status dispatch(struct device *device, struct irp *irp);

typedef struct location {
    u8 major, minor, flags, control;
    u64 parameters[4];
    struct device *device;
    void *file;
    completion *complete;
    void *context;
} location;

typedef struct irp {
    u16 type, size, processor, reserved;
    mdl *mdl;
    u32 flags;
    void *associated;
    links thread_list;
    u64 io_status, information;
    u8 requestor, pending_returned, stack_count, current_location, cancel, cancel_irql, apc, allocation;
    void *user_iosb, *user_event, *overlay[2], *cancel_routine, *user_buffer, *driver_context[4], *thread,
        *auxiliary;
    links list;
    location *current;
    void *original_file, *reserved_tail;
} irp;

typedef struct device {
    u16 type, size;
    u32 reference_count;
    struct driver *driver;
    struct device *next, *attached;
    irp *current;
    void *timer;
    u32 flags, characteristics;
    void *vpb, *extension;
    u32 kind;
    u8 stack_size;
} device;

typedef struct driver_extension {
    struct driver *driver;
    status (*add_device)(struct driver *driver, device *below);
} driver_extension;

typedef struct driver {
    u16 type, size;
    device *device;
    u32 flags;
    void *start;
    u32 image_size;
    void *section;
    driver_extension *extension;
    text name;
    text *hardware;
    void *fast_io;
    status (*init)(struct driver *driver, text *path);
    void *start_io;
    void (*unload)(struct driver *driver);
    dispatch *major[MAJOR_COUNT];
} driver;

_Static_assert(sizeof(mdl) == 0x30, "_MDL");
_Static_assert(sizeof(location) == 0x48, "_IO_STACK_LOCATION");
_Static_assert(sizeof(irp) == 0xD0, "_IRP");
_Static_assert(sizeof(driver) == 0x150, "_DRIVER_OBJECT");

#define IMPORT __declspec(dllimport)
IMPORT status IoCreateDevice(driver *, u32, text *, u32, u32, u8, device **);
IMPORT void IoDeleteDevice(device *);
IMPORT device *IoAttachDeviceToDeviceStack(device *, device *);
IMPORT void IoDetachDevice(device *);
IMPORT void IofCompleteRequest(irp *, char);
IMPORT status IofCallDriver(device *, irp *);
IMPORT irp *IoAllocateIrp(char, u8);
IMPORT irp *IoMakeAssociatedIrp(irp *, char);
IMPORT void IoFreeIrp(irp *);
IMPORT mdl *IoAllocateMdl(void *, u32, u8, u8, irp *);
IMPORT void IoFreeMdl(mdl *);
IMPORT void IoBuildPartialMdl(mdl *, mdl *, void *, u32);
IMPORT void MmProbeAndLockPages(mdl *, char, int);
IMPORT void MmUnlockPages(mdl *);

/* What every driver here has, under the names that the forge looks for. */
status DriverEntry(driver *self, text *path);
status Dispatch(device *at, irp *packet);
status DispatchIo(device *at, irp *packet);
status Complete(device *at, irp *packet, void *context);
void Cancel(device *at, irp *packet);
void Unload(driver *self);
status AddDevice(driver *self, device *below);
void Worker(device *at, void *context);

static inline location *next_location(irp *packet)
{
    return packet->current - 1;
}

static inline void mark_pending(irp *packet)
{
    packet->current->control |= SL_PENDING_RETURNED;
}

static inline void set_completion(irp *packet, completion *routine, void *context)
{
    location *next = next_location(packet);
    next->complete = routine;
    next->context = context;
    next->control = SL_INVOKE_ON_ALL;
}

#endif
