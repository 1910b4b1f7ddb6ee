/* Names of findings, and what they mean. */
#include "code/finding.h"

const char *lhi_finding_name(lhi_finding_kind kind)
{
    switch (kind) {
    case LHI_FINDING_LOCK_LOST:
        return "lock_lost";
    case LHI_FINDING_UNLOCK_TWICE:
        return "unlocked_twice";
    case LHI_FINDING_NEVER_LOCKED:
        return "never_locked";
    case LHI_FINDING_FREED_LOCKED:
        return "freed_locked";
    case LHI_FINDING_LENGTH_CHANGED:
        return "length_changed";
    }
    return "unknown";
}

const char *lhi_finding_meaning(lhi_finding_kind kind)
{
    switch (kind) {
    case LHI_FINDING_LOCK_LOST:
        return "a return is reached behind a lock, without an unlock, and nobody else was given the MDL";
    case LHI_FINDING_UNLOCK_TWICE:
        return "an unlock is reached behind another one of the same MDL";
    case LHI_FINDING_NEVER_LOCKED:
        return "an unlock is reached with an MDL that was made there and not locked";
    case LHI_FINDING_FREED_LOCKED:
        return "an MDL is freed behind a lock, without an unlock";
    case LHI_FINDING_LENGTH_CHANGED:
        return "the length of an MDL is changed behind a lock, and the MDL is unlocked by that length";
    }
    return "unknown";
}

const char *lhi_finding_begins(lhi_finding_kind kind)
{
    switch (kind) {
    case LHI_FINDING_LOCK_LOST:
    case LHI_FINDING_FREED_LOCKED:
        return "the MDL is locked";
    case LHI_FINDING_UNLOCK_TWICE:
        return "the MDL is unlocked";
    case LHI_FINDING_NEVER_LOCKED:
        return "the MDL is made";
    case LHI_FINDING_LENGTH_CHANGED:
        return "the MDL's length is changed, and the MDL is locked";
    }
    return "unknown";
}

const char *lhi_finding_ends(lhi_finding_kind kind)
{
    switch (kind) {
    case LHI_FINDING_LOCK_LOST:
        return "the function returns, and the MDL is still locked";
    case LHI_FINDING_UNLOCK_TWICE:
        return "the MDL is unlocked again";
    case LHI_FINDING_NEVER_LOCKED:
        return "the MDL is unlocked, and was not locked";
    case LHI_FINDING_FREED_LOCKED:
        return "the MDL is freed, and is still locked";
    case LHI_FINDING_LENGTH_CHANGED:
        return "the MDL is unlocked by another length than it was locked by";
    }
    return "unknown";
}
