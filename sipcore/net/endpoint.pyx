"""Runs a Layer on an asyncio loop (uvloop): readable sockets, one timer, log lines.

One wake-up takes at most four batches of a socket, more only of small ones that come without a pause, so that timers
and other sockets get their turn under a flood. One loop timer stands for the next deadline of all transactions; it is
moved only when something earlier turns up. What a send of the Sender has met (an error that waits, a full buffer) is
taken up here, where the sockets are watched.
"""
from libc.stdint cimport uint32_t, uint64_t
from posix.time cimport (CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_THREAD_CPUTIME_ID, clock_gettime, nanosleep,
                         timespec)
from posix.unistd cimport write
from sipcore.net.sender cimport Failed, Sender
from sipcore.net.stream cimport Streams
from sipcore.net.udp cimport SERVED, SERVED_AMID, UDP_BATCH, UdpSocket
from sipcore.stack.layer cimport Layer
from sipcore.stack.record cimport Journal

import os
import stat

cdef extern from "sockets.h" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long n, int timeout)
    int POLLOUT

cdef enum:
    BATCHES = 4                 # of one wake-up, or
    MESSAGES = 4 * UDP_BATCH    # so many messages in small ones
    JOURNAL_MARK = 1 << 15      # bytes after which the journal is written at once
    JOURNAL_MS = 200            # how long a line waits otherwise
    FEW = 8                     # packets of a batch that is worth waiting for more
    ENOUGH = 12                 # packets that a pause waits for
    LEAST_PAUSE = 50            # us; the kernel adds its timer slack, 50 us. Where enough come sooner, none is made
    MOST_PAUSE = 250
    MOST_WORK = 700_000         # ns of each ms; who works for longer makes no pause: each is a loss of calls then
    WINDOW_MS = 10
    WINDOW_PACKETS = 120        # of one window from which on the edge is busy: 12,000 packets/s
    MOST_LAG = 60_000_000       # us
    PIPE_CHUNK = 4096           # what a pipe that polls as writable takes without blocking


cdef inline uint64_t _clock(int which) noexcept nogil:
    cdef timespec t
    clock_gettime(which, &t)
    return <uint64_t>t.tv_sec * 1000 + <uint64_t>(t.tv_nsec // 1_000_000)


def monotonic_ms() -> int:
    """The clock that a running Endpoint hands to its Layer, ms."""
    return _clock(CLOCK_MONOTONIC)


def wall_offset_ms() -> int:
    """What turns monotonic_ms into the time of day, ms since 1970."""
    return _clock(CLOCK_REALTIME) - _clock(CLOCK_MONOTONIC)


cdef void _flush_hook(void* context) noexcept nogil:
    with gil:
        (<Sender>context).flush()


cdef class Endpoint:
    """Joins a Layer to bound sockets on a loop.

    sockets: one for each listener of the layer, in their order (from bind_udp), None for those of streams.
    journal: its lines are written to journal_fd, never blocking: what a slow reader does not take waits, and is dropped
    when the journal is full.
    """

    def __init__(self, Layer layer not None, sockets, *, Journal journal=None, int journal_fd=-1,
                 uint32_t message_limit=65535, on_trouble=None, Streams streams=None):
        self.layer = layer
        self.sockets = [None if sock is None else UdpSocket(sock, i, layer, message_limit)
                        for i, sock in enumerate(sockets)]
        self.datagrams = [sock for sock in self.sockets if sock is not None]
        self.streams = streams
        self.sender = Sender(layer.outbox, [-1 if sock is None else (<UdpSocket>sock).fd for sock in self.sockets],
                             on_trouble, streams)
        self.journal = journal
        self.journal_fd = journal_fd
        self.journal_is_file = journal_fd >= 0 and stat.S_ISREG(os.fstat(journal_fd).st_mode)
        self.on_trouble = on_trouble

    def start(self, loop):
        """Begin to receive on that loop."""
        self.loop = loop
        self.running = True
        self.layer.outbox.flush = _flush_hook
        self.layer.outbox.context = <void*>self.sender
        for sock in self.datagrams:
            loop.add_reader((<UdpSocket>sock).fd, self._on_readable, sock)
        if self.streams is not None:
            self.streams.start()
            loop.add_reader(self.streams.epoll, self._on_streams)
        self.after(_clock(CLOCK_MONOTONIC))

    def stop(self):
        """Stop receiving and sending; the sockets stay open."""
        if not self.running:
            return
        self.running = False
        self.sender.flush()
        self.layer.outbox.flush = NULL
        self.layer.outbox.context = NULL
        if self.streams is not None:
            self.loop.remove_reader(self.streams.epoll)
            self.streams.stop(_clock(CLOCK_MONOTONIC))
        for sock in self.datagrams:
            self.loop.remove_reader((<UdpSocket>sock).fd)
            self.loop.remove_writer((<UdpSocket>sock).fd)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.write_journal()

    def close(self):
        """Stop, and close the sockets."""
        self.stop()
        for sock in self.datagrams:
            sock.close()
        if self.streams is not None:
            self.streams.close()

    def wake(self):
        """Send what was queued from outside of the pump, and take up its timers."""
        self.after(_clock(CLOCK_MONOTONIC))

    def finish_journal(self, uint32_t ms):
        """Write the waiting log lines, and give a slow reader so long for them: for the end of a process."""
        cdef uint64_t end = _clock(CLOCK_MONOTONIC) + ms, now
        cdef pollfd p
        while self.journal is not None and self.journal_fd >= 0:
            self.write_journal()
            now = _clock(CLOCK_MONOTONIC)
            if self.journal.n == 0 or now >= end:
                return
            p.fd = self.journal_fd
            p.events = <short>POLLOUT
            p.revents = 0
            if poll(&p, 1, <int>(end - now)) <= 0 or not p.revents & POLLOUT:
                return

    def set_trace(self, trace):
        """Show every message to trace(direction, listener, host, port, bytes); None ends it."""
        self.trace = self.sender.trace = trace
        if self.streams is not None:
            self.streams.set_trace(trace)

    def statistics(self):
        """Counters of the sockets and of the layer, by name."""
        found = self.layer.statistics()
        found["datagrams_out"] = self.sender.sent
        found["send_errors"] = self.sender.errors
        found["truncated"] = sum(sock.truncated for sock in self.datagrams)
        found["kernel_drops"] = sum(max(0, sock.drops) for sock in self.datagrams)
        found["deferred"] = sum(sock.backlog.deferred for sock in self.datagrams)
        found["deferred_dropped"] = sum(sock.backlog.dropped for sock in self.datagrams)
        found["network_errors"] = sum(sock.errors for sock in self.datagrams)
        if self.streams is not None:
            found |= self.streams.statistics()
        if self.journal is not None:
            found["journal_dropped"] = self.journal.dropped
        return found

    def _on_readable(self, UdpSocket sock):
        self.pump(sock)

    def _on_backlog(self, UdpSocket sock):
        sock.coming = False
        if self.running:
            self.pump(sock)

    def _on_streams(self):
        """Connections have something: few messages are answered before the next ones are looked for.

        Not so a storm, of which one wake-up takes no more than one look gives, nor what is no message.
        """
        cdef int came, done = 0, total = 0
        cdef uint64_t now = 0, before
        while True:
            now = _clock(CLOCK_MONOTONIC)
            before = self.streams.counters.messages_in
            self.streams.receive(now)
            came = <int>(self.streams.counters.messages_in - before)
            done += 1
            total += came
            if not self._goes_on(now, done, total, came, False) or came >= UDP_BATCH:
                break
        self.after(now)

    def _on_writable(self, int fd):
        self.loop.remove_writer(fd)
        self.sender.blocked = False
        self.after(_clock(CLOCK_MONOTONIC))

    def _on_timer(self):
        cdef uint64_t now = _clock(CLOCK_MONOTONIC)
        self.timer = None
        # A timer that comes late tells of the loop what a packet that waited does.
        self.layer.note_lag(<uint32_t>min(1000 * (now - self.armed), <uint64_t>MOST_LAG) if now > self.armed else 0,
                            self.sender.blocked, now)
        self.layer.expire(now)
        if self.streams is not None and self.streams.untold:
            self.streams.receive(now)
        if self.streams is not None and self.streams.next_deadline() <= now:
            self.streams.expire(now)
        if self.journal is not None and self.journal.n:
            self.write_journal()
        self.after(now)

    cdef void pump(self, UdpSocket sock) noexcept:
        """A socket is readable: batches, each one answered before the next is taken."""
        cdef int n, done = 0, total = 0
        cdef uint64_t now = 0
        cdef bint shaken = False
        while True:
            now = _clock(CLOCK_MONOTONIC)
            n = sock.receive(now, self.trace)
            done += 1
            total += n
            if sock.shaken or (done == 1 and (n == 0 or self.sender.shaken[sock.listener])):
                # Readable with nothing to read, or a send has met it: an error waits.
                sock.take_errors(now)
                shaken = True
            if sock.backlog.count:
                if n > 0 and self.layer.outbox.count:
                    self.sender.flush()
                sock.serve(now, SERVED_AMID if n == UDP_BATCH else SERVED)
                if sock.backlog.count:
                    if self.layer.outbox.count:
                        self.sender.flush()
                    if done == BATCHES:
                        break
                    continue
            if not self._goes_on(now, done, total, n, n == UDP_BATCH):
                break
        if sock.backlog.count:
            self._come_back(sock)
        if shaken:
            self._watch_again(sock)
        self.after(now)

    cdef bint _goes_on(self, uint64_t now, int done, int total, int came, bint more) noexcept:
        """Whether another batch follows those that are done, with `total` messages in all and `came` in the last: their
        answers leave first, and where few came, others get a moment to come. more: others wait for certain."""
        if self.layer.outbox.count:
            self.sender.flush()
        if came <= 0 or not (self._is_busy(now, came) or more):
            return False
        if done >= BATCHES and (self.pause.tv_nsec or total >= MESSAGES):
            return False
        if came < FEW and self.pause.tv_nsec:
            nanosleep(&self.pause, NULL)
        return True

    cdef bint _is_busy(self, uint64_t now, int n) noexcept nogil:
        """Whether messages come so fast that the next batch is looked for at once, after a moment where few came.

        A pass through the loop costs as much as handling several packets, and while a batch was handled others have
        come. Below 12,000 messages/s nothing ever waits; above, the longer the fewer come, as network cards do it. A
        thread that works most of the time does not rest: what came meanwhile fills its batches anyway.
        """
        cdef uint32_t us
        cdef uint64_t worked
        cdef timespec t
        if now - self.window >= WINDOW_MS:
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t)
            worked = <uint64_t>t.tv_sec * 1_000_000_000 + <uint64_t>t.tv_nsec
            self.busy = self.arrived > WINDOW_PACKETS and now - self.window < 2 * WINDOW_MS
            if self.busy:
                us = 1000 * ENOUGH * WINDOW_MS // self.arrived
                if us < LEAST_PAUSE or worked - self.worked > MOST_WORK * (now - self.window):
                    us = 0
                self.pause.tv_nsec = 1000 * min(us, <uint32_t>MOST_PAUSE)
            self.worked = worked
            self.window = now
            self.arrived = 0
        self.arrived += <uint32_t>n
        return self.busy

    cdef void _come_back(self, UdpSocket sock) noexcept:
        """Have the pump work once more, also where nothing new comes: requests wait in the backlog."""
        if not self.running or sock.coming:
            return
        try:
            self.loop.call_soon(self._on_backlog, sock)
            sock.coming = True
        except Exception as error:
            self._trouble(f"backlog left alone: {type(error).__name__}: {error}")

    cdef void _watch_again(self, UdpSocket sock) noexcept:
        """Take up a socket again that had an error: libuv ends its watch on POLLERR, and uvloop does not tell."""
        self.sender.shaken[sock.listener] = False
        if not self.running:
            return
        try:
            self.loop.remove_reader(sock.fd)
            self.loop.add_reader(sock.fd, self._on_readable, sock)
        except Exception as error:
            self._trouble(f"socket not watched: {type(error).__name__}: {error}")

    cdef void after(self, uint64_t now) noexcept:
        """What follows every step: undeliverable datagrams, sending, timers, log lines."""
        cdef uint64_t due
        cdef uint32_t i
        cdef int _round
        cdef Failed* failed
        if self.layer.next_deadline() <= now:
            self.layer.expire(now)
        for _round in range(3):
            if self.layer.outbox.count:
                self.sender.flush()
            elif self.streams is not None:
                self.streams.flush()
            for i in range(<uint32_t>len(self.sockets)):
                if self.sender.shaken[i] and self.running:
                    # A send has met an error and cleared it: nothing may be left that wakes the reader.
                    (<UdpSocket>self.sockets[i]).take_errors(now)
                    self._watch_again(<UdpSocket>self.sockets[i])
            if self.streams is not None and self.streams.has_report():
                self.streams.report(now)
            elif self.sender.failed_n == 0 and self.layer.outbox.count == 0:
                break
            for i in range(self.sender.failed_n):
                failed = &self.sender.failed[i]
                self.layer.now = now
                self.layer.transport_error(failed.data, failed.n)
            self.sender.failed_n = 0
        if self.journal is not None and self.journal.n > JOURNAL_MARK:
            self.write_journal()
        if not self.running:
            return
        try:
            if self.sender.blocked:
                self.loop.add_writer(self.sender.blocked_fd, self._on_writable, self.sender.blocked_fd)
            due = self.layer.next_deadline()
            if self.streams is not None:
                due = min(due, self.streams.next_deadline())
                if self.streams.untold or self.streams.has_report():
                    due = now
            if self.journal is not None and self.journal.n and due > now + JOURNAL_MS:
                due = now + JOURNAL_MS
            if due != <uint64_t>-1 and (self.timer is None or due < self.armed):
                if self.timer is not None:
                    self.timer.cancel()
                self.armed = due if due > now else now + 1
                self.timer = self.loop.call_later((self.armed - now) * 0.001, self._on_timer)
        except Exception as error:
            self._trouble(f"timer not armed: {type(error).__name__}: {error}")

    cdef void _trouble(self, str text) noexcept:
        if self.on_trouble is not None:
            try:
                self.on_trouble(text)
            except Exception as error:
                print(f"{text} ({type(error).__name__}: {error})")

    cdef void write_journal(self) noexcept:
        """Write waiting log lines as far as the descriptor takes them now."""
        cdef pollfd p
        cdef uint32_t at = 0, part
        cdef ssize_t n
        if self.journal is None or self.journal_fd < 0:
            return
        while at < self.journal.n:
            p.fd = self.journal_fd
            p.events = <short>POLLOUT
            p.revents = 0
            if poll(&p, 1, 0) <= 0 or not p.revents & POLLOUT:
                break
            part = self.journal.n - at
            if not self.journal_is_file and part > PIPE_CHUNK:
                # Whole lines: so much is one piece also where others write to the same pipe.
                part = PIPE_CHUNK
                while part and self.journal.text[at + part - 1] != c'\n':
                    part -= 1
                part = part or PIPE_CHUNK
            n = write(self.journal_fd, self.journal.text + at, part)
            if n <= 0:
                break
            at += <uint32_t>n
        self.journal.drop_first(at)
