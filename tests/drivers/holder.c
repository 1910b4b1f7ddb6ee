/* Keeps the packets it is given and never completes them; it locks nothing itself. */
#include "kernel.h"

volatile u64 waiting;

status DispatchIo(device *at, irp *packet)
{
    links *queue = (links *)((u8 *)at->extension + 0x10);
    mark_pending(packet);
    packet->list.forward = queue;
    packet->list.backward = queue->backward;
    queue->backward->forward = &packet->list;
    queue->backward = &packet->list;
    waiting++;
    return STATUS_PENDING;
}

status Complete(device *at, irp *packet, void *context)
{
    (void)at;
    (void)context;
    if (packet->pending_returned)
        mark_pending(packet);
    return STATUS_SUCCESS;
}

void Cancel(device *at, irp *packet)
{
    /* Forgets the packet: what a leak is made of. */
    (void)at;
    (void)packet;
    waiting--;
}

void Worker(device *at, void *context)
{
    (void)context;
    if (at->current)
        IofCompleteRequest(at->current, 1);
}
