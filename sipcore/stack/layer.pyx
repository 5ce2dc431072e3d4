"""The transaction layer (RFC 3261 17 and 18.1-18.2), sans-IO: bytes and time come in, the outbox fills.

One Layer serves one worker. `receive` takes a datagram to its end: index, match, step the state machine, and
call one of the `on_*` methods where the core has to act. Nothing here makes a Python object for a message.

Cost: 128 bytes a transaction, 20 bytes of timer node, 24 of linger node; memory is touched only as far as it was
ever needed. A response is found by its branch, which is the address of its transaction; a request by a keyed
64-bit hash, taken as unique (2^-64 for a pair, and a stranger cannot aim).

Long because matching, timers and sending work on the same head, and one reading follows a message through them.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from cpython.ref cimport PyObject, Py_XDECREF
from sipcore.base.address cimport Address, address_from
from sipcore.base.linger cimport Linger
from sipcore.base.pages cimport pages_give, pages_take
from sipcore.base.outbox cimport Outbox
from sipcore.base.pool cimport POOL_MEDIUM, POOL_SMALL, Buffer, Pool
from sipcore.base.siphash cimport SipState, siphash_final, siphash_init, siphash_update, siphash_update_word
from sipcore.base.slice cimport Slice, slice_of
from sipcore.base.wheel cimport Wheel
from sipcore.stack.build cimport RESPONSE_STORED, plan_response, plan_sibling
from sipcore.stack.clienttx cimport client_on_response, client_on_send, client_on_timer
from sipcore.stack.counters cimport (
    C_BUFFERS_FULL, C_COUNT, C_DATAGRAMS_IN, C_KEEPALIVES, C_MALFORMED_REQUESTS, C_MALFORMED_RESPONSES,
    C_OUTBOX_FULL, C_REQUESTS_IN, C_RESPONSES_IN, C_RETRANSMISSIONS_IN, C_RETRANSMISSIONS_OUT, C_STRAY_ACKS,
    C_STRAY_RESPONSES, C_TRANSACTIONS_FULL, C_TRANSPORT_ERRORS, C_ANSWERED,
)
from sipcore.stack.identity cimport BranchParts, Identity, TAG_TEXT
from sipcore.stack.plan cimport MAX_LISTENERS, make_listener
from sipcore.stack.servertx cimport server_on_ack, server_on_request, server_on_response, server_on_timer
from sipcore.stack.tx cimport (
    CLIENT_CALLING, CLIENT_COMPLETED, CLIENT_NONE, CLIENT_TERMINATED, NO_RECORD, NO_TX, ROLE_CANCEL, ROLE_FREE,
    SERVER_COMPLETED, SERVER_CONFIRMED, SERVER_NONE, SERVER_TRYING, STEP_ACK, STEP_PASS, STEP_RESEND_REQUEST,
    STEP_RESEND_RESPONSE, STEP_TIMEOUT, STEP_TRYING_100, TX_CANCEL_SENT, TX_HASHED, TX_LARGE_REQUEST,
    TX_LARGE_RESPONSE, Tx,
)
from sipcore.wire.edit cimport edit_render, edit_size
from sipcore.wire.message cimport (
    DEFAULT_LIMITS, KIND_NONE, KIND_REQUEST, KIND_RESPONSE, Limits, MAX_HEADERS, MAX_MESSAGE, Msg, index_message,
    msg_check, msg_cseq, msg_from, msg_has, msg_uri, msg_value, msg_via,
)
from sipcore.wire.tables cimport H_CALL_ID, H_VIA, METHOD_ACK, METHOD_CANCEL, METHOD_INVITE, method_name
from sipcore.wire.via cimport RPORT_ABSENT

import os
import struct

from sipcore.stack.counters import COUNTERS

cdef enum:
    NO_NEXT = 0             # chains hold slot + 1, so that zeroed memory is an empty chain
    EXPIRE_BATCH = 256
    OUR_HEADERS = 50        # header lines that a forwarded request may have more than it came with

# Our own copies are indexed whatever limits hold for what comes in.
cdef Limits STORED_LIMITS
STORED_LIMITS.message = MAX_MESSAGE
STORED_LIMITS.headers = MAX_HEADERS
STORED_LIMITS.line = MAX_MESSAGE


cdef inline Slice _nothing() noexcept nogil:
    return slice_of(<const uint8_t*>b"", 0)


cdef inline Buffer _buffer(uint8_t* p, uint32_t n, bint large) noexcept nogil:
    """The pool buffer of a message of n bytes; the byte behind it belongs to it and is zero. large: a medium one
    holds a message that is short enough for a small one."""
    cdef Buffer b
    b.p = p
    b.n = n
    b.capacity = POOL_SMALL if n < POOL_SMALL and not large else POOL_MEDIUM if n < POOL_MEDIUM else n + 1
    return b


cdef class Layer:
    """Transactions of one worker.

    identity: keys and worker number. transactions: how many may live at once. memory: bytes of message buffers.
    t1, t2, t4: ms (RFC 3261 table 4), timer_c: ms.
    """

    def __cinit__(self, Identity identity=None, *, uint32_t transactions=1 << 20, uint64_t memory=1 << 30,
                  uint32_t t1=500, uint32_t t2=4000, uint32_t t4=5000, uint32_t timer_c=180_000, **_):
        cdef uint32_t size = 1024
        if not 16 <= transactions < 0x0FFFFFFF:
            raise ValueError(f"transactions must be 16 to {0x0FFFFFFE}, not {transactions}")
        if not 10 <= t1 <= 10_000 or not t1 <= t2 <= 32_000:
            raise ValueError("T1 must be 10..10000 ms and T2 from T1 to 32000 ms")
        self.identity = identity if identity is not None else Identity()
        while size < transactions:
            size *= 2
        self.capacity = transactions
        self.mask = size - 1
        self.slab = <Tx*>pages_take(transactions * sizeof(Tx))
        self.buckets = <uint32_t*>pages_take(size * sizeof(uint32_t))
        if self.slab == NULL or self.buckets == NULL:
            raise MemoryError
        self.wheel = Wheel(transactions)
        self.linger = Linger(transactions, 64 * t1)
        self.pool = Pool(memory)
        self.outbox = Outbox()
        self.seed = struct.unpack("<I", os.urandom(4))[0] & 0xFFFFFF
        self.timers.t1 = t1
        self.timers.t2 = t2
        self.timers.t4 = t4
        self.timers.c = timer_c
        self.limits = DEFAULT_LIMITS
        self.counters = self.own_counters

    def __dealloc__(self):
        pages_give(self.slab, self.capacity * sizeof(Tx))
        pages_give(self.buckets, (<size_t>self.mask + 1) * sizeof(uint32_t))

    # --- configuration and views for Python

    def add_listener(self, str host not None, int port, str public_host=None, public_port=None):
        """Register a listener; returns its number. The public address is what stands in Via and Record-Route."""
        cdef Address bound, advertised
        if self.listener_count == MAX_LISTENERS:
            raise ValueError(f"more than {MAX_LISTENERS} listeners")
        address_from(host, port, &bound)
        address_from(public_host or host, port if public_port is None else public_port, &advertised)
        make_listener(&self.listeners[self.listener_count], &bound, &advertised)
        self.listener_count += 1
        return self.listener_count - 1

    def set_limits(self, uint32_t message=65535, uint32_t headers=128, uint32_t line=8192):
        """Bytes of a message, number of headers (200 at most), bytes of one header or start line."""
        if headers > MAX_HEADERS - OUR_HEADERS:
            raise ValueError(f"at most {MAX_HEADERS - OUR_HEADERS} headers can be indexed, not {headers}")
        self.limits.message = message
        self.limits.headers = headers
        self.limits.line = line

    def use_counters(self, page):
        """Count into a shared page (a writable buffer of at least 8 bytes a counter) from now on."""
        cdef uint64_t[::1] view = memoryview(page).cast("B").cast("Q")[:C_COUNT]
        self.counter_page = view
        self.counters = &view[0]

    def statistics(self):
        """Counters and gauges by name."""
        cdef int i
        found = {name: self.counters[i] for i, name in enumerate(COUNTERS)}
        found["transactions"] = self.live
        found["buffer_bytes"] = self.pool.held
        return found

    def feed(self, bytes data not None, source, uint64_t now, uint32_t listener=0):
        """Receive one datagram: source is (host, port), now is ms."""
        cdef Address address
        address_from(source[0], source[1], &address)
        if listener >= self.listener_count:
            raise ValueError(f"no listener of number {listener}")
        self.receive(listener, &address, <const uint8_t*><const char*>data, <uint32_t>len(data), now)

    def advance(self, uint64_t now):
        """Do what is due at now (ms)."""
        self.expire(now)

    def deadline(self):
        """When advance has something to do (ms), or None."""
        cdef uint64_t at = self.next_deadline()
        return None if at == <uint64_t>-1 else at

    def drain(self):
        """Take the datagrams that wait to be sent: [(listener, host, port, bytes)]."""
        return self.outbox.drain()

    def unreachable(self, bytes data not None, uint64_t now):
        """The network said that this datagram of ours cannot be delivered."""
        self.now = now
        self.transport_error(<const uint8_t*><const char*>data, <uint32_t>len(data))

    # --- in

    cdef void receive(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n,
                      uint64_t now) noexcept:
        """Take one datagram; data[n] must be readable."""
        self.now = now
        self.counters[<int>C_DATAGRAMS_IN] += 1
        self.receive_admitted(listener, source, data, n)

    cdef void receive_admitted(self, uint32_t listener, const Address* source, const uint8_t* data,
                               uint32_t n) noexcept:
        cdef int fault = index_message(&self.msg, data, n, &self.limits)
        cdef uint32_t slot
        cdef uint64_t key
        cdef Msg* m = &self.msg
        cdef Tx* tx
        cdef int step
        if m.kind == KIND_NONE and fault == 0:
            self.counters[<int>C_KEEPALIVES] += 1
            return
        if m.kind == KIND_RESPONSE:
            self.counters[<int>C_RESPONSES_IN] += 1
            if fault == 0:
                fault = msg_check(m)
            if fault:
                # RFC 3261 16.7, 18.1.2: nobody is told about a response that cannot be read.
                self.counters[<int>C_MALFORMED_RESPONSES] += 1
                return
            self._take_response()
            return
        self.counters[<int>C_REQUESTS_IN] += 1
        if fault == 0:
            fault = msg_check(m)
        if fault == 0:
            fault = msg_uri(m)
        if fault:
            self.counters[<int>C_MALFORMED_REQUESTS] += 1
            # Without any Via there is nothing that an answer could be matched by.
            if m.kind == KIND_REQUEST and m.method != METHOD_ACK and msg_has(m, H_VIA):
                self.on_malformed(listener, source, fault)
            return
        if m.method == METHOD_ACK or m.method == METHOD_CANCEL:
            key = self.key_of(m, METHOD_INVITE, method_name(METHOD_INVITE))
            slot = self.find(key)
            if m.method == METHOD_CANCEL:
                self.on_cancel(listener, source, slot)
                return
            if slot != NO_TX:
                step = server_on_ack(&self.slab[slot])
                if not step & STEP_PASS:
                    self.settle(slot)
                    return
            self.on_ack(listener, source, slot)
            return
        key = self.key_of(m, m.method, m.method_text)
        slot = self.find(key)
        if slot == NO_TX:
            self.on_request(listener, source, key)
            return
        self.counters[<int>C_RETRANSMISSIONS_IN] += 1
        tx = &self.slab[slot]
        if server_on_request(tx) & STEP_RESEND_RESPONSE:
            if tx.response != NULL:
                self.counters[<int>C_RETRANSMISSIONS_OUT] += 1
                self.send(tx.listener_in, &tx.source, tx.response, tx.response_n)
            elif tx.server == SERVER_TRYING:
                self.answer(listener, source, 100, _nothing(), _nothing())

    cdef void _take_response(self) noexcept:
        cdef Msg* m = &self.msg
        cdef uint32_t slot = self.find_branch(m.via.branch)
        cdef Tx* tx
        cdef int step
        if slot == NO_TX:
            self.counters[<int>C_STRAY_RESPONSES] += 1
            return
        tx = &self.slab[slot]
        if tx.method != m.method:
            if (m.method != METHOD_CANCEL or tx.link == NO_TX or self.slab[tx.link].role != ROLE_CANCEL
                    or self.slab[tx.link].link != slot):
                self.counters[<int>C_STRAY_RESPONSES] += 1
                return
            slot = tx.link
            tx = &self.slab[slot]
        if tx.client == CLIENT_NONE:
            self.counters[<int>C_STRAY_RESPONSES] += 1
            return
        step = client_on_response(tx, m.status, self.now, &self.timers)
        if step & STEP_ACK:
            self.send_ack(slot)
        if step & STEP_PASS and tx.role != ROLE_CANCEL:
            self.on_response(slot)
        if tx.role != ROLE_FREE:
            self.settle(slot)
            self.rearm(slot)

    cdef void expire(self, uint64_t now) noexcept:
        """Do what is due, in bounded portions; what is left is due at once again (see next_deadline)."""
        cdef uint32_t ids[EXPIRE_BATCH]
        cdef int n, i
        self.now = now
        n = self.wheel.expire(now, ids, EXPIRE_BATCH)
        for i in range(n):
            self._fire(ids[i])
        n = self.linger.expire(now, ids, EXPIRE_BATCH)
        for i in range(n):
            self.close(ids[i])

    cdef uint64_t next_deadline(self) noexcept nogil:
        cdef uint64_t a = self.wheel.next_deadline(), b = self.linger.next_deadline()
        return a if a < b else b

    cdef void _fire(self, uint32_t slot) noexcept:
        cdef Tx* tx = &self.slab[slot]
        cdef int step
        if tx.role == ROLE_FREE:
            return
        if tx.server == SERVER_COMPLETED and tx.method == METHOD_INVITE:
            step = server_on_timer(tx, self.now, &self.timers)
            if step & STEP_RESEND_RESPONSE and tx.response != NULL:
                self.counters[<int>C_RETRANSMISSIONS_OUT] += 1
                self.send(tx.listener_in, &tx.source, tx.response, tx.response_n)
        step = client_on_timer(tx, self.now, &self.timers)
        if step & STEP_RESEND_REQUEST and tx.request != NULL:
            self.counters[<int>C_RETRANSMISSIONS_OUT] += 1
            self.send(tx.listener_out, &tx.target, tx.request, tx.request_n)
        if step & STEP_TRYING_100:
            self.on_slow(slot)
        if step & STEP_TIMEOUT:
            if tx.role == ROLE_CANCEL:
                tx.client = CLIENT_TERMINATED
            else:
                self.on_timeout(slot, False)
        if tx.role != ROLE_FREE:
            self.settle(slot)
            self.rearm(slot)

    cdef void transport_error(self, const uint8_t* data, uint32_t n) noexcept:
        """A datagram of ours came back as undeliverable (ICMP): its transaction hears of it (RFC 3261 18.4)."""
        cdef uint32_t slot
        self.counters[<int>C_TRANSPORT_ERRORS] += 1
        # The copy that the kernel gives back may be cut, so a fault of its end does not matter.
        index_message(&self.stored, data, n, &self.limits)
        if self.stored.kind != KIND_REQUEST or msg_via(&self.stored) != 0:
            return
        slot = self.find_branch(self.stored.via.branch)
        if slot == NO_TX or self.slab[slot].client != CLIENT_CALLING:
            return
        self.on_timeout(slot, True)
        if self.slab[slot].role != ROLE_FREE:
            self.settle(slot)
            self.rearm(slot)

    # --- what a core adds; the layer alone answers what it must and drops the rest

    cdef void on_malformed(self, uint32_t listener, const Address* source, int fault) noexcept:
        self.answer(listener, source, 400, _nothing(), _nothing())

    cdef void on_request(self, uint32_t listener, const Address* source, uint64_t key) noexcept:
        self.answer(listener, source, 501, _nothing(), _nothing())

    cdef void on_ack(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        self.counters[<int>C_STRAY_ACKS] += 1

    cdef void on_cancel(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        self.answer(listener, source, 481, _nothing(), _nothing())

    cdef void on_response(self, uint32_t slot) noexcept:
        pass

    cdef void on_timeout(self, uint32_t slot, bint transport) noexcept:
        self.slab[slot].client = CLIENT_TERMINATED

    cdef void on_slow(self, uint32_t slot) noexcept:
        pass

    cdef void on_free(self, uint32_t slot) noexcept:
        pass

    # --- transactions

    cdef uint32_t open(self, uint8_t role, uint8_t method) noexcept nogil:
        """A cleared head; NO_TX (and a count) where all are in use."""
        cdef uint32_t slot, generation
        cdef Tx* tx
        if self.free_head != NO_NEXT:
            slot = self.free_head - 1
            tx = &self.slab[slot]
            self.free_head = tx.hash_next
            generation = tx.generation + 1
        elif self.fresh < self.capacity:
            slot = self.fresh
            self.fresh += 1
            tx = &self.slab[slot]
            generation = self.seed
        else:
            self.counters[<int>C_TRANSACTIONS_FULL] += 1
            return NO_TX
        memset(tx, 0, sizeof(Tx))
        tx.generation = generation & 0xFFFFFF
        tx.record = NO_RECORD
        tx.link = NO_TX
        tx.role = role
        tx.method = method
        self.live += 1
        return slot

    cdef void close(self, uint32_t slot) noexcept:
        """Free a head and all that hangs on it."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint32_t* place
        if tx.role == ROLE_FREE:
            return
        self.on_free(slot)
        self.wheel.disarm(slot)
        if self.linger.queued(slot):
            self.linger.remove(slot)
        self.drop_request(tx)
        self.drop_response(tx)
        if tx.flags & TX_HASHED:
            place = &self.buckets[tx.key & self.mask]
            while place[0] != NO_NEXT:
                if place[0] - 1 == slot:
                    place[0] = tx.hash_next
                    break
                place = &self.slab[place[0] - 1].hash_next
        if tx.context != NULL:
            Py_XDECREF(<PyObject*>tx.context)
            tx.context = NULL
        if tx.link != NO_TX and tx.role != ROLE_CANCEL and self.slab[tx.link].role == ROLE_CANCEL \
                and self.slab[tx.link].link == slot:
            self.close(tx.link)
        tx.role = ROLE_FREE
        tx.flags = 0
        tx.hash_next = self.free_head
        self.free_head = slot + 1
        self.live -= 1

    cdef void settle(self, uint32_t slot) noexcept nogil:
        """Let go of the bytes that no state needs any more, and start the linger time once both sides are done."""
        cdef Tx* tx = &self.slab[slot]
        cdef bint invite = tx.method == METHOD_INVITE
        cdef bint client_done, server_done
        client_done = tx.client == CLIENT_NONE or tx.client >= CLIENT_COMPLETED
        server_done = (tx.server == SERVER_NONE or tx.server >= SERVER_CONFIRMED
                       or (tx.server == SERVER_COMPLETED and not invite))
        # A failed INVITE keeps its request: its ACK is made from it each time the response comes again.
        if client_done and server_done and tx.request != NULL and not (invite and tx.client == CLIENT_COMPLETED):
            self.drop_request(tx)
        if tx.response != NULL and tx.server >= SERVER_CONFIRMED:
            self.drop_response(tx)
        if client_done and server_done:
            tx.next = 0
            tx.until = 0
            if not self.linger.queued(slot):
                self.wheel.disarm(slot)
                self.linger.push(slot, self.now)

    cdef void rearm(self, uint32_t slot) noexcept nogil:
        """Arm the wheel for the next thing that this transaction waits for."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint64_t at = tx.until
        if tx.next and (at == 0 or tx.next < at):
            at = tx.next
        if at:
            self.wheel.arm(slot, at)
        elif self.wheel.armed(slot):
            self.wheel.disarm(slot)

    cdef uint64_t key_of(self, Msg* m, uint8_t method, Slice method_text) noexcept nogil:
        """The keyed hash of RFC 3261 17.2.3: branch, sent-by and method (ACK and CANCEL ask with INVITE's).

        Without the magic cookie the branch proves nothing, and request URI, From tag, Call-ID, CSeq number and
        the whole top Via take its place. The To tag stays out: an ACK has one that its INVITE had not.
        """
        cdef SipState s
        siphash_init(&s, &self.identity.table_key)
        if method:
            siphash_update_word(&s, method)
        else:
            siphash_update(&s, method_text.p, method_text.n)
        siphash_update(&s, m.via.sent_by.p, m.via.sent_by.n)
        siphash_update(&s, m.via.branch.p, m.via.branch.n)
        if not m.via.cookie:
            # What does not parse still holds the values of an earlier message.
            siphash_update(&s, m.uri_text.p, m.uri_text.n)
            if msg_from(m) == 0:
                siphash_update(&s, m.from_.tag.p, m.from_.tag.n)
            siphash_update(&s, msg_value(m, H_CALL_ID).p, msg_value(m, H_CALL_ID).n)
            if msg_cseq(m) == 0:
                siphash_update_word(&s, m.cseq)
            siphash_update(&s, m.via.text.p, m.via.text.n)
        return siphash_final(&s)

    cdef void remember(self, uint32_t slot, uint64_t key) noexcept nogil:
        """Enter a server transaction into the table, so that what belongs to it is found by its key."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint32_t* bucket = &self.buckets[key & self.mask]
        tx.key = key
        tx.hash_next = bucket[0]
        tx.flags |= TX_HASHED
        bucket[0] = slot + 1

    cdef uint32_t find(self, uint64_t key) noexcept nogil:
        """The server transaction with that key, or NO_TX."""
        cdef uint32_t at = self.buckets[key & self.mask]
        while at != NO_NEXT:
            if self.slab[at - 1].key == key:
                return at - 1
            at = self.slab[at - 1].hash_next
        return NO_TX

    cdef uint32_t find_branch(self, Slice branch) noexcept nogil:
        """The transaction whose branch this is, or NO_TX: not ours, forged, or gone."""
        cdef BranchParts parts
        if not self.identity.get_branch(branch, &parts):
            return NO_TX
        if parts.worker != self.identity.worker or parts.slot >= self.fresh:
            return NO_TX
        if self.slab[parts.slot].role == ROLE_FREE or self.slab[parts.slot].generation != parts.generation:
            return NO_TX
        return parts.slot

    # --- out

    cdef bint send(self, uint32_t listener, const Address* to, const uint8_t* p, uint32_t n) noexcept nogil:
        """Queue a copy of p[0..n)."""
        cdef uint8_t* room = self.outbox.reserve(n)
        if room == NULL:
            self.counters[<int>C_OUTBOX_FULL] += 1
            return False
        memcpy(room, p, n)
        self.outbox.commit(to, <uint16_t>listener, n)
        return True

    cdef uint8_t* render(self, uint32_t listener, const Address* to, uint32_t* n) noexcept nogil:
        """Render self.edit into the outbox; NULL where it does not fit. The bytes stay there until the flush."""
        cdef uint8_t* room
        n[0] = edit_size(&self.edit)
        if self.edit.overflow or n[0] > 65507:
            self.counters[<int>C_OUTBOX_FULL] += 1
            return NULL
        room = self.outbox.reserve(n[0])
        if room == NULL:
            self.counters[<int>C_OUTBOX_FULL] += 1
            return NULL
        edit_render(&self.edit, room)
        self.outbox.commit(to, <uint16_t>listener, n[0])
        return room

    cdef bint send_request(self, Tx* tx, uint32_t listener, const Address* to) noexcept nogil:
        """Render self.edit, keep it as this head's request and start its client side; False, and nothing is sent,
        where there is no room for it."""
        cdef uint32_t n = edit_size(&self.edit)
        cdef uint8_t* room
        cdef Buffer b
        if self.edit.overflow or n > 65507:
            self.counters[<int>C_OUTBOX_FULL] += 1
            return False
        if self.pool.take(n + 1, &b) != 0:
            self.counters[<int>C_BUFFERS_FULL] += 1
            return False
        room = self.outbox.reserve(n)
        if room == NULL:
            self.counters[<int>C_OUTBOX_FULL] += 1
            self.pool.give(&b)
            return False
        edit_render(&self.edit, b.p)
        b.p[n] = 0
        memcpy(room, b.p, n)
        self.outbox.commit(to, <uint16_t>listener, n)
        tx.request = b.p
        tx.request_n = <uint16_t>n
        if b.capacity != _buffer(b.p, n, False).capacity:
            tx.flags |= TX_LARGE_REQUEST
        tx.listener_out = <uint8_t>listener
        tx.target = to[0]
        client_on_send(tx, self.now, False, &self.timers)
        return True

    cdef bint keep_request(self, Tx* tx, const uint8_t* p, uint32_t n) noexcept nogil:
        cdef Buffer b
        self.drop_request(tx)
        if self.pool.take(n + 1, &b) != 0:
            self.counters[<int>C_BUFFERS_FULL] += 1
            return False
        memcpy(b.p, p, n)
        b.p[n] = 0
        tx.request = b.p
        tx.request_n = <uint16_t>n
        if b.capacity != _buffer(b.p, n, False).capacity:
            tx.flags |= TX_LARGE_REQUEST
        return True

    cdef bint keep_response(self, Tx* tx, const uint8_t* p, uint32_t n) noexcept nogil:
        cdef Buffer b
        self.drop_response(tx)
        if self.pool.take(n + 1, &b) != 0:
            self.counters[<int>C_BUFFERS_FULL] += 1
            return False
        memcpy(b.p, p, n)
        b.p[n] = 0
        tx.response = b.p
        tx.response_n = <uint16_t>n
        if b.capacity != _buffer(b.p, n, False).capacity:
            tx.flags |= TX_LARGE_RESPONSE
        return True

    cdef void drop_request(self, Tx* tx) noexcept nogil:
        cdef Buffer b
        if tx.request != NULL:
            b = _buffer(tx.request, tx.request_n, (tx.flags & TX_LARGE_REQUEST) != 0)
            self.pool.give(&b)
            tx.request = NULL
            tx.flags &= ~<uint32_t>TX_LARGE_REQUEST

    cdef void drop_response(self, Tx* tx) noexcept nogil:
        cdef Buffer b
        if tx.response != NULL:
            b = _buffer(tx.response, tx.response_n, (tx.flags & TX_LARGE_RESPONSE) != 0)
            self.pool.give(&b)
            tx.response = NULL
            tx.flags &= ~<uint32_t>TX_LARGE_RESPONSE

    cdef void reply_address(self, const Address* source, Address* out) noexcept nogil:
        """Where responses to self.msg go (RFC 3261 18.2.2, RFC 3581 4): the source, at the port of Via or rport."""
        out[0] = source[0]
        if self.msg.via.rport == RPORT_ABSENT:
            out.port = self.msg.via.port if self.msg.via.port else 5060

    cdef void answer(self, uint32_t listener, const Address* source, uint32_t status, Slice reason,
                     Slice headers) noexcept nogil:
        """Answer self.msg without state: the tag is a hash of the request, so a repetition gets the same answer."""
        cdef Address to
        cdef uint32_t n
        cdef uint8_t tag[TAG_TEXT]
        cdef uint64_t seed = 0
        cdef bint readable = msg_via(&self.msg) == 0
        if readable:
            seed = self.key_of(&self.msg, self.msg.method, self.msg.method_text)
            self.reply_address(source, &to)
        else:
            to = source[0]
        self.identity.put_tag(tag, seed)
        plan_response(&self.edit, &self.msg, status, reason, headers, slice_of(tag, TAG_TEXT), source, 0)
        if self.render(listener, &to, &n) != NULL and status >= 200:
            self.counters[<int>C_ANSWERED] += 1

    cdef void respond(self, uint32_t slot, uint32_t status, Slice reason, Slice headers) noexcept nogil:
        """Answer the request of a server transaction from what we keep of it: time-outs, CANCEL, no target left."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint8_t tag[TAG_TEXT]
        cdef uint8_t* room
        cdef uint32_t n
        cdef int step
        if tx.request == NULL or index_message(&self.stored, tx.request, tx.request_n, &STORED_LIMITS) != 0:
            return
        step = server_on_response(tx, status, self.now, &self.timers)
        if not step & STEP_PASS:
            return
        self.identity.put_tag(tag, tx.key)
        plan_response(&self.edit, &self.stored, status, reason, headers, slice_of(tag, TAG_TEXT), &tx.source,
                      RESPONSE_STORED if tx.client != CLIENT_NONE else 0)
        room = self.render(tx.listener_in, &tx.source, &n)
        if room != NULL and status > 100:
            self.keep_response(tx, room, n)
        if status >= 200:
            self.counters[<int>C_ANSWERED] += 1

    cdef void send_ack(self, uint32_t slot) noexcept nogil:
        """Acknowledge the final response in self.msg hop by hop (RFC 3261 17.1.1.3)."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint32_t n
        if tx.request == NULL or index_message(&self.stored, tx.request, tx.request_n, &STORED_LIMITS) != 0:
            return
        if msg_cseq(&self.stored) != 0:
            return
        plan_sibling(&self.edit, &self.stored, method_name(METHOD_ACK), &self.msg)
        self.render(tx.listener_out, &tx.target, &n)

    cdef void send_cancel(self, uint32_t slot) noexcept:
        """Cancel an INVITE that was answered provisionally (RFC 3261 9.1); once."""
        cdef Tx* tx = &self.slab[slot]
        cdef Tx* cancel
        cdef uint32_t n, other
        if tx.flags & TX_CANCEL_SENT:
            return
        tx.flags |= TX_CANCEL_SENT
        # RFC 3261 9.1: after 64*T1 without a final response the INVITE counts as cancelled.
        tx.until = self.now + 64 * self.timers.t1
        self.rearm(slot)
        if tx.request == NULL or index_message(&self.stored, tx.request, tx.request_n, &STORED_LIMITS) != 0 \
                or msg_cseq(&self.stored) != 0:
            return
        plan_sibling(&self.edit, &self.stored, method_name(METHOD_CANCEL), NULL)
        other = self.open(ROLE_CANCEL, METHOD_CANCEL)
        if other == NO_TX:
            self.render(tx.listener_out, &tx.target, &n)    # once: better than none
            return
        cancel = &self.slab[other]
        if not self.send_request(cancel, tx.listener_out, &tx.target):
            self.close(other)
            return
        cancel.link = slot
        tx.link = other
        self.rearm(other)
