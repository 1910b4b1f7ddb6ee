/* I/O request packets: validation by their own arithmetic, stack locations, state and origin. */
#ifndef LHI_NT_IRP_H
#define LHI_NT_IRP_H

#include "nt/kernel.h"
#include "nt/memory.h"

#define LHI_IRP_MOST_STACKS 127 /* StackCount is a signed byte (WDK wdm.h) */

typedef enum lhi_irp_state {
    LHI_IRP_NOT_ONE = 0,
    LHI_IRP_PENDING,   /* at a driver's stack location */
    LHI_IRP_RETURNED,  /* StackCount + 1: never sent, or back with its maker */
    LHI_IRP_COMPLETED, /* StackCount + 2 */
    LHI_IRP_FREED, /* on a lookaside list, in a free pool block, or its Type is overwritten with what follows
                      it and the rest still holds */
    LHI_IRP_DAMAGED,   /* a packet by some of its marks, and by others none, nor a freed one */
    LHI_IRP_UNREADABLE /* part of it is not in the dump */
} lhi_irp_state;
/* "pending", "returned", "completed", "freed", "damaged", "not_captured" */
const char *lhi_irp_state_name(lhi_irp_state state);

/* Who made a packet decides who owes the unlock (facts B.2: ReactOS irp.c, WDK documentation of
 * IoAllocateIrp, IoBuildDeviceIoControlRequest, IoFreeIrp). */
typedef enum lhi_irp_origin {
    LHI_ORIGIN_UNKNOWN = 0,
    LHI_ORIGIN_MANAGER,  /* the I/O manager, for a request of a thread: it locks and unlocks */
    LHI_ORIGIN_THREADED, /* IoBuildDeviceIoControlRequest or IoBuildSynchronousFsdRequest: queued to a thread,
                            unlocked at completion; judged as the I/O manager's */
    LHI_ORIGIN_DRIVER    /* a driver, for itself: it locked and must unlock */
} lhi_irp_origin;
const char *lhi_irp_origin_name(
    lhi_irp_origin origin); /* "io_manager", "thread_request", "driver", "unknown" */

typedef enum lhi_links {
    LHI_LINKS_UNKNOWN = 0, /* a neighbour is not in the dump */
    LHI_LINKS_SELF,        /* points to itself: on no list */
    LHI_LINKS_LINKED,      /* both neighbours point back */
    LHI_LINKS_BROKEN       /* zero or contradicted */
} lhi_links;

typedef struct lhi_slot {
    uint8_t major, minor, flags, control;
    uint64_t device, file, completion, context;
    uint64_t parameters[4];
} lhi_slot;

typedef struct lhi_irp {
    uint64_t address;
    lhi_irp_state state;
    lhi_irp_origin origin;
    const char *reason;        /* why it is no packet, or freed */
    const char *origin_reason; /* a static clause */
    lh_absence absence;        /* for LHI_IRP_UNREADABLE */
    uint64_t absent_at;
    uint16_t size;
    uint8_t stack_count, current; /* current counts from 1 */
    bool cancel, user_mode;
    uint32_t flags;
    uint64_t mdl, associated, thread, file, user_iosb, cancel_routine, current_slot, user_buffer;
    lhi_links links;
    bool orphan;         /* the I/O manager cut it off from its thread after the cancel had no effect */
    bool odd;            /* its origin is told, and one of the usual marks is missing */
    unsigned slot_count; /* slots read: [0] is stack location 1, the lowest driver's */
    lhi_slot slots[LHI_IRP_MOST_STACKS];
} lhi_irp;

/* The I/O manager's: it unlocks at completion. */
bool lhi_irp_is_managers(const lhi_irp *irp);
/* A packet is there, and what it says can't be known. */
bool lhi_irp_is_lost(const lhi_irp *irp);

#define LHI_IRP_TYPE       6u    /* IO_TYPE_IRP, WDK wdm.h */
#define LHI_IRP_SIZE       0xd0u /* sizeof(IRP), public PDB type _IRP */
#define LHI_SLOT_SIZE      0x48u /* sizeof(IO_STACK_LOCATION), public PDB type */
#define LHI_IRP_ASSOCIATED 0x8u  /* Flags: IRP_ASSOCIATED_IRP, WDK wdm.h */

/* Decodes what lies at `address`. `mdl`: what MdlAddress should be, 0 for any. `freed`: lookaside entries,
 * may be NULL. */
void lhi_irp_read(const lh_kernel *kernel, uint64_t address, uint64_t mdl, const lhi_free_lists *freed,
                  lhi_irp *out);

/* The packet that has the word at `va`, which is `value`, in the parameters or as the context of one of its
 * stack locations. false: none. */
bool lhi_irp_around(const lh_kernel *kernel, uint64_t va, uint64_t value, const lhi_free_lists *freed,
                    lhi_irp *out);
/* Do the parameters or the context of one of its stack locations have the value? */
bool lhi_irp_names(const lhi_irp *irp, uint64_t value);

/* IRP_MJ_* by number, "IRP_MJ_DEVICE_CONTROL"; "IRP_MJ_?" beyond 27. */
const char *lhi_irp_major_name(uint8_t major);

#endif
