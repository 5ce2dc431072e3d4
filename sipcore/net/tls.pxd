"""TLS on a descriptor, by OpenSSL: contexts, and what a connection does with its SSL."""
from libc.stdint cimport uint8_t, uint32_t

cdef extern from "<openssl/ssl.h>" nogil:
    ctypedef struct SSL_CTX:
        pass

cdef enum Tls:
    # What a step gives, below one byte.
    TLS_END = 0             # the peer has ended the connection
    TLS_WANTS_READ = -1
    TLS_WANTS_WRITE = -2
    TLS_FAILED = -3

cdef enum:
    TLS_DONE = 1            # of a handshake
    MAX_CERTIFICATES = 64   # of one listener


cdef class TlsContext:
    cdef SSL_CTX* ctx
    cdef readonly bint server
    cdef readonly bint asks             # for a client's certificate
    cdef readonly frozenset authorities     # fingerprints of those named; empty: the many that the system knows
    cdef readonly tuple names           # of its certificate
    cdef list others                    # TlsContext, chosen by the name that the client asks for
    cdef int others_n
    cdef SSL_CTX* chosen[MAX_CERTIFICATES]
    cdef bytes kept                     # names of all of them, one after the other, each ends in a zero
    cdef const char* chosen_name[MAX_CERTIFICATES]
    cdef int chosen_n

    cdef void* connection(self, int fd, bytes name) noexcept


cdef int tls_handshake(void* ssl) noexcept nogil
cdef int tls_read(void* ssl, uint8_t* p, uint32_t n) noexcept nogil
cdef int tls_write(void* ssl, const uint8_t* p, uint32_t n) noexcept nogil
cdef bint tls_has_more(void* ssl) noexcept nogil
cdef void tls_free(void* ssl, bint ended) noexcept nogil
cdef str tls_trouble(void* ssl)
cdef object tls_peer(void* ssl)
cdef bytes tls_authority(void* ssl)
