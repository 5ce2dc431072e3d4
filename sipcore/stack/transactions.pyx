"""Transaction heads in a slab: opened, found, armed, settled and freed; their message bytes and what they send.

Cost: 128 bytes a transaction, 16 bytes of timer node, 16 of linger node; memory is touched only as far as it was
ever needed. A response is found by its branch, which is the address of its transaction; a request by a keyed
64-bit hash, taken as unique (2^-64 for a pair, and a stranger cannot aim).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from cpython.ref cimport PyObject, Py_XDECREF
from sipcore.base.address cimport Address
from sipcore.base.linger cimport Linger
from sipcore.base.outbox cimport Outbox
from sipcore.base.pages cimport PAGES_AHEAD, pages_fetch, pages_give, pages_take
from sipcore.base.pool cimport POOL_MEDIUM, POOL_SMALL, Buffer, Pool
from sipcore.base.siphash cimport SipState, siphash_final, siphash_init, siphash_update, siphash_update_word
from sipcore.base.slice cimport Slice
from sipcore.base.wheel cimport Wheel
from sipcore.stack.clienttx cimport client_on_send
from sipcore.stack.counters cimport C_BUFFERS_FULL, C_OUTBOX_FULL, C_TRANSACTIONS_FULL
from sipcore.stack.identity cimport BranchParts, Identity
from sipcore.stack.keytable cimport (
    keytable_enter, keytable_expect, keytable_find, keytable_free, keytable_leave, keytable_make,
)
from sipcore.stack.tx cimport (
    CLIENT_COMPLETED, CLIENT_NONE, NO_RECORD, NO_TX, ROLE_CANCEL, ROLE_FREE, SERVER_COMPLETED, SERVER_CONFIRMED,
    SERVER_NONE, TX_HASHED, TX_LARGE_REQUEST, TX_LARGE_RESPONSE, Tx,
)
from sipcore.wire.edit cimport edit_render, edit_size
from sipcore.wire.index cimport Msg, msg_value
from sipcore.wire.tables cimport H_CALL_ID, METHOD_INVITE
from sipcore.wire.values cimport msg_cseq, msg_from

import os
import struct

cdef enum:
    NO_FREE = 0             # the list of free heads holds slot + 1


cdef inline Buffer _buffer(uint8_t* p, uint32_t n, bint large) noexcept nogil:
    """The pool buffer of a message of n bytes; the byte behind it belongs to it and is zero. large: a medium one
    holds a message that is short enough for a small one."""
    cdef Buffer b
    b.p = p
    b.n = n
    b.capacity = POOL_SMALL if n < POOL_SMALL and not large else POOL_MEDIUM if n < POOL_MEDIUM else n + 1
    return b


cdef class Transactions:
    """Transactions of one worker.

    identity: keys and worker number. transactions: how many may live at once. memory: bytes of message buffers.
    t1, t2, t4: ms (RFC 3261 table 4), timer_c: ms.
    """

    def __cinit__(self, Identity identity=None, *, uint32_t transactions=1 << 20, uint64_t memory=1 << 30,
                  uint32_t t1=500, uint32_t t2=4000, uint32_t t4=5000, uint32_t timer_c=180_000, **_):
        if not 16 <= transactions < 0x0FFFFFFF:
            raise ValueError(f"transactions must be 16 to {0x0FFFFFFE}, not {transactions}")
        if not 10 <= t1 <= 10_000 or not t1 <= t2 <= 32_000:
            raise ValueError("T1 must be 10..10000 ms and T2 from T1 to 32000 ms")
        self.identity = identity if identity is not None else Identity()
        self.capacity = transactions
        self.slab = <Tx*>pages_take(transactions * sizeof(Tx))
        if self.slab == NULL or keytable_make(&self.table, transactions) != 0:
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
        self.counters = self.own_counters

    def __dealloc__(self):
        pages_give(self.slab, self.capacity * sizeof(Tx))
        keytable_free(&self.table)

    cdef void on_free(self, uint32_t slot) noexcept:
        pass

    cdef uint32_t open(self, uint8_t role, uint8_t method) noexcept nogil:
        """A cleared head; NO_TX (and a count) where all are in use."""
        cdef uint32_t slot, generation
        cdef Tx* tx
        if self.free_head != NO_FREE:
            slot = self.free_head - 1
            tx = &self.slab[slot]
            self.free_head = tx.hash_next
            generation = tx.generation + 1
        elif self.fresh < self.capacity:
            slot = self.fresh
            if slot % (PAGES_AHEAD // sizeof(Tx)) == 0:     # a head is a whole part of a page
                pages_fetch(&self.slab[slot], min(<size_t>PAGES_AHEAD, (self.capacity - slot) * sizeof(Tx)))
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
        if tx.role == ROLE_FREE:
            return
        self.on_free(slot)
        self.wheel.disarm(slot)
        if self.linger.queued(slot):
            self.linger.remove(slot)
        self.drop_request(tx)
        self.drop_response(tx)
        if tx.flags & TX_HASHED:
            keytable_leave(&self.table, self.slab, slot)
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
        self.slab[slot].key = key
        keytable_enter(&self.table, self.slab, slot)

    cdef void expect(self, uint64_t key) noexcept nogil:
        """Begin to fetch what `find` will look at."""
        keytable_expect(&self.table, key)

    cdef uint32_t find(self, uint64_t key) noexcept nogil:
        """The server transaction with that key, or NO_TX."""
        return keytable_find(&self.table, self.slab, key)

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
        self._hold(tx, &tx.request, &tx.request_n, TX_LARGE_REQUEST, &b)
        tx.listener_out = <uint8_t>listener
        tx.target = to[0]
        client_on_send(tx, self.now, to.transport != 0, &self.timers)
        return True

    cdef bint keep_request(self, Tx* tx, const uint8_t* p, uint32_t n) noexcept nogil:
        return self._keep(tx, &tx.request, &tx.request_n, TX_LARGE_REQUEST, p, n)

    cdef bint keep_response(self, Tx* tx, const uint8_t* p, uint32_t n) noexcept nogil:
        return self._keep(tx, &tx.response, &tx.response_n, TX_LARGE_RESPONSE, p, n)

    cdef void drop_request(self, Tx* tx) noexcept nogil:
        self._drop(tx, &tx.request, tx.request_n, TX_LARGE_REQUEST)

    cdef void drop_response(self, Tx* tx) noexcept nogil:
        self._drop(tx, &tx.response, tx.response_n, TX_LARGE_RESPONSE)

    cdef bint _keep(self, Tx* tx, uint8_t** at, uint16_t* size, uint32_t large, const uint8_t* p,
                    uint32_t n) noexcept nogil:
        """Keep a copy of p[0..n) in place of what the head has there; False where there is no room for it."""
        cdef Buffer b
        self._drop(tx, at, size[0], large)
        if self.pool.take(n + 1, &b) != 0:
            self.counters[<int>C_BUFFERS_FULL] += 1
            return False
        memcpy(b.p, p, n)
        b.p[n] = 0
        self._hold(tx, at, size, large, &b)
        return True

    cdef void _hold(self, Tx* tx, uint8_t** at, uint16_t* size, uint32_t large, const Buffer* b) noexcept nogil:
        """Hang a buffer with a message and the zero behind it on the head."""
        at[0] = b.p
        size[0] = <uint16_t>(b.n - 1)
        if b.capacity != _buffer(b.p, size[0], False).capacity:
            tx.flags |= large

    cdef void _drop(self, Tx* tx, uint8_t** at, uint16_t size, uint32_t large) noexcept nogil:
        cdef Buffer b
        if at[0] != NULL:
            b = _buffer(at[0], size, (tx.flags & large) != 0)
            self.pool.give(&b)
            at[0] = NULL
            tx.flags &= ~large
