"""The sending side of the sockets: an Outbox's datagrams, in order within a call, in as few sends as may be."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.outbox cimport Datagram, Outbox
from sipcore.base.sockname cimport sockaddr_storage
from sipcore.net.stream cimport Streams
from sipcore.net.udp cimport UDP_SEND_BATCH, iovec, mmsghdr

cdef enum:
    SENDER_SOCKETS = 32
    FAILED_KEPT = 16            # undeliverable datagrams reported after one flush
    FAILED_BYTES = 2048
    SEGMENT_CONTROL = 32        # bytes of the control message that says where the kernel cuts
    PLACES = 1024               # hash buckets, a power of two

cdef struct Failed:
    uint32_t n
    uint8_t data[FAILED_BYTES]

# Datagrams of one flow that leave as one send, chained in the order in which they were made.
cdef struct Train:
    uint32_t head               # first and last datagram, by position in the queue
    uint32_t tail
    uint32_t count              # 0: its only datagram went to the end of another train
    uint32_t n                  # bytes of each; the last one may be shorter
    uint32_t last_n             # bytes of the last one
    uint32_t previous           # the train before it in its flow, or NO_TRAIN
    uint32_t floor              # the earliest train that its first datagram may leave with

# A listener and a peer.
cdef struct Flow:
    uint32_t head               # one of its datagrams, by position in the queue
    uint32_t latest             # train
    uint32_t barrier            # the latest train with a datagram of an unknown call; 0 where there is none
    uint32_t n                  # of the train that would grow if no order were changed: Train's n, last_n, count
    uint32_t last_n
    uint32_t count


cdef class Sender:
    cdef Outbox outbox
    cdef object trace                       # callable(direction, listener, host, port, bytes), or None
    cdef object on_trouble                  # callable(text), or None
    cdef Streams streams                    # of the listeners that are no UDP sockets, or None
    cdef int fds[SENDER_SOCKETS]            # -1 where the listener is one of a stream
    cdef bint shaken[SENDER_SOCKETS]        # a send met an error that was queued: the socket's watch may have ended
    cdef bint blocked                       # a socket takes no more; nothing leaves until somebody sets it back
    cdef int blocked_fd
    cdef Failed failed[FAILED_KEPT]         # datagrams that the network refused, for the layer to hear of
    cdef uint32_t failed_n
    cdef readonly bint segmenting           # several datagrams to one peer leave as one send
    cdef readonly uint64_t sent
    cdef readonly uint64_t errors
    cdef mmsghdr outgoing[UDP_SEND_BATCH]
    cdef iovec vectors[UDP_SEND_BATCH]
    cdef sockaddr_storage* names
    cdef uint8_t* controls
    cdef uint32_t covers[UDP_SEND_BATCH]    # datagrams in each message of `outgoing`
    cdef Train trains[UDP_SEND_BATCH]
    cdef uint32_t following[UDP_SEND_BATCH]
    cdef Datagram arranged[UDP_SEND_BATCH]
    cdef uint16_t places[PLACES]            # the latest train with a datagram of a call, by hash of call and flow

    cdef void flush(self) noexcept
    cdef void _hand_over(self) noexcept
    cdef void _arrange(self) noexcept
    cdef uint32_t _form(self, bint across, uint32_t* in_order) noexcept
    cdef uint32_t _end_with_single_ones(self, uint32_t trains) noexcept
    cdef uint32_t _gather(self, uint32_t done, uint32_t total) noexcept
    cdef int _send_first(self, int fd) noexcept
    cdef void _fail(self, const Datagram* datagram) noexcept
    cdef void _show(self, uint32_t n) noexcept
