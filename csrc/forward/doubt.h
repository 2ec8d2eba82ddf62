/* Frames that may have killed a worker: served alone, and set aside when they do it again.
 *
 *   life 1: batch of 64 opens at slot 100 ... killed       the note says: port, slot 100, 64 frames
 *   life 2: 100, 101, ... 109 alone; 110 alone ... killed  the note says: slot 110, alone
 *   life 3: 110 is copied into aside[], counted as DROP_SET_ASIDE and given back; 111 ... alone
 *
 * So a frame that kills costs two workers and nothing but itself. A worker that is killed from
 * outside in the middle of a batch looks the same once: its successor serves up to a batch one by
 * one. Twice, it takes a second kill within the microseconds of one frame.
 *
 * Use: doubt_resume() after ring_resume(), doubt_budget(), doubt_open() before the frames are taken,
 * doubt_close() after the commit.
 */
#ifndef RC_DOUBT_H
#define RC_DOUBT_H
#include "forward/forward.h"

/* Reads the note of the worker before for this port, whose ring begins at the committed slot;
 * sets the frame there aside when it is the second death. */
void doubt_resume(struct forwarder *f, uint32_t port);
/* `budget`, or 1 while frames of this port are in doubt. */
uint32_t doubt_budget(const struct forwarder *f, uint32_t port, uint32_t budget);
void doubt_open(struct forwarder *f, uint32_t port, uint32_t budget);
/* The ring is empty: the frames in doubt were in it, so there are none any more. */
void doubt_empty(struct forwarder *f, uint32_t port);
void doubt_close(struct forwarder *f, uint32_t port, uint32_t taken);

#endif
