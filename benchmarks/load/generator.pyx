"""The loop of the load generator: one thread, no Python and no GIL between the first call and the last.

Each turn starts the calls that are due, runs the timers, reads one batch from each socket and writes what came of
it; then it waits in ppoll for the next packet, call or timer (or not at all with `spin`, for the sharpest clock).
"""
from libc.stdint cimport UINT64_MAX, uint64_t
from libc.stdlib cimport calloc, free
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from cpython.exc cimport PyErr_CheckSignals

from benchmarks.load.histogram cimport Histogram, percentile
from benchmarks.load.port cimport BATCH, Port, flush, open_port, receive
from benchmarks.load.uac cimport Uac
from benchmarks.load.uas cimport Uas

cdef extern from "<poll.h>" nogil:
    enum:
        POLLIN
    struct pollfd:
        int fd
        short events
        short revents
    int ppoll(pollfd*, unsigned long, const timespec*, const void*) noexcept

cdef enum:
    LOOK = 50_000_000       # ns between looks at signals and stop()


cdef inline uint64_t _clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef dict _latency(const Histogram* histogram):
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    return {"count": histogram.count, "max": histogram.max / 1000,
            **{name: percentile(histogram, share) / 1000 for name, share in shares.items()}}


cdef class Generator:
    """Drives a calling side, an answering side, or both, over bound UDP sockets that stay the caller's."""

    cdef Uac uac
    cdef Uas uas
    cdef Port* ports[2]
    cdef uint64_t rate_gap  # ns between calls, 0 for a closed loop
    cdef uint64_t window
    cdef uint64_t calls     # to start; UINT64_MAX without a limit
    cdef uint64_t duration  # ns; UINT64_MAX without a limit
    cdef uint64_t started, began, lateness
    cdef bint spin
    cdef volatile bint stopping

    def __cinit__(self, *_, **__):
        self.ports[0] = <Port*>calloc(1, sizeof(Port))
        self.ports[1] = <Port*>calloc(1, sizeof(Port))
        if self.ports[0] == NULL or self.ports[1] == NULL:
            raise MemoryError

    def __init__(self, Uac uac, int uac_fd, Uas uas, int uas_fd, *, double rate, int window, int calls,
                 double duration, double loss, int seed, bint spin):
        open_port(self.ports[0], uac_fd, loss, seed)
        open_port(self.ports[1], uas_fd, loss, seed + 1)
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
        self.began = now = _clock()
        look = now + LOOK
        with nogil:
            while not self.stopping:
                if now >= look:
                    look = now + LOOK
                    with gil:
                        PyErr_CheckSignals()
                if self._turn(now, look):
                    break
                now = _clock()
        return self._counters()

    cdef bint _turn(self, uint64_t now, uint64_t look) noexcept nogil:
        """Do one turn of the loop; True when there is nothing left to do."""
        cdef uint64_t wake = look
        cdef int index, got
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
        self._wait(now, wake)
        if calling:
            got = receive(self.ports[0])
            now = _clock()
            for index in range(got):
                self.uac.on_datagram(self.ports[0].into_data[index], self.ports[0].into[index].msg_len, now)
            flush(self.ports[0])
        if self.uas is not None:
            got = receive(self.ports[1])
            now = _clock()
            for index in range(got):
                self.uas.on_datagram(self.ports[1].into_data[index], self.ports[1].into[index].msg_len,
                                     &self.ports[1].into_from[index], now)
            flush(self.ports[1])
        return False

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
        cdef pollfd watched[2]
        cdef timespec timeout
        cdef int count = 0
        if self.uac is not None:
            watched[0] = pollfd(self.ports[0].fd, POLLIN, 0)
            count = 1
        if self.uas is not None:
            watched[count] = pollfd(self.ports[1].fd, POLLIN, 0)
            count += 1
        if self.spin or wake < now:
            wake = now
        timeout.tv_sec = (wake - now) // 1_000_000_000
        timeout.tv_nsec = (wake - now) % 1_000_000_000
        ppoll(watched, count, &timeout, NULL)

    def _counters(self):
        cdef dict counters = {
            "sent": self.ports[0].sent + self.ports[1].sent,
            "received": self.ports[0].received + self.ports[1].received,
            "lost": self.ports[0].lost + self.ports[1].lost,
            "errors": self.ports[0].errors + self.ports[1].errors,
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
