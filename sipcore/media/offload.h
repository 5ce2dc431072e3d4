/* What the relay thread and its program in the kernel (offload.bpf.c) share: one record for each pair of ports, in
 * memory that both have mapped. */
#ifndef SIPEDGE_OFFLOAD_H
#define SIPEDGE_OFFLOAD_H

#include <stdint.h>
#include "reception.h"

#define OFFLOAD_LOOPBACK 1          /* index of the loopback interface */
#define OFFLOAD_STALE_NS 3000000000ull  /* so long after its last beat the thread is taken for dead */
#define OFFLOAD_ANY 255
#define OFFLOAD_LONGEST 1280        /* bytes of UDP payload: longer packets may not fit into the way out */

/* The RTP that comes to one even port, while the kernel passes it on. Addresses, ports and `ssrc` are in network order;
 * an IPv4 address has the first word. Written by the thread while it is not active, but for what is counted. */
struct OffloadFlow {
    uint64_t active;
    uint32_t interface;             /* that it leaves by; OFFLOAD_LOOPBACK: source and destination are this machine */
    uint32_t source[4];             /* it comes from here: all else is the thread's */
    uint32_t local[4];              /* it leaves from here */
    uint32_t target[4];             /* and goes there */
    uint16_t source_port, local_port, target_port;
    uint8_t ttl, tos;               /* of what leaves */
    uint32_t ssrc;                  /* as it comes */
    uint32_t ssrc_out;
    uint32_t timestamp_add;
    uint16_t sequence_add;
    uint8_t event_payload;          /* the thread's: telephone events */
    uint8_t payload;                /* the only payload type that passes, OFFLOAD_ANY: all do */
    uint32_t clock;
    /* counted */
    uint32_t timestamp;             /* of the highest number that left */
    uint16_t sequence;              /* that number */
    uint16_t payload_out;           /* what it leaves as, where there is one */
    uint64_t timestamp_ns;          /* when the first packet with that timestamp left */
    uint64_t heard_ns;              /* CLOCK_MONOTONIC of the last packet */
    uint64_t packets;
    uint64_t octets;                /* of RTP with its header */
    struct Reception reception;
};

struct OffloadPool {                /* the ports of one media address */
    uint32_t first;                 /* the lowest even one */
    uint32_t pairs;
    uint32_t index;                 /* of its first record */
};

#endif
