"""Hands what waits in an Outbox to the kernel: one sendmmsg a listener, and one send for a train of datagrams.

What a datagram costs lies nearly all in the kernel (route, buffer, a pass through the network stack), once for each
send. UDP_SEGMENT lets it cut one send into datagrams of equal length, of which only the last may be shorter. So
datagrams of one flow (a listener and a peer) are brought together: all 180s that a wake-up has made, then all 200s.

Inside a call the order towards a peer stays. A NOTIFY that comes before the 202 of its REFER, a 200 before its 180,
a BYE before its ACK: SIP allows it (RFC 3515, RFC 6665), and transfers fail of it. Between calls there
is no order to keep: nothing in SIP relates them, and each had its own way through the network before. What belongs
to no known call (retransmissions by timers, what a user agent sends) keeps its place among all that goes to its peer.

Calls are told apart by a hash. That two are alike costs grouping, never order; and a datagram looks back a bounded
number of steps, whatever is in the queue.

Only datagrams that fit every path travel so: none is ever cut where it would not have been fragmented.
"""
from libc.errno cimport EAGAIN, ECONNREFUSED, EINTR, EINVAL, EIO, ENOBUFS, ENOPROTOOPT, EOPNOTSUPP, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from sipcore.base.address cimport address_host, address_same_host
from sipcore.base.outbox cimport Datagram, Outbox
from sipcore.base.sockname cimport name_of, sockaddr, sockaddr_storage
from sipcore.net.udp cimport MSG_DONTWAIT, UDP_SEND_BATCH, mmsghdr, msghdr, sendmmsg

cdef extern from "sockets.h" nogil:
    void sipcore_segment(msghdr* message, void* control, unsigned short size)

cdef enum:
    SEGMENT_LARGEST = 1232      # bytes of a datagram that fits every IPv6 path (RFC 8200 5)
    SEGMENTS = 60               # datagrams that the kernel cuts out of one send (64, Linux 4.18)
    TRAIN_BYTES = 65_000        # bytes of one send
    FLOWS = 32                  # flows told apart in one flush
    FLOW_STEP = 131             # keeps the flows of one call apart in the hash table
    LOOK_BACK = 16              # trains of a flow that a datagram looks at
    REFUSALS = 16               # sends in a row that may meet an ICMP error of another datagram
    NO_DATAGRAM = 0xFFFFFFFF
    NO_TRAIN = 0xFFFFFFFF


cdef inline bint _same_flow(const Datagram* a, const Datagram* b) noexcept nogil:
    return a.to.port == b.to.port and a.listener == b.listener and address_same_host(&a.to, &b.to)


cdef inline bint _may_join(uint32_t n, uint32_t last_n, uint32_t count, uint32_t next_n) noexcept nogil:
    """Whether a datagram of next_n bytes may follow a train of `count` of n bytes whose last one has last_n."""
    return (next_n <= n and last_n == n and count < SEGMENTS and n <= SEGMENT_LARGEST
            and (count + 1) * n <= TRAIN_BYTES)


cdef inline bint _begins_anew(Flow* flow, uint32_t n) noexcept nogil:
    """Whether the flow's next datagram begins a train where no order is changed; takes it into account."""
    cdef bint anew = not _may_join(flow.n, flow.last_n, flow.count, n)
    flow.count = 1 if anew else flow.count + 1
    flow.last_n = n
    if anew:
        flow.n = n
    return anew


cdef class Sender:
    """Sends the datagrams of outbox through descriptors, the bound sockets by listener.

    on_trouble: callable(text), told of a trace that fails, or None. streams: what sends for the listeners whose
    descriptor is -1.
    """

    def __cinit__(self):
        self.names = <sockaddr_storage*>calloc(UDP_SEND_BATCH, sizeof(sockaddr_storage))
        self.controls = <uint8_t*>calloc(UDP_SEND_BATCH, SEGMENT_CONTROL)
        if self.names == NULL or self.controls == NULL:
            raise MemoryError
        self.segmenting = True

    def __init__(self, Outbox outbox not None, descriptors, on_trouble=None, Streams streams=None):
        cdef int i, fd
        if len(descriptors) > SENDER_SOCKETS:
            raise ValueError(f"more than {SENDER_SOCKETS} sockets")
        self.outbox = outbox
        self.on_trouble = on_trouble
        self.streams = streams
        for i, fd in enumerate(descriptors):
            self.fds[i] = fd

    def __dealloc__(self):
        free(self.names)
        free(self.controls)

    def send(self):
        """Send what waits; returns how many datagrams are left because a socket takes no more."""
        self.blocked = False
        self.flush()
        return self.outbox.count

    cdef void flush(self) noexcept:
        """Send what is queued; inside a call in order. Stops where a socket takes no more; the rest stays queued."""
        cdef Outbox outbox = self.outbox
        cdef uint32_t i, messages, total, done = 0
        cdef Datagram* first = &outbox.queue[outbox.first]
        cdef int n, fd
        cdef bint segmenting = self.segmenting
        if self.streams is not None:
            self._hand_over()
        total = outbox.count
        if self.blocked or total == 0:
            return
        if self.segmenting and total > 1:
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
            self.shaken[first[done].listener] = True
            if self._send_first(fd) > 0:
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
                self._fail(&first[done])
                done += 1
        self.segmenting = segmenting
        if self.trace is not None:
            self._show(done)
        if done == total:
            outbox.clear()
        else:
            outbox.discard(done)

    cdef void _hand_over(self) noexcept:
        """Give the streams what is theirs; what is left keeps its order."""
        cdef Outbox outbox = self.outbox
        cdef Datagram* first = &outbox.queue[outbox.first]
        cdef Datagram* d
        cdef uint32_t i, kept = 0, total = outbox.count
        for i in range(total):
            d = &first[i]
            if self.fds[d.listener] < 0:
                self.streams.send(d.listener, &d.to, outbox.arena + d.offset, d.n)
            else:
                if kept != i:
                    first[kept] = d[0]
                kept += 1
        if kept == 0:
            outbox.clear()
        else:
            outbox.count = kept
        self.streams.flush()

    cdef void _arrange(self) noexcept:
        """Bring datagrams together that can leave as one send, without changing the order inside a call.

        Trains leave in the order in which they began. Never more of them than without any change of order.
        """
        cdef Outbox outbox = self.outbox
        cdef Datagram* first = &outbox.queue[outbox.first]
        cdef uint32_t i, k, in_order, at = 0
        cdef uint32_t trains = self._form(True, &in_order)
        cdef uint32_t sends = trains - self._end_with_single_ones(trains)
        if sends > in_order:
            sends = trains = self._form(False, &in_order)
        if sends == outbox.count:
            return
        for k in range(trains):
            if self.trains[k].count:
                i = self.trains[k].head
                while i != NO_DATAGRAM:
                    self.arranged[at] = first[i]
                    at += 1
                    i = self.following[i]
        memcpy(first, self.arranged, at * sizeof(Datagram))

    cdef uint32_t _form(self, bint across, uint32_t* in_order) noexcept:
        """Put each waiting datagram into a train, and count those that would be if no order were changed.

        across: a datagram may leave before others of its flow, but not before one of its own call: it joins the
        latest train of its own length, no earlier than where its call, or one that hashes alike, was seen last.
        A datagram of an unknown call only joins the latest train, and none of its flow passes it.
        """
        cdef Outbox outbox = self.outbox
        cdef Datagram* first = &outbox.queue[outbox.first]
        cdef Datagram* d
        cdef Flow table[FLOWS + 1]      # the last one for all that come when the others are taken
        cdef Flow* flow
        cdef Train* train
        cdef uint16_t* place
        cdef uint32_t i, k, t, call, floor, step, trains = 0, flows = 0
        in_order[0] = 0
        memset(self.places, 0, sizeof(self.places))
        for i in range(outbox.count):
            d = &first[i]
            self.following[i] = NO_DATAGRAM
            k = 0
            while k < flows and not _same_flow(&first[table[k].head], d):
                k += 1
            flow = &table[k]
            if k == flows:
                flow.head = i
                flow.latest = NO_TRAIN
                flow.barrier = flow.n = flow.last_n = flow.count = 0
                flows += k < FLOWS
            in_order[0] += _begins_anew(flow, d.n)
            call = d.call if across else 0
            place = &self.places[(call + k * FLOW_STEP) & (PLACES - 1)]
            t = flow.latest
            floor = max(<uint32_t>place[0], flow.barrier) if call else t
            step = 0
            while t != NO_TRAIN:
                train = &self.trains[t]
                if t < floor or step == LOOK_BACK:
                    t = NO_TRAIN
                elif (train.n == d.n or not call) and _may_join(train.n, train.last_n, train.count, d.n):
                    break
                else:
                    t = train.previous
                    step += 1
            if t == NO_TRAIN:
                t = trains
                trains += 1
                train = &self.trains[t]
                train.head = i
                train.count = 0
                train.n = d.n
                train.previous = flow.latest
                train.floor = floor
                flow.latest = t
            else:
                train = &self.trains[t]
                self.following[train.tail] = i
            train.tail = i
            train.last_n = d.n
            train.count += 1
            if call:
                place[0] = <uint16_t>t
            else:
                flow.barrier = t
        return trains

    cdef uint32_t _end_with_single_ones(self, uint32_t trains) noexcept:
        """Let trains of one datagram be the shorter end of earlier ones; returns how many were taken up so."""
        cdef Train* single
        cdef Train* train
        cdef uint32_t s, t, taken = 0
        for s in range(trains):
            single = &self.trains[s]
            t = single.previous
            if single.count != 1:
                continue
            for _ in range(LOOK_BACK):
                if t == NO_TRAIN or t < single.floor:
                    break
                train = &self.trains[t]
                if train.count and _may_join(train.n, train.last_n, train.count, single.n):
                    self.following[train.tail] = single.head
                    train.tail = single.head
                    train.last_n = single.n
                    train.count += 1
                    single.count = 0
                    taken += 1
                    break
                t = train.previous
        return taken

    cdef uint32_t _gather(self, uint32_t done, uint32_t total) noexcept:
        """Make messages of the queued datagrams done..total, of one listener; returns how many messages."""
        cdef Outbox outbox = self.outbox
        cdef Datagram* first = &outbox.queue[outbox.first]
        cdef Datagram* d
        cdef uint32_t i = done, n = 0, count
        cdef mmsghdr* message
        while i < total and first[i].listener == first[done].listener:
            d = &first[i]
            message = &self.outgoing[n]
            message.msg_hdr.msg_name = &self.names[n]
            message.msg_hdr.msg_namelen = name_of(&d.to, <sockaddr*>&self.names[n])
            message.msg_hdr.msg_iov = &self.vectors[i]
            message.msg_hdr.msg_control = NULL
            message.msg_hdr.msg_controllen = 0
            count = 0
            while True:
                self.vectors[i].iov_base = outbox.arena + first[i].offset
                self.vectors[i].iov_len = first[i].n
                count += 1
                i += 1
                if (not self.segmenting or i == total or not _may_join(d.n, first[i - 1].n, count, first[i].n)
                        or not _same_flow(&first[i], d)):
                    break
            message.msg_hdr.msg_iovlen = count
            if count > 1:
                sipcore_segment(&message.msg_hdr, self.controls + n * SEGMENT_CONTROL, <unsigned short>d.n)
            self.covers[n] = count
            n += 1
        return n

    cdef int _send_first(self, int fd) noexcept:
        """Send the first message of `outgoing` once more after an error; the result and errno of sendmmsg.

        An error queued for an earlier datagram is reported once by the next send, and cleared by it: the second
        attempt says whether it is this datagram's own. "Refused" never is (it is always an answer, and the socket is
        not connected), and under a burst of such answers the next one waits already.
        """
        cdef int n = -1
        for _ in range(REFUSALS):
            n = sendmmsg(fd, self.outgoing, 1, MSG_DONTWAIT)
            if n >= 0 or errno != ECONNREFUSED:
                break
        return n

    cdef void _fail(self, const Datagram* datagram) noexcept:
        """Keep what the network refused, with a zero behind it, as far as there is room."""
        cdef Failed* failed
        self.errors += 1
        if self.failed_n == FAILED_KEPT:
            return
        failed = &self.failed[self.failed_n]
        failed.n = min(datagram.n, <uint32_t>(FAILED_BYTES - 1))
        memcpy(failed.data, self.outbox.arena + datagram.offset, failed.n)
        failed.data[failed.n] = 0
        self.failed_n += 1

    cdef void _show(self, uint32_t n) noexcept:
        """Trace the first n datagrams of the queue, which have just left."""
        cdef Outbox outbox = self.outbox
        cdef uint32_t i
        cdef Datagram* d
        try:
            for i in range(outbox.first, outbox.first + n):
                d = &outbox.queue[i]
                self.trace("out", d.listener, address_host(&d.to), d.to.port,
                           (<const char*>outbox.arena + d.offset)[:d.n])
        except Exception as error:
            if self.on_trouble is not None:
                self.on_trouble(f"trace failed: {type(error).__name__}: {error}")
