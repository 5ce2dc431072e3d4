"""Overload control: what begins something is refused with 503 while the worker cannot keep up, so that what is under
way is served as ever.

What is looked at is what packets suffer: how long the oldest one of a batch has waited in the kernel (or a timer in the
loop), whether packets were lost for want of room, and how full the table of transactions is. A burst that is worked off
is no overload: as in CoDel (RFC 8289 4.1) the least lag of a window counts, and only where it is above the limit in two
windows in a row. From then on a share of new requests is refused, which grows while the lag lasts and shrinks when it
is gone: no switch that is thrown to and fro. Retry-After (RFC 3261 20.33) is drawn anew for each of them, so that those
who were refused do not come back together.
"""
from libc.stdint cimport uint32_t, uint64_t

import os

cdef enum:
    STANDING = 2            # windows in a row
    CALM_MS = 1000
    LEAST_STEP = 50         # thousandths by which the share grows in a window
    MOST_STEP = 400
    IDLE_WINDOWS = 20       # after which nothing is left of the share
    NO_LAG = 0xFFFFFFFF


cdef class Overload:
    """seed: of the random numbers, for tests."""

    def __init__(self, seed=None):
        self.state = (int.from_bytes(os.urandom(8)) if seed is None else seed) | 1
        self.least = NO_LAG
        self.limit_to(50, 900, 10)

    def limit_to(self, uint32_t lag_ms, uint32_t fill, uint32_t retry_after):
        """lag_ms: that may last, 0: any. fill: thousandths of all transactions that may be in use. retry_after: in
        seconds; what is answered is between that and twice as much."""
        self.limit = lag_ms * 1000
        self.fill_limit = min(fill, <uint32_t>999)
        self.lines = [b"Retry-After: %d\r\n" % (retry_after + retry_after * i // (ANSWERS - 1)) for i in range(ANSWERS)]

    def seen(self, uint32_t lag_us, uint32_t fill, bint lost, uint64_t now):
        """`note`, for tests and slow paths."""
        self.note(lag_us, fill, lost, now)

    def refused(self, uint64_t now):
        """Whether one new request at now (ms) is refused."""
        return self.refuses(now, self._draw())

    def take_worst(self):
        """The longest lag since this was last asked, us."""
        worst = self.worst
        self.worst = 0
        return worst

    def line(self):
        """A Retry-After header line."""
        return self.retry_after()

    cdef void note(self, uint32_t lag, uint32_t fill, bint lost, uint64_t now) noexcept nogil:
        """A look at the work: lag in us, how full the transactions are in thousandths, whether packets were lost."""
        if now - self.window >= WINDOW_MS:
            self._turn(now)
        self.samples += 1
        if lag < self.least:
            self.least = lag
        if lag > self.worst:
            self.worst = lag
        if fill > self.fill:
            self.fill = fill
        self.lost |= lost

    cdef bint refuses(self, uint64_t now, uint32_t lot) noexcept nogil:
        """Whether one new request is refused. Costs two comparisons where all is well.

        lot: of that request, the same when it is sent again: a copy that came late is no call after its 503.
        """
        if not self.share:
            return False
        if now - self.window >= WINDOW_MS:
            self._turn(now)
        return lot % ALL < self.share

    cdef void _turn(self, uint64_t now) noexcept nogil:
        """A window is over."""
        cdef uint64_t windows = (now - self.window) // WINDOW_MS
        cdef uint32_t step, excess
        self.lag = self.least if self.samples else 0
        if self.limit and (self.lag > self.limit or self.lost) and windows < IDLE_WINDOWS:
            self.above += 1
        else:
            self.above = 0
        if self.above >= STANDING:
            step = LEAST_STEP * max(<uint32_t>1, self.lag // self.limit)
            self.share = min(self.share + min(step, <uint32_t>MOST_STEP), <uint32_t>ALL)
        elif self.above == 0:
            # A window without work, or many, is as good as one without lag.
            while windows and self.share:
                self.share -= min(self.share, max(self.share // 8, <uint32_t>10))
                windows -= 1
        if self.fill > self.fill_limit:
            excess = ALL * (self.fill - self.fill_limit) // (ALL - self.fill_limit)
            self.share = max(self.share, min(excess, <uint32_t>ALL))
        if self.share:
            if not self.on:
                self.on = True
                self.entered += 1
            self.calm = now
        elif self.on and now - self.calm >= CALM_MS:
            self.on = False
        self.window = now
        self.least = NO_LAG
        self.samples = 0
        self.fill = 0
        self.lost = False

    cdef uint32_t _draw(self) noexcept nogil:
        """xorshift64*: good enough to be fair."""
        self.state ^= self.state >> 12
        self.state ^= self.state << 25
        self.state ^= self.state >> 27
        return <uint32_t>(self.state * <uint64_t>0x2545F4914F6CDD1D >> 32)

    cdef bytes retry_after(self):
        """A Retry-After header line."""
        return <bytes>self.lines[self._draw() % ANSWERS]
