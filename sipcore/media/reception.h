/* What a receiver can say about one RTP stream (RFC 3550 6.4.1, A.1, A.3, A.8), packet by packet, in 96 bytes.
 *
 * C, because the relay thread and its program in the kernel (offload.bpf.c) count alike: nothing here loops, calls, or
 * divides what has a sign.
 *
 * RFC 3550 A.1 with these choices: the first packet counts at once (a relay has told its source before, so there is no
 * probation), late packets are told from second copies within 64 numbers, and a jump is believed when the next number
 * follows. What was expected and received before a restart stays in the totals.
 */
#ifndef SIPEDGE_RECEPTION_H
#define SIPEDGE_RECEPTION_H

#include <stdint.h>

#define RECEPTION_DROPOUT 3000      /* numbers that may be missing at once before it is a jump (RFC 3550 A.1) */
#define RECEPTION_WINDOW 64         /* numbers below the highest within which a late packet is told from a copy */
#define RECEPTION_NO_STRAY 0x10000u
#define RECEPTION_LONGEST_US 1000000u   /* a difference above this is a timestamp that jumped, not jitter */

struct Reception {                  /* zeroed: nothing received yet */
    uint64_t packets;               /* that came, whatever became of them */
    uint64_t unique;                /* of those, the ones that count as received: no second copies, no strays */
    uint64_t expected_before;       /* packets expected of the streams that ended: another SSRC, a restart */
    uint64_t seen;                  /* bit i: number `highest` - i came */
    uint64_t last_ns;               /* arrival of the packet that jitter is taken from next, 0: none */
    uint32_t last_timestamp;        /* and its timestamp */
    uint32_t ssrc;
    uint32_t base;                  /* first number of the stream, extended as `highest` */
    uint32_t highest;               /* highest number; above 16 bits the times that it went round, from 1 */
    uint32_t stray;                 /* the number that, coming next, shows a restart; above 65535: none */
    uint32_t jitter_us16;           /* RFC 3550 A.8, in sixteenths of microseconds */
    uint32_t jitter_us_max;
    uint32_t out_of_order;          /* late, and not too late to be told */
    uint32_t duplicates;
    uint32_t bursts;                /* runs of missing numbers */
    uint32_t strays;                /* packets far from the others */
    uint32_t restarts;              /* another SSRC, or other numbers */
};

struct RtpNumbers {                 /* of one packet */
    uint32_t ssrc;
    uint32_t timestamp;
    uint16_t sequence;
};

/* Numbers first (highest or the one before it) to highest are the first ones of a stream. */
static inline __attribute__((always_inline)) void reception_begin(struct Reception *r, uint32_t ssrc, uint16_t first,
                                                                  uint16_t highest)
{
    uint32_t before = (uint16_t)(highest - first);
    /* From 1, so that a packet late by one at the start has a number to count down to. */
    r->highest = 0x10000 | highest;
    r->base = r->highest - before;
    r->seen = before ? 3 : 1;
    r->unique += 1 + before;
    r->ssrc = ssrc;
    r->stray = RECEPTION_NO_STRAY;
    r->last_ns = 0;
}

/* RFC 3550 A.8: J += (|D| - J) / 16. Left out: packets with the timestamp of the one before (the updates of one
 * telephone event, RFC 4733 2.5.1.2, come later and later by their own rule). */
static inline __attribute__((always_inline)) void reception_jitter(struct Reception *r, uint32_t timestamp,
                                                                   uint64_t arrival_ns, uint32_t clock)
{
    uint32_t units = timestamp - r->last_timestamp;
    int back = units >> 31;
    uint64_t passed, spoken, size;
    if (r->last_ns && units == 0)
        return;
    if (r->last_ns && clock) {
        passed = (arrival_ns - r->last_ns) / 1000;
        spoken = (uint64_t)(back ? 0 - units : units) * 1000000 / clock;
        size = back ? passed + spoken : passed > spoken ? passed - spoken : spoken - passed;
        if (size <= RECEPTION_LONGEST_US) {
            r->jitter_us16 += (uint32_t)size - ((r->jitter_us16 + 8) >> 4);
            if (r->jitter_us16 >> 4 > r->jitter_us_max)
                r->jitter_us_max = r->jitter_us16 >> 4;
        }
    }
    r->last_timestamp = timestamp;
    r->last_ns = arrival_ns;
}

/* Take one packet into account. arrival_ns: of a clock that never goes back; clock: Hz, 0 where not known (then the
 * packet says nothing about jitter). */
static inline __attribute__((always_inline)) void reception_packet(struct Reception *r, const struct RtpNumbers *packet,
                                                                   uint64_t arrival_ns, uint32_t clock)
{
    const uint32_t ssrc = packet->ssrc;
    const uint16_t sequence = packet->sequence;
    uint32_t ahead = (uint16_t)(sequence - (uint16_t)r->highest);
    uint32_t behind = 0x10000 - ahead;
    r->packets++;
    if (r->packets == 1) {
        reception_begin(r, ssrc, sequence, sequence);
    } else if (ssrc != r->ssrc) {
        r->expected_before += r->highest - r->base + 1;
        r->restarts++;
        reception_begin(r, ssrc, sequence, sequence);
    } else if (ahead == 0) {
        r->duplicates++;
        return;
    } else if (ahead < RECEPTION_DROPOUT) {
        r->highest += ahead;
        r->seen = ahead < 64 ? r->seen << ahead | 1 : 1;
        r->unique++;
        if (ahead > 1)
            r->bursts++;
    } else if (behind < RECEPTION_WINDOW) {
        if (r->seen >> behind & 1) {
            r->duplicates++;
            return;
        }
        r->seen |= (uint64_t)1 << behind;
        r->unique++;
        r->out_of_order++;
        if (r->highest - behind < r->base)
            r->base = r->highest - behind;
    } else if (sequence == r->stray) {
        r->expected_before += r->highest - r->base + 1;
        r->restarts++;
        r->strays--;
        reception_begin(r, ssrc, (uint16_t)(sequence - 1), sequence);
    } else {
        r->strays++;
        r->stray = (uint16_t)(sequence + 1);
        return;
    }
    reception_jitter(r, packet->timestamp, arrival_ns, clock);
}

#endif
