"""Reading, framing and writing of connections, TCP or TLS (RFC 3261 18.3): one read and one write a wake-up.

TLS is what the edge speaks (`sipcore.net.tls`), since both are OpenSSL; framing is written apart from it, so that a
fault there does not hide itself. A connection has 128 KiB for what comes and 1 MiB for what waits to be written, and
is never replaced: whatever is lost with it shows as calls that failed.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memmove
from posix.unistd cimport close

from sipcore.net.tls cimport (
    TLS_DONE, TLS_WANTS_READ, TLS_WANTS_WRITE, TlsContext, tls_free, tls_handshake, tls_read, tls_write,
)

cdef extern from "<string.h>" nogil:
    void* memmem(const void*, size_t, const void*, size_t) noexcept

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char*, const char*, size_t) noexcept

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL
        SOCK_NONBLOCK
        SOCK_CLOEXEC
    int accept4(int, void*, unsigned int*, int) noexcept
    int getpeername(int, void*, unsigned int*) noexcept
    int setsockopt(int, int, int, const void*, unsigned int) noexcept
    ssize_t recv(int, void*, size_t, int) noexcept
    ssize_t send(int, const void*, size_t, int) noexcept

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        IPPROTO_TCP
        TCP_NODELAY

cdef enum:
    IN_ROOM = 1 << 17
    OUT_ROOM = 1 << 20
    LONGEST_HEAD = 1 << 14  # bytes of a header section
    RECORD = 1 << 14        # most bytes of a TLS record

MOST_CONNECTIONS = CONNECTIONS


cdef class Connections:
    """sockets: connected and non-blocking, or a listening one alone; all stay the caller's. context: for TLS."""

    def __cinit__(self, *_, **__):
        cdef int index
        for index in range(CONNECTIONS):
            self.each[index].fd = -1

    def __init__(self, list sockets, *, bint listening, TlsContext context=None):
        self.sockets = sockets
        self.context = context
        self.listener = sockets[0].fileno() if listening else -1
        if not listening:
            for sock in sockets:
                self._add(sock.fileno())

    def close(self):
        """End all connections, before their sockets are closed."""
        cdef int index
        for index in range(CONNECTIONS):
            drop_connection(&self.each[index], self.listener >= 0)

    def __dealloc__(self):
        cdef int index
        for index in range(CONNECTIONS):
            free(self.each[index].into)
            free(self.each[index].out)

    cdef bint _add(self, int fd) except -1:
        """Take a connected descriptor; False where there is no place for it."""
        cdef unsigned int size = sizeof(sockaddr_in)
        cdef int yes = 1
        cdef Connection* c
        cdef int index
        for index in range(CONNECTIONS):
            c = &self.each[index]
            if c.fd >= 0:
                continue
            if c.into == NULL:
                c.into = <char*>malloc(IN_ROOM)
                c.out = <char*>malloc(OUT_ROOM)
                if c.into == NULL or c.out == NULL:
                    raise MemoryError
            c.in_at = c.in_n = c.out_at = c.out_n = 0
            c.blocked = False
            c.ready = self.context is None
            getpeername(fd, &c.peer, &size)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes))
            if self.context is not None:
                c.ssl = self.context.connection(fd, b"")
                if c.ssl == NULL:
                    raise MemoryError
            c.fd = fd
            if c.ssl != NULL and self.listener < 0:
                _shake(c)
            return True
        return False

    cdef void accept(self) noexcept:
        """Take the connections that wait at the listener."""
        cdef int fd = accept4(self.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        while fd >= 0:
            try:
                if not self._add(fd):
                    close(fd)
            except MemoryError:
                close(fd)
            fd = accept4(self.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)


cdef void drop_connection(Connection* c, bint own) noexcept nogil:
    if c.ssl != NULL:
        tls_free(c.ssl, c.ready)
        c.ssl = NULL
    if c.fd >= 0 and own:
        close(c.fd)
    c.fd = -1


cdef int _shake(Connection* c) noexcept nogil:
    """A step of the handshake; -1 where it has failed."""
    cdef int result = tls_handshake(c.ssl)
    if result == TLS_DONE:
        c.ready = True
    return 0 if result in (TLS_DONE, TLS_WANTS_READ, TLS_WANTS_WRITE) else -1


cdef int read_more(Connection* c) noexcept nogil:
    """Read once; bytes that came, 0 for none at the moment, -1 where the connection has ended."""
    cdef ssize_t n
    if c.in_at:
        c.in_n -= c.in_at
        memmove(c.into, c.into + c.in_at, c.in_n)
        c.in_at = 0
    if not c.ready:
        if _shake(c) < 0:
            return -1
        if not c.ready:
            return 0
    if c.ssl != NULL:
        n = tls_read(c.ssl, <unsigned char*>c.into + c.in_n, IN_ROOM - c.in_n)
        if n == TLS_WANTS_READ or n == TLS_WANTS_WRITE:
            return 0
    else:
        n = recv(c.fd, c.into + c.in_n, IN_ROOM - c.in_n, 0)
        if n < 0 and (errno == EAGAIN or errno == EINTR):
            return 0
    if n <= 0:
        return -1
    c.in_n += <int>n
    return <int>n


cdef int _content_length(const char* at, const char* end) noexcept nogil:
    """The number in the Content-Length line of a header section, -1 without one."""
    cdef const char* line = at
    cdef int length = 0
    while line != NULL and line + 1 < end:
        line += 1
        if line[0] | 32 == b"c" and strncasecmp(line, "Content-Length:", 15) == 0:
            line += 15
        elif line[0] | 32 == b"l" and line[1] == b":":
            line += 2
        else:
            line = <const char*>memchr(line, b"\n", end - line)
            continue
        while line[0] == b" ":
            line += 1
        while b"0" <= line[0] <= b"9" and length < IN_ROOM:
            length = 10 * length + line[0] - 48
            line += 1
        return length
    return -1


cdef int next_message(Connection* c, const char** data) noexcept nogil:
    """Size of the next whole message, 0 where none is there yet, -1 where the stream cannot be understood."""
    cdef const char* at
    cdef const char* end
    cdef int length
    while c.in_at < c.in_n and (c.into[c.in_at] == b"\r" or c.into[c.in_at] == b"\n"):
        c.in_at += 1        # a keepalive
    at = c.into + c.in_at
    end = <const char*>memmem(at, c.in_n - c.in_at, "\r\n\r\n", 4)
    if end == NULL:
        return 0 if c.in_n - c.in_at < LONGEST_HEAD else -1
    end += 4
    length = _content_length(<const char*>memchr(at, b"\n", end - at), end)
    if length < 0 or end - at + length > IN_ROOM // 2:
        return -1
    length += <int>(end - at)
    if length > c.in_n - c.in_at:
        return 0
    c.in_at += length
    data[0] = at
    return length


cdef bint queue_message(Connection* c, const char* data, int size) noexcept nogil:
    """False where the connection has ended, or more waits than there is room for."""
    if c.fd < 0:
        return False
    if c.out_n + size > OUT_ROOM:
        c.out_n -= c.out_at
        memmove(c.out, c.out + c.out_at, c.out_n)
        c.out_at = 0
        if c.out_n + size > OUT_ROOM:
            return False
    memcpy(c.out + c.out_n, data, size)
    c.out_n += size
    return True


cdef void write_queued(Connection* c) noexcept nogil:
    """Write as much as the network takes now."""
    cdef ssize_t n
    if c.fd < 0 or not c.ready:
        return
    c.blocked = False
    while c.out_at < c.out_n:
        if c.ssl != NULL:
            n = tls_write(c.ssl, <unsigned char*>c.out + c.out_at, min(c.out_n - c.out_at, <int>RECORD))
            c.blocked = n == TLS_WANTS_WRITE or n == TLS_WANTS_READ
        else:
            n = send(c.fd, c.out + c.out_at, c.out_n - c.out_at, MSG_NOSIGNAL)
            if n < 0 and errno == EINTR:
                continue
            c.blocked = n < 0 and errno == EAGAIN
        if n <= 0:
            break       # blocked; or lost, which the next read tells
        c.out_at += <int>n
    if c.out_at == c.out_n:
        c.out_at = c.out_n = 0
