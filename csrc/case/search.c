/* The search of a case from end to end: MDLs, packets and their keepers, and what each lock says by itself.
 */
#include "case/client.h"
#include "case/keepers.h"
#include "case/method.h"

lh_status lhi_case_search(lhi_case *c, lh_error *err)
{
    lh_status status = lhi_case_gather(c, err);
    if (status == LH_OK)
        status = lhi_case_queues(c, err);
    if (status == LH_OK)
        status = lhi_case_keepers(c, err);
    if (status == LH_OK)
        status = lhi_case_clients(c, err);
    c->searched = true;
    c->next_poll = 0; /* the end of the search is worth a word */
    if (status == LH_OK)
        status = lhi_case_cover(c, err);
    /* In memory that is all there, no list has stayed unseen where one showed itself. */
    if (status == LH_OK && c->freed.shown && !c->freed.damaged && !lhi_case_could_hide(c))
        c->freed.complete = true;
    if (status == LH_OK)
        status = lhi_case_liveness(c, err);
    if (status == LH_OK)
        status = lhi_case_index_pieces(c, err);
    if (status == LH_OK)
        status = lhi_case_judge(c, err);
    return status;
}
