/* The test fault `poison`: a frame that kills the worker that reads it. Only under --teach.
 *
 * A frame whose first bytes hold POISON_ABORT ends the worker with SIGABRT, one with POISON_HANG
 * makes it hang: what a bug in the packet path would do. forwarder.teach says whether anybody
 * looks; it is 0, and nothing here runs, in a router that was not started with --teach.
 */
#ifndef RC_POISON_H
#define RC_POISON_H
#include "port/ring.h"

#define POISON_ABORT "ribcage:poison:abort"
#define POISON_HANG "ribcage:poison:hang"

void poison_act(const struct ring_frame *frame);

#endif
