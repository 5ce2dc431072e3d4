"""The connections of one side over TCP or TLS, all of them open for as long as a run lasts."""
from libc.stdint cimport uint16_t, uint32_t

from sipcore.net.tls cimport TlsContext

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port       # network order, like s_addr
        in_addr sin_addr

cdef enum:
    CONNECTIONS = 16        # most of one side

cdef struct Connection:
    int fd                  # -1: there is none
    void* ssl               # NULL over TCP
    bint ready              # its TLS handshake is over
    bint blocked            # the network takes no more for the moment
    sockaddr_in peer
    int in_at               # bytes handed out, of in_n that came
    int in_n
    int out_at              # bytes written, of out_n that are queued
    int out_n
    char* into
    char* out


cdef class Connections:
    cdef Connection each[CONNECTIONS]
    cdef readonly int listener      # -1 on the side that connects
    cdef TlsContext context         # None over TCP
    cdef list sockets               # those that the caller gave

    cdef void accept(self) noexcept
    cdef bint _add(self, int fd) except -1


cdef int read_more(Connection* c) noexcept nogil
cdef int next_message(Connection* c, const char** data) noexcept nogil
cdef bint queue_message(Connection* c, const char* data, int size) noexcept nogil
cdef void write_queued(Connection* c) noexcept nogil
cdef void drop_connection(Connection* c, bint own) noexcept nogil
