/* Locks the caller's buffer a second time for later, and forgets to unlock it when the caller goes away. */
#include "kernel.h"

status DispatchIo(device *at, irp *packet)
{
    mdl **kept = (mdl **)((u8 *)at->extension + 0x20);
    mdl *mine = IoAllocateMdl(packet->user_buffer, (u32)packet->current->parameters[0], 0, 0, 0);
    if (!mine) {
        packet->io_status = (u32)STATUS_INSUFFICIENT_RESOURCES;
        IofCompleteRequest(packet, 0);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    MmProbeAndLockPages(mine, USER_MODE, LOCK_FOR_WRITE);
    *kept = mine;
    mark_pending(packet);
    return STATUS_PENDING;
}

status Complete(device *at, irp *packet, void *context)
{
    mdl **kept = context;
    (void)at;
    (void)packet;
    if (*kept) {
        MmUnlockPages(*kept);
        IoFreeMdl(*kept);
        *kept = 0;
    }
    return STATUS_SUCCESS;
}

void Cancel(device *at, irp *packet)
{
    (void)at;
    packet->io_status = 0;
    IofCompleteRequest(packet, 0);
}

void Worker(device *at, void *context)
{
    Complete(at, 0, context);
}
