/* A small machine of build 19041 by hand: debugger block, two processors, a thread and a process on each. */
#ifndef MADE_MACHINE_H
#define MADE_MACHINE_H

#include "made_kernel.h"
#include "nt/kernel.h"

/* Offsets of 10.0.19041 from the public PDB (facts B.7, B.9), by hand: not out of the tables under test. */
enum {
    EP_DTB = 0x28,
    EP_PID = 0x440,
    EP_FLAGS = 0x464,
    EP_LOCKED = 0x500,
    EP_NAME = 0x5a8,
    EP_EXIT = 0x840,
    KT_STACK_LIMIT = 0x30,
    KT_STACK_BASE = 0x38,
    KT_APC_PROCESS = 0xb8,
    KT_PROCESS = 0x220,
    ET_CID = 0x478,
    ET_IRPS = 0x4b0,
    PCR_PRCB = 0x20,
    PCR_SIZE = 0x180,
    PRCB_THREAD = 0x8,
    PRCB_STATE_RSP = 0x100 + 0xf0 + 0x98,
    PRCB_LISTS = 0x800,
    PRCB_CONTEXT = 0x85c0
};

#define KDBG       0xfffff80000020000ull
#define BLOCK      (KDBG + 0x400) /* KiProcessorBlock */
#define PFN_GLOBAL (KDBG + 0x500)
#define LIST_HEAD  (KDBG + 0x600) /* an empty module list */
#define PCR(i)     (0xffffc00000000000ull + (i)*0x20000ull)
#define PRCB(i)    (PCR(i) + PCR_SIZE)
#define THREAD(i)  (0xffffd00000000000ull + (i)*0x10000ull)
#define PROCESS(i) (0xffffe00000000000ull + (i)*0x10000ull)
#define STACK(i)   (0xfffff90000000000ull + (i)*0x10000ull) /* its limit; two pages */
#define CONTEXT(i) (KDBG + 0x800 + (i)*0x200ull)

static inline void machine_process(world *w, uint64_t at, const char *name, uint64_t pid)
{
    world_map(w, at);
    world_map(w, at + 0xfff);
    world_set(w, at, 3, 1);
    world_u64(w, at + EP_DTB, (WORLD_FIRST + 7) << 12);
    world_u64(w, at + EP_PID, pid);
    world_set(w, at + EP_FLAGS, 0x144d000c, 4);
    world_u64(w, at + EP_LOCKED, 37);
    world_write(w, at + EP_NAME, name, strlen(name) + 1);
    world_u64(w, at + EP_EXIT, 0x01d7000000000000ull);
}

static inline void machine_processor(world *w, unsigned i)
{
    for (uint64_t at = 0; at < 0x9000; at += 0x1000)
        world_map(w, PCR(i) + at);
    world_u64(w, PCR(i) + PCR_PRCB, PRCB(i));
    world_u64(w, BLOCK + 8 * i, PRCB(i));
    world_u64(w, PRCB(i) + PRCB_THREAD, THREAD(i));
    world_u64(w, PRCB(i) + PRCB_CONTEXT, CONTEXT(i));
    world_u64(w, CONTEXT(i) + 0x98, STACK(i) + 0x1200);
    world_map(w, THREAD(i));
    world_set(w, THREAD(i), 6, 1);
    world_u64(w, THREAD(i) + KT_STACK_LIMIT, STACK(i));
    world_u64(w, THREAD(i) + KT_STACK_BASE, STACK(i) + 0x2000);
    world_u64(w, THREAD(i) + KT_PROCESS, PROCESS(0));
    world_u64(w, THREAD(i) + KT_APC_PROCESS, PROCESS(i));
    world_u64(w, THREAD(i) + ET_CID, 100 + 4 * i);
    world_u64(w, THREAD(i) + ET_CID + 8, 104 + 4 * i);
}

static inline world machine_make(void)
{
    world w = world_make();
    world_map(&w, KDBG);
    world_write(&w, KDBG + 0x10, "KDBG", 4);
    world_set(&w, KDBG + 0x14, 0x380, 4);
    world_u64(&w, KDBG + 0x48, LIST_HEAD);
    world_u64(&w, KDBG + 0xc0, PFN_GLOBAL);
    world_u64(&w, KDBG + 0x218, BLOCK);
    world_u64(&w, LIST_HEAD, LIST_HEAD);
    world_u64(&w, LIST_HEAD + 8, LIST_HEAD);
    machine_processor(&w, 0);
    machine_processor(&w, 1);
    machine_process(&w, PROCESS(0), "System", 4);
    machine_process(&w, PROCESS(1), "capture.exe", 4264);
    world_put(w.data + 0x20, LIST_HEAD, 8);
    world_put(w.data + 0x80, KDBG, 8);
    world_put(w.data + 0x34, 2, 4);
    world_put(w.data + 0x348 + 0x98, STACK(1) + 0x1200, 8); /* the header's Rsp: processor 1 crashed */
    return w;
}

/* Takes the dump. */
static inline lh_kernel *machine_kernel(lh_dump *dump)
{
    lh_kernel *kernel = NULL;
    lh_error err = {0};
    if (!CHECK_EQ(lh_kernel_open(dump, &kernel, &err), LH_OK)) {
        fprintf(stderr, "    %s\n", err.message);
        abort();
    }
    lh_dump_release(dump);
    return kernel;
}

#endif
