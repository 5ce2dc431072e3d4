"""What one side sends and receives by: its UDP socket with batches, or its connections.

Up to 64 datagrams are read by one recvmmsg, and up to 192 written by one sendmmsg.

Sending is what a load generator pays for (2.5 us a datagram on loopback against 0.6 us for receiving), so a run of
messages of one size to one peer goes out as one segmented datagram (UDP_SEGMENT, Linux 4.18), which the kernel
takes apart again: 0.5 us each; the receiver sees no difference. To make such runs, the messages of a call
queue in lanes by kind, and the lanes are sent in the order in which a call needs them.

About 700 KiB each. The socket stays blocking for writing: on loopback the kernel takes a datagram at once, and
a full send buffer is waited for instead of being counted as loss.

Over connections, the messages of the lanes are put together for each connection, which is then written once.
"""
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from benchmarks.load.connection cimport CONNECTIONS, Connection, queue_message, sockaddr_in, write_queued

cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        MSG_DONTWAIT
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    size_t CMSG_LEN(size_t) noexcept
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int, mmsghdr*, unsigned int, int, void*) noexcept
    int sendmmsg(int, mmsghdr*, unsigned int, int) noexcept

cdef extern from "<netinet/udp.h>" nogil:
    enum:
        SOL_UDP
        UDP_SEGMENT

cdef enum:
    BATCH = 64              # also the most segments of one datagram
    LONGEST = 64000         # bytes of one segmented datagram
    ROOM = 2048             # bytes of one outgoing message
    RECEIVE_ROOM = 4096     # bytes of one incoming message
    DIGITS = 16             # of an identifier

cdef enum Lane:             # in the order of sending
    BEGIN                   # INVITE; 180
    SETTLE                  # ACK; final response to INVITE
    FINISH                  # BYE; its response
    LANES

cdef struct Outbox:
    int count
    int size[BATCH]
    sockaddr_in to[BATCH]
    uint32_t flow[BATCH]
    char data[BATCH][ROOM]

cdef struct Segmentation:   # control message: cmsghdr, then the length of a segment
    cmsghdr head
    uint16_t size

cdef struct Port:
    int fd
    Connection* connections     # CONNECTIONS of them, NULL over UDP
    bint segmenting         # until the kernel refuses
    uint64_t random         # state of the generator that picks what is lost
    uint64_t loss           # a message is lost if the next random 32 bits are below this
    uint64_t sent
    uint64_t received
    uint64_t lost           # on purpose
    uint64_t errors         # refused by the kernel
    uint64_t oversized      # did not fit into ROOM
    Outbox lanes[LANES]
    mmsghdr out[BATCH]
    iovec out_vector[BATCH]
    Segmentation out_control[BATCH]
    mmsghdr into[BATCH]
    iovec into_vector[BATCH]
    sockaddr_in into_from[BATCH]
    char into_data[BATCH][RECEIVE_ROOM]

cdef struct Writer:
    char* at                # where the next byte goes
    char* end               # of the room; at > end: it did not fit


cdef inline void open_port(Port* port, int fd, Connection* connections, double loss, uint64_t seed) noexcept nogil:
    """Lay out a zeroed port on a bound socket or on connections, which stay the caller's."""
    cdef int index
    port.fd = fd
    port.connections = connections
    port.loss = <uint64_t>(loss * 4294967296.0)
    port.random = seed * 0x9E3779B97F4A7C15ULL | 1
    port.segmenting = True
    for index in range(BATCH):
        port.out[index].msg_hdr.msg_namelen = sizeof(sockaddr_in)
        port.out_control[index].head.cmsg_len = CMSG_LEN(sizeof(uint16_t))
        port.out_control[index].head.cmsg_level = SOL_UDP
        port.out_control[index].head.cmsg_type = UDP_SEGMENT
        port.into_vector[index].iov_base = port.into_data[index]
        port.into_vector[index].iov_len = RECEIVE_ROOM
        port.into[index].msg_hdr.msg_name = &port.into_from[index]
        port.into[index].msg_hdr.msg_iov = &port.into_vector[index]
        port.into[index].msg_hdr.msg_iovlen = 1


cdef inline int receive(Port* port) noexcept nogil:
    """Read up to BATCH datagrams without waiting; return how many."""
    cdef int index, got
    for index in range(BATCH):
        port.into[index].msg_hdr.msg_namelen = sizeof(sockaddr_in)
    got = recvmmsg(port.fd, port.into, BATCH, MSG_DONTWAIT, NULL)
    if got < 0:
        return 0
    port.received += got
    return got


cdef inline int _run(Port* port, Outbox* lane, int start) noexcept nogil:
    """Return how many messages from `start` on can share a datagram: one peer, one size (the last may be less)."""
    cdef int count = 1, total = lane.size[start]
    if port.segmenting:
        while (
            start + count < lane.count
            and lane.size[start + count] <= lane.size[start]
            and lane.to[start + count].sin_addr.s_addr == lane.to[start].sin_addr.s_addr
            and lane.to[start + count].sin_port == lane.to[start].sin_port
            and total + lane.size[start + count] <= LONGEST
        ):
            count += 1
            total += lane.size[start + count - 1]
            if lane.size[start + count - 1] < lane.size[start]:
                break
    return count


cdef inline void _send_lane(Port* port, Outbox* lane) noexcept nogil:
    cdef int start = 0, at, runs, run, done, index
    cdef mmsghdr* message
    while start < lane.count:
        at = start
        runs = 0
        while at < lane.count:
            run = _run(port, lane, at)
            message = &port.out[runs]
            message.msg_hdr.msg_name = &lane.to[at]
            message.msg_hdr.msg_iov = &port.out_vector[at]
            message.msg_hdr.msg_iovlen = run
            message.msg_hdr.msg_control = &port.out_control[runs] if run > 1 else NULL
            message.msg_hdr.msg_controllen = sizeof(Segmentation) if run > 1 else 0
            port.out_control[runs].size = <uint16_t>lane.size[at]
            for index in range(at, at + run):
                port.out_vector[index].iov_base = lane.data[index]
                port.out_vector[index].iov_len = lane.size[index]
            at += run
            runs += 1
        done = sendmmsg(port.fd, port.out, runs, 0)
        for index in range(done):
            port.sent += port.out[index].msg_hdr.msg_iovlen
            start += <int>port.out[index].msg_hdr.msg_iovlen
        if done <= 0 and errno != EINTR:
            if port.out[0].msg_hdr.msg_iovlen > 1:
                port.segmenting = False
            else:
                port.errors += 1
                start += 1
    lane.count = 0


cdef inline void _queue_lane(Port* port, Outbox* lane) noexcept nogil:
    cdef int index
    for index in range(lane.count):
        if queue_message(&port.connections[lane.flow[index]], lane.data[index], lane.size[index]):
            port.sent += 1
        else:
            port.errors += 1
    lane.count = 0


cdef inline void flush(Port* port) noexcept nogil:
    """Send what is queued."""
    cdef int lane, index
    for lane in range(<int>Lane.LANES):
        if port.lanes[lane].count == 0:
            continue
        if port.connections == NULL:
            _send_lane(port, &port.lanes[lane])
        else:
            _queue_lane(port, &port.lanes[lane])
    if port.connections != NULL:
        for index in range(CONNECTIONS):
            if port.connections[index].out_n:
                write_queued(&port.connections[index])


cdef inline Writer write_into(char* room, size_t size) noexcept nogil:
    cdef Writer writer
    writer.at = room
    writer.end = room + size
    return writer


cdef inline Writer compose(Port* port, Lane lane) noexcept nogil:
    """Begin the next outgoing message; dispatch() ends it."""
    if port.lanes[<int>lane].count == BATCH:
        flush(port)
    return write_into(port.lanes[<int>lane].data[port.lanes[<int>lane].count], ROOM)


cdef inline void put(Writer* writer, const char* data, size_t size) noexcept nogil:
    """Append, or leave the writer past its end for dispatch() to see."""
    if writer.at > writer.end or size > <size_t>(writer.end - writer.at):
        writer.at = writer.end + 1
        return
    memcpy(writer.at, data, size)
    writer.at += size


cdef inline void write_hex(char* at, uint64_t number) noexcept nogil:
    """Write DIGITS hexadecimal digits."""
    cdef int digit
    for digit in range(DIGITS):
        at[digit] = "0123456789abcdef"[number >> 60]
        number <<= 4


cdef inline bint dispatch(Port* port, Lane lane, Writer* writer, const sockaddr_in* to, uint32_t flow) noexcept nogil:
    """Queue the composed message, unless it is to be lost; False if it did not fit.

    It goes to an address over UDP, else by the connection with the number `flow`.
    """
    cdef Outbox* box = &port.lanes[<int>lane]
    if writer.at > writer.end:
        port.oversized += 1
        return False
    if port.loss:
        port.random ^= port.random << 13
        port.random ^= port.random >> 7
        port.random ^= port.random << 17
        if port.random >> 32 < port.loss:
            port.lost += 1
            return True
    box.size[box.count] = <int>(writer.at - box.data[box.count])
    box.to[box.count] = to[0]
    box.flow[box.count] = flow
    box.count += 1
    return True


cdef inline void put_decimal(Writer* writer, uint32_t number) noexcept nogil:
    cdef char digits[10]
    cdef int first = 10
    while first == 10 or number:
        first -= 1
        digits[first] = <char>(48 + number % 10)
        number //= 10
    put(writer, digits + first, 10 - first)
