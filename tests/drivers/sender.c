/* Locks a user buffer, describes it in a packet of its own and sends that to the driver below. */
#include "kernel.h"

status Complete(device *at, irp *packet, void *context)
{
    mdl *described = packet->mdl;
    (void)at;
    (void)context;
    MmUnlockPages(described);
    IoFreeMdl(described);
    IoFreeIrp(packet);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

status DispatchIo(device *at, irp *packet)
{
    device *below = *(device **)at->extension;
    mdl *described = IoAllocateMdl(packet->user_buffer, (u32)packet->current->parameters[0], 0, 0, 0);
    irp *mine = described ? IoAllocateIrp((char)below->stack_size, 0) : 0;
    if (!mine) {
        if (described)
            IoFreeMdl(described);
        IofCompleteRequest(packet, 0);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    MmProbeAndLockPages(described, USER_MODE, LOCK_FOR_WRITE);
    mine->mdl = described;
    set_completion(mine, Complete, at->extension);
    next_location(mine)->major = MAJOR_WRITE;
    IofCallDriver(below, mine);
    mark_pending(packet);
    return STATUS_PENDING;
}

void Cancel(device *at, irp *packet)
{
    (void)at;
    IofCompleteRequest(packet, 0);
}

void Worker(device *at, void *context)
{
    (void)context;
    DispatchIo(at, at->current);
}
