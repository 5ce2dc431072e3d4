"""The user agent core (RFC 3261 8, 12.2, 13, 14): a Layer whose transactions begin and end here.

Matching, retransmissions and timers stay in the Layer; what belongs to the core is added here: the dialog that a
request belongs to (481), its CSeq order (500), merged requests (8.2.2.2: 482), extensions that are required and
unknown (420), CANCEL (9.2: 487), the 2xx that is sent until its ACK comes (13.3.1.4), and the ACK that is sent again
whenever that 2xx is (13.2.2.4).

Sans-IO like every Layer: `feed`, `advance`, `drain`, `deadline`; `now` (ms) is an argument of all that sends. A
Handler hears what happens, synchronously, inside `feed` and `advance`, and may send from there. What it raises is
kept in `troubles` and a waiting request is answered 500.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from sipcore.base.address cimport Address, address_from, address_host, address_same_host
from sipcore.base.slice cimport slice_bytes, slice_from, slice_of
from sipcore.base.wheel cimport Wheel
from sipcore.stack.build cimport RESPONSE_DIALOG, plan_response
from sipcore.stack.clienttx cimport client_on_send
from sipcore.stack.counters cimport C_ANSWERED, C_CANCELLED, C_RETRANSMISSIONS_OUT, C_STRAY_ACKS, C_STRAY_CANCELS
from sipcore.stack.identity cimport BRANCH_TEXT, Identity, NO_SLOT, TAG_TEXT
from sipcore.stack.layer cimport Layer
from sipcore.stack.servertx cimport server_on_response
from sipcore.stack.tx cimport (
    CLIENT_CALLING, CLIENT_PROCEEDING, CLIENT_TERMINATED, NO_TX, ROLE_UAC, ROLE_UAS,
    SERVER_PROCEEDING, SERVER_TRYING, STEP_PASS, TX_CANCELLED, TX_CANCEL_SENT, Tx,
)
from sipcore.wire.edit cimport edit_render, edit_size
from sipcore.wire.message cimport Message, Msg
from sipcore.wire.tables cimport METHOD_INVITE, method_id

import os
import struct

from sipcore.base.errors import LimitExceeded, SipEdgeError
from sipcore.stack.handler import Handler
from sipcore.stack.outgoing import header_lines, raw, tail

cdef bytes _NO_BODY = b"Content-Length: 0\r\n\r\n"


cdef class ServerTransaction:
    """A request that came, and what is sent back."""

    @property
    def source(self):
        """(host, port) that the request came from."""
        return address_host(&self.source), self.source.port

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
        cdef bytes data
        if not 100 <= status <= 699:
            raise ValueError(f"not a status: {status}")
        data = self._build(status, reason, header_lines(headers), tail(body, content_type))
        if self.slot == NO_TX:
            return False
        agent.now = now
        tx = &agent.slab[self.slot]
        if not server_on_response(tx, <uint32_t>status, now, &agent.timers) & STEP_PASS:
            return False
        self.status = status
        agent.send(tx.listener_in, &tx.source, slice_from(data).p, <uint32_t>len(data))
        if status > 100:
            agent.keep_response(tx, slice_from(data).p, <uint32_t>len(data))
        if status >= 200:
            agent.counters[<int>C_ANSWERED] += 1
            if status < 300 and tx.method == METHOD_INVITE:
                self.unacknowledged = data
                agent.awaited[self.request.call_id, self.tag, self.request.from_tag, self.request.cseq[0]] = self
                self.interval = agent.timers.t1
                agent.resends.arm(self.slot, now + self.interval)
        if self.dialog is not None:
            self.dialog.responded(self.request, status)
        agent.settle(self.slot)
        agent.rearm(self.slot)
        return True

    cdef bytes _build(self, int status, str reason, bytes lines, bytes end):
        cdef UserAgent agent = self.agent
        cdef bytes tag = self.tag.encode("ascii")
        cdef bytes text = raw(reason)
        cdef bytes data
        if b"\r" in text or b"\n" in text or b"\0" in text:
            raise ValueError(f"not a reason phrase: {reason!r}")
        plan_response(&agent.edit, &self.request.msg, <uint32_t>status, slice_from(text), slice_from(lines),
                      slice_from(tag), &self.source, RESPONSE_DIALOG if 100 < status < 300 else 0)
        if agent.edit.overflow:
            raise LimitExceeded("the response is too big")
        data = PyBytes_FromStringAndSize(NULL, edit_size(&agent.edit))
        edit_render(&agent.edit, <uint8_t*>PyBytes_AS_STRING(data))
        return data.removesuffix(_NO_BODY) + end


cdef class ClientTransaction:
    """A request of ours, and what comes back."""

    @property
    def pending(self):
        """Whether the final answer is still to come."""
        return self.slot != NO_TX and self.agent.slab[self.slot].client in (CLIENT_CALLING, CLIENT_PROCEEDING)

    def cancel(self, uint64_t now):
        """Cancel an INVITE (9.1), once it was answered provisionally; whether it is not too late for that.

        The answer still comes: 487 as a rule, and a 2xx that crossed has to be acknowledged and ended by BYE.
        """
        cdef UserAgent agent = self.agent
        if not self.pending or agent.slab[self.slot].method != METHOD_INVITE:
            return False
        agent.now = now
        agent.slab[self.slot].flags |= TX_CANCELLED
        if agent.slab[self.slot].client == CLIENT_PROCEEDING:
            agent.send_cancel(self.slot)
        return True

    def ack(self, uint64_t now, out, to, str to_tag not None):
        """Send the ACK to the 2xx with that To tag, and keep it for when the 2xx comes again (13.2.2.4).

        out: the Outgoing of `Dialog.ack`; to: (host, port).
        """
        cdef UserAgent agent = self.agent
        cdef Address address
        cdef bytes data
        address_from(to[0], to[1], &address)
        agent.now = now
        agent.drawn += 1
        data = out.render(agent._via(self.listener, NO_SLOT, <uint32_t>(agent.drawn & 0xFFFFFF), <uint32_t>agent.salt))
        self.acks[to_tag] = (data, to)
        agent.send(self.listener, &address, slice_from(data).p, <uint32_t>len(data))


cdef class UserAgent(Layer):
    """The core of one or more endpoints. handler: a Handler for what belongs to no dialog; extensions: option tags
    that a Require may name."""

    def __init__(self, Identity identity=None, *, handler=None, extensions=(), **_):
        self.handler = handler if handler is not None else Handler()
        self.extensions = frozenset(extensions)
        self.dialogs = {}
        self.troubles = []
        self.held = {}
        self.begun = {}
        self.awaited = {}
        self.resends = Wheel(self.capacity)
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

    def new_tag(self):
        """A tag that nobody else makes and nobody can guess (19.3); the worker's number stands in it."""
        cdef uint8_t text[TAG_TEXT]
        self.drawn += 1
        self.identity.put_tag(text, self.drawn ^ self.salt)
        return slice_bytes(slice_of(text, TAG_TEXT)).decode("ascii")

    def new_call_id(self):
        """A Call-ID that nobody else makes (8.1.1.4)."""
        return self.new_tag() + self.new_tag()

    def contact(self, str user not None="", uint32_t listener=0):
        """A Contact value at the listener's advertised address."""
        if listener >= self.listener_count:
            raise ValueError(f"no listener of number {listener}")
        host = slice_bytes(slice_of(self.listeners[listener].contact, self.listeners[listener].contact_n)).decode()
        return f"<sip:{user}@{host}>" if user else f"<sip:{host}>"

    def add(self, dialog, owner):
        """Let owner (a Handler) hear requests inside the dialog."""
        dialog.owner = owner
        self.dialogs[dialog.id] = dialog

    def remove(self, dialog):
        """Requests inside the dialog are answered 481 from now on."""
        self.dialogs.pop(dialog.id, None)

    def request(self, uint64_t now, out, to, handler=None, *, uint32_t listener=0):
        """Send an Outgoing (no ACK, no CANCEL) to (host, port) in a transaction of its own.

        handler: who hears the answers, self.handler by default. Raises LimitExceeded where transactions or message
        memory are used up, BadText where a part of it could break the message.
        """
        cdef ClientTransaction client
        cdef Address address
        cdef uint32_t slot
        cdef Tx* tx
        cdef bytes data, method = out.method.encode("ascii")
        if out.method in ("ACK", "CANCEL"):
            raise ValueError(f"{out.method} has no transaction of its own")
        if listener >= self.listener_count:
            raise ValueError(f"no listener of number {listener}")
        address_from(to[0], to[1], &address)
        self.now = now
        slot = self.open(ROLE_UAC, method_id(slice_from(method).p, <uint32_t>len(method)))
        if slot == NO_TX:
            raise LimitExceeded("all transactions are in use", limit="limits.transactions")
        tx = &self.slab[slot]
        tx.target = address
        tx.listener_out = <uint8_t>listener
        try:
            data = out.render(self._via(listener, slot, tx.generation, 0))
            if len(data) > 65507:
                raise LimitExceeded(f"a request of {len(data)} bytes fits into no datagram")
            if not self.keep_request(tx, slice_from(data).p, <uint32_t>len(data)):
                raise LimitExceeded("message memory is used up")
        except SipEdgeError:
            self.close(slot)
            raise
        client = ClientTransaction.__new__(ClientTransaction)
        client.agent = self
        client.request = out
        client.data = data
        client.handler = handler if handler is not None else self.handler
        client.slot = slot
        client.listener = listener
        client.acks = {}
        self.held[slot] = client
        self.send(listener, &address, slice_from(data).p, <uint32_t>len(data))
        client_on_send(tx, now, False, &self.timers)
        self.rearm(slot)
        return client

    cdef bytes _via(self, uint32_t listener, uint32_t slot, uint32_t generation, uint32_t loop):
        cdef uint8_t branch[BRANCH_TEXT]
        self.identity.put_branch(branch, slot, generation, loop & 0xFFFFFFFF)
        return (slice_bytes(slice_of(self.listeners[listener].via, self.listeners[listener].via_n))
                + slice_bytes(slice_of(branch, BRANCH_TEXT)) + b";rport\r\n")

    cdef bint _tell(self, object tx, str what, object more) noexcept:
        """Let a transaction's handler hear of something; whether it made no mistake."""
        # From here on messages of other calls may be sent.
        self.outbox.call = 0
        try:
            if more is None:
                getattr(tx.handler, what)(tx)
            else:
                getattr(tx.handler, what)(tx, more)
        except Exception as error:
            self._trouble(what, error)
            return False
        return True

    cdef void _trouble(self, str where, object error) noexcept:
        if len(self.troubles) < 100:
            self.troubles.append(f"{where}: {type(error).__name__}: {error}")

    cdef void _refuse(self, uint32_t listener, const Address* source, uint32_t status, bytes headers) noexcept:
        self.answer(listener, source, status, slice_from(b""), slice_from(headers))

    # --- server side

    cdef void on_request(self, uint32_t listener, const Address* source, uint64_t key) noexcept:
        """RFC 3261 8.2 and 12.2.2: what the core answers itself, and a transaction for the rest."""
        cdef Msg* m = &self.msg
        cdef ServerTransaction server
        cdef uint32_t slot
        cdef Tx* tx
        cdef int status = 0
        server = ServerTransaction.__new__(ServerTransaction)
        server.agent = self
        server.listener = listener
        server.source = source[0]
        server.slot = NO_TX
        try:
            server.request = Message(slice_bytes(slice_of(m.base + m.start, m.n - m.start)))
            request = server.request
            if m.to.tag.n:
                server.tag = request.to_tag
                server.dialog = self.dialogs.get((request.call_id, request.to_tag, request.from_tag))
                if server.dialog is None:
                    self._refuse(listener, source, 481, b"")
                    return
                status = server.dialog.receive(request)
                server.handler = server.dialog.owner
            else:
                server.merge = (request.call_id, request.from_tag, request.cseq[0], request.method)
                if server.merge in self.begun:
                    # 8.2.2.2: the same request by another way.
                    self._refuse(listener, source, 482, b"")
                    return
                server.tag = self.new_tag()
                server.handler = self.handler
            unknown = [option for option in request.headers("Require") if option.lower() not in self.extensions]
            unsupported = header_lines([("Unsupported", ", ".join(unknown))])
        except Exception as error:
            self._trouble("request not taken", error)
            self._refuse(listener, source, 400, b"")
            return
        if unknown:
            self._refuse(listener, source, 420, unsupported)
            return
        slot = self.open(ROLE_UAS, m.method)
        if slot == NO_TX:
            self._refuse(listener, source, 503, b"Retry-After: 5\r\n")
            return
        tx = &self.slab[slot]
        self.reply_address(source, &tx.source)
        tx.listener_in = <uint8_t>listener
        tx.server = SERVER_TRYING
        server.slot = slot
        self.remember(slot, key)
        self.held[slot] = server
        if server.merge is not None:
            self.begun[server.merge] = slot
        if status:
            server.dialog = None
            # 14.2: the second INVITE of the same side may come again.
            server.respond(self.now, status, headers=[("Retry-After", "5")] if status == 500 else ())
        elif not self._tell(server, "on_request", None) and server.waiting:
            server.respond(self.now, 500)

    cdef void on_cancel(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        """RFC 3261 9.2: 200 to the CANCEL, 487 to its INVITE. Believed only from the host that sent the INVITE."""
        cdef ServerTransaction server
        cdef Address to
        cdef uint32_t n
        if slot == NO_TX or not address_same_host(source, &self.slab[slot].source) or slot not in self.held:
            self.counters[<int>C_STRAY_CANCELS] += 1
            self._refuse(listener, source, 481, b"")
            return
        server = self.held[slot]
        self.reply_address(source, &to)
        tag = server.tag.encode("ascii")
        plan_response(&self.edit, &self.msg, 200, slice_from(b""), slice_from(b""), slice_from(tag), source, 0)
        self.render(listener, &to, &n)
        if not server.waiting:
            return
        self.counters[<int>C_CANCELLED] += 1
        server.cancelled = True
        server.respond(self.now, 487)
        self._tell(server, "on_cancel", None)

    cdef void on_ack(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        """The ACK to a 2xx is matched by its dialog and CSeq number: its branch is its own (17.1.1.3)."""
        cdef ServerTransaction server
        cdef Msg* m = &self.msg
        try:
            ack = Message(slice_bytes(slice_of(m.base + m.start, m.n - m.start)))
            server = self.awaited.pop((ack.call_id, ack.to_tag, ack.from_tag, ack.cseq[0]), None)
            if server is None:
                self.counters[<int>C_STRAY_ACKS] += 1
                return
        except Exception as error:
            self._trouble("ACK not taken", error)
            return
        server.unacknowledged = None
        self.resends.disarm(server.slot)
        self._tell(server, "on_ack", ack)

    cdef void _resend_2xx(self, uint32_t slot) noexcept:
        """13.3.1.4: T1, doubling up to T2, until the ACK comes or the transaction ends (64*T1)."""
        cdef ServerTransaction server = self.held.get(slot)
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
        cdef ClientTransaction client = self.held.get(slot)
        cdef Tx* tx = &self.slab[slot]
        cdef Address address
        if client is None:
            return
        if m.status < 200 and tx.flags & TX_CANCELLED and tx.client == CLIENT_PROCEEDING:
            self.send_cancel(slot)
        try:
            response = Message(slice_bytes(slice_of(m.base + m.start, m.n - m.start)))
            client.status = response.status
            if tx.method == METHOD_INVITE and 200 <= response.status < 300 and response.to_tag in client.acks:
                data, to = client.acks[response.to_tag]
                address_from(to[0], to[1], &address)
                self.send(tx.listener_out, &address, slice_from(data).p, <uint32_t>len(data))
                return
        except Exception as error:
            self._trouble("response not taken", error)
            return
        self._tell(client, "on_response", response)

    cdef void on_timeout(self, uint32_t slot, bint transport) noexcept:
        """Timers B and F, an INVITE that rings for as long as Timer C, a CANCEL that brought no answer, ICMP."""
        cdef Tx* tx = &self.slab[slot]
        cdef ClientTransaction client = self.held.get(slot)
        if tx.client == CLIENT_PROCEEDING and tx.method == METHOD_INVITE and not tx.flags & TX_CANCEL_SENT:
            self.send_cancel(slot)
            return
        tx.client = CLIENT_TERMINATED
        if client is not None:
            self._tell(client, "on_timeout", True if transport else False)

    # --- both

    cdef void on_free(self, uint32_t slot) noexcept:
        cdef ServerTransaction server
        held = self.held.pop(slot, None)
        self.resends.disarm(slot)
        if isinstance(held, ClientTransaction):
            (<ClientTransaction>held).slot = NO_TX
        elif held is not None:
            server = <ServerTransaction>held
            server.slot = NO_TX
            if server.merge is not None:
                self.begun.pop(server.merge, None)
            if server.unacknowledged is not None:
                server.unacknowledged = None
                self.awaited.pop((server.request.call_id, server.tag, server.request.from_tag,
                                  server.request.cseq[0]), None)
                self._tell(server, "on_unacknowledged", None)

    cdef void expire(self, uint64_t now) noexcept:
        cdef uint32_t ids[64]
        cdef int n, i
        self.now = now
        n = self.resends.expire(now, ids, 64)
        for i in range(n):
            self._resend_2xx(ids[i])
        Layer.expire(self, now)

    cdef uint64_t next_deadline(self) noexcept nogil:
        cdef uint64_t a = Layer.next_deadline(self), b = self.resends.next_deadline()
        return a if a < b else b
