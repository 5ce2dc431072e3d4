"""Bound ports between two calls.

A pair stays bound when its call ends, so that the next call finds it ready: ten system calls less each time. It stays
in epoll too, whose data names the port and never the session, so that handing it over changes one word here.

What an ended call left in the socket is thrown away when it ends, and what comes later when it comes: nothing of it
reaches the next call, and nothing gathers. A port that gets more than a few such packets is made deaf: it is connected
to itself, whom nobody can be, and the kernel answers as for a port that nobody has. So a flood on a port without a call
costs the relay what one on a closed port does.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memset
from posix.unistd cimport close
from sipcore.base.address cimport Address
from sipcore.base.ring cimport relaxed_add
from sipcore.base.sockname cimport name_of, sockaddr, sockaddr_in6, socklen_t
from sipcore.media.thread cimport OwnPorts

cdef extern from "<sys/socket.h>" nogil:
    int AF_UNSPEC, MSG_TRUNC, MSG_DONTWAIT
    ssize_t recv(int fd, void* data, size_t n, int flags)
    int connect(int fd, const sockaddr* name, socklen_t size)

cdef extern from "sockets.h" nogil:
    long sipcore_socket_drops(int fd)

cdef enum:
    QUEUED_MAX = 1024           # more than a receive buffer holds
    LATE_AT_ONCE = 16           # packets of one event
    LATE_MAX = 50               # packets until a port is made deaf: a second of audio


cdef void port_taken(Thread* thread, Side* side, int kind, uint32_t session, uint8_t number) noexcept nogil:
    """The port of a flow is a session's from now on."""
    cdef PortUse* use = flow_use(thread, side, kind)
    cdef sockaddr_in6 nobody
    if use.deaf:
        memset(&nobody, 0, sizeof(nobody))
        (<sockaddr*>&nobody).sa_family = AF_UNSPEC
        if connect(side.flows[kind].fd, <sockaddr*>&nobody, sizeof(nobody)) != 0:
            relaxed_add(&thread.counters.socket_errors, 1)
        use.deaf = False
    if use.late:
        use.drops = _drops(side.flows[kind].fd)
        use.late = 0
    use.holder = holder_of(session, number, kind)


cdef void port_left(Thread* thread, Side* side, int kind, bint kept) noexcept nogil:
    """A session has done with the port of a flow. kept: it stays bound."""
    cdef PortUse* use = flow_use(thread, side, kind)
    cdef int fd = side.flows[kind].fd
    side.flows[kind].fd = -1
    if not kept:
        port_closed(thread, <uint16_t>side.pool, side.flows[kind].port, fd)
        return
    use.holder = 0
    use.drops = _drops(fd)
    _throw_away(fd, QUEUED_MAX)


cdef void port_late(Thread* thread, uint64_t event) noexcept nogil:
    """Something came to a port that no session has."""
    cdef OwnPorts* own = &thread.own[event >> 16 & 0xFFFF]
    cdef PortUse* use = port_use(thread, event)
    cdef int fd = <int>(event >> 32)
    cdef uint32_t n = _throw_away(fd, LATE_AT_ONCE)
    cdef Address itself
    cdef sockaddr_in6 name
    cdef socklen_t size
    relaxed_add(&thread.counters.late, n)
    use.late += n
    if use.late <= LATE_MAX or use.deaf:
        return
    itself = own.bound
    itself.port = <uint16_t>event
    size = name_of(&itself, <sockaddr*>&name)
    if connect(fd, <sockaddr*>&name, size) == 0:
        use.deaf = True
    else:
        relaxed_add(&thread.counters.socket_errors, 1)
        use.late = 1


cdef void port_closed(Thread* thread, uint16_t pool, uint16_t port, int fd) noexcept nogil:
    """Close a port. What epoll has said of it in this round must not be believed: its number may be another's soon."""
    memset(port_use(thread, parking_event(fd, pool, port)), 0, sizeof(PortUse))
    close(fd)
    thread.shut = True


cdef uint32_t _throw_away(int fd, int most) noexcept nogil:
    """Read packets for nobody; returns how many there were."""
    cdef uint32_t n = 0
    cdef char nothing[1]
    while most > 0:
        most -= 1
        if recv(fd, nothing, 0, MSG_TRUNC | MSG_DONTWAIT) >= 0:
            n += 1
        elif errno == EAGAIN:
            break
        elif errno != EINTR:
            # Reading took the pending error.
            continue
    return n


cdef uint32_t _drops(int fd) noexcept nogil:
    """Datagrams that the kernel has dropped at a socket so far."""
    cdef long n = sipcore_socket_drops(fd)
    return <uint32_t>n if n > 0 else 0
