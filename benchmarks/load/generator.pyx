"""The loop of the load generator: one thread, no Python and no GIL between the first call and the last.

Each turn starts the calls that are due, runs the timers, reads one batch from each socket (or what each connection
has) and writes what came of it; then it waits in ppoll for the next packet, call or timer (or not at all with `spin`,
for the sharpest clock).
"""
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from cpython.exc cimport PyErr_CheckSignals

from benchmarks.load.connection cimport CONNECTIONS, Connection, Connections, drop_connection, next_message, read_more
from benchmarks.load.histogram cimport Histogram, percentile
from benchmarks.load.port cimport BATCH, Port, flush, open_port, receive, sockaddr_in
from benchmarks.load.uac cimport Uac
from benchmarks.load.uas cimport Uas

cdef extern from "<poll.h>" nogil:
    enum:
        POLLIN
        POLLOUT
    struct pollfd:
        int fd
        short events
        short revents
    int ppoll(pollfd*, unsigned long, const timespec*, const void*) noexcept

cdef enum:
    LOOK = 50_000_000       # ns between looks at signals and stop()
    SETTLE = 5_000_000_000  # ns for the handshakes before the first call
    PLACES = CONNECTIONS + 1


cdef inline uint64_t _clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef dict _latency(const Histogram* histogram):
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    return {"count": histogram.count, "max": histogram.max / 1000,
            **{name: percentile(histogram, share) / 1000 for name, share in shares.items()}}


cdef class Generator:
    """Drives a calling side, an answering side, or both, over bound UDP sockets or Connections: the caller's."""

    cdef Uac uac
    cdef Uas uas
    cdef Port* ports[2]     # of the calling and of the answering side
    cdef list connections   # Connections of each side, None over UDP
    cdef pollfd watched[2 * PLACES]     # of each side: its socket or listener, then its connections; -1: none
    cdef uint64_t rate_gap  # ns between calls, 0 for a closed loop
    cdef uint64_t window
    cdef uint64_t calls     # to start; UINT64_MAX without a limit
    cdef uint64_t duration  # ns; UINT64_MAX without a limit
    cdef uint64_t started, began, lateness
    cdef bint spin
    cdef volatile bint stopping
    cdef uint64_t broken    # connections that ended

    def __cinit__(self, *_, **__):
        self.ports[0] = <Port*>calloc(1, sizeof(Port))
        self.ports[1] = <Port*>calloc(1, sizeof(Port))
        if self.ports[0] == NULL or self.ports[1] == NULL:
            raise MemoryError

    def __init__(self, Uac uac, object uac_way, Uas uas, object uas_way, *, double rate, int window, int calls,
                 double duration, double loss, int seed, bint spin):
        cdef int side
        cdef Connections connections
        self.connections = []
        for side, way in enumerate((uac_way, uas_way)):
            connections = way if isinstance(way, Connections) else None
            self.connections.append(connections)
            if connections is None:
                open_port(self.ports[side], -1 if way is None else way, NULL, loss, seed + side)
            else:
                open_port(self.ports[side], connections.listener, connections.each, loss, seed + side)
        self.uac = uac
        self.uas = uas
        if uac is not None:
            uac.port = self.ports[0]
        if uas is not None:
            uas.port = self.ports[1]
        self.rate_gap = <uint64_t>(1e9 / rate) if rate else 0
        self.window = window
        self.calls = calls if calls else UINT64_MAX
        self.duration = <uint64_t>(duration * 1e9) if duration else UINT64_MAX
        self.spin = spin

    def __dealloc__(self):
        free(self.ports[0])
        free(self.ports[1])

    def stop(self):
        """Make run() return soon, from any thread."""
        self.stopping = True

    def run(self):
        """Run to the end of the last call, of the duration, or to stop(), and return every counter.

        A signal's exception (KeyboardInterrupt) passes through.
        """
        cdef uint64_t now, look
        now = _clock()
        look = now + SETTLE
        with nogil:
            while now < look and not self.stopping and not self._ready():
                self._exchange(now, now + LOOK)
                now = _clock()
            self.began = now
            look = now + LOOK
            while not self.stopping:
                if now >= look:
                    look = now + LOOK
                    with gil:
                        PyErr_CheckSignals()
                if self._turn(now, look):
                    break
                now = _clock()
            # The last ACKs to a side of ours.
            self._exchange(now, now)
        return self._counters()

    cdef bint _turn(self, uint64_t now, uint64_t look) noexcept nogil:
        """Do one turn of the loop; True when there is nothing left to do."""
        cdef uint64_t wake = look
        cdef bint calling = self.uac is not None
        if calling:
            wake = min(wake, self._launch(now), self.uac.expire(now))
            flush(self.ports[0])
            if self.uac.active == 0 and self._launched(now):
                return True
        elif now - self.began >= self.duration:
            return True
        if self.uas is not None:
            wake = min(wake, self.uas.expire(now))
            flush(self.ports[1])
        self._exchange(now, wake)
        return False

    cdef bint _ready(self) noexcept nogil:
        """Whether the calling side's connections are through their handshakes."""
        cdef int index
        if self.uac is not None and self.ports[0].connections != NULL:
            for index in range(CONNECTIONS):
                if self.ports[0].connections[index].fd >= 0 and not self.ports[0].connections[index].ready:
                    return False
        return True

    cdef void _exchange(self, uint64_t now, uint64_t wake) noexcept nogil:
        """Wait, take what has come, and send what comes of it."""
        cdef int side
        self._wait(now, wake)
        for side in range(2):
            if self.uac is None if side == 0 else self.uas is None:
                continue
            if self.ports[side].connections == NULL:
                self._take_datagrams(side)
            else:
                self._take_streams(side)
            flush(self.ports[side])

    cdef void _take_datagrams(self, int side) noexcept nogil:
        cdef Port* port = self.ports[side]
        cdef int index, got = receive(port)
        cdef uint64_t now = _clock()
        for index in range(got):
            self._hand(side, port.into_data[index], port.into[index].msg_len, &port.into_from[index], 0, now)

    cdef void _take_streams(self, int side) noexcept nogil:
        cdef Port* port = self.ports[side]
        cdef Connection* c
        cdef const char* data = NULL
        cdef int index, size
        cdef uint64_t now
        for index in range(CONNECTIONS):
            c = &port.connections[index]
            if c.fd < 0 or not self.watched[side * PLACES + 1 + index].revents:
                continue
            size = read_more(c)
            now = _clock()
            while size > 0:
                size = next_message(c, &data)
                while size > 0:
                    port.received += 1
                    self._hand(side, data, size, &c.peer, index, now)
                    size = next_message(c, &data)
                # TLS may have read more than a record, which nothing else tells of.
                if size == 0 and c.ssl != NULL:
                    size = read_more(c)
            if size < 0:
                drop_connection(c, side == 1)
                self.broken += 1
        if self.watched[side * PLACES].revents:
            with gil:
                (<Connections>self.connections[side]).accept()

    cdef inline void _hand(self, int side, const char* data, int size, const sockaddr_in* peer, uint32_t flow,
                           uint64_t now) noexcept nogil:
        if side == 0:
            self.uac.on_message(data, size, now)
        else:
            self.uas.on_message(data, size, peer, flow, now)

    cdef bint _launched(self, uint64_t now) noexcept nogil:
        """Whether no more calls are to be started."""
        return self.started >= self.calls or now - self.began >= self.duration

    cdef uint64_t _launch(self, uint64_t now) noexcept nogil:
        """Start the calls that are due, a batch at most; return when the next one is, UINT64_MAX for not by time."""
        cdef uint64_t due
        cdef int _index
        for _index in range(BATCH):
            if self._launched(now):
                return UINT64_MAX
            if self.rate_gap:
                due = self.began + self.started * self.rate_gap
                if due > now:
                    return due
                self.lateness = max(self.lateness, now - due)
            elif self.uac.active >= self.window:
                return UINT64_MAX
            self.uac.start(now)
            self.started += 1
        return now

    cdef void _wait(self, uint64_t now, uint64_t wake) noexcept nogil:
        cdef timespec timeout
        cdef Port* port
        cdef Connection* c
        cdef int side, index
        for side in range(2):
            port = self.ports[side]
            self.watched[side * PLACES] = pollfd(port.fd, POLLIN, 0)
            for index in range(CONNECTIONS):
                self.watched[side * PLACES + 1 + index].fd = -1
                if port.connections != NULL:
                    c = &port.connections[index]
                    self.watched[side * PLACES + 1 + index] = pollfd(
                        c.fd, POLLIN | POLLOUT if c.blocked else POLLIN, 0)
        if self.spin or wake < now:
            wake = now
        timeout.tv_sec = (wake - now) // 1_000_000_000
        timeout.tv_nsec = (wake - now) % 1_000_000_000
        ppoll(self.watched, 2 * PLACES, &timeout, NULL)

    def _counters(self):
        cdef dict counters = {
            "sent": self.ports[0].sent + self.ports[1].sent,
            "received": self.ports[0].received + self.ports[1].received,
            "lost": self.ports[0].lost + self.ports[1].lost,
            "errors": self.ports[0].errors + self.ports[1].errors,
            "broken": self.broken,
            "oversized": self.ports[0].oversized + self.ports[1].oversized,
        }
        cdef int status
        if self.uac is not None:
            counters["uac"] = {
                "started": self.started - self.uac.skipped,
                "ok": self.uac.ok,
                "failed": {status: self.uac.statuses[status] for status in range(700) if self.uac.statuses[status]},
                "timeouts": self.uac.timeouts,
                "skipped": self.uac.skipped,
                "malformed": self.uac.malformed,
                "strays": self.uac.strays,
                "retransmitted_invites": self.uac.retransmitted_invites,
                "retransmitted_byes": self.uac.retransmitted_byes,
                "repeated_finals": self.uac.repeated_finals,
                "seconds": max(0, <double>self.uac.last_end - <double>self.began) / 1e9,
                "lateness": self.lateness / 1000,
                "ringing": _latency(&self.uac.ringing),
                "ending": _latency(&self.uac.ending),
            }
        if self.uas is not None:
            counters["uas"] = {
                "answered": self.uas.answered_calls,
                "confirmed": self.uas.confirmed,
                "ended": self.uas.ended,
                "unacknowledged": self.uas.unacknowledged,
                "skipped": self.uas.skipped,
                "malformed": self.uas.malformed,
                "misrouted": self.uas.misrouted,
                "strays": self.uas.strays,
                "retransmitted_finals": self.uas.retransmitted_finals,
                "repeated_requests": self.uas.repeated_requests,
            }
        return counters
