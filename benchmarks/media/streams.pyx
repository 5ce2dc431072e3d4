"""RTP streams between pairs of sockets, paced evenly: one thread, no Python and no GIL while they run.

Flow i sends from socket i; its packets are to come out at socket i ^ 1. Each packet carries the time at which it was
sent and the number of its flow, so that latency, loss and packets that came out at the wrong place are known exactly.
A packet is sent when its time has come, a few at a time, so that what arrives meanwhile is seen soon. What a packet
costs here (one system call to send it, one to receive it, a share of a wait) is about 2.5 us of the generator's core.
"""
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

from benchmarks.load.histogram cimport Histogram, percentile, record

from ipaddress import ip_address

from cpython.exc cimport PyErr_CheckSignals

cdef extern from "<arpa/inet.h>" nogil:
    uint16_t htons(uint16_t) noexcept
    uint32_t htonl(uint32_t) noexcept

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr

cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        MSG_DONTWAIT
        MSG_NOSIGNAL
    ssize_t sendto(int, const void*, size_t, int, const void*, unsigned int) noexcept
    ssize_t recv(int, void*, size_t, int) noexcept

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLL_CTL_ADD
        EPOLL_CLOEXEC
    union epoll_data_t:
        uint32_t u32
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int) noexcept
    int epoll_ctl(int, int, int, epoll_event*) noexcept
    int epoll_pwait2(int, epoll_event*, int, const timespec*, const void*) noexcept

cdef extern from "<sys/prctl.h>" nogil:
    enum:
        PR_SET_TIMERSLACK
    int prctl(int, unsigned long) noexcept

cdef enum:
    AT_ONCE = 8             # packets sent before arrivals are looked at
    EVENTS = 64
    HEADER = 12
    STAMPED = HEADER + 12   # RTP header, time sent, flow
    LARGEST = 1500
    LOOK = 50_000_000       # ns between looks at signals and stop()
    DRAIN = 200_000_000     # ns in which what is under way may still arrive


cdef inline uint64_t _clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef dict _latency(const Histogram* histogram):
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    return {"count": histogram.count, "max": histogram.max / 1000,
            **{name: percentile(histogram, share) / 1000 for name, share in shares.items()}}


cdef class Streams:
    """An even number of bound UDP sockets, which stay the caller's, and where each of them sends.

    interval: seconds between two packets of a flow. size: bytes of a packet, RTP header included.
    """

    cdef int* descriptors
    cdef sockaddr_in* targets
    cdef uint16_t* sequences
    cdef uint32_t flows
    cdef uint64_t gap_ps        # between two packets of all flows together
    cdef int size
    cdef int epoll
    cdef uint64_t began, sent, received, errors, misrouted, strange, lateness
    cdef uint64_t next_packet   # of all runs
    cdef uint64_t before        # packets of the runs before
    cdef Histogram latency
    cdef volatile bint stopping
    cdef uint8_t packet[LARGEST]
    cdef epoll_event events[EVENTS]

    def __cinit__(self, *_, **__):
        self.epoll = -1

    def __init__(self, descriptors, targets, *, double interval, int size):
        cdef epoll_event event
        cdef uint32_t i
        if len(descriptors) % 2 or len(descriptors) != len(targets) or not descriptors:
            raise ValueError("flows come in pairs, each with a socket and a target")
        if not STAMPED <= size <= LARGEST:
            raise ValueError(f"a packet has {STAMPED} to {LARGEST} bytes")
        self.flows = <uint32_t>len(descriptors)
        self.gap_ps = <uint64_t>(interval * 1e12 / self.flows)
        self.size = size
        self.descriptors = <int*>calloc(self.flows, sizeof(int))
        self.targets = <sockaddr_in*>calloc(self.flows, sizeof(sockaddr_in))
        self.sequences = <uint16_t*>calloc(self.flows, sizeof(uint16_t))
        if self.descriptors == NULL or self.targets == NULL or self.sequences == NULL:
            raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, "epoll")
        for i in range(self.flows):
            self.descriptors[i] = descriptors[i]
            host, port = targets[i]
            self.targets[i].sin_family = AF_INET
            self.targets[i].sin_port = htons(port)
            self.targets[i].sin_addr.s_addr = htonl(<uint32_t>int(ip_address(host)))
            event.events = EPOLLIN
            event.data.u32 = i
            if epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.descriptors[i], &event) < 0:
                raise OSError(errno, "epoll_ctl")
        memset(self.packet, 0xD5, LARGEST)
        self.packet[0] = 0x80
        self.packet[1] = 0

    def __dealloc__(self):
        if self.epoll >= 0:
            close(self.epoll)
        free(self.descriptors)
        free(self.targets)
        free(self.sequences)

    def stop(self):
        """Make run() return soon, from any thread."""
        self.stopping = True

    def run(self, double seconds):
        """Send for so many seconds, and return what came of it. Each run goes on where the one before ended.

        A signal's exception (KeyboardInterrupt) passes through.
        """
        cdef uint64_t now, look, end, due
        cdef timespec pause
        cdef int index
        prctl(PR_SET_TIMERSLACK, 1)
        memset(&self.latency, 0, sizeof(Histogram))
        self.sent = self.received = self.errors = self.misrouted = self.strange = self.lateness = 0
        self.before = self.next_packet
        self.began = now = _clock()
        end = self.began + <uint64_t>(seconds * 1e9)
        look = now + LOOK
        with nogil:
            while now < end + DRAIN and not self.stopping:
                if now >= look:
                    look = now + LOOK
                    with gil:
                        PyErr_CheckSignals()
                due = end + DRAIN
                if now < end:
                    for index in range(AT_ONCE):
                        due = self.began + (self.next_packet - self.before) * self.gap_ps // 1000
                        if due > now:
                            break
                        self._send(due)
                elif self.received >= self.sent:
                    break
                now = _clock()
                due = min(due, look)
                pause.tv_sec = 0
                pause.tv_nsec = <long>(due - now) if due > now else 0
                self._receive(&pause)
                now = _clock()
        return {
            "sent": self.sent, "received": self.received, "errors": self.errors, "misrouted": self.misrouted,
            "strange": self.strange, "seconds": seconds, "lateness": self.lateness / 1000,
            "latency": _latency(&self.latency),
        }

    cdef void _send(self, uint64_t due) noexcept nogil:
        cdef uint32_t flow = <uint32_t>(self.next_packet % self.flows)
        cdef uint16_t sequence = htons(self.sequences[flow])
        cdef uint32_t timestamp = htonl(<uint32_t>(self.next_packet // self.flows) * 160)
        cdef uint32_t source = htonl(flow + 1)
        cdef uint64_t now
        memcpy(self.packet + 2, &sequence, 2)
        memcpy(self.packet + 4, &timestamp, 4)
        memcpy(self.packet + 8, &source, 4)
        memcpy(self.packet + HEADER + 8, &flow, 4)
        self.sequences[flow] += 1
        self.next_packet += 1
        now = _clock()
        memcpy(self.packet + HEADER, &now, 8)
        if sendto(self.descriptors[flow], self.packet, self.size, MSG_DONTWAIT | MSG_NOSIGNAL,
                  &self.targets[flow], sizeof(sockaddr_in)) < 0:
            self.errors += 1
        self.sent += 1
        self.lateness = max(self.lateness, now - due)

    cdef void _receive(self, const timespec* pause) noexcept nogil:
        """Take one packet from each socket that has any; wait so long for the first one."""
        cdef uint8_t data[LARGEST + 1]
        cdef uint64_t now, stamp
        cdef uint32_t flow
        cdef ssize_t n
        cdef int index, count = epoll_pwait2(self.epoll, self.events, EVENTS, pause, NULL)
        for index in range(count):
            n = recv(self.descriptors[self.events[index].data.u32], data, sizeof(data), MSG_DONTWAIT)
            if n < 0:
                if errno != EINTR:
                    # An ICMP error that an earlier packet met.
                    self.errors += 1
                continue
            now = _clock()
            memcpy(&stamp, data + HEADER, 8)
            memcpy(&flow, data + HEADER + 8, 4)
            if n != self.size or data[0] != 0x80 or stamp > now:
                self.strange += 1
            elif stamp < self.began:
                # Of the run before, which has counted it as lost.
                continue
            elif flow != self.events[index].data.u32 ^ 1:
                self.misrouted += 1
            else:
                self.received += 1
                record(&self.latency, now - stamp)
