/* What to do about an unlock of which nobody could be named. */
#include "case/unlock.h"

static const char missing[] = "Set the machine to write a complete or kernel memory dump, keep the tracking "
                              "of locked pages on, and wait "
                              "for the next crash.";

/* No driver stands on the stack that could be asked. */
static const char nobody[] =
    "The tracking of locked pages is on already: keep it. It stops the system at the next wrong unlock too; "
    "compare the stacks of several crashes.";

static const char by_hand[] =
    "Look for software that puts code into the kernel without the loader (protection of programs, malicious "
    "software): that code is in no list of modules. Scan the system from outside, and look at the bytes with "
    "the commands under \"reproduce\".";

static const char library[] =
    "Update the drivers and programs that use this library of Windows: it unlocks on their behalf, and the "
    "stack does not show for which. Keep the tracking of locked pages on, and compare with the next crash.";

static const char suspects[] =
    "The tracking of locked pages is on already, and Windows keeps no record of an unlock: send the vendor "
    "of "
    "each suspect its text. \"lockhound locks --module NAME\" shows where the code of each unlocks.";

/* ByteCount is at 0x28 (public PDB type _MDL); the MDL is the first argument of the routine that locks. */
static const char length[] =
    "Send the vendor of each suspect its text. To see who writes: on a test machine with a kernel debugger, "
    "stop in nt!MmProbeAndLockPages when the driver that locked calls it, and set \"ba w4 @rcx+0x28\": the "
    "next "
    "write into the MDL's ByteCount stops the system.";

static const char frames[] =
    "Send the vendor of each suspect its text. Keep the tracking of locked pages on: whether the next crash "
    "has "
    "the same driver in the lock tracker, or only the same one on the stack, tells them apart.";

const char *lhi_unlock_advice(const lhi_unlock *u, lh_verdict_kind kind)
{
    const lhi_unlocker *who = u->who;
    const bool known = who->frame != LHI_NONE && who->way != LHI_UNLOCK_UNKNOWN;
    if (kind == LH_VERDICT_INSUFFICIENT)
        return missing;
    if (who->frame != LHI_NONE && !who->stack.frames[who->frame].module && who->party == LHI_NONE)
        return by_hand;
    if (!known)
        return nobody;
    if (u->c->parameters[0] == 5)
        return length;
    if (u->c->parameters[0] != 1)
        return frames;
    return u->c->parties[who->party].library && who->way == LHI_UNLOCK_DIRECT ? library : suspects;
}
