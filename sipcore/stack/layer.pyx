"""The transaction layer (RFC 3261 17 and 18.1-18.2), sans-IO: bytes and time come in, the outbox fills.

One Layer serves one worker. `receive` takes a datagram to its end: index, match, step the state machine, and
call one of the `on_*` methods where the core has to act. Nothing here makes a Python object for a message.

Long because matching, answering and what is done about messages that cannot be delivered are one text.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset
from sipcore.base.address cimport (
    SCOPE_FLOW, TRANSPORT_TCP, TRANSPORT_TLS, TRANSPORT_UDP, Address, address_from, address_host, address_same_host,
    is_secure, is_websocket, parse_ip, transport_name, transport_number,
)
from sipcore.base.mix cimport mix_text
from sipcore.base.slice cimport Slice, slice_bytes, slice_empty, slice_from, slice_of
from sipcore.stack.build cimport RESPONSE_STORED, plan_response, plan_sibling
from sipcore.stack.clienttx cimport client_on_response, client_on_timer
from sipcore.stack.counters cimport (
    C_COUNT, C_DATAGRAMS_IN, C_KEEPALIVES, C_MALFORMED_REQUESTS, C_MALFORMED_RESPONSES, C_REQUESTS_IN, C_RESPONSES_IN,
    C_RETRANSMISSIONS_IN, C_RETRANSMISSIONS_OUT, C_STRAY_ACKS, C_STRAY_RESPONSES, C_TRANSPORT_ERRORS, C_ANSWERED,
)
from sipcore.stack.hop cimport HOP_OK, address_of_hop, default_port, hop_address, hop_of_address, hop_of_uri
from sipcore.stack.identity cimport TAG_TEXT
from sipcore.stack.listener cimport MAX_LISTENERS, choose_listener, make_listener
from sipcore.stack.servertx cimport server_on_ack, server_on_request, server_on_response, server_on_timer
from sipcore.stack.transactions cimport Transactions
from sipcore.stack.tx cimport (
    CLIENT_CALLING, CLIENT_NONE, CLIENT_TERMINATED, NO_TX, ROLE_CANCEL, ROLE_FREE, SERVER_COMPLETED, SERVER_TRYING,
    STEP_ACK, STEP_PASS, STEP_RESEND_REQUEST, STEP_RESEND_RESPONSE, STEP_TIMEOUT, STEP_TRYING_100, TX_CANCEL_SENT, Tx,
)
from sipcore.wire.fault cimport FAULT_CONTENT_LENGTH
from sipcore.wire.index cimport (
    DEFAULT_LIMITS, KIND_NONE, KIND_REQUEST, KIND_RESPONSE, MAX_HEADERS, MAX_MESSAGE, Msg, header_value, index_message,
    msg_has,
)
from sipcore.wire.nameaddr cimport NameAddr, next_value, parse_name_addr
from sipcore.wire.tables cimport H_CALL_ID, H_ROUTE, H_VIA, METHOD_ACK, METHOD_CANCEL, METHOD_INVITE, method_name
from sipcore.wire.values cimport msg_check, msg_cseq, msg_uri, msg_via
from sipcore.wire.via cimport RPORT_ABSENT

from sipcore.stack.counters import COUNTERS
from sipcore.stack.servernames import ServerNames

cdef enum:
    EXPIRE_BATCH = 256
    OUR_HEADERS = 50        # header lines that a forwarded request may have more than it came with
    CALL_ID_MIXED = 128     # bytes of a Call-ID that tell calls apart on their way out

# Our own copies are indexed whatever limits hold for what comes in.
STORED_LIMITS.message = MAX_MESSAGE
STORED_LIMITS.headers = MAX_HEADERS
STORED_LIMITS.line = MAX_MESSAGE


cdef inline uint32_t _call_of(const Msg* m) noexcept nogil:
    """A hash of the Call-ID, never 0; 0 where there is none.

    Not keyed: who makes two calls alike only keeps them in order among each other.
    """
    cdef Slice text
    if not msg_has(m, H_CALL_ID):
        return 0
    text = header_value(m, m.first[<int>H_CALL_ID])
    return <uint32_t>mix_text(0, text.p, min(text.n, <uint32_t>CALL_ID_MIXED)) or 1


cdef class Layer(Transactions):
    """Matching, timers and the answers that need no core; a proxy or a user agent adds the rest in a subclass.

    Takes what Transactions takes.
    """

    def __cinit__(self, *_, **__):
        self.limits = DEFAULT_LIMITS
        self.proven_group = -1
        self.names = ServerNames()

    def add_listener(self, str host not None, int port, str public_host=None, public_port=None,
                     str transport not None="udp"):
        """Register a listener; returns its number. The public address is what stands in Via and Record-Route.

        transport: udp, tcp, tls, ws or wss. The same address and port may be there once for each.
        """
        cdef Address bound, advertised
        if self.listener_count == MAX_LISTENERS:
            raise ValueError(f"more than {MAX_LISTENERS} listeners")
        address_from(host, port, &bound)
        bound.transport = <uint8_t>transport_number(transport)
        address_from(public_host or host, port if public_port is None else public_port, &advertised)
        make_listener(&self.listeners[self.listener_count], &bound, &advertised)
        self.listener_count += 1
        return self.listener_count - 1

    def listener_transport(self, uint32_t listener):
        """The transport of a listener, by its name."""
        if listener >= self.listener_count:
            raise ValueError(f"no listener of number {listener}")
        return transport_name(self.listeners[listener].bound.transport)

    def name_number(self, str name not None):
        """The number of a server name, as it stands in the scope of a TLS or WSS address; 0 for none."""
        return self.names.number(name)

    def server_name(self, uint32_t number):
        """The name of that number: "" for 0, None where it is forgotten."""
        return self.names.name(number)

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
        """Receive one message: source is a Hop, now is ms; it came by the listener's transport."""
        cdef Address address
        address_of_hop(source, &address)
        if listener >= self.listener_count:
            raise ValueError(f"no listener of number {listener}")
        address.transport = self.listeners[listener].bound.transport
        self.receive(listener, &address, <const uint8_t*><const char*>data, <uint32_t>len(data), now)

    def advance(self, uint64_t now):
        """Do what is due at now (ms)."""
        self.expire(now)

    def deadline(self):
        """When advance has something to do (ms), or None."""
        cdef uint64_t at = self.next_deadline()
        return None if at == <uint64_t>-1 else at

    def drain(self):
        """Take the messages that wait to be sent: [(listener, host, port, bytes)]."""
        return self.outbox.drain()

    def hop(self, str uri not None):
        """The Hop of a URI; None where a name stands there, or that no request goes to."""
        cdef bytes text = uri.encode("utf-8", "surrogateescape")
        cdef Address address
        return hop_of_address(&address) if self.where(slice_from(text), &address) == HOP_OK else None

    def listener_for(self, hop, uint32_t listener_in=0, int wanted=-1):
        """The number of the listener to send from; -1 where none has that transport and family."""
        cdef Address address
        address_of_hop(hop, &address)
        return choose_listener(self.listeners, self.listener_count, &address, listener_in, wanted)

    def expect_names(self, servers):
        """(host, port, name) of TLS targets: what their certificates must show wherever a URI names the address."""
        self.names.expect(servers)

    def unreachable(self, bytes data not None, uint64_t now):
        """The network said that this datagram of ours cannot be delivered."""
        self.now = now
        self.transport_error(<const uint8_t*><const char*>data, <uint32_t>len(data))

    cdef void receive(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n,
                      uint64_t now) noexcept:
        """Take one message, a datagram or one of a stream; data[n] must be readable."""
        self.now = now
        self.counters[<int>C_DATAGRAMS_IN] += 1
        self.receive_admitted(listener, source, data, n)
        self.outbox.call = 0

    cdef void receive_admitted(self, uint32_t listener, const Address* source, const uint8_t* data,
                               uint32_t n) noexcept:
        cdef int fault = index_message(&self.msg, data, n, &self.limits)
        cdef uint32_t slot
        cdef uint64_t key = 0
        cdef bint of_invite = False
        cdef Msg* m = &self.msg
        cdef Tx* tx
        cdef int step
        if m.kind == KIND_NONE and fault == 0:
            self.counters[<int>C_KEEPALIVES] += 1
            return
        if fault == 0 and not m.has_length and (source.transport == TRANSPORT_TCP or source.transport == TRANSPORT_TLS):
            # RFC 3261 18.3: nothing else says where the message ends.
            fault = FAULT_CONTENT_LENGTH
        # All that is sent while a message is handled belongs to its call; what timers send is labelled by nobody.
        self.outbox.call = _call_of(m) if fault == 0 else 0
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
            fault = msg_via(m)
        if fault == 0:
            # ACK and CANCEL belong to the INVITE (RFC 3261 17.2.3, 9.2), where its sender sends them.
            of_invite = m.method == METHOD_ACK or m.method == METHOD_CANCEL
            key = self.key_of(m, METHOD_INVITE if of_invite else m.method,
                              method_name(METHOD_INVITE) if of_invite else m.method_text)
            self.expect(key)
            fault = msg_check(m)
        if fault == 0:
            fault = msg_uri(m)
        if fault:
            self.counters[<int>C_MALFORMED_REQUESTS] += 1
            # Without any Via there is nothing that an answer could be matched by.
            if m.kind == KIND_REQUEST and m.method != METHOD_ACK and msg_has(m, H_VIA):
                self.on_malformed(listener, source, fault)
            return
        if of_invite:
            slot = self.find(key)
            if m.method == METHOD_CANCEL:
                self.on_cancel(listener, source, slot)
                return
            if slot != NO_TX and address_same_host(source, &self.slab[slot].source):
                step = server_on_ack(&self.slab[slot])
                if not step & STEP_PASS:
                    self.settle(slot)
                    return
            self.on_ack(listener, source, slot, key)
            return
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
                self.answer(listener, source, 100, slice_empty(), slice_empty())

    cdef void _take_response(self) noexcept:
        cdef Msg* m = &self.msg
        cdef uint32_t slot = self.find_branch(m.via.branch)
        cdef Tx* tx
        cdef int step, before
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
        before = tx.client
        step = client_on_response(tx, m.status, self.now, &self.timers)
        self.moved += tx.client != before
        if step & STEP_ACK:
            self.send_ack(slot)
        if step & STEP_PASS and tx.role != ROLE_CANCEL:
            self.on_response(slot)
        if tx.role != ROLE_FREE:
            self.settle(slot)
            self.rearm(slot)

    cdef void note_lag(self, uint32_t lag, bint lost, uint64_t now) noexcept:
        """How long (us) what is handled now has waited, and whether packets were lost for want of room."""
        pass

    cdef bint is_banned(self, const Address* source, uint64_t now) noexcept:
        """Whether a connection from there is not to be taken."""
        return False

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
        """A message of ours cannot be delivered (ICMP, a connection that failed): its transaction hears of it (RFC 3261
        18.4). data[n] must be readable."""
        cdef uint32_t slot
        self.counters[<int>C_TRANSPORT_ERRORS] += 1
        # The copy that the kernel gives back may be cut, so a fault of its end does not matter.
        index_message(&self.stored, data, n, &STORED_LIMITS)
        if msg_via(&self.stored) != 0:
            return
        if self.stored.kind == KIND_RESPONSE:
            self._response_failed(data, n)
        if self.stored.kind != KIND_REQUEST:
            return
        slot = self.find_branch(self.stored.via.branch)
        if (slot == NO_TX or self.slab[slot].client != CLIENT_CALLING or self.slab[slot].method != self.stored.method
                or self._connects(slot, data, n)):
            return
        self.on_timeout(slot, True)
        if self.slab[slot].role != ROLE_FREE:
            self.settle(slot)
            self.rearm(slot)

    cdef bint _connects(self, uint32_t slot, const uint8_t* data, uint32_t n) noexcept:
        """Whether a request, in self.stored, whose connection the peer had opened and closed again goes on by one of
        ours, to where its Route or request URI says."""
        cdef Tx* tx = &self.slab[slot]
        cdef Address to
        cdef NameAddr route
        cdef Slice rest, item
        if (tx.target.transport == TRANSPORT_UDP or is_websocket(tx.target.transport)
                or not tx.target.scope & SCOPE_FLOW or msg_uri(&self.stored) != 0):
            # Nobody can be connected to by WebSocket (RFC 7118 4).
            return False
        item = self.stored.uri_text
        if msg_has(&self.stored, H_ROUTE):
            rest = header_value(&self.stored, self.stored.first[<int>H_ROUTE])
            if next_value(&rest, &item) <= 0 or parse_name_addr(item, &route) != 0:
                return False
            item = route.uri
        if self.where(item, &to) != HOP_OK or to.transport != tx.target.transport:
            return False
        tx.target = to
        return self.send(tx.listener_out, &to, data, n)

    cdef void _response_failed(self, const uint8_t* data, uint32_t n) noexcept:
        """The connection that a request came by is gone: its response, in self.stored, goes to the address in Via
        (18.2.2), and so do those that follow. Once: a WebSocket client cannot be connected to."""
        cdef Msg* m = &self.stored
        cdef uint32_t slot
        cdef Address to
        cdef Tx* tx
        if msg_cseq(m) != 0:
            return
        slot = self.find(self.key_of(m, m.method, m.method_text))
        if slot == NO_TX:
            return
        tx = &self.slab[slot]
        if tx.source.transport not in (TRANSPORT_TCP, TRANSPORT_TLS) or not tx.source.scope & SCOPE_FLOW:
            return
        to = tx.source
        to.scope = 0
        to.port = m.via.port if m.via.port else default_port(to.transport)
        if to.transport == TRANSPORT_TLS:
            # The certificate of a server that is asked by its name has to carry that name (26.3.2.1).
            name = "" if parse_ip(m.via.host, &to) == 0 else slice_bytes(m.via.host).decode("ascii", "replace")
            to.scope = self.names.number(name) or self.names.expected(address_host(&to), to.port)
        elif parse_ip(m.via.received if m.via.received.n else m.via.host, &to) != 0:
            return
        tx.source = to
        self.send(tx.listener_in, &to, data, n)

    cdef void on_malformed(self, uint32_t listener, const Address* source, int fault) noexcept:
        self.answer(listener, source, 400, slice_empty(), slice_empty())

    cdef void on_request(self, uint32_t listener, const Address* source, uint64_t key) noexcept:
        self.answer(listener, source, 501, slice_empty(), slice_empty())

    cdef void on_ack(self, uint32_t listener, const Address* source, uint32_t slot, uint64_t key) noexcept:
        self.counters[<int>C_STRAY_ACKS] += 1

    cdef void on_cancel(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        self.answer(listener, source, 481, slice_empty(), slice_empty())

    cdef void on_response(self, uint32_t slot) noexcept:
        pass

    cdef void on_timeout(self, uint32_t slot, bint transport) noexcept:
        self.slab[slot].client = CLIENT_TERMINATED

    cdef void on_slow(self, uint32_t slot) noexcept:
        pass

    cdef int where(self, Slice uri, Address* out) noexcept:
        """Where a URI leads: HOP_OK, HOP_NAME where a name stands there, or the status to answer with. By TLS the scope
        is the number of the name that is expected there."""
        cdef int found
        memset(out, 0, sizeof(Address))
        if uri.p == self.msg.uri_text.p and uri.n == self.msg.uri_text.n and msg_uri(&self.msg) == 0:
            found = hop_of_uri(&self.msg.uri, out)
        else:
            found = hop_address(uri, out)
        if found == HOP_OK and is_secure(out.transport):
            out.scope = self.names.expected(address_host(out), out.port)
        return found

    cdef void reply_address(self, const Address* source, Address* out) noexcept nogil:
        """Where responses to self.msg go (RFC 3261 18.2.2, RFC 3581 4): the source, by UDP at the port of Via or rport;
        on a stream the connection that the request came by.

        Never the maddr of its Via: we would send to whomever a sender names.
        """
        out[0] = source[0]
        if source.transport == TRANSPORT_UDP and self.msg.via.rport == RPORT_ABSENT:
            out.port = self.msg.via.port if self.msg.via.port else 5060

    cdef void answer(self, uint32_t listener, const Address* source, uint32_t status, Slice reason,
                     Slice headers) noexcept nogil:
        """Answer self.msg without state: the tag is a hash of the request, so a repetition gets the same answer."""
        cdef Address to
        cdef uint32_t n
        cdef uint8_t tag[TAG_TEXT]
        cdef uint32_t tag_n = 0
        cdef bint readable = msg_via(&self.msg) == 0
        if readable:
            self.reply_address(source, &to)
        else:
            to = source[0]
        if status > 100:
            self.identity.put_tag(tag, self.key_of(&self.msg, self.msg.method, self.msg.method_text) if readable else 0)
            tag_n = TAG_TEXT
        plan_response(&self.edit, &self.msg, status, reason, headers, slice_of(tag, tag_n), source, 0)
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
        if room != NULL and (status > 100 or tx.method != METHOD_INVITE):
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
        plan_sibling(&self.edit, &self.stored, method_name(METHOD_ACK), &self.msg, slice_empty())
        self.render(tx.listener_out, &tx.target, &n)

    cdef void send_cancel(self, uint32_t slot, Slice lines) noexcept:
        """Cancel an INVITE that was answered provisionally (RFC 3261 9.1); once.

        lines: header lines that say why (RFC 3326), or empty. They stand anywhere but in `stored`.
        """
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
        plan_sibling(&self.edit, &self.stored, method_name(METHOD_CANCEL), NULL, lines)
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
