"""What is counted of one side of a session, and of the thread."""
from libc.stdint cimport uint64_t

cdef struct SideCounters:       # written by the thread alone
    # RTP and RTCP that this side sent and that passed the checks
    uint64_t packets
    uint64_t octets             # of RTP with its header, without UDP's
    uint64_t rtcp
    uint64_t unheard            # of those: nobody hears this side, or another one speaks
    uint64_t heard_us           # CLOCK_MONOTONIC of the last RTP packet, 0: none yet
    uint64_t alive_us           # of the last RTP or RTCP packet
    # dropped
    uint64_t wrong_source
    uint64_t early              # before media was allowed
    uint64_t stun
    uint64_t dtls
    uint64_t zrtp
    uint64_t truncated          # shorter than an RTP or RTCP header
    uint64_t giant              # longer than PACKET_MAX
    uint64_t other              # nothing that belongs on such a port, or the relay's own, going round
    uint64_t unauthentic        # from a side with SRTP: a bad tag, another key, or plain
    uint64_t replayed           # so too: came before, or is too old to tell
    uint64_t kernel_drops       # the sockets' buffers were full; looked up now and then
    # said by this side's RTCP about what it hears from us
    uint64_t round_trip_us      # to it and back, the last one known; 0: not known
    uint64_t far_lost           # packets, of the last report; 0 where it counts less than none
    uint64_t far_fraction       # lost since the report before, of 256
    uint64_t far_jitter         # timestamp units
    uint64_t reports            # that were about what it hears from us
    # towards this side
    uint64_t sent
    uint64_t sent_octets
    uint64_t sent_rtcp
    uint64_t send_failed        # refused by the kernel, dropped
    uint64_t unsendable         # no address or no key known, it does not want to receive, or SRTP sent it before
    uint64_t played             # of `sent`: made by the edge

cdef struct ThreadCounters:     # written by the thread alone
    uint64_t wakeups            # returns of epoll_wait
    uint64_t late               # packets that came to a port that no session has
    uint64_t socket_errors
    uint64_t realtime           # 1 while it runs before ordinary threads
    uint64_t events_lost        # the loop did not take them in time; never a CLOSED


cdef dict shown_side(const SideCounters* counters)
cdef dict shown_thread(const ThreadCounters* counters)
cdef void add_up(const SideCounters* counters, SideCounters* total) noexcept
