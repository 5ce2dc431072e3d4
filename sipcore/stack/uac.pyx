"""The user agent client core (RFC 3261 8.1, 13.2): a Layer whose client transactions begin here.

What belongs to the core: the CANCEL of an INVITE (9.1), and the ACK that is sent again whenever the 2xx is
(13.2.2.4), of each fork that answers, and after the call is over too.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from cpython.ref cimport Py_INCREF, PyObject
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice, slice_bytes, slice_empty, slice_equal, slice_from, slice_of
from sipcore.stack.clienttx cimport client_on_send
from sipcore.stack.holding cimport Transaction
from sipcore.stack.hop cimport address_of_hop, hop_of_address
from sipcore.stack.identity cimport BRANCH_TEXT, NO_SLOT
from sipcore.stack.layer cimport STORED_LIMITS
from sipcore.stack.listener cimport LISTENER_TEXT
from sipcore.stack.outgoing cimport Outgoing, address_of, header_lines
from sipcore.stack.tx cimport (
    CLIENT_ACCEPTED, CLIENT_CALLING, CLIENT_COMPLETED, CLIENT_PROCEEDING, CLIENT_TERMINATED, NO_TX, ROLE_UAC,
    TX_CANCELLED, TX_CANCEL_SENT, TX_PROBE, Tx,
)
from sipcore.stack.uas cimport UserAgentServer
from sipcore.wire.index cimport Msg, index_message
from sipcore.wire.message cimport Message
from sipcore.wire.tables cimport METHOD_INVITE, method_id
from sipcore.wire.values cimport msg_to

from sipcore.base.errors import LimitExceeded, SipEdgeError

cdef enum:
    VIA_ROOM = LISTENER_TEXT + BRANCH_TEXT + 8

CREDENTIALS = frozenset({"Authorization", "Proxy-Authorization"})
"""What an ACK repeats of its INVITE (22.1)."""


cdef class ClientTransaction(Transaction):
    """A request of ours, and what comes back."""

    @property
    def data(self):
        """The request as it was sent."""
        cdef uint8_t via[VIA_ROOM]
        return slice_bytes(self.request.write(
            (<UserAgentClient>self.agent)._via(via, self.listener, self.branch_slot, self.generation, 0)))

    @property
    def target(self):
        """The Hop that the request went to; ValueError once nothing can come of it any more."""
        if self.slot == NO_TX:
            raise ValueError("the transaction is over")
        return hop_of_address(&self.agent.slab[self.slot].target)

    @property
    def acknowledged(self):
        """How many 2xx, of as many forks, were acknowledged."""
        return len(self.acks) if self.acks is not None else 0

    @property
    def pending(self):
        """Whether the final answer is still to come."""
        return self.slot != NO_TX and self.agent.slab[self.slot].client in (CLIENT_CALLING, CLIENT_PROCEEDING)

    def cancel(self, uint64_t now, headers=()):
        """Cancel an INVITE (9.1), once it was answered provisionally; whether it is not too late for that.

        headers: (name, value) pairs, a Reason (RFC 3326) say; BadText where one could break the message. The answer
        still comes: 487 as a rule, and a 2xx that crossed has to be acknowledged and ended by BYE.
        """
        cdef UserAgentClient agent = <UserAgentClient>self.agent
        if not self.pending or agent.slab[self.slot].method != METHOD_INVITE:
            return False
        self.why = header_lines(headers)
        agent.now = now
        agent.slab[self.slot].flags |= TX_CANCELLED
        if agent.slab[self.slot].client == CLIENT_PROCEEDING:
            agent.send_cancel(self.slot, slice_from(self.why))
        return True

    def give_up(self, uint64_t now):
        """Nobody waits for its answer any longer: it counts as silence. What comes nevertheless is still heard."""
        if self.pending:
            self.agent.now = now
            (<UserAgentClient>self.agent).on_silent(self.slot)

    def ack(self, uint64_t now, Outgoing out not None, to, str to_tag not None, *, late=None, int listener=-1):
        """Send the ACK to the 2xx with that To tag, and keep it for when the 2xx comes again (13.2.2.4).

        out: the Outgoing of `Dialog.ack`; to: a Hop. late: a Handler that is no call's, for 2xx with other tags
        that may still come. With one the transaction, and with it the call that it was for, need not wait for them:
        the ACK goes to the head's bytes, and what late hears of is a transaction made from that ACK. listener: that it
        is sent from, where that is not the INVITE's.
        """
        cdef UserAgentClient agent = <UserAgentClient>self.agent
        cdef Address address
        cdef uint8_t via[VIA_ROOM]
        cdef Slice data
        cdef Tx* tx
        address_of_hop(to, &address)
        if listener < 0:
            listener = <int>self.listener
        agent.now = now
        agent.drawn += 1
        data = out.write(agent._via(via, <uint32_t>listener, NO_SLOT, <uint32_t>(agent.drawn & 0xFFFFFF),
                                    <uint32_t>agent.salt))
        agent.send(<uint32_t>listener, &address, data.p, data.n)
        if late is not None and self.acks is None and self.slot != NO_TX:
            tx = &agent.slab[self.slot]
            if tx.client == CLIENT_ACCEPTED and tx.context == NULL and agent.keep_response(tx, data.p, data.n):
                tx.source = address
                tx.listener_out = <uint8_t>listener
                Py_INCREF(late)
                tx.context = <void*><PyObject*>late
                agent._let_go(self.slot)
                return
        if self.acks is None:
            self.acks = {}
        self.acks[to_tag] = (slice_bytes(data), to, listener)


cdef class UserAgentClient(UserAgentServer):
    """Takes what Layer takes."""

    def request(self, uint64_t now, Outgoing out not None, to, handler=None, *, uint32_t listener=0,
                uint32_t timeout=0):
        """Send an Outgoing (no ACK, no CANCEL) to a Hop in a transaction of its own.

        handler: who hears the answers, self.handler by default. timeout: of a probe, ms, at most 64*T1; without a final
        answer by then it is over, and what becomes of it says nothing of the target but to its handler. Raises
        LimitExceeded where transactions or message memory are used up, BadText where a part of it could break the
        message.
        """
        cdef ClientTransaction client
        cdef Address address
        cdef uint8_t via[VIA_ROOM]
        cdef uint32_t slot
        cdef Slice data
        cdef Tx* tx
        cdef bytes method = out.method.encode("utf-8", "surrogateescape")
        if method == b"ACK" or method == b"CANCEL":
            raise ValueError(f"{out.method} has no transaction of its own")
        if listener >= self.listener_count:
            raise ValueError(f"no listener of number {listener}")
        address_of_hop(to, &address)
        self.now = now
        slot = self.open(ROLE_UAC, method_id(slice_from(method).p, <uint32_t>len(method)))
        if slot == NO_TX:
            raise LimitExceeded("all transactions are in use", limit="limits.transactions")
        tx = &self.slab[slot]
        tx.target = address
        tx.listener_out = <uint8_t>listener
        try:
            data = out.write(self._via(via, listener, slot, tx.generation, 0))
            if not self.keep_request(tx, data.p, data.n):
                raise LimitExceeded("message memory is used up")
        except SipEdgeError:
            self.close(slot)
            raise
        self.send(listener, &address, data.p, data.n)
        client = ClientTransaction.__new__(ClientTransaction)
        client.agent = self
        client.request = out
        client.handler = handler if handler is not None else self.handler
        client.listener = listener
        client.branch_slot = slot
        client.generation = tx.generation
        self._keep_object(slot, client)
        client_on_send(tx, now, address.transport != 0, &self.timers)
        if timeout:
            tx.flags |= TX_PROBE
            tx.until = min(tx.until, now + timeout)
        self.rearm(slot)
        return client

    cdef Slice _via(self, uint8_t* room, uint32_t listener, uint32_t slot, uint32_t generation,
                    uint32_t loop) noexcept nogil:
        """Write a Via line into VIA_ROOM bytes."""
        cdef uint32_t n = self.listeners[listener].via_n
        memcpy(room, self.listeners[listener].via, n)
        self.identity.put_branch(room + n, slot, generation, loop)
        memcpy(room + n + BRANCH_TEXT, b";rport\r\n", 8)
        return slice_of(room, n + BRANCH_TEXT + 8)

    cdef void on_silent(self, uint32_t slot) noexcept:
        """Its sender has given a request up."""
        pass

    cdef void on_response(self, uint32_t slot) noexcept:
        cdef Msg* m = &self.msg
        cdef ClientTransaction client = <ClientTransaction>self._object(slot)
        cdef Tx* tx = &self.slab[slot]
        cdef Address address
        try:
            if client is None and tx.context != NULL and 200 <= m.status < 300:
                client = self._late(slot)
        except Exception as error:
            self._trouble(f"response not taken: {type(error).__name__}: {error}")
        if client is None:
            return
        if m.status < 200 and tx.flags & TX_CANCELLED and tx.client == CLIENT_PROCEEDING:
            self.send_cancel(slot, slice_from(client.why or b""))
        client.status = m.status
        try:
            response = Message.of(m)
            if client.acks is not None and 200 <= m.status < 300 and response.to_tag in client.acks:
                data, to, listener = client.acks[response.to_tag]
                address_of_hop(to, &address)
                self.send(listener, &address, slice_from(data).p, <uint32_t>len(data))
                return
        except Exception as error:
            self._trouble(f"response not taken: {type(error).__name__}: {error}")
            return
        self._tell(client.handler, "on_response", client, response)
        if tx.client == CLIENT_COMPLETED:
            self._let_go(slot)

    cdef ClientTransaction _late(self, uint32_t slot):
        """self.msg is a 2xx to an INVITE that was acknowledged: the same again is acknowledged again, and None;
        a transaction for that of another fork."""
        cdef Tx* tx = &self.slab[slot]
        cdef ClientTransaction client
        cdef Message ack
        if (tx.response == NULL or index_message(&self.stored, tx.response, tx.response_n, &STORED_LIMITS) != 0
                or msg_to(&self.stored) != 0 or msg_to(&self.msg) != 0):
            return None
        if slice_equal(self.stored.to.tag, self.msg.to.tag):
            self.send(tx.listener_out, &tx.source, tx.response, tx.response_n)
            return None
        ack = Message.of(&self.stored)
        client = ClientTransaction.__new__(ClientTransaction)
        client.agent = self
        client.request = Outgoing(
            method="INVITE", uri=ack.uri, call_id=ack.call_id, cseq=ack.cseq[0], local=address_of(ack.header("From")),
            local_tag=ack.from_tag, remote=address_of(ack.header("To")),
            headers=tuple([pair for pair in ack.items() if pair[0] in CREDENTIALS]))
        client.handler = <object><PyObject*>tx.context
        client.listener = tx.listener_out
        client.branch_slot = slot
        client.generation = tx.generation
        client.acks = {ack.to_tag: (ack.data, hop_of_address(&tx.source), tx.listener_out)}
        self._keep_object(slot, client)
        return client

    cdef void on_timeout(self, uint32_t slot, bint transport) noexcept:
        """Timers B and F, an INVITE that rings for as long as Timer C, a CANCEL that brought no answer, ICMP."""
        cdef Tx* tx = &self.slab[slot]
        cdef ClientTransaction client = <ClientTransaction>self._object(slot)
        if tx.client == CLIENT_PROCEEDING and tx.method == METHOD_INVITE and not tx.flags & TX_CANCEL_SENT:
            self.send_cancel(slot, slice_empty())
            return
        tx.client = CLIENT_TERMINATED
        if client is not None:
            self._tell(client.handler, "on_timeout", client, True if transport else False)
            self._let_go(slot)
