/* Cuts a request into pieces with partial MDLs and sends them to the driver below. */
#include "kernel.h"

#define PIECES 2

volatile u64 outstanding;

status Complete(device *at, irp *packet, void *context)
{
    irp *whole = context;
    (void)at;
    IoFreeMdl(packet->mdl);
    IoFreeIrp(packet);
    if (--outstanding == 0)
        IofCompleteRequest(whole, 0);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

status DispatchIo(device *at, irp *packet)
{
    device *below = *(device **)at->extension;
    mdl *whole = packet->mdl;
    u32 length = whole->byte_count / PIECES;
    mark_pending(packet);
    outstanding = PIECES;
    for (u32 number = 0; number < PIECES; number++) {
        irp *piece = packet->requestor ? IoAllocateIrp((char)below->stack_size, 0)
                                       : IoMakeAssociatedIrp(packet, (char)below->stack_size);
        u8 *start = (u8 *)whole->start + whole->byte_offset + (u64)number * length;
        mdl *part = piece ? IoAllocateMdl(start, length, 0, 0, piece) : 0;
        if (!part)
            continue;
        IoBuildPartialMdl(whole, part, start, length);
        set_completion(piece, Complete, packet);
        next_location(piece)->major = MAJOR_READ;
        IofCallDriver(below, piece);
    }
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
