"""TLS 1.2 and 1.3 (RFC 5246, RFC 8446; RFC 3261 26.3.1, RFC 5922) straight on the socket, by OpenSSL's libssl.

Why not the loop's own: a connection costs 15 KiB here, where buffers go back whenever they are empty, and 24 KiB
there; and a message is decrypted into the bytes that the framer reads, without a Python object.

No session is kept and no ticket given: connections live long, and a secret that outlives them is one more to lose.
Renegotiation is off. A certificate is looked at in Python, once a connection (`certificate.py`).
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from datetime import UTC, datetime
from ipaddress import ip_address

from sipcore.net.certificate import Certificate

cdef extern from *:
    """
    #include <errno.h>
    static inline void forget_errno(void) { errno = 0; }
    static inline int no_errno(void) { return errno == 0; }
    """
    void forget_errno() noexcept nogil
    bint no_errno() noexcept nogil

cdef extern from "<strings.h>" nogil:
    int strcasecmp(const char* a, const char* b)

cdef extern from "<time.h>" nogil:
    struct tm:
        int tm_year, tm_mon, tm_mday, tm_hour, tm_min, tm_sec

cdef extern from "<openssl/ssl.h>" nogil:
    ctypedef struct SSL:
        pass
    ctypedef struct SSL_METHOD:
        pass
    ctypedef struct X509:
        pass
    ctypedef struct ASN1_TIME:
        pass
    ctypedef struct STACK_OF_NAMES "STACK_OF(X509_NAME)":
        pass
    ctypedef struct STACK_OF_X509 "STACK_OF(X509)":
        pass
    ctypedef struct X509_STORE:
        pass
    ctypedef int (*sni_fn)(SSL* ssl, int* alert, void* arg) noexcept nogil
    ctypedef int (*password_fn)(char* out, int size, int writing, void* arg) noexcept nogil
    int SSL_FILETYPE_PEM, SSL_VERIFY_NONE, SSL_VERIFY_PEER, SSL_VERIFY_FAIL_IF_NO_PEER_CERT
    int SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_ERROR_ZERO_RETURN, SSL_ERROR_SYSCALL
    int SSL_TLSEXT_ERR_OK, TLS1_2_VERSION, TLS1_3_VERSION, X509_PURPOSE_ANY
    long SSL_SESS_CACHE_OFF, SSL_MODE_RELEASE_BUFFERS, SSL_MODE_ENABLE_PARTIAL_WRITE
    long SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, SSL_MODE_AUTO_RETRY
    unsigned long SSL_OP_NO_COMPRESSION, SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_TICKET, SSL_OP_CIPHER_SERVER_PREFERENCE
    unsigned long SSL_OP_IGNORE_UNEXPECTED_EOF
    const SSL_METHOD* TLS_server_method()
    const SSL_METHOD* TLS_client_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD* method)
    void SSL_CTX_free(SSL_CTX* ctx)
    long SSL_CTX_set_mode(SSL_CTX* ctx, long mode)
    long SSL_CTX_clear_mode(SSL_CTX* ctx, long mode)
    unsigned long SSL_CTX_set_options(SSL_CTX* ctx, unsigned long options)
    long SSL_CTX_set_session_cache_mode(SSL_CTX* ctx, long mode)
    int SSL_CTX_set_num_tickets(SSL_CTX* ctx, size_t n)
    int SSL_CTX_set_min_proto_version(SSL_CTX* ctx, int version)
    void SSL_CTX_set_read_ahead(SSL_CTX* ctx, int yes)
    void SSL_CTX_set_verify(SSL_CTX* ctx, int mode, void* callback)
    int SSL_CTX_set_purpose(SSL_CTX* ctx, int purpose)
    int SSL_CTX_set_default_verify_paths(SSL_CTX* ctx)
    int SSL_CTX_load_verify_locations(SSL_CTX* ctx, const char* file, const char* folder)
    STACK_OF_NAMES* SSL_load_client_CA_file(const char* file)
    void SSL_CTX_set_client_CA_list(SSL_CTX* ctx, STACK_OF_NAMES* names)
    void SSL_CTX_set_default_passwd_cb(SSL_CTX* ctx, password_fn callback)
    int SSL_CTX_use_certificate_chain_file(SSL_CTX* ctx, const char* file)
    int SSL_CTX_use_PrivateKey_file(SSL_CTX* ctx, const char* file, int kind)
    int SSL_CTX_check_private_key(SSL_CTX* ctx)
    X509* SSL_CTX_get0_certificate(const SSL_CTX* ctx)
    long SSL_CTX_set_tlsext_servername_callback(SSL_CTX* ctx, sni_fn callback)
    long SSL_CTX_set_tlsext_servername_arg(SSL_CTX* ctx, void* arg)
    SSL* SSL_new(SSL_CTX* ctx)
    void SSL_free(SSL* ssl)
    int SSL_set_fd(SSL* ssl, int fd)
    void SSL_set_accept_state(SSL* ssl)
    void SSL_set_connect_state(SSL* ssl)
    long SSL_set_tlsext_host_name(SSL* ssl, const char* name)
    const char* SSL_get_servername(const SSL* ssl, int kind)
    SSL_CTX* SSL_set_SSL_CTX(SSL* ssl, SSL_CTX* ctx)
    int SSL_do_handshake(SSL* ssl)
    int SSL_read(SSL* ssl, void* p, int n)
    int SSL_write(SSL* ssl, const void* p, int n)
    int SSL_shutdown(SSL* ssl)
    int SSL_has_pending(const SSL* ssl)
    int SSL_get_error(const SSL* ssl, int result)
    long SSL_get_verify_result(const SSL* ssl)
    X509* SSL_get1_peer_certificate(const SSL* ssl)
    STACK_OF_X509* SSL_get0_verified_chain(const SSL* ssl)
    X509_STORE* SSL_CTX_get_cert_store(const SSL_CTX* ctx)

cdef extern from "<openssl/err.h>" nogil:
    unsigned long ERR_get_error()
    unsigned long ERR_peek_last_error()
    const char* ERR_reason_error_string(unsigned long code)
    void ERR_clear_error()

cdef extern from "<openssl/x509v3.h>" nogil:
    ctypedef struct GENERAL_NAME:
        pass
    ctypedef struct GENERAL_NAMES:
        pass
    ctypedef struct ASN1_STRING:
        pass
    int NID_subject_alt_name, GEN_URI, GEN_DNS, GEN_IPADD
    void* X509_get_ext_d2i(const X509* certificate, int nid, int* critical, int* index)
    int sk_GENERAL_NAME_num(const GENERAL_NAMES* names)
    GENERAL_NAME* sk_GENERAL_NAME_value(const GENERAL_NAMES* names, int i)
    void* GENERAL_NAME_get0_value(const GENERAL_NAME* name, int* kind)
    void GENERAL_NAMES_free(GENERAL_NAMES* names)
    const unsigned char* ASN1_STRING_get0_data(const ASN1_STRING* text)
    int ASN1_STRING_length(const ASN1_STRING* text)
    ctypedef struct EVP_MD:
        pass
    const EVP_MD* EVP_sha256()
    STACK_OF_X509* X509_STORE_get1_all_certs(X509_STORE* store)
    int sk_X509_num(const STACK_OF_X509* certificates)
    X509* sk_X509_value(const STACK_OF_X509* certificates, int i)
    void sk_X509_pop_free(STACK_OF_X509* certificates, void (*free)(X509*) noexcept nogil)
    int X509_digest(const X509* certificate, const EVP_MD* hash, unsigned char* out, unsigned int* n)
    void X509_free(X509* certificate)
    const char* X509_verify_cert_error_string(long code)
    const ASN1_TIME* X509_get0_notBefore(const X509* certificate)
    const ASN1_TIME* X509_get0_notAfter(const X509* certificate)
    int ASN1_TIME_to_tm(const ASN1_TIME* when, tm* out)


cdef int _no_password(char* out, int size, int writing, void* arg) noexcept nogil:
    """OpenSSL would ask at the terminal."""
    return 0


cdef int _on_name(SSL* ssl, int* alert, void* arg) noexcept nogil:
    """The client has named whom it wants (RFC 6066 3): its certificate, or the first one."""
    cdef const char* name = SSL_get_servername(ssl, 0)
    cdef int i
    if name != NULL:
        with gil:
            for i in range((<TlsContext>arg).chosen_n):
                if strcasecmp(name, (<TlsContext>arg).chosen_name[i]) == 0:
                    SSL_set_SSL_CTX(ssl, (<TlsContext>arg).chosen[i])
                    break
    return SSL_TLSEXT_ERR_OK


cdef str _reason():
    """What OpenSSL complains about, and forget it."""
    cdef unsigned long code = ERR_peek_last_error()
    cdef const char* text = ERR_reason_error_string(code)
    ERR_clear_error()
    return text.decode("ascii", "replace") if text != NULL else "no reason given"


cdef object _certificate(X509* certificate):
    """The names in a certificate."""
    cdef GENERAL_NAMES* names
    cdef ASN1_STRING* text
    cdef int i, kind
    uris, hosts, addresses = [], [], []
    names = <GENERAL_NAMES*>X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL)
    if names == NULL:
        return Certificate()
    for i in range(sk_GENERAL_NAME_num(names)):
        text = <ASN1_STRING*>GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind)
        if kind != GEN_URI and kind != GEN_DNS and kind != GEN_IPADD:
            continue
        raw = (<const char*>ASN1_STRING_get0_data(text))[:ASN1_STRING_length(text)]
        # A name with a zero or another control character in it is nobody's.
        if kind == GEN_IPADD and len(raw) in (4, 16):
            addresses.append(str(ip_address(raw)))
        elif kind != GEN_IPADD and raw.isascii() and raw.decode("ascii").isprintable():
            (uris if kind == GEN_URI else hosts).append(raw.decode("ascii"))
    GENERAL_NAMES_free(names)
    return Certificate(tuple(uris), tuple(hosts), tuple(addresses))


cdef bytes _fingerprint(X509* certificate):
    """Its SHA-256."""
    cdef unsigned char out[32]
    if certificate == NULL or X509_digest(certificate, EVP_sha256(), out, NULL) != 1:
        ERR_clear_error()
        return b""
    return (<const char*>out)[:32]


cdef class TlsContext:
    """What connections of one kind share.

    server: whether we are the one that peers connect to. certificates: (certificate file, key file), PEM, the chain
    behind the certificate; the first one unless a client asks for a name of another. ca: PEM file of the authorities
    that a peer's certificate must come from; empty: the system's. client_certificate: none, optional or required.
    Files are read now. Raises ValueError with what is wrong with which.
    """

    def __init__(self, *, bint server, certificates=(), str ca="", str client_certificate="none",
                 str minimum_version="1.2"):
        cdef STACK_OF_NAMES* names
        if len(certificates) > MAX_CERTIFICATES:
            raise ValueError(f"more than {MAX_CERTIFICATES} certificates")
        self.server = server
        self.others = []
        self.names = ()
        self.ctx = SSL_CTX_new(TLS_server_method() if server else TLS_client_method())
        if self.ctx == NULL:
            raise MemoryError
        SSL_CTX_set_mode(self.ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                         | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
        # One read would go on for as long as a peer sends KeyUpdates (RFC 8446 4.6.3), each of which takes 7 us.
        SSL_CTX_clear_mode(self.ctx, SSL_MODE_AUTO_RETRY)
        SSL_CTX_set_options(self.ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET
                            | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF)
        SSL_CTX_set_session_cache_mode(self.ctx, SSL_SESS_CACHE_OFF)
        SSL_CTX_set_num_tickets(self.ctx, 0)
        SSL_CTX_set_read_ahead(self.ctx, 1)
        SSL_CTX_set_min_proto_version(self.ctx, TLS1_3_VERSION if minimum_version == "1.3" else TLS1_2_VERSION)
        SSL_CTX_set_default_passwd_cb(self.ctx, _no_password)
        self.asks = server and client_certificate != "none"
        self.authorities = frozenset()
        if self.asks or not server:
            self._trust(ca)
        if self.asks:
            names = SSL_load_client_CA_file(ca.encode())
            if names == NULL:
                raise ValueError(f"{ca}: {_reason()}")
            SSL_CTX_set_client_CA_list(self.ctx, names)
            # What a certificate is for says which authority gave it, seldom what its owner does: those of servers come
            # without the purpose of a client, and a SIP server is both.
            SSL_CTX_set_purpose(self.ctx, X509_PURPOSE_ANY)
            SSL_CTX_set_verify(self.ctx, SSL_VERIFY_PEER | (
                SSL_VERIFY_FAIL_IF_NO_PEER_CERT if client_certificate == "required" else 0), NULL)
        elif not server:
            SSL_CTX_set_verify(self.ctx, SSL_VERIFY_PEER, NULL)
        if certificates:
            self._identify(*certificates[0])
            self.others = [TlsContext(server=server, certificates=[pair], minimum_version=minimum_version)
                           for pair in certificates[1:]]
        if server and self.others:
            self._choose()

    def __dealloc__(self):
        if self.ctx != NULL:
            SSL_CTX_free(self.ctx)

    def _trust(self, str ca):
        cdef STACK_OF_X509* found
        cdef int i
        if not ca:
            SSL_CTX_set_default_verify_paths(self.ctx)
            return
        if SSL_CTX_load_verify_locations(self.ctx, ca.encode(), NULL) != 1:
            raise ValueError(f"{ca}: no certificates of authorities in PEM ({_reason()})")
        found = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(self.ctx))
        self.authorities = frozenset([_fingerprint(sk_X509_value(found, i)) for i in range(sk_X509_num(found))])
        sk_X509_pop_free(found, X509_free)

    def _identify(self, str certificate, str key):
        ERR_clear_error()
        if SSL_CTX_use_certificate_chain_file(self.ctx, certificate.encode()) != 1:
            raise ValueError(f"{certificate}: no certificate in PEM ({_reason()})")
        if SSL_CTX_use_PrivateKey_file(self.ctx, key.encode(), SSL_FILETYPE_PEM) != 1:
            # The key is checked against the certificate that is there already.
            raise ValueError(f"{key}: no private key without a password that fits {certificate} ({_reason()})")
        if SSL_CTX_check_private_key(self.ctx) != 1:
            raise ValueError(f"{key} does not fit {certificate} ({_reason()})")
        found = _certificate(SSL_CTX_get0_certificate(self.ctx))
        self.names = tuple(dict.fromkeys((*found.domains, *(name.lower() for name in found.names), *found.addresses)))

    def _choose(self):
        """Which certificate a client gets by the name that it asks for; of two with the name, the first."""
        cdef int at = 0
        found = {}
        for context in (self, *self.others):
            for name in (<TlsContext>context).names:
                found.setdefault(name, context)
        found = dict(list(found.items())[:MAX_CERTIFICATES])
        self.kept = b"".join(name.encode() + b"\0" for name in found)
        for context in found.values():
            self.chosen[self.chosen_n] = (<TlsContext>context).ctx
            self.chosen_name[self.chosen_n] = <const char*>self.kept + at
            at = self.kept.index(b"\0", at) + 1
            self.chosen_n += 1
        SSL_CTX_set_tlsext_servername_callback(self.ctx, _on_name)
        SSL_CTX_set_tlsext_servername_arg(self.ctx, <void*>self)

    cdef void* connection(self, int fd, bytes name) noexcept:
        """An SSL on a connected descriptor, NULL without memory; name: of the server that is meant, as SNI.

        The context must outlive its handshake.
        """
        cdef SSL* ssl = SSL_new(self.ctx)
        if ssl == NULL:
            ERR_clear_error()
            return NULL
        SSL_set_fd(ssl, fd)
        if self.server:
            SSL_set_accept_state(ssl)
        else:
            SSL_set_connect_state(ssl)
            if name:
                SSL_set_tlsext_host_name(ssl, name)
        return ssl


cdef inline int _outcome(SSL* ssl, int result) noexcept nogil:
    cdef int error = SSL_get_error(ssl, result)
    if error == SSL_ERROR_WANT_READ:
        return TLS_WANTS_READ
    if error == SSL_ERROR_WANT_WRITE:
        return TLS_WANTS_WRITE
    if error == SSL_ERROR_ZERO_RETURN or (error == SSL_ERROR_SYSCALL and no_errno()):
        return TLS_END
    return TLS_FAILED


cdef int tls_handshake(void* ssl) noexcept nogil:
    """One step; TLS_DONE, or what it waits for, or what it failed of."""
    cdef int result
    ERR_clear_error()
    result = SSL_do_handshake(<SSL*>ssl)
    return TLS_DONE if result == 1 else _outcome(<SSL*>ssl, result)


cdef int tls_read(void* ssl, uint8_t* p, uint32_t n) noexcept nogil:
    """Bytes that were read, or why there are none."""
    cdef int result
    ERR_clear_error()
    forget_errno()
    result = SSL_read(<SSL*>ssl, p, <int>n)
    return result if result > 0 else _outcome(<SSL*>ssl, result)


cdef int tls_write(void* ssl, const uint8_t* p, uint32_t n) noexcept nogil:
    """Bytes that were written (one record at most), or why there are none: the same bytes are to be given again."""
    cdef int result
    ERR_clear_error()
    result = SSL_write(<SSL*>ssl, p, <int>n)
    return result if result > 0 else _outcome(<SSL*>ssl, result)


cdef bint tls_has_more(void* ssl) noexcept nogil:
    """Whether it has read bytes from the socket that tls_read has not given out."""
    return SSL_has_pending(<SSL*>ssl) != 0


cdef void tls_free(void* ssl, bint ended) noexcept nogil:
    """Give it back; ended: after telling the peer, where its handshake was complete and nothing had failed."""
    if ended:
        SSL_shutdown(<SSL*>ssl)
    ERR_clear_error()
    SSL_free(<SSL*>ssl)


cdef str tls_trouble(void* ssl):
    """Which check failed, in words."""
    cdef long verified = SSL_get_verify_result(<SSL*>ssl)
    if verified:
        ERR_clear_error()
        return f"certificate refused: {X509_verify_cert_error_string(verified).decode('ascii', 'replace')}"
    return _reason()


cdef object tls_peer(void* ssl):
    """The peer's Certificate, whose chain has been verified; None where it gave none."""
    cdef X509* certificate = SSL_get1_peer_certificate(<SSL*>ssl)
    if certificate == NULL:
        return None
    found = _certificate(certificate)
    X509_free(certificate)
    return found


cdef bytes tls_authority(void* ssl):
    """The fingerprint of the authority that the peer's verified chain ends with."""
    cdef STACK_OF_X509* chain = SSL_get0_verified_chain(<SSL*>ssl)
    return _fingerprint(sk_X509_value(chain, sk_X509_num(chain) - 1)) if chain != NULL else b""


cdef object _time(const ASN1_TIME* when):
    cdef tm t
    memset(&t, 0, sizeof(t))
    if ASN1_TIME_to_tm(when, &t) != 1:
        return datetime.max.replace(tzinfo=UTC)
    return datetime(t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, tzinfo=UTC)


cdef SSL_CTX* _reading(str file) except NULL:
    """A context that has read a certificate; the caller frees it."""
    cdef SSL_CTX* ctx = SSL_CTX_new(TLS_server_method())
    if ctx == NULL:
        raise MemoryError
    ERR_clear_error()
    if SSL_CTX_use_certificate_chain_file(ctx, file.encode()) != 1:
        SSL_CTX_free(ctx)
        raise ValueError(f"{file}: no certificate in PEM ({_reason()})")
    return ctx


def read_certificate(str file not None):
    """The names in the first certificate of a PEM file; ValueError where there is none."""
    cdef SSL_CTX* ctx = _reading(file)
    found = _certificate(SSL_CTX_get0_certificate(ctx))
    SSL_CTX_free(ctx)
    return found


def validity(str file not None):
    """From when to when the first certificate of a PEM file is valid; ValueError where there is none."""
    cdef SSL_CTX* ctx = _reading(file)
    found = (_time(X509_get0_notBefore(SSL_CTX_get0_certificate(ctx))),
             _time(X509_get0_notAfter(SSL_CTX_get0_certificate(ctx))))
    SSL_CTX_free(ctx)
    return found
