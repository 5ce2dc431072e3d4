"""The user agent core (RFC 3261 8, 12.2, 13, 14): a Layer whose transactions begin and end here.

Matching, retransmissions and timers stay in the Layer; what belongs to the core is added here: the dialog that a
request belongs to (481), its CSeq order (500), merged requests (8.2.2.2: 482), extensions that are required and
unknown (420), CANCEL (9.2: 487), the 2xx that is sent until its ACK comes (13.3.1.4), and the ACK that is sent again
whenever that 2xx is (13.2.2.4).

Sans-IO like every Layer: `feed`, `advance`, `drain`, `deadline`; `now` (ms) is an argument of all that sends. A
Handler hears what happens, synchronously, inside `feed` and `advance`, and may send from there. What it raises is
kept in `troubles` and a waiting request is answered 500.

Long because what a core enforces and the two kinds of transaction that it acts on are one text.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF, PyObject
from sipcore.base.address cimport Address, TRANSPORT_WSS, address_same_host, is_secure, transport_name
from sipcore.base.siphash cimport SipState, siphash_final, siphash_init, siphash_update, siphash_update_word
from sipcore.base.slice cimport Slice, slice_bytes, slice_empty, slice_equal, slice_from, slice_of
from sipcore.base.wheel cimport Wheel
from sipcore.stack.alarms cimport Alarms
from sipcore.stack.build cimport RESPONSE_DIALOG, plan_response
from sipcore.stack.clienttx cimport client_on_send
from sipcore.stack.counters cimport C_ANSWERED, C_CANCELLED, C_RETRANSMISSIONS_OUT, C_STRAY_ACKS, C_STRAY_CANCELS
from sipcore.stack.hop cimport address_of_hop, hop_of_address
from sipcore.stack.identity cimport BRANCH_TEXT, Identity, NO_SLOT, TAG_TEXT, TOKEN_TEXT
from sipcore.stack.layer cimport Layer, STORED_LIMITS
from sipcore.stack.outgoing cimport Outgoing, address_of, header_lines, raw, tail
from sipcore.stack.listener cimport LISTENER_TEXT
from sipcore.stack.servertx cimport server_on_response
from sipcore.stack.tx cimport (
    CLIENT_ACCEPTED, CLIENT_CALLING, CLIENT_COMPLETED, CLIENT_PROCEEDING, CLIENT_TERMINATED, NO_TX, ROLE_UAC, ROLE_UAS,
    SERVER_PROCEEDING, SERVER_TRYING, STEP_PASS, TX_BEGUN, TX_CANCELLED, TX_CANCEL_SENT, TX_PROBE, Tx,
)
from sipcore.wire.edit cimport edit_render, edit_size
from sipcore.wire.message cimport (
    Message, Msg, NO_HEADER, index_message, msg_cseq, msg_from, msg_has, msg_to, msg_value, slice_text,
)
from sipcore.wire.tables cimport H_CALL_ID, H_REASON, H_REQUIRE, METHOD_INVITE, method_id

import os
import struct

from sipcore.base.errors import LimitExceeded, SipEdgeError
from sipcore.stack.handler import Handler
from sipcore.stack.naming import Naming

cdef enum:
    VIA_ROOM = LISTENER_TEXT + BRANCH_TEXT + 8
    ALARMS = 1 << 16        # at once, at least
    TROUBLES = 100          # texts kept for the log between two takings

CREDENTIALS = frozenset({"Authorization", "Proxy-Authorization"})
"""What an ACK repeats of its INVITE (22.1)."""

cdef bytes _NO_BODY = b"Content-Length: 0\r\n\r\n"


cdef class Transaction:
    """What both kinds have in common."""


cdef class ServerTransaction(Transaction):
    """A request that came, and what is sent back."""

    @property
    def source(self):
        """The Hop that the request came from."""
        return hop_of_address(&self.source)

    @property
    def waiting(self):
        """Whether a final response can still be sent."""
        return self.slot != NO_TX and self.agent.slab[self.slot].server in (SERVER_TRYING, SERVER_PROCEEDING)

    def respond(self, uint64_t now, int status, str reason not None="", *, headers=(), bytes body not None=b"",
                str content_type not None="application/sdp"):
        """Send a response; whether it was still possible. reason: empty for the registered phrase.

        headers: (name, value) pairs. Raises BadText where one could break the message; nothing is sent then.
        """
        cdef UserAgent agent = self.agent
        cdef Tx* tx
        cdef bytes data, tag
        if not 100 <= status <= 699:
            raise ValueError(f"not a status: {status}")
        data = self._build(status, reason, header_lines(headers), tail(body, content_type) if body else _NO_BODY)
        if self.slot == NO_TX:
            return False
        agent.now = now
        tx = &agent.slab[self.slot]
        if not server_on_response(tx, <uint32_t>status, now, &agent.timers) & STEP_PASS:
            return False
        self.status = status
        agent.send(tx.listener_in, &tx.source, slice_from(data).p, <uint32_t>len(data))
        if tx.method == METHOD_INVITE and 200 <= status < 300:
            # The core sends it again by itself until the ACK comes; nobody else does.
            agent.drop_response(tx)
        elif status > 100:
            agent.keep_response(tx, slice_from(data).p, <uint32_t>len(data))
        if status >= 200:
            agent.counters[<int>C_ANSWERED] += 1
            if status < 300 and tx.method == METHOD_INVITE:
                self.unacknowledged = data
                tag = self.tag.encode("ascii")
                self.ack = agent._ack_key(self.request.msg, slice_from(tag))
                agent.awaited[self.ack] = self
                self.interval = agent.timers.t1
                agent.resends.arm(self.slot, now + self.interval)
        if self.record is not None:
            agent.on_responded(self, <uint32_t>status)
        if self.dialog is not None:
            self.dialog.responded(self.request, status)
        agent.settle(self.slot)
        agent.rearm(self.slot)
        if status >= 200 and self.unacknowledged is None:
            agent._let_go(self.slot)
        return True

    cdef bytes _build(self, int status, str reason, bytes lines, bytes end):
        cdef UserAgent agent = self.agent
        cdef bytes tag = self.tag.encode("ascii")
        cdef bytes text = raw(reason)
        cdef bytes data
        if text and (b"\r" in text or b"\n" in text or b"\0" in text):
            raise ValueError(f"not a reason phrase: {reason!r}")
        plan_response(&agent.edit, self.request.msg, <uint32_t>status, slice_from(text), slice_from(lines),
                      slice_from(tag), &self.source, RESPONSE_DIALOG if 100 < status < 300 else 0)
        if agent.edit.overflow:
            raise LimitExceeded("the response is too big")
        data = PyBytes_FromStringAndSize(NULL, edit_size(&agent.edit))
        edit_render(&agent.edit, <uint8_t*>PyBytes_AS_STRING(data))
        return data if end is _NO_BODY else data.removesuffix(_NO_BODY) + end


cdef class ClientTransaction(Transaction):
    """A request of ours, and what comes back."""

    @property
    def data(self):
        """The request as it was sent."""
        cdef uint8_t via[VIA_ROOM]
        return slice_bytes(self.request.write(
            self.agent._via(via, self.listener, self.branch_slot, self.generation, 0)))

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
        cdef UserAgent agent = self.agent
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
            self.agent.on_silent(self.slot)

    def ack(self, uint64_t now, Outgoing out not None, to, str to_tag not None, *, late=None, int listener=-1):
        """Send the ACK to the 2xx with that To tag, and keep it for when the 2xx comes again (13.2.2.4).

        out: the Outgoing of `Dialog.ack`; to: a Hop. late: a Handler that is no call's, for 2xx with other tags
        that may still come. With one the transaction, and with it the call that it was for, need not wait for them:
        the ACK goes to the head's bytes, and what late hears of is a transaction made from that ACK. listener: that it
        is sent from, where that is not the INVITE's.
        """
        cdef UserAgent agent = self.agent
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


cdef class UserAgent(Layer):
    """The core of one or more endpoints. handler: a Handler for what belongs to no dialog; extensions: option tags
    that a Require may name."""

    def __init__(self, Identity identity=None, *, handler=None, extensions=(), **_):
        self.handler = handler if handler is not None else Handler()
        self.naming = Naming()
        self.extensions = frozenset(extensions)
        self.dialogs = {}
        self.troubles = []
        self.held = []
        self.begun = {}
        self.awaited = {}
        self.resends = Wheel(self.capacity)
        self.alarms = Alarms(max(self.capacity, <uint32_t>ALARMS), self.troubles)
        self.salt = struct.unpack("<Q", os.urandom(8))[0]

    @property
    def time(self):
        """ms: the now of the step that is being taken, for Handlers."""
        return self.now

    def take_troubles(self):
        """Texts about mistakes of handlers since the last call, for the log."""
        taken = self.troubles[:]
        self.troubles.clear()
        return taken

    def call_at(self, uint64_t at, callback not None):
        """Call callback() once when `advance` gets to at (ms), never early; `cancel` of the returned Alarm forgets it.

        One that is set for the past fires at the next `advance`. What it raises goes to `troubles`. LimitExceeded where
        as many are set as there may be transactions.
        """
        return self.alarms.at(at, callback)

    def new_tag(self):
        """A tag that nobody else makes and nobody can guess (19.3); the worker's number stands in it."""
        cdef uint8_t text[TAG_TEXT]
        self.drawn += 1
        self.identity.put_tag(text, self.drawn ^ self.salt)
        return slice_bytes(slice_of(text, TAG_TEXT)).decode("ascii")

    def new_call_id(self):
        """A Call-ID that nobody else makes (8.1.1.4)."""
        return self.new_tag() + self.new_tag()

    def contact(self, str user not None="", uint32_t listener=0, bint secure=False):
        """A Contact value at the listener's advertised address; an edge's has a token of its own, so that it is made
        once for a dialog. secure: a sips: URI, where the listener's transport is encrypted."""
        cdef uint8_t text[TOKEN_TEXT]
        if listener >= self.listener_count:
            raise ValueError(f"no listener of number {listener}")
        host = slice_bytes(slice_of(self.listeners[listener].contact, self.listeners[listener].contact_n)).decode()
        transport = self.listeners[listener].bound.transport
        secure = secure and is_secure(transport)
        token = ""
        if transport and not secure:
            token = ";transport=" + transport_name(transport)
        elif transport == TRANSPORT_WSS:
            token = ";transport=ws"
        if self.keyed:
            self.drawn += 1
            self.identity.put_contact(text, self.drawn ^ self.salt)
            token += ";t=" + slice_bytes(slice_of(text, TOKEN_TEXT)).decode("ascii")
        scheme = "sips" if secure else "sip"
        return f"<{scheme}:{user}@{host}{token}>" if user else f"<{scheme}:{host}{token}>"

    def add(self, dialog, owner):
        """Let owner (a Handler) hear requests inside the dialog."""
        dialog.owner = owner
        self.dialogs[dialog.id] = dialog

    def remove(self, dialog):
        """Requests inside the dialog are answered 481 from now on."""
        self.dialogs.pop(dialog.id, None)
        # Owners hold their dialogs: what both held would wait for the garbage collector.
        dialog.owner = None

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

    cdef bint _tell(self, object handler, str what, Transaction tx, object more) noexcept:
        """Let a transaction's handler hear of something; whether it made no mistake."""
        # From here on messages of other calls may be sent.
        self.outbox.call = 0
        try:
            if more is None:
                getattr(handler, what)(tx)
            else:
                getattr(handler, what)(tx, more)
        except Exception as error:
            self._trouble(f"{what}: {type(error).__name__}: {error}")
            return False
        return True

    cdef void _trouble(self, str text) noexcept:
        if len(self.troubles) < TROUBLES:
            self.troubles.append(text)

    cdef void _refuse(self, uint32_t listener, const Address* source, uint32_t status, bytes reason,
                      bytes headers) noexcept:
        self.answer(listener, source, status, slice_from(reason), slice_from(headers))

    cdef void _keep_object(self, uint32_t slot, Transaction tx) noexcept:
        while <uint32_t>len(self.held) <= slot:
            self.held.append(None)
        self.held[slot] = tx
        tx.slot = slot

    cdef Transaction _object(self, uint32_t slot):
        """The transaction of a head; None where it only lingers."""
        return <Transaction>self.held[slot] if slot < <uint32_t>len(self.held) else None

    cdef void _let_go(self, uint32_t slot) noexcept:
        """Part a head that only lingers from its object: what a call was made of goes when the call goes."""
        cdef Transaction tx = self._object(slot)
        if tx is not None:
            tx.slot = NO_TX
            tx.handler = None
            self.held[slot] = None

    # --- server side

    cdef object _dialog_of(self, const Msg* m):
        """The dialog that a request (or an ACK) belongs to, None for none. Needs From and To parsed."""
        return self.dialogs.get((slice_text(msg_value(m, H_CALL_ID)), slice_text(m.to.tag), slice_text(m.from_.tag)))

    cdef uint64_t _merge_key(self, const Msg* m) noexcept nogil:
        """What a request that came by two ways has in common (8.2.2.2). Needs From and CSeq parsed."""
        cdef SipState s
        siphash_init(&s, &self.identity.table_key)
        siphash_update(&s, msg_value(m, H_CALL_ID).p, msg_value(m, H_CALL_ID).n)
        siphash_update(&s, m.from_.tag.p, m.from_.tag.n)
        siphash_update_word(&s, m.cseq)
        siphash_update(&s, m.method_text.p, m.method_text.n)
        return siphash_final(&s)

    cdef uint64_t _ack_key(self, Msg* m, Slice tag) noexcept nogil:
        """What an INVITE that was answered with our tag and the ACK to its 2xx have in common: dialog and number."""
        cdef SipState s
        siphash_init(&s, &self.identity.table_key)
        siphash_update(&s, msg_value(m, H_CALL_ID).p, msg_value(m, H_CALL_ID).n)
        siphash_update(&s, tag.p, tag.n)
        if msg_from(m) == 0:
            siphash_update(&s, m.from_.tag.p, m.from_.tag.n)
        if msg_cseq(m) == 0:
            siphash_update_word(&s, m.cseq)
        return siphash_final(&s)

    cdef void on_request(self, uint32_t listener, const Address* source, uint64_t key) noexcept:
        """RFC 3261 8.2 and 12.2.2: what the core answers itself, and a transaction for the rest."""
        cdef ServerTransaction server
        dialog = None
        if self.msg.to.tag.n:
            dialog = self._dialog_of(&self.msg)
            if dialog is None:
                self._refuse(listener, source, 481, b"", b"")
                return
        server = self._take(listener, source, key, dialog)
        if server is not None:
            self._hand(server)

    cdef ServerTransaction _take(self, uint32_t listener, const Address* source, uint64_t key, object dialog):
        """A transaction for self.msg, a request inside a dialog or (None) without To tag; None where it was refused."""
        cdef Msg* m = &self.msg
        cdef ServerTransaction server
        cdef uint64_t merge = 0
        cdef uint32_t slot
        cdef Tx* tx
        cdef int status = 0
        try:
            if dialog is None:
                merge = self._merge_key(m)
                if merge in self.begun:
                    # 8.2.2.2: the same request by another way.
                    self._refuse(listener, source, 482, b"", b"")
                    return None
            server = ServerTransaction.__new__(ServerTransaction)
            server.agent = self
            server.listener = listener
            server.source = source[0]
            server.slot = NO_TX
            server.group = -1
            server.request = Message.of(m)
            if dialog is None:
                server.tag = self.new_tag()
                server.handler = self.handler
            else:
                server.tag = slice_text(m.to.tag)
                status = dialog.receive(server.request)
                server.handler = dialog.owner
                server.dialog = dialog
            if msg_has(m, H_REQUIRE):
                unknown = [option for option in server.request.headers("Require")
                           if option.lower() not in self.extensions]
                if unknown:
                    self._refuse(listener, source, 420, b"", header_lines([("Unsupported", ", ".join(unknown))]))
                    return None
        except Exception as error:
            self._trouble(f"request not taken: {type(error).__name__}: {error}")
            self._refuse(listener, source, 400, b"", b"")
            return None
        slot = self.open(ROLE_UAS, m.method)
        if slot == NO_TX:
            self._refuse(listener, source, 503, b"", b"Retry-After: 5\r\n")
            return None
        tx = &self.slab[slot]
        self.reply_address(source, &tx.source)
        tx.listener_in = <uint8_t>listener
        tx.server = SERVER_TRYING
        self.remember(slot, key)
        self._keep_object(slot, server)
        if dialog is None:
            tx.flags |= TX_BEGUN
            memcpy(&tx.target, &merge, sizeof(merge))
            self.begun[merge] = slot
        if status:
            server.dialog = None
            # 14.2: the second INVITE of the same side may come again.
            server.respond(self.now, status, headers=[("Retry-After", "5")] if status == 500 else ())
            return None
        return server

    cdef void _hand(self, ServerTransaction server) noexcept:
        """Let the handler have a request; one that it makes a mistake with is answered 500."""
        if not self._tell(server.handler, "on_request", server, None) and server.waiting:
            server.respond(self.now, 500)

    cdef void on_silent(self, uint32_t slot) noexcept:
        """Its sender has given a request up."""
        pass

    cdef void on_responded(self, ServerTransaction server, uint32_t status) noexcept:
        """A response to a request with a record was sent."""
        pass

    cdef void on_cancel(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        """RFC 3261 9.2: 200 to the CANCEL, 487 to its INVITE. Believed only from the host that sent the INVITE."""
        cdef ServerTransaction server = None
        cdef Address to
        cdef Slice tag
        cdef uint32_t n
        cdef Tx* tx
        if slot == NO_TX or self.slab[slot].role != ROLE_UAS or not address_same_host(source, &self.slab[slot].source):
            self.counters[<int>C_STRAY_CANCELS] += 1
            self._refuse(listener, source, 481, b"", b"")
            return
        tx = &self.slab[slot]
        server = <ServerTransaction>self._object(slot)
        if server is not None:
            text = server.tag.encode("ascii")
            tag = slice_from(text)
        elif tx.response != NULL and index_message(&self.stored, tx.response, tx.response_n, &self.limits) == 0 \
                and msg_to(&self.stored) == 0:
            tag = self.stored.to.tag
        else:
            # Long over: the tag of its answer is forgotten.
            self._refuse(listener, source, 200, b"", b"")
            return
        self.reply_address(source, &to)
        plan_response(&self.edit, &self.msg, 200, slice_empty(), slice_empty(), tag, source, 0)
        self.render(listener, &to, &n)
        if server is None or not server.waiting:
            return
        self.counters[<int>C_CANCELLED] += 1
        server.cancelled = True
        if self.msg.first[H_REASON] != NO_HEADER:
            server.why = ", ".join(Message.of(&self.msg).headers("Reason"))
        handler = server.handler
        server.respond(self.now, 487)
        self._tell(handler, "on_cancel", server, None)

    cdef void on_ack(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        if not self._acknowledged():
            self.counters[<int>C_STRAY_ACKS] += 1

    cdef bint _acknowledged(self) noexcept:
        """Whether self.msg is the ACK to a 2xx of ours: found by its dialog and CSeq number, for its branch is its own
        (17.1.1.3)."""
        cdef ServerTransaction server
        if not self.awaited:
            return False
        server = self.awaited.pop(self._ack_key(&self.msg, self.msg.to.tag), None)
        if server is None:
            return False
        handler = server.handler
        server.unacknowledged = None
        self.resends.disarm(server.slot)
        self._let_go(server.slot)
        self._tell(handler, "on_ack", server, Message.of(&self.msg))
        return True

    cdef void _resend_2xx(self, uint32_t slot) noexcept:
        """13.3.1.4: T1, doubling up to T2, until the ACK comes or the transaction ends (64*T1)."""
        cdef ServerTransaction server = <ServerTransaction>self._object(slot)
        cdef Tx* tx = &self.slab[slot]
        if server is None or server.unacknowledged is None:
            return
        self.counters[<int>C_RETRANSMISSIONS_OUT] += 1
        self.send(tx.listener_in, &tx.source, slice_from(server.unacknowledged).p,
                  <uint32_t>len(server.unacknowledged))
        server.interval = min(2 * server.interval, self.timers.t2)
        self.resends.arm(slot, self.now + server.interval)

    # --- client side

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

    # --- both

    cdef void on_free(self, uint32_t slot) noexcept:
        cdef ServerTransaction server
        cdef Tx* tx = &self.slab[slot]
        cdef uint64_t merge
        if tx.role == ROLE_UAS:
            self.resends.disarm(slot)
            if tx.flags & TX_BEGUN:
                memcpy(&merge, &tx.target, sizeof(merge))
                self.begun.pop(merge, None)
            server = <ServerTransaction>self._object(slot)
            if server is not None and server.unacknowledged is not None:
                server.unacknowledged = None
                self.awaited.pop(server.ack, None)
                handler = server.handler
                self._let_go(slot)
                self._tell(handler, "on_unacknowledged", server, None)
        elif tx.role != ROLE_UAC:
            return
        self._let_go(slot)

    cdef void expire(self, uint64_t now) noexcept:
        cdef uint32_t ids[64]
        cdef int n, i
        self.now = now
        n = self.resends.expire(now, ids, 64)
        for i in range(n):
            self._resend_2xx(ids[i])
        Layer.expire(self, now)
        self.alarms.expire(now)

    cdef uint64_t next_deadline(self) noexcept nogil:
        cdef uint64_t a = Layer.next_deadline(self), b = self.resends.next_deadline()
        cdef uint64_t c = self.alarms.wheel.next_deadline()
        a = a if a < b else b
        return a if a < c else c
