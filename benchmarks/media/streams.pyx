"""RTP streams of many calls between two sockets, paced evenly: one thread, no Python and no GIL while they run.

Flow i goes from socket i % 2 to the target of its own, and is to come out at the other socket, from the target of its
other direction, flow i ^ 1. Each packet carries the time at which it was sent and the number of its flow, so that
latency, loss and packets that took another call's way are known exactly. One socket a side, because a generator with
two for each call is slower than what it measures: a few packets whose time has come leave in one system call, and up
to BATCH arrive in one.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from benchmarks.load.histogram cimport Histogram, percentile, record
from benchmarks.load.port cimport (
    AF_INET, MSG_DONTWAIT, iovec, mmsghdr, recvmmsg, sendmmsg, sockaddr_in,
)

from ipaddress import ip_address

from cpython.exc cimport PyErr_CheckSignals

cdef extern from "<arpa/inet.h>" nogil:
    uint16_t htons(uint16_t) noexcept
    uint32_t htonl(uint32_t) noexcept

cdef extern from "<poll.h>" nogil:
    enum:
        POLLIN
    struct pollfd:
        int fd
        short events
        short revents
    int ppoll(pollfd*, unsigned long, const timespec*, const void*) noexcept

cdef extern from "<sys/prctl.h>" nogil:
    enum:
        PR_SET_TIMERSLACK
    int prctl(int, unsigned long) noexcept

cdef enum:
    AT_ONCE = 8             # packets of a side in one system call: the last of them waits for the first
    BATCH = 64
    HEADER = 12
    STAMPED = HEADER + 12   # RTP header, time sent, flow
    LARGEST = 1500
    LOOK = 50_000_000       # ns between looks at signals and stop()
    DRAIN = 1_000_000_000   # ns in which what is under way may still arrive


cdef inline uint64_t _clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef dict _latency(const Histogram* histogram):
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    return {"count": histogram.count, "max": histogram.max / 1000,
            **{name: percentile(histogram, share) / 1000 for name, share in shares.items()}}


cdef struct End:                # one socket with its batches
    int fd
    int ready               # packets that are to be sent
    mmsghdr out[AT_ONCE]
    iovec out_vector[AT_ONCE]
    uint8_t out_data[AT_ONCE][LARGEST]
    mmsghdr into[BATCH]
    iovec into_vector[BATCH]
    sockaddr_in into_from[BATCH]
    uint8_t into_data[BATCH][LARGEST + 1]


cdef class Streams:
    """Two bound UDP sockets, which stay the caller's, and where each flow is sent; flows come in pairs.

    size: bytes of a packet, RTP header included.
    """

    cdef End* ends
    cdef sockaddr_in* targets
    cdef uint16_t* sequences
    cdef uint32_t flows
    cdef uint64_t gap_ps        # between two packets of all flows together
    cdef int size
    cdef uint64_t began, sent, received, errors, misrouted, strange, lateness
    cdef uint64_t next_packet   # of all runs
    cdef uint64_t before        # packets of the runs before
    cdef Histogram latency
    cdef volatile bint stopping

    def __init__(self, descriptors, targets, *, int size):
        cdef uint32_t i, k
        if len(descriptors) != 2 or not targets or len(targets) % 2:
            raise ValueError("two sockets, and flows in pairs")
        if not STAMPED <= size <= LARGEST:
            raise ValueError(f"a packet has {STAMPED} to {LARGEST} bytes")
        self.flows = <uint32_t>len(targets)
        self.size = size
        self.ends = <End*>calloc(2, sizeof(End))
        self.targets = <sockaddr_in*>calloc(self.flows, sizeof(sockaddr_in))
        self.sequences = <uint16_t*>calloc(self.flows, sizeof(uint16_t))
        if self.ends == NULL or self.targets == NULL or self.sequences == NULL:
            raise MemoryError
        for i in range(2):
            self._lay_out(&self.ends[i], descriptors[i])
        for k in range(self.flows):
            host, port = targets[k]
            self.targets[k].sin_family = AF_INET
            self.targets[k].sin_port = htons(port)
            self.targets[k].sin_addr.s_addr = htonl(<uint32_t>int(ip_address(host)))

    def __dealloc__(self):
        free(self.ends)
        free(self.targets)
        free(self.sequences)

    cdef void _lay_out(self, End* end, int fd) noexcept:
        cdef int i
        end.fd = fd
        for i in range(AT_ONCE):
            memset(end.out_data[i], 0xD5, LARGEST)
            end.out_data[i][0] = 0x80
            end.out_data[i][1] = 0
            end.out_vector[i].iov_base = end.out_data[i]
            end.out_vector[i].iov_len = self.size
            end.out[i].msg_hdr.msg_iov = &end.out_vector[i]
            end.out[i].msg_hdr.msg_iovlen = 1
            end.out[i].msg_hdr.msg_namelen = sizeof(sockaddr_in)
        for i in range(BATCH):
            end.into_vector[i].iov_base = end.into_data[i]
            end.into_vector[i].iov_len = LARGEST + 1
            end.into[i].msg_hdr.msg_iov = &end.into_vector[i]
            end.into[i].msg_hdr.msg_iovlen = 1
            end.into[i].msg_hdr.msg_name = &end.into_from[i]

    def stop(self):
        """Make run() return soon, from any thread."""
        self.stopping = True

    def run(self, double seconds, double interval):
        """Send for so many seconds, and return what came of it. Each run goes on where the one before ended.

        interval: seconds between two packets of a flow. A signal's exception (KeyboardInterrupt) passes through.
        """
        cdef uint64_t now, look, end, due
        prctl(PR_SET_TIMERSLACK, 1)
        memset(&self.latency, 0, sizeof(Histogram))
        self.sent = self.received = self.errors = self.misrouted = self.strange = self.lateness = 0
        self.before = self.next_packet
        self.gap_ps = <uint64_t>(interval * 1e12 / self.flows)
        self.began = now = _clock()
        end = self.began + <uint64_t>(seconds * 1e9)
        look = now + LOOK
        with nogil:
            while now < end + DRAIN and not self.stopping:
                if now >= look:
                    look = now + LOOK
                    with gil:
                        PyErr_CheckSignals()
                due = look
                if now < end:
                    due = min(due, self._send_due(now))
                elif self.received >= self.sent:
                    break
                self._receive(due)
                now = _clock()
        return {
            "sent": self.sent, "received": self.received, "errors": self.errors, "misrouted": self.misrouted,
            "strange": self.strange, "seconds": seconds, "lateness": self.lateness / 1000,
            "latency": _latency(&self.latency),
        }

    cdef uint64_t _send_due(self, uint64_t now) noexcept nogil:
        """Send what is due, a few packets at most; return when the next one is."""
        cdef uint64_t due = now
        cdef int i, _
        for _ in range(AT_ONCE):
            due = self.began + (self.next_packet - self.before) * self.gap_ps // 1000
            if due > now:
                break
            self.lateness = max(self.lateness, now - due)
            self._prepare()
        for i in range(2):
            if self.ends[i].ready:
                self._flush(&self.ends[i])
        return due

    cdef void _prepare(self) noexcept nogil:
        cdef uint32_t flow = <uint32_t>(self.next_packet % self.flows)
        cdef End* end = &self.ends[flow & 1]
        cdef uint8_t* packet = end.out_data[end.ready]
        cdef uint16_t sequence = htons(self.sequences[flow])
        cdef uint32_t timestamp = htonl(<uint32_t>(self.next_packet // self.flows) * 160)
        cdef uint32_t source = htonl(flow + 1)
        cdef uint64_t now = _clock()
        memcpy(packet + 2, &sequence, 2)
        memcpy(packet + 4, &timestamp, 4)
        memcpy(packet + 8, &source, 4)
        memcpy(packet + HEADER, &now, 8)
        memcpy(packet + HEADER + 8, &flow, 4)
        end.out[end.ready].msg_hdr.msg_name = &self.targets[flow]
        end.ready += 1
        self.sequences[flow] += 1
        self.next_packet += 1

    cdef void _flush(self, End* end) noexcept nogil:
        cdef int done = 0, n
        while done < end.ready:
            n = sendmmsg(end.fd, &end.out[done], end.ready - done, MSG_DONTWAIT)
            if n <= 0:
                # Refused, or what ICMP said about an earlier one: the packet is lost either way.
                self.errors += 1
                n = 1
            done += n
        self.sent += end.ready
        end.ready = 0

    cdef void _receive(self, uint64_t until) noexcept nogil:
        """Take what has arrived; wait for it until then at most."""
        cdef pollfd watched[2]
        cdef timespec pause
        cdef uint64_t now = _clock()
        cdef int i, k, n
        for i in range(2):
            watched[i] = pollfd(self.ends[i].fd, POLLIN, 0)
        pause.tv_sec = 0
        pause.tv_nsec = <long>(until - now) if until > now else 0
        if ppoll(watched, 2, &pause, NULL) <= 0:
            return
        for i in range(2):
            if watched[i].revents:
                for k in range(BATCH):
                    self.ends[i].into[k].msg_hdr.msg_namelen = sizeof(sockaddr_in)
                n = recvmmsg(self.ends[i].fd, self.ends[i].into, BATCH, MSG_DONTWAIT, NULL)
                now = _clock()
                for k in range(n):
                    self._take(&self.ends[i], i, k, now)

    cdef void _take(self, End* end, int side, int k, uint64_t now) noexcept nogil:
        cdef uint8_t* data = end.into_data[k]
        cdef sockaddr_in* expected
        cdef uint64_t stamp
        cdef uint32_t flow
        memcpy(&stamp, data + HEADER, 8)
        memcpy(&flow, data + HEADER + 8, 4)
        if <int>end.into[k].msg_len != self.size or data[0] != 0x80 or stamp > now or flow >= self.flows:
            self.strange += 1
        elif stamp >= self.began:
            # Older ones are of the run before, which has counted them as lost.
            expected = &self.targets[flow ^ 1]
            if (<int>(flow & 1) == side or end.into_from[k].sin_port != expected.sin_port
                    or end.into_from[k].sin_addr.s_addr != expected.sin_addr.s_addr):
                self.misrouted += 1
            else:
                self.received += 1
                record(&self.latency, now - stamp)
