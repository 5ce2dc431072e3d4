"""Runs a Layer on an asyncio loop (uvloop): readable sockets, one timer, batched sending.

One wake-up takes at most four batches of a socket, so that timers and other sockets get their turn under a
flood. One loop timer stands for the next deadline of all transactions; it is moved only when something earlier
turns up. Inside a flow datagrams leave in the order in which they were made, each from its listener's socket.

Long because sending and receiving share the state of the sockets: what one of them meets (an error that waits, a
full buffer) decides what the other does next.
"""
from libc.errno cimport EAGAIN, ECONNREFUSED, EINTR, EINVAL, EIO, ENOBUFS, ENOPROTOOPT, EOPNOTSUPP, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, nanosleep, timespec
from posix.unistd cimport write
from sipcore.base.address cimport address_host, address_same_host
from sipcore.base.outbox cimport Datagram, Outbox
from sipcore.net.udp cimport (
    MSG_DONTWAIT, UDP_BATCH, UDP_SEND_BATCH, UdpSocket, mmsghdr, msghdr, name_of, sendmmsg, sockaddr_storage,
)
from sipcore.stack.layer cimport Layer
from sipcore.stack.record cimport Journal

import os
import stat

cdef extern from "sockets.h" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    void sipcore_segment(msghdr* message, void* control, unsigned short size)
    int poll(pollfd* fds, unsigned long n, int timeout)
    int POLLOUT

cdef enum:
    BATCHES = 4
    REFUSALS = 16               # sends in a row that may meet an ICMP error of another datagram
    JOURNAL_MARK = 1 << 15      # bytes after which the journal is written at once
    JOURNAL_MS = 200            # how long a line waits otherwise
    NO_DATAGRAM = 0xFFFFFFFF
    FEW = 8                     # packets of a batch that is worth waiting for more
    WINDOW_MS = 10
    WINDOW_PACKETS = 120        # of one window from which on the edge is busy: 12,000 packets/s
    PIPE_CHUNK = 4096           # what a pipe that polls as writable takes without blocking

# The kernel adds its timer slack, 50 us.
cdef timespec _A_WHILE
_A_WHILE.tv_sec = 0
_A_WHILE.tv_nsec = 50_000


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
        (<Endpoint>context).flush()


cdef class Endpoint:
    """Joins a Layer to bound sockets on a loop.

    sockets: one for each listener of the layer, in their order (from bind_udp). journal: its lines are written to
    journal_fd, never blocking: what a slow reader does not take waits, and is dropped when the journal is full.
    """

    def __cinit__(self):
        self.names = <sockaddr_storage*>calloc(UDP_SEND_BATCH, sizeof(sockaddr_storage))
        self.controls = <uint8_t*>calloc(UDP_SEND_BATCH, SEGMENT_CONTROL)
        if self.names == NULL or self.controls == NULL:
            raise MemoryError
        self.segmenting = True
        self.journal_fd = -1

    def __init__(self, Layer layer not None, sockets, *, Journal journal=None, int journal_fd=-1,
                 uint32_t message_limit=65535, on_trouble=None):
        if len(sockets) > ENDPOINT_SOCKETS:
            raise ValueError(f"more than {ENDPOINT_SOCKETS} sockets")
        self.layer = layer
        self.sockets = [UdpSocket(sock, i, layer, message_limit) for i, sock in enumerate(sockets)]
        for i, sock in enumerate(self.sockets):
            self.fds[<int>i] = (<UdpSocket>sock).fd
        self.journal = journal
        self.journal_fd = journal_fd
        self.journal_is_file = journal_fd >= 0 and stat.S_ISREG(os.fstat(journal_fd).st_mode)
        self.on_trouble = on_trouble

    def __dealloc__(self):
        free(self.names)
        free(self.controls)

    def start(self, loop):
        """Begin to receive on that loop."""
        self.loop = loop
        self.running = True
        self.layer.outbox.flush = _flush_hook
        self.layer.outbox.context = <void*>self
        for sock in self.sockets:
            loop.add_reader((<UdpSocket>sock).fd, self._on_readable, sock)
        self.after(_clock(CLOCK_MONOTONIC))

    def stop(self):
        """Stop receiving and sending; the sockets stay open."""
        if not self.running:
            return
        self.running = False
        self.flush()
        self.layer.outbox.flush = NULL
        self.layer.outbox.context = NULL
        for sock in self.sockets:
            self.loop.remove_reader((<UdpSocket>sock).fd)
            self.loop.remove_writer((<UdpSocket>sock).fd)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.write_journal()

    def close(self):
        """Stop, and close the sockets."""
        self.stop()
        for sock in self.sockets:
            sock.close()

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
        self.trace = trace

    def statistics(self):
        """Counters of the sockets and of the layer, by name."""
        found = self.layer.statistics()
        found["datagrams_out"] = self.sent
        found["send_errors"] = self.send_errors
        found["truncated"] = sum(sock.truncated for sock in self.sockets)
        found["kernel_drops"] = sum(max(0, sock.drops) for sock in self.sockets)
        found["network_errors"] = sum(sock.errors for sock in self.sockets)
        if self.journal is not None:
            found["journal_dropped"] = self.journal.dropped
        return found

    def _on_readable(self, UdpSocket sock):
        self.pump(sock)

    def _on_writable(self, int fd):
        self.loop.remove_writer(fd)
        self.blocked = False
        self.after(_clock(CLOCK_MONOTONIC))

    def _on_timer(self):
        cdef uint64_t now = _clock(CLOCK_MONOTONIC)
        self.timer = None
        self.layer.expire(now)
        if self.journal is not None and self.journal.n:
            self.write_journal()
        self.after(now)

    cdef void pump(self, UdpSocket sock) noexcept:
        """A socket is readable: batches, each one answered before the next is taken."""
        cdef int i, n
        cdef uint64_t now = 0
        cdef bint shaken = False
        for i in range(BATCHES):
            now = _clock(CLOCK_MONOTONIC)
            n = sock.receive(now, self.trace)
            if n < 0 or (i == 0 and (n == 0 or self.shaken[sock.listener])):
                # Readable with nothing to read, or a send has met it: an error waits.
                sock.take_errors(now)
                shaken = True
            if n > 0 and self.layer.outbox.count:
                self.flush()
            if n < UDP_BATCH and not (0 < n < FEW and i + 1 < BATCHES and self._is_busy(now, n)):
                break
            if n < FEW:
                nanosleep(&_A_WHILE, NULL)
        if shaken:
            self._watch_again(sock)
        self.after(now)

    cdef bint _is_busy(self, uint64_t now, int n) noexcept nogil:
        """Whether packets come so fast that waiting a moment for the next ones is cheaper than waking for each.

        A wake-up through the loop costs as much as handling several packets. Below 12,000 packets/s nothing ever
        waits, and where batches are full there is no need to.
        """
        if now - self.window >= WINDOW_MS:
            self.busy = self.arrived > WINDOW_PACKETS and now - self.window < 2 * WINDOW_MS
            self.window = now
            self.arrived = 0
        self.arrived += <uint32_t>n
        return self.busy

    cdef void _watch_again(self, UdpSocket sock) noexcept:
        """Take up a socket again that had an error: libuv ends its watch on POLLERR, and uvloop does not tell."""
        self.shaken[sock.listener] = False
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
                self.flush()
            for i in range(<uint32_t>len(self.sockets)):
                if self.shaken[i] and self.running:
                    # A send has met an error and cleared it: nothing may be left that wakes the reader.
                    (<UdpSocket>self.sockets[i]).take_errors(now)
                    self._watch_again(<UdpSocket>self.sockets[i])
            if self.failed_n == 0 and self.layer.outbox.count == 0:
                break
            for i in range(self.failed_n):
                failed = &self.failed[i]
                self.layer.now = now
                self.layer.transport_error(failed.data, failed.n)
            self.failed_n = 0
        if self.journal is not None and self.journal.n > JOURNAL_MARK:
            self.write_journal()
        if not self.running:
            return
        try:
            if self.blocked:
                self.loop.add_writer(self.blocked_fd, self._on_writable, self.blocked_fd)
            due = self.layer.next_deadline()
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

    cdef void _show_sent(self, uint32_t n) noexcept:
        """Trace the first n datagrams of the queue, which have just left."""
        cdef Outbox outbox = self.layer.outbox
        cdef uint32_t i
        cdef Datagram* d
        try:
            for i in range(outbox.first, outbox.first + n):
                d = &outbox.queue[i]
                self.trace("out", d.listener, address_host(&d.to), d.to.port,
                           (<const char*>outbox.arena + d.offset)[:d.n])
        except Exception as error:
            self._trouble(f"trace failed: {type(error).__name__}: {error}")

    cdef void _arrange(self) noexcept:
        """Bring datagrams of equal length to the same peer together, without changing the order inside a flow.

        A datagram joins the latest run of its flow where it has the same length, else it begins a new run; runs
        leave in the order in which they began.
        """
        cdef Outbox outbox = self.layer.outbox
        cdef Datagram* first = &outbox.queue[outbox.first]
        cdef Datagram* d
        cdef Datagram* other
        cdef uint32_t latest[FLOWS]     # the latest run of each flow
        cdef uint32_t i, k, runs = 0, flows = 0, at = 0
        cdef Run* run = NULL
        for i in range(outbox.count):
            d = &first[i]
            self.following[i] = NO_DATAGRAM
            k = 0
            while k < flows:
                run = &self.runs[latest[k]]
                other = &first[run.head]
                if other.to.port == d.to.port and other.listener == d.listener and address_same_host(&other.to, &d.to):
                    break
                k += 1
            if k < flows and run.n == d.n and run.count < SEGMENTS and d.n <= SEGMENT_LARGEST:
                self.following[run.tail] = i
                run.tail = i
                run.count += 1
                continue
            run = &self.runs[runs]
            run.head = run.tail = i
            run.count = 1
            run.n = d.n
            if k < flows:
                latest[k] = runs
            elif flows < FLOWS:
                latest[flows] = runs
                flows += 1
            runs += 1
        if runs == outbox.count:
            return
        for k in range(runs):
            i = self.runs[k].head
            while i != NO_DATAGRAM:
                self.arranged[at] = first[i]
                at += 1
                i = self.following[i]
        memcpy(first, self.arranged, at * sizeof(Datagram))

    cdef uint32_t _gather(self, uint32_t done, uint32_t total) noexcept:
        """Make messages of the queued datagrams done..total, of one listener; returns how many messages."""
        cdef Outbox outbox = self.layer.outbox
        cdef Datagram* first = &outbox.queue[outbox.first]
        cdef Datagram* d
        cdef uint32_t i = done, n = 0, count
        cdef mmsghdr* message
        while i < total and first[i].listener == first[done].listener:
            d = &first[i]
            message = &self.outgoing[n]
            message.msg_hdr.msg_name = &self.names[n]
            message.msg_hdr.msg_namelen = name_of(&d.to, &self.names[n])
            message.msg_hdr.msg_iov = &self.vectors[i]
            message.msg_hdr.msg_control = NULL
            message.msg_hdr.msg_controllen = 0
            count = 0
            while True:
                self.vectors[i].iov_base = outbox.arena + first[i].offset
                self.vectors[i].iov_len = first[i].n
                count += 1
                i += 1
                if (not self.segmenting or i == total or count == SEGMENTS or first[i].n != d.n
                        or d.n > SEGMENT_LARGEST or first[i].listener != d.listener
                        or first[i].to.port != d.to.port or not address_same_host(&first[i].to, &d.to)):
                    break
            message.msg_hdr.msg_iovlen = count
            if count > 1:
                sipcore_segment(&message.msg_hdr, self.controls + n * SEGMENT_CONTROL, <unsigned short>d.n)
            self.covers[n] = count
            n += 1
        return n

    cdef void flush(self) noexcept:
        """Send what is queued; inside a flow in order. Stops where a socket takes no more; the rest stays queued."""
        cdef Outbox outbox = self.layer.outbox
        cdef uint32_t i, messages, total = outbox.count, done = 0
        cdef Datagram* first = &outbox.queue[outbox.first]
        cdef int n, fd
        cdef bint segmenting = self.segmenting
        if self.blocked:
            return
        if self.segmenting and total > 2:
            self._arrange()
        while done < total:
            messages = self._gather(done, total)
            fd = self.fds[first[done].listener]
            n = sendmmsg(fd, self.outgoing, messages, MSG_DONTWAIT)
            if n > 0:
                for i in range(<uint32_t>n):
                    done += self.covers[i]
                    self.sent += self.covers[i]
                # What stopped it was perhaps a queued error, which is cleared unseen by now.
                self.shaken[first[done - 1].listener] |= <uint32_t>n < messages
                continue
            if errno == EINTR:
                continue
            if errno == EAGAIN or errno == ENOBUFS:
                self.blocked = True
                self.blocked_fd = fd
                break
            # An error queued for an earlier datagram is reported once by the next send, and cleared by it: the
            # second attempt says whether it is this datagram's own. "Refused" never is (it is always an answer,
            # and the socket is not connected), and under a burst of such answers the next one waits already.
            self.shaken[first[done].listener] = True
            for _ in range(REFUSALS):
                n = sendmmsg(fd, self.outgoing, 1, MSG_DONTWAIT)
                if n >= 0 or errno != ECONNREFUSED:
                    break
            if n > 0:
                self.sent += self.covers[0]
                done += self.covers[0]
            elif errno == EAGAIN or errno == ENOBUFS:
                continue
            elif self.covers[0] > 1:
                # Each by itself, to see whose error it is; for good where this kernel or device cuts no datagrams.
                self.segmenting = False
                if errno in (EINVAL, EIO, ENOPROTOOPT, EOPNOTSUPP):
                    segmenting = False
            else:
                self.send_errors += 1
                if self.failed_n < FAILED_KEPT:
                    self.failed[self.failed_n].n = min(first[done].n, <uint32_t>(FAILED_BYTES - 1))
                    memcpy(self.failed[self.failed_n].data, outbox.arena + first[done].offset,
                           self.failed[self.failed_n].n)
                    self.failed[self.failed_n].data[self.failed[self.failed_n].n] = 0
                    self.failed_n += 1
                done += 1
        self.segmenting = segmenting
        if self.trace is not None:
            self._show_sent(done)
        if done == total:
            outbox.clear()
        else:
            outbox.discard(done)

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
