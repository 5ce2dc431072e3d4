"""The user agent server core (RFC 3261 8.2, 12.2.2, 13.3): a Layer whose server transactions end here.

Matching, retransmissions and timers stay in the Layer; what belongs to the core is added: the dialog that a request
belongs to (481), its CSeq order (500), merged requests (8.2.2.2: 482), extensions that are required and unknown (420),
CANCEL (9.2: 487), and the 2xx that is sent until its ACK comes (13.3.1.4). A request whose handler makes a mistake is
answered 500.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from sipcore.base.address cimport Address, address_same_host
from sipcore.base.siphash cimport SipState, siphash_final, siphash_init, siphash_update, siphash_update_word
from sipcore.base.slice cimport Slice, slice_empty, slice_from
from sipcore.base.wheel cimport Wheel
from sipcore.stack.build cimport RESPONSE_DIALOG, plan_response
from sipcore.stack.counters cimport C_ANSWERED, C_CANCELLED, C_RETRANSMISSIONS_OUT, C_STRAY_ACKS, C_STRAY_CANCELS
from sipcore.stack.holding cimport Holding, Transaction
from sipcore.stack.hop cimport hop_of_address
from sipcore.stack.layer cimport Layer
from sipcore.stack.outgoing cimport header_lines, raw, tail
from sipcore.stack.servertx cimport server_on_response
from sipcore.stack.tx cimport (
    NO_TX, ROLE_UAS, SERVER_PROCEEDING, SERVER_TRYING, STEP_PASS, TX_BEGUN, Tx,
)
from sipcore.wire.edit cimport edit_render, edit_size
from sipcore.wire.index cimport NO_HEADER, Msg, index_message, msg_has, msg_value
from sipcore.wire.message cimport Message, slice_text
from sipcore.wire.tables cimport H_CALL_ID, H_REASON, H_REQUIRE, METHOD_INVITE
from sipcore.wire.values cimport msg_cseq, msg_from, msg_to

from sipcore.base.errors import LimitExceeded

cdef bytes _NO_BODY = b"Content-Length: 0\r\n\r\n"


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
        cdef UserAgentServer agent = <UserAgentServer>self.agent
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
        cdef UserAgentServer agent = <UserAgentServer>self.agent
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


cdef class UserAgentServer(Holding):
    """Takes what Layer takes."""

    def __cinit__(self, *_, **__):
        self.dialogs, self.begun, self.awaited = {}, {}, {}
        self.resends = Wheel(self.capacity)

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

    cdef void on_ack(self, uint32_t listener, const Address* source, uint32_t slot, uint64_t key) noexcept:
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
        Holding.on_free(self, slot)

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
