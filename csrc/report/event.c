/* Sends events and never waits. See event.h. */
#include "report/event.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/socket.h>

struct message { /* what msgsnd wants: the type, then the text */
    long mtype;
    struct event_record record;
};

void event_open(struct event_sender *sender, struct stats_life *life, int queue, int bell,
                uint32_t worker)
{
    memset(sender, 0, sizeof *sender);
    sender->life = life;
    sender->queue = queue;
    sender->bell = bell;
    sender->worker = worker;
    /* A successor goes on where the dead one stopped, so that a restart is no gap. */
    sender->sequence = load_relaxed64(&life->events_sent) + load_relaxed64(&life->events_lost);
}

static bool room_for(const struct event_sender *sender, uint32_t urgency)
{
    if (urgency == URGENCY_FAULT)
        return true;
    struct msqid_ds state;
    if (msgctl(sender->queue, IPC_STAT, &state) != 0)
        return true; /* a write-only queue tells nothing; msgsnd decides */
    return (state.__msg_cbytes + EVENT_SIZE) * 4 <= state.msg_qbytes * 3;
}

static int queue_event(struct event_sender *sender, uint32_t type, uint32_t urgency,
                       const struct event_payload *payload, uint64_t now_ns)
{
    if (sender->queue < 0)
        return -EBADF;
    if (!room_for(sender, urgency))
        return -EAGAIN;
    struct message message = {.mtype = (long)urgency,
                              .record = {.version = EVENT_VERSION,
                                         .type = (uint16_t)type,
                                         .worker = sender->worker,
                                         .sequence = sender->sequence + 1,
                                         .mono_ns = now_ns,
                                         .payload = *payload}};
    if (msgsnd(sender->queue, &message, EVENT_SIZE, IPC_NOWAIT) != 0)
        return -errno;
    sender->sequence++;
    sender->queued++;
    store_relaxed64(&sender->life->events_sent, load_relaxed64(&sender->life->events_sent) + 1);
    return 0;
}

int event_send(struct event_sender *sender, uint32_t type, uint32_t urgency,
               const struct event_payload *payload, uint64_t now_ns)
{
    int error = queue_event(sender, type, urgency, payload, now_ns);
    if (error != 0) {
        sender->sequence++;
        sender->unannounced++;
        store_relaxed64(&sender->life->events_lost,
                        load_relaxed64(&sender->life->events_lost) + 1);
    }
    return error;
}

void event_flush(struct event_sender *sender, uint64_t now_ns)
{
    if (sender->unannounced != 0) {
        struct event_payload payload = {.count = sender->unannounced};
        if (queue_event(sender, EVENT_LOST, URGENCY_INFO, &payload, now_ns) == 0)
            sender->unannounced = 0;
    }
    if (sender->queued != 0 && sender->bell >= 0)
        (void)bell_ring(sender->bell);
    sender->queued = 0;
}

void event_wake(struct event_sender *sender)
{
    sender->queued++;
}

int bell_ring(int bell)
{
    const uint8_t one = 1;
    return send(bell, &one, sizeof one, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

void bell_hear(int bell)
{
    uint8_t heard;
    /* No room for descriptors is offered: the kernel closes those that come. */
    for (int i = 0; i < BELL_HEARD && recv(bell, &heard, sizeof heard, MSG_DONTWAIT) >= 0; i++)
        ;
}

int event_receive(int queue, struct event_arrival *out, uint32_t most)
{
    struct {
        long mtype;
        uint8_t text[EVENT_SIZE + 8]; /* a longer one shows as such */
    } message;
    uint32_t n = 0;
    while (n < most) {
        ssize_t length = msgrcv(queue, &message, sizeof message.text, -LONG_MAX,
                                IPC_NOWAIT | MSG_NOERROR);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return n == 0 && errno != ENOMSG ? -errno : (int)n;
        out[n] = (struct event_arrival){.urgency = message.mtype, .length = (uint64_t)length};
        if (length == EVENT_SIZE)
            memcpy(&out[n].record, message.text, EVENT_SIZE);
        n++;
    }
    return (int)n;
}
