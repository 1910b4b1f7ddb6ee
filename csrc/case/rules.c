/* The table of rules and weights. */
#include "case/rules.h"

#include <stddef.h>

static const struct {
    const char *name, *needs;
} rules[LHI_RULE_COUNT_OF] = {
    [LHI_RULE_PACKET_PENDING] =
        {"packet: pending",
         "a valid packet of the I/O manager that names the MDL and is pending in a driver"},
    [LHI_RULE_PACKET_SPLIT] = {"packet: split", "the pieces of the request, and where each of them is"},
    [LHI_RULE_PACKET_MADE] = {"packet: made", "a driver's own packet that names the MDL, and its maker"},
    [LHI_RULE_MEMORY] = {"memory", "every pointer to the MDL, from the owners of memory on"},
    [LHI_RULE_FREED] = {"freed while locked", "the lists of freed MDLs, or the state of the pool block"},
    [LHI_RULE_TRACKER_DRIVER] =
        {"tracker: driver",
         "the lock tracker of the MDL, the driver's imports, and every pointer to the MDL"},
    [LHI_RULE_TRACKER_PASSED_ON] = {"tracker: passed on",
                                    "the lock tracker of the MDL, and the packet that the locker was sent"},
    [LHI_RULE_TRACKER_BORROWED] =
        {"tracker: borrowed",
         "the lock tracker of the MDL, the maker of the packet, and every pointer to the MDL"},
    [LHI_RULE_TRACKER_MANAGER] = {"tracker: I/O manager",
                                  "the lock tracker of the MDL, its device, and the packet"},
    [LHI_RULE_TRACKER_LIBRARY] = {"tracker: library", "the lock tracker of the MDL, and the packet"},
    [LHI_RULE_TRACKER_KERNEL] = {"tracker: kernel", "the lock tracker of the MDL with its whole trace"},
    [LHI_RULE_TRACKER_NO_MODULE] = {"tracker: no module",
                                    "the lock tracker of the MDL, and the whole list of modules"},
    [LHI_RULE_UNLOCK_DIRECT] =
        {"unlock: direct",
         "the crashing thread's stack, the code in front of the call, the MDL, and every pointer to it"},
    [LHI_RULE_UNLOCK_COMPLETION] = {"unlock: completion",
                                    "the crashing thread's stack, and the packet that was completed"},
    [LHI_RULE_UNLOCK_ROUTINE] = {"unlock: other routine", "the crashing thread's stack"},
    [LHI_RULE_UNLOCK_CHANGED] = {"unlock: changed", "the parameters of the bug check"},
    [LHI_RULE_UNLOCK_LENGTH] = {"unlock: length",
                                "the lock tracker of the MDL, the crashing thread's stack, every pointer to "
                                "the MDL, and the driver's imports"},
    [LHI_RULE_UNLOCK_NOBODY] = {"unlock: no caller",
                                "the crashing thread's whole stack, unwind data and code"},
    [LHI_RULE_EXIT] = {"exit of the process", "ExitTime and Flags of the process object"},
    [LHI_RULE_WITNESS] = {"code as witness", "a library that is built with Zydis, which decodes code"},
    [LHI_RULE_FRAMEWORK] = {"clients of frameworks",
                            "a version that reads the objects of KMDF, fltmgr, ndis and their kind"},
    [LHI_RULE_PIECES] = {"pieces without a mark",
                         "a version that follows what drivers keep of the pieces they made"},
    [LHI_RULE_LOCKS] = {"locks by MDL", "a process address in parameter 2"},
    [LHI_RULE_LOCK_TRACKER] = {"lock tracker", "the page of the tracker or of the MDL"},
    [LHI_RULE_VIOLATION] = {"this kind of violation",
                            "facts about this first parameter of the bug check: none are known"},
    [LHI_RULE_TRACKER] = {"tracker", NULL},
    [LHI_RULE_PACKET] = {"packet", NULL},
    [LHI_RULE_CALLERS] = {"callers", NULL},
    [LHI_RULE_TRACKERS] = {"trackers", NULL},
    [LHI_RULE_FRAMES] = {"frames", NULL},
    [LHI_RULE_LIVENESS] = {"liveness", NULL},
    [LHI_RULE_COPY] = {"copy", NULL},
    [LHI_RULE_UNLOADED] = {"unloaded", NULL},
    [LHI_RULE_IMPORTS] = {"imports", NULL},
    [LHI_RULE_NAME] = {"name", NULL},
    [LHI_RULE_LIBRARY] = {"library", NULL},
    [LHI_RULE_SHARED] = {"shared", NULL},
    [LHI_RULE_LONE] = {"lone", NULL},
    [LHI_RULE_BESIDE] = {"beside", NULL},
    [LHI_RULE_LIST] = {"list", NULL},
    [LHI_RULE_ORIGIN] = {"origin", NULL},
    [LHI_RULE_ORPHAN] = {"orphan", NULL},
    [LHI_RULE_FILE] = {"file", NULL},
    [LHI_RULE_THREAD] = {"thread", NULL},
    [LHI_RULE_DEVICE] = {"device", NULL},
    [LHI_RULE_SPLIT] = {"split", NULL},
    [LHI_RULE_MAKER] = {"maker", NULL},
    [LHI_RULE_CLIENT] = {"client", NULL},
    [LHI_RULE_KEEPER] = {"keeper", NULL},
    [LHI_RULE_CANCEL_ROUTINE] = {"cancel_routine", NULL},
    [LHI_RULE_RETURNED] = {"returned", NULL},
    [LHI_RULE_LEDGER] = {"ledger", NULL},
    [LHI_RULE_COUNT] = {"count", NULL},
    [LHI_RULE_HOLDERS] = {"holders", NULL},
    [LHI_RULE_LIVING] = {"living", NULL},
    [LHI_RULE_COVERAGE] = {"coverage", NULL},
    [LHI_RULE_LAYOUT] = {"layout", NULL},
    [LHI_RULE_HOLDER] = {"holder", NULL},
    [LHI_RULE_STACK] = {"stack", NULL},
    [LHI_RULE_UNLOCK_SITE] = {"unlock_site", NULL},
    [LHI_RULE_STATE] = {"state", NULL},
    [LHI_RULE_CHANGED] = {"changed", NULL},
    [LHI_RULE_CODE] = {"code", NULL},
};

static const struct {
    lhi_rule rule;
    double value;
    const char *statement;
} weights[LHI_WEIGHT_COUNT_OF] = {
    [LHI_WEIGHT_TRACKER] = {LHI_RULE_TRACKER, 1.0, NULL},
    [LHI_WEIGHT_PACKET_AGREES] = {LHI_RULE_PACKET, 1.0, "a packet of the same driver names the MDL"},
    [LHI_WEIGHT_TRACKER_AGREES] = {LHI_RULE_TRACKER, 1.0, "the lock tracker agrees with the packet"},
    [LHI_WEIGHT_CALLERS] = {LHI_RULE_CALLERS, 0.95,
                            "the bug check tells two callers of the routine that locked, and no more"},
    [LHI_WEIGHT_TRACKERS] = {LHI_RULE_TRACKERS, 0.9, "other lock trackers of the process are damaged"},
    [LHI_WEIGHT_TRACKERS_NONE] = {LHI_RULE_TRACKERS, 0.95,
                                  "parameter 4 of the bug check leads to no lock trackers"},
    [LHI_WEIGHT_FRAMES] = {LHI_RULE_FRAMES, 1.0, "reference counts agree that the pages are locked"},
    [LHI_WEIGHT_FRAMES_UNKNOWN] = {LHI_RULE_FRAMES, 0.97,
                                   "reference counts of its frames are not in this dump"},
    [LHI_WEIGHT_LIVENESS] = {LHI_RULE_LIVENESS, 0.9, "whether the MDL was freed can't be told"},
    [LHI_WEIGHT_COPY] =
        {LHI_RULE_COPY, 0.9,
         "another structure describes the same pages, and reference counts do not tell a copy from a lock"},
    [LHI_WEIGHT_UNLOADED] = {LHI_RULE_UNLOADED, 0.85,
                             "the driver has been unloaded; its name is from the kernel's record"},
    [LHI_WEIGHT_IMPORTS] = {LHI_RULE_IMPORTS, 0.85,
                            "its image has no table of imports, so that nothing tells whether it can lock"},
    [LHI_WEIGHT_NAME] = {LHI_RULE_NAME, 0.7, "only the driver object's name is left"},
    [LHI_WEIGHT_LIBRARY] = {LHI_RULE_LIBRARY, 0.5,
                            "a library of Windows that works for other drivers: its client may be the one"},
    [LHI_WEIGHT_SHARED] = {LHI_RULE_SHARED, 0.85, "another driver has the MDL as well"},
    [LHI_WEIGHT_LONE] = {LHI_RULE_LONE, 0.9,
                         "one pointer leads to the MDL, and nothing beside it knows of this lock"},
    [LHI_WEIGHT_BESIDE] = {LHI_RULE_BESIDE, 0.9, "a pool block that leads to no driver has the MDL as well"},
    [LHI_WEIGHT_PACKET] = {LHI_RULE_PACKET, 1.0, "a valid packet that names the MDL"},
    [LHI_WEIGHT_LIST_BROKEN] = {LHI_RULE_LIST, 0.9, "its neighbours in the thread's list contradict it"},
    [LHI_WEIGHT_LIST_UNKNOWN] = {LHI_RULE_LIST, 0.95,
                                 "its neighbours in the thread's list are not in this dump"},
    [LHI_WEIGHT_ORIGIN] = {LHI_RULE_ORIGIN, 0.85,
                           "one of the usual marks of the I/O manager's packets is missing"},
    [LHI_WEIGHT_ORPHAN] = {LHI_RULE_ORPHAN, 0.97,
                           "the I/O manager cut it off from its thread after a cancel without effect"},
    [LHI_WEIGHT_FILE_ABSENT] = {LHI_RULE_FILE, 0.97, "its file object is not in this dump"},
    [LHI_WEIGHT_FILE_NONE] = {LHI_RULE_FILE, 0.7, "what OriginalFileObject points to is no file object"},
    [LHI_WEIGHT_THREAD] = {LHI_RULE_THREAD, 1.0, "its thread names the process"},
    [LHI_WEIGHT_DEVICE] = {LHI_RULE_DEVICE, 0.85, "its device is not found in the driver's list of devices"},
    [LHI_WEIGHT_SPLIT] = {LHI_RULE_SPLIT, 0.92, "the request was split: judged at the piece that is pending"},
    [LHI_WEIGHT_MAKER] = {LHI_RULE_MAKER, 0.92, "judged by who made the packet"},
    [LHI_WEIGHT_CLIENT] =
        {LHI_RULE_CLIENT, 0.7,
         "a library of Windows made the packet; the driver named is the one that it works for"},
    [LHI_WEIGHT_KEEPER] = {LHI_RULE_KEEPER, 0.8, "the maker is told by who keeps the pointer to the packet"},
    [LHI_WEIGHT_CANCEL_ROUTINE] = {LHI_RULE_CANCEL_ROUTINE, 1.0, "its cancel routine lies in that driver"},
    [LHI_WEIGHT_RETURNED] = {LHI_RULE_RETURNED, 0.85, "the packet is back with its maker"},
    [LHI_WEIGHT_LEDGER_EXACT] = {LHI_RULE_LEDGER, 1.0, "the MDLs explain exactly the pages that are charged"},
    [LHI_WEIGHT_COUNT] = {LHI_RULE_COUNT, 0.8, NULL},
    [LHI_WEIGHT_LEDGER_SHORT] = {LHI_RULE_LEDGER, 0.85, "the MDLs explain fewer pages than are charged"},
    [LHI_WEIGHT_LEDGER_OVER] = {LHI_RULE_LEDGER, 0.8, "the MDLs explain more pages than are charged"},
    [LHI_WEIGHT_HOLDERS] = {LHI_RULE_HOLDERS, 0.85, "other MDLs of the process have no driver that is named"},
    [LHI_WEIGHT_LIVING] = {LHI_RULE_LIVING, 0.7, "the process has not exited by its own record"},
    [LHI_WEIGHT_COVERAGE] = {LHI_RULE_COVERAGE, 0.95, "some kernel memory is not in this dump"},
    [LHI_WEIGHT_LAYOUT_STABLE] =
        {LHI_RULE_LAYOUT, 0.9, "the build is unknown: only structures that no known build changed are used"},
    [LHI_WEIGHT_LAYOUT_INFERRED] = {LHI_RULE_LAYOUT, 0.9,
                                    "the build is unknown: offsets were inferred from the dump itself"},
    [LHI_WEIGHT_LAYOUT_PUBLISHED] =
        {LHI_RULE_LAYOUT, 0.95, "no symbols of this build are at hand: offsets are from published tables"},
    [LHI_WEIGHT_LAYOUT_CONTRADICTED] =
        {LHI_RULE_LAYOUT, 0.9,
         "the layout of this build did not fit the dump: fields of processes were inferred anew"},
    [LHI_WEIGHT_HOLDER] = {LHI_RULE_HOLDER, 0.9, "told by whose memory leads to the MDL, without a packet"},
    [LHI_WEIGHT_STACK] = {LHI_RULE_STACK, 1.0,
                          "the crashing thread was unwound from the bug check to the driver"},
    [LHI_WEIGHT_UNLOCK_SITE] = {LHI_RULE_UNLOCK_SITE, 1.0, "the call in its code goes to nt!MmUnlockPages"},
    [LHI_WEIGHT_UNLOCK_SITE_ALONE] = {LHI_RULE_UNLOCK_SITE, 0.9,
                                      "that it called nt!MmUnlockPages is told by the stack alone"},
    [LHI_WEIGHT_STATE_NEVER] = {LHI_RULE_STATE, 1.0, "such an MDL must never be unlocked"},
    [LHI_WEIGHT_STATE_OPEN] = {LHI_RULE_STATE, 0.9,
                               "whether the MDL was unlocked before or never locked can't be told"},
    [LHI_WEIGHT_CHANGED] = {LHI_RULE_CHANGED, 0.85,
                            "who changed the MDL is told by who had it: nobody saw it done"},
    [LHI_WEIGHT_CLIENT_UNLOCKED] =
        {LHI_RULE_CLIENT, 0.7, "a library of Windows unlocked; the driver named is the one that called it"},
    [LHI_WEIGHT_CLIENT_HOLDS] = {LHI_RULE_CLIENT, 0.7,
                                 "a library of Windows may have locked for the driver that is named"},
    [LHI_WEIGHT_CODE] = {LHI_RULE_CODE, 0.8, "its code is all in the dump, and no call in it locks pages"},
};

const char *lhi_rule_name(lhi_rule rule)
{
    return rules[rule].name;
}

const char *lhi_rule_needs(lhi_rule rule)
{
    return rules[rule].needs;
}

lhi_rule lhi_weight_rule(lhi_weight weight)
{
    return weights[weight].rule;
}

double lhi_weight_value(lhi_weight weight)
{
    return weights[weight].value;
}

const char *lhi_weight_statement(lhi_weight weight)
{
    return weights[weight].statement;
}
