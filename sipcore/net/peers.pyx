"""Who a peer is: the handshake of a connection, what its certificate proves, and what follows from that.

A client's certificate may prove its group. A target has to prove the name that was expected of it (RFC 5922). And a
peer that came in with a certificate may be reached by its connection, where that is the name that is asked for
(RFC 5923).
"""
from libc.errno cimport errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport strerror
from sipcore.base.address cimport TRANSPORT_TLS, Address, address_host, is_secure, is_websocket
from sipcore.base.sockname cimport socklen_t
from sipcore.net.connection cimport (
    ALIASED, ANSWERS_PINGS, CAME_IN, LISTED, PROVEN, RETIRED, STATE_HANDSHAKE, STATE_OPEN, STATE_UPGRADE, Connection,
)
from sipcore.net.connections cimport NO_CONNECTION, target_key
from sipcore.net.epoll cimport EPOLLIN, EPOLLOUT
from sipcore.net.inlet cimport Inlet
from sipcore.net.tls cimport (
    TLS_DONE, TLS_END, TLS_WANTS_READ, TLS_WANTS_WRITE, TlsContext, tls_authority, tls_handshake, tls_has_more,
    tls_peer, tls_trouble,
)
from sipcore.stack.admission cimport ADMIT_LISTED

cdef extern from "sockets.h" nogil:
    int SOL_SOCKET, SO_ERROR
    int getsockopt(int fd, int level, int option, void* value, socklen_t* n)


cdef frozenset named_authorities(contexts):
    """Those that a listener's contexts name for targets."""
    return (<TlsContext>contexts[1]).authorities if contexts is not None else frozenset()


cdef class Peers(Inlet):
    """Nobody has proven anything at first."""

    def __cinit__(self, *_, **__):
        self.groups, self.contexts, self.peers, self.aliases, self.authorities = {}, {}, {}, {}, {}

    cdef void _on_connected(self, uint32_t slot, uint64_t now) noexcept:
        """The network has answered a connection of ours."""
        cdef Connection* c = &self.table.slab[slot]
        cdef int error = 0
        cdef socklen_t n = sizeof(error)
        if getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0:
            error = errno
        if error:
            self._end(slot, strerror(error).decode("ascii", "replace"))
            return
        self._watch(slot, EPOLLIN)
        if is_secure(c.transport):
            name = self.layer.server_name(c.peer.scope)
            if name is None:
                self._end(slot, "the expected server name is forgotten")
                return
            self._begin_tls(slot, self.tls[c.listener], name.encode())
            if c.state == STATE_HANDSHAKE:
                self._shake(slot, now)
        else:
            self._on_open(slot, now)

    def _begin_tls(self, uint32_t slot, contexts, bytes name):
        cdef Connection* c = &self.table.slab[slot]
        cdef TlsContext context
        if contexts is None:
            self._end(slot, "the listener has no certificate")
            return
        context = contexts[0 if c.flags & CAME_IN else 1]
        c.ssl = context.connection(c.fd, name)
        if c.ssl == NULL:
            self._end(slot, "no memory")
            return
        self.contexts[slot] = context
        c.state = STATE_HANDSHAKE
        self._arm(slot)

    cdef void _shake(self, uint32_t slot, uint64_t now) noexcept:
        """One step of a TLS handshake."""
        cdef Connection* c = &self.table.slab[slot]
        cdef int result = tls_handshake(c.ssl)
        if result == TLS_WANTS_READ:
            self._watch(slot, EPOLLIN)
        elif result == TLS_WANTS_WRITE:
            self._watch(slot, EPOLLIN | EPOLLOUT)
        elif result == TLS_DONE:
            self._watch(slot, EPOLLIN)
            trouble = self._identify(slot)
            if trouble:
                self._end(slot, trouble)
            else:
                self.contexts.pop(slot, None)
                self._on_open(slot, now)
        else:
            trouble = tls_trouble(c.ssl) if result != TLS_END else "the peer ended the handshake"
            if result != TLS_END and "alert" not in trouble:
                # What the peer finds wrong with the edge, it says with an alert; this is what it has sent itself.
                self._offend(c)
            self._end(slot, trouble)

    def _identify(self, uint32_t slot):
        """Who the peer has proven to be (RFC 5922 7); what is wrong with it, or nothing."""
        cdef Connection* c = &self.table.slab[slot]
        peer = tls_peer(c.ssl)
        if c.flags & CAME_IN:
            if peer is not None:
                self.peers[slot] = peer
                self.authorities[slot] = tls_authority(c.ssl)
                if c.transport == TRANSPORT_TLS:
                    c.flags |= PROVEN
                c.group = self._proven(slot)
                if c.group >= 0:
                    self._enlist(slot, True)
            return ""
        name, host = self.layer.server_name(c.peer.scope), address_host(&c.peer)
        if name is None:
            return "the expected server name is forgotten"
        if peer is None or not peer.proves(name, host):
            return f"certificate is for {peer}, not for {name or host}"
        self.authorities[slot] = tls_authority(c.ssl)
        self._judge(slot, (<TlsContext>self.contexts[slot]).authorities)
        return ""

    cdef int _admit(self, uint32_t listener, const Address* source) noexcept:
        """The Admittance of an address; without an access list everybody is on it."""
        cdef int group
        return ADMIT_LISTED if self.proxy is None else self.proxy.admission.admit(listener, source, &group)

    cdef void _enlist(self, uint32_t slot, bint listed) noexcept nogil:
        """A peer that came in is on the access list, or is not."""
        cdef Connection* c = &self.table.slab[slot]
        if listed and not c.flags & LISTED:
            c.flags |= LISTED
            self.unlisted -= 1
        elif not listed and c.flags & LISTED:
            c.flags &= <uint16_t>~LISTED
            self.unlisted += 1

    cdef bint _is_vouched(self, uint32_t slot) except -1:
        """Whether an authority that the configuration of now names has vouched for a peer."""
        cdef Connection* c = &self.table.slab[slot]
        contexts = self.tls[c.listener]
        return contexts is not None and self.authorities.get(slot) in (
            <TlsContext>contexts[0 if c.flags & CAME_IN else 1]).authorities

    cdef int _proven(self, uint32_t slot) except? -2:
        """The group that the certificate of a peer proves, -1: none.

        A client's by any of its names. A server's by the one that it had to prove (RFC 5922 7.4), as it may ask by the
        connection that we opened (RFC 5923 8.2).
        """
        cdef Connection* c = &self.table.slab[slot]
        if not self._is_vouched(slot):
            return -1
        peer = self.peers.get(slot)
        names = (*peer.domains, *map(str.lower, peer.names)) if peer is not None else (
            self.layer.server_name(c.peer.scope),)
        return next((self.groups[name] for name in names if name in self.groups), -1)

    cdef void _judge(self, uint32_t slot, frozenset before) except *:
        """What an address and a certificate open by the configuration of now; who is denied loses his connection.

        before: the authorities that were named for targets when it was checked last.
        Where whoever has vouched for a peer is not trusted any more, its connection stays for what is under way, and is
        taken for no target.
        """
        cdef Connection* c = &self.table.slab[slot]
        cdef bint vouched = self._is_vouched(slot)
        cdef int admittance
        c.group = self._proven(slot)
        if c.flags & CAME_IN:
            admittance = self._admit(c.listener, &c.peer)
            if not is_heard(admittance):
                self._end(slot, "denied now")
                return
            self._enlist(slot, admittance == ADMIT_LISTED or c.group >= 0)
        if slot in self.peers:
            c.flags &= <uint16_t>~PROVEN
            if vouched and c.transport == TRANSPORT_TLS:
                c.flags |= PROVEN
            if c.alias.port and not vouched:
                self._disclaim(slot)
        elif slot in self.authorities and not vouched and before != named_authorities(self.tls[c.listener]):
            c.flags |= RETIRED
            self._hide(slot)

    cdef void _on_open(self, uint32_t slot, uint64_t now) noexcept:
        cdef Connection* c = &self.table.slab[slot]
        c.state = STATE_UPGRADE if is_websocket(c.transport) else STATE_OPEN
        c.heard = c.said = now
        if not c.flags & CAME_IN:
            c.born = now
        elif is_websocket(c.transport):
            # The library is loaded where somebody comes by WebSocket, and nowhere else.
            from sipcore.net.websocket import WebSocket
            self.upgrades[slot] = WebSocket(self.message_limit, self.origins[c.listener])
            c.flags |= ANSWERS_PINGS
        if c.out_n:
            self._mark(slot)
        self._arm(slot)
        if c.ssl != NULL and tls_has_more(c.ssl):
            # The first message came with the last words of the handshake.
            self._read(slot, now)

    cdef void _on_end(self, uint32_t slot, bint began, str why) noexcept:
        self.contexts.pop(slot, None)
        self.peers.pop(slot, None)
        self.authorities.pop(slot, None)

    # --- aliases

    cdef void _claim(self, uint32_t slot, uint16_t port) noexcept:
        """The peer, who has shown a certificate, says that it is reached at that port by its connection (RFC 5923 7.2).

        At its own address alone, and only by who means a name that the certificate carries: who claims a port of
        somebody else gets nothing of his. A newer connection of the same peer takes the place of an older one.
        """
        cdef Connection* c = &self.table.slab[slot]
        c.alias = c.peer
        c.alias.port = port
        c.alias.scope = 0
        key = target_key(c.listener, &c.alias)
        other = self.aliases.get(key)
        if other is not None:
            if self.peers[other] != self.peers[slot]:
                c.alias.port = 0
                return
            self._disclaim(other)
        self.aliases[key] = slot

    cdef void _disclaim(self, uint32_t slot) noexcept:
        """Take a connection for no target any more."""
        cdef Connection* c = &self.table.slab[slot]
        self.table.forget(slot)
        c.alias.scope = 0
        del self.aliases[target_key(c.listener, &c.alias)]
        c.flags &= <uint16_t>~ALIASED
        c.alias.port = 0

    cdef uint32_t _reuse(self, uint32_t listener, const Address* to) noexcept:
        """A connection that came in and leads there: its peer has proven to be who is meant (RFC 5923 9, RFC 5922)."""
        cdef Address target = to[0]
        cdef Connection* c
        cdef uint32_t slot
        target.scope = 0
        found = self.aliases.get(target_key(listener, &target))
        name = self.layer.server_name(to.scope)
        if found is None or name is None or not self.peers[found].proves(name, address_host(to)):
            return NO_CONNECTION
        slot = found
        c = &self.table.slab[slot]
        if not c.flags & ALIASED:
            c.alias.scope = to.scope
            c.flags |= ALIASED
            self.table.index(slot)
            self.counters.reused += 1
        return slot

    cdef void _hide(self, uint32_t slot) noexcept:
        if self.table.slab[slot].alias.port:
            self._disclaim(slot)
        Inlet._hide(self, slot)
