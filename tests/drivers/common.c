/* The routines that all drivers here share: entry, opening and closing, attaching, unloading. */
#include "kernel.h"

/* A table in writable data, so that the image has something to relocate. */
dispatch *handlers[MAJOR_COUNT] = {
    [MAJOR_CREATE] = Dispatch, [MAJOR_CLOSE] = Dispatch,   [MAJOR_CLEANUP] = Dispatch,
    [MAJOR_READ] = DispatchIo, [MAJOR_WRITE] = DispatchIo, [MAJOR_DEVICE_CONTROL] = DispatchIo,
};

status DriverEntry(driver *self, text *path)
{
    (void)path;
    for (int major = 0; major < MAJOR_COUNT; major++)
        self->major[major] = handlers[major];
    self->unload = Unload;
    self->extension->add_device = AddDevice;
    return STATUS_SUCCESS;
}

status Dispatch(device *at, irp *packet)
{
    (void)at;
    packet->io_status = STATUS_SUCCESS;
    packet->information = 0;
    IofCompleteRequest(packet, 0);
    return STATUS_SUCCESS;
}

void Unload(driver *self)
{
    device *at = self->device;
    while (at) {
        device *following = at->next;
        IoDeleteDevice(at);
        at = following;
    }
}

status AddDevice(driver *self, device *below)
{
    device *made = 0;
    status result = IoCreateDevice(self, 0x100, 0, 0x22, 0, 0, &made);
    if (result < 0)
        return result;
    device **slot = made->extension;
    slot[0] = IoAttachDeviceToDeviceStack(made, below);
    made->flags |= DO_DIRECT_IO;
    return STATUS_SUCCESS;
}
