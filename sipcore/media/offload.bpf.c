/* The relay's program in the kernel: passes on the RTP of streams that have settled, where they come in.
 *
 * What is agreed, learned, captured, played, encrypted or odd is the thread's (offloading.pyx): it says which packets
 * may pass, from whom, to whom, with which numbers, and takes that back by one store. Every other packet goes its way
 * up the stack to the thread's socket. A thread that gives no sign for three seconds is dead: nothing passes any more.
 *
 * It is loaded as bare instructions, without sections or relocations, so that nobody has to read an object file. Its
 * maps are named by the constants MAP_*, which offload_program.py replaces by their descriptors. The kernel's verifier
 * proves that it ends, and that it reads and writes nothing but the packet, its stack and these maps.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include "offload.h"

#define NEXT -1                     /* TC_ACT_UNSPEC: up the stack, as if there were no program */
#define DROP 2                      /* TC_ACT_SHOT */
#define CSUM_PSEUDO 0x10            /* BPF_F_PSEUDO_HDR: what changes is in UDP's pseudo header */
#define CSUM_MAY_BE_NONE 0x20       /* BPF_F_MARK_MANGLED_0: a checksum of 0 is none, and stays so */
#define RTP_BYTES 12
#define MAP_POOLS 0x53495031
#define MAP_FLOWS 0x53495032
#define MAP_BEAT 0x53495033

#define inline inline __attribute__((always_inline))
#define HELPER(number) __attribute__((kernel_helper(number)))
#define MAP(name, constant) asm volatile("lddw %0, %1" : "=r"(name) : "i"(constant))
#define NET16(constant) ((constant) >> 8 | ((constant) & 0xFF) << 8)
#define CHECKSUM_AT(headers) (ETH_HLEN + __builtin_offsetof(headers, udp.check))

void *map_lookup(void *map, const void *key) HELPER(1);
uint64_t now_ns(void) HELPER(5);
int l4_csum_replace(struct __sk_buff *skb, uint32_t at, uint64_t from, uint64_t to, uint64_t flags) HELPER(11);
int64_t csum_diff(uint32_t *from, uint32_t from_n, uint32_t *to, uint32_t to_n, uint32_t seed) HELPER(28);
int pull_data(struct __sk_buff *skb, uint32_t n) HELPER(39);
int redirect_neigh(uint32_t interface, void *next_hop, int n, uint64_t flags) HELPER(152);

/* What is looked at of a packet, behind the Ethernet header. */
struct headers4 {
    struct iphdr ip;
    struct udphdr udp;
    uint32_t rtp[3];                /* version and such, payload type, number; timestamp; SSRC */
};

struct headers6 {
    struct ipv6hdr ip;
    struct udphdr udp;
    uint32_t rtp[3];
};

struct end {                        /* key of MAP_POOLS: an address of the relay */
    uint32_t address[4];
};

static inline uint16_t swap16(uint16_t x)
{
    asm("endbe %0, 16" : "+r"(x));
    return x;
}

static inline uint32_t swap32(uint32_t x)
{
    asm("endbe %0, 32" : "+r"(x));
    return x;
}

static inline void copy(uint32_t *to, const uint32_t *from, int words)
{
    int i;
#pragma GCC unroll 8
    for (i = 0; i < words; i++)
        to[i] = from[i];
}

/* The record of a port, where the kernel has its stream. */
static inline struct OffloadFlow *flow_of(struct end *end, uint16_t port)
{
    void *pools, *flows, *beats;
    struct OffloadPool *pool;
    struct OffloadFlow *flow;
    uint64_t *beat;
    uint32_t offset, index, first = 0;
    MAP(pools, MAP_POOLS);
    MAP(flows, MAP_FLOWS);
    MAP(beats, MAP_BEAT);
    pool = map_lookup(pools, end);
    if (!pool)
        return 0;
    offset = swap16(port) - pool->first;
    if (offset & 1 || offset >> 1 >= pool->pairs)
        return 0;
    index = pool->index + (offset >> 1);
    flow = map_lookup(flows, &index);
    if (!flow || !flow->active)
        return 0;
    beat = map_lookup(beats, &first);
    /* The last beat may be younger than the time that was just told. */
    return beat && now_ns() <= *beat + OFFLOAD_STALE_NS ? flow : 0;
}

/* Whether it may pass on a packet of its source's address. n: bytes of RTP. */
static inline int is_plain(const struct __sk_buff *skb, const struct OffloadFlow *flow, const uint32_t *rtp,
                           uint16_t source_port, uint32_t n)
{
    uint32_t first = swap32(rtp[0]), second = first >> 16 & 0xFF;
    return flow->source_port == source_port && flow->ssrc == rtp[2] && first >> 30 == 2
        && (second < 192 || second > 223) && (second & 0x7F) != flow->event_payload
        && (flow->payload == OFFLOAD_ANY || (second & 0x7F) == flow->payload)
        && n >= RTP_BYTES && n <= OFFLOAD_LONGEST && skb->gso_size == 0 && skb->pkt_type == PACKET_HOST
        && (flow->interface == OFFLOAD_LOOPBACK) == (skb->ifindex == OFFLOAD_LOOPBACK);
}

/* Count a packet, and say with which numbers it leaves. */
static inline void account(struct OffloadFlow *flow, const uint32_t *rtp, uint32_t *out, uint32_t n)
{
    uint64_t now = now_ns();
    uint32_t first = swap32(rtp[0]), stamped = swap32(rtp[1]) + flow->timestamp_add;
    uint16_t sent = first + flow->sequence_add;
    struct RtpNumbers numbers = {swap32(rtp[2]), swap32(rtp[1]), first};
    __sync_fetch_and_add(&flow->packets, 1);
    __sync_fetch_and_add(&flow->octets, n);
    flow->heard_ns = now;
    reception_packet(&flow->reception, &numbers, now, flow->clock);
    /* As egress_track has it. */
    if ((uint16_t)(sent - flow->sequence) < 0xFF00) {
        flow->sequence = sent;
        if (stamped != flow->timestamp) {
            flow->timestamp = stamped;
            flow->timestamp_ns = now;
        }
    }
    if (flow->payload != OFFLOAD_ANY)
        first = (first & 0xFF80FFFF) | (uint32_t)flow->payload_out << 16;
    out[0] = swap32((first & 0xFFFF0000) | sent);
    out[1] = swap32(stamped);
    out[2] = flow->ssrc_out;
}

/* Keep UDP's checksum right. The first `addresses` words are IP's, the four behind them UDP's ports and RTP's. */
static inline int mend_checksum(struct __sk_buff *skb, uint32_t at, uint32_t *from, uint32_t *to, int addresses)
{
    return l4_csum_replace(skb, at, 0, csum_diff(from, 4 * addresses, to, 4 * addresses, 0),
                           CSUM_PSEUDO | CSUM_MAY_BE_NONE)
        || l4_csum_replace(skb, at, 0, csum_diff(from + addresses, 16, to + addresses, 16, 0), CSUM_MAY_BE_NONE);
}

static inline int way_out(const struct OffloadFlow *flow)
{
    uint64_t none;
    /* A zero that the verifier sees, not one that the compiler knows of. */
    asm volatile("mov %0, 0" : "=r"(none));
    return flow->interface == OFFLOAD_LOOPBACK ? NEXT : redirect_neigh(flow->interface, (void *)none, none, none);
}

static inline int relay4(struct __sk_buff *skb)
{
    struct headers4 *h = (void *)(long)skb->data + ETH_HLEN;
    struct end end = {{0}};
    struct OffloadFlow *flow;
    uint32_t from[6], to[6], n, i;
    uint64_t sum = 0;
    if ((void *)(h + 1) > (void *)(long)skb->data_end)
        return NEXT;
    n = swap16(h->udp.len) - sizeof(struct udphdr);
    /* Neither options nor fragments, nor less than it says. */
    if (*(uint8_t *)&h->ip != 0x45 || h->ip.protocol != IPPROTO_UDP || h->ip.frag_off & NET16(0x3FFF)
            || swap16(h->ip.tot_len) - sizeof(struct iphdr) - sizeof(struct udphdr) != n
            || skb->len < CHECKSUM_AT(struct headers4) + 2 + n)
        return NEXT;
    end.address[0] = h->ip.daddr;
    flow = flow_of(&end, h->udp.dest);
    if (!flow || flow->source[0] != h->ip.saddr || !is_plain(skb, flow, h->rtp, h->udp.source, n))
        return NEXT;
    from[0] = h->ip.saddr;
    from[1] = h->ip.daddr;
    from[2] = (uint32_t)h->udp.dest << 16 | h->udp.source;
    copy(from + 3, h->rtp, 3);
    to[0] = flow->local[0];
    to[1] = flow->target[0];
    to[2] = (uint32_t)flow->target_port << 16 | flow->local_port;
    account(flow, h->rtp, to + 3, n);
    if (mend_checksum(skb, CHECKSUM_AT(struct headers4), from, to, 2))
        return DROP;
    h = (void *)(long)skb->data + ETH_HLEN;
    if ((void *)(h + 1) > (void *)(long)skb->data_end)
        return DROP;
    h->ip.ttl = flow->ttl;
    h->ip.tos = flow->tos;
    h->ip.saddr = to[0];
    h->ip.daddr = to[1];
    h->ip.check = 0;
#pragma GCC unroll 10
    for (i = 0; i < sizeof(struct iphdr) / 2; i++)
        sum += ((uint16_t *)&h->ip)[i];
    sum = (sum & 0xFFFF) + (sum >> 16);
    h->ip.check = ~(uint16_t)(sum + (sum >> 16));
    h->udp.source = flow->local_port;
    h->udp.dest = flow->target_port;
    copy(h->rtp, to + 3, 3);
    return way_out(flow);
}

static inline int relay6(struct __sk_buff *skb)
{
    struct headers6 *h = (void *)(long)skb->data + ETH_HLEN;
    struct end end;
    struct OffloadFlow *flow;
    uint32_t from[12], to[12], n;
    if ((void *)(h + 1) > (void *)(long)skb->data_end)
        return NEXT;
    n = swap16(h->udp.len) - sizeof(struct udphdr);
    /* No extension headers, and all that it says. */
    if (h->ip.nexthdr != IPPROTO_UDP || swap16(h->ip.payload_len) - sizeof(struct udphdr) != n
            || skb->len < CHECKSUM_AT(struct headers6) + 2 + n)
        return NEXT;
    copy(end.address, h->ip.daddr.in6_u.u6_addr32, 4);
    flow = flow_of(&end, h->udp.dest);
    if (!flow)
        return NEXT;
    copy(from, h->ip.saddr.in6_u.u6_addr32, 8);
    if (from[0] != flow->source[0] || from[1] != flow->source[1] || from[2] != flow->source[2]
            || from[3] != flow->source[3] || !is_plain(skb, flow, h->rtp, h->udp.source, n))
        return NEXT;
    from[8] = (uint32_t)h->udp.dest << 16 | h->udp.source;
    copy(from + 9, h->rtp, 3);
    copy(to, flow->local, 4);
    copy(to + 4, flow->target, 4);
    to[8] = (uint32_t)flow->target_port << 16 | flow->local_port;
    account(flow, h->rtp, to + 9, n);
    if (mend_checksum(skb, CHECKSUM_AT(struct headers6), from, to, 8))
        return DROP;
    h = (void *)(long)skb->data + ETH_HLEN;
    if ((void *)(h + 1) > (void *)(long)skb->data_end)
        return DROP;
    h->ip.hop_limit = flow->ttl;
    h->ip.priority = flow->tos >> 4;
    h->ip.flow_lbl[0] = flow->tos << 4;
    h->ip.flow_lbl[1] = h->ip.flow_lbl[2] = 0;
    copy(h->ip.saddr.in6_u.u6_addr32, to, 8);
    h->udp.source = flow->local_port;
    h->udp.dest = flow->target_port;
    copy(h->rtp, to + 9, 3);
    return way_out(flow);
}

/* Whether the first bytes can be read. n: a constant, as only root may add anything else to where the packet is. */
static inline int reaches(struct __sk_buff *skb, uint32_t n)
{
    return skb->len >= n && ((void *)(long)skb->data + n <= (void *)(long)skb->data_end || !pull_data(skb, n));
}

int relay(struct __sk_buff *skb)
{
    /* The tag of a virtual network would stay with it on its way out. */
    if (skb->vlan_present)
        return NEXT;
    if (skb->protocol == NET16(ETH_P_IP) && reaches(skb, ETH_HLEN + sizeof(struct headers4)))
        return relay4(skb);
    if (skb->protocol == NET16(ETH_P_IPV6) && reaches(skb, ETH_HLEN + sizeof(struct headers6)))
        return relay6(skb);
    return NEXT;
}
