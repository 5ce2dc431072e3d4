# distutils: libraries = crypto
"""SRTP over OpenSSL's libcrypto: AES in counter mode with HMAC-SHA1 (RFC 3711, 6188), AES-GCM (RFC 7714).

A direction of a side has one master key, from which everything else is derived when it is set up (key derivation rate
0, header extensions in the clear: whatever else a peer asks for is not agreed to). Packets that come may carry that
key's identifier (MKI), packets that are sent carry none. A packet then costs a new IV and no allocation: ciphers keep
their keys, and the two halves of HMAC are begun once and copied. libcrypto's own HMAC allocates for each message, so
that stands on its SHA-1, which does not.

What has come is remembered for each SSRC: the highest index and which of the 64 before it came. An SSRC is believed
once a packet of it was authentic, so a stranger takes no place; of more than SRTP_SOURCES the one that was heard
longest ago is forgotten. Sending, none ever is: two packets under one index would give away what they say.

Long because both directions of both protocols share one layout of keys, indexes and tags, which nobody else sees.

Memory: about 3 KiB a direction, libcrypto's part included.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from .rtp cimport RTCP_HEADER, RTP_HEADER, read_u16, read_u32, rtp_sequence, rtp_ssrc, write_u16, write_u32

cdef extern from *:
    """
    #define OPENSSL_SUPPRESS_DEPRECATED
    """

cdef extern from "<openssl/evp.h>" nogil:
    ctypedef struct EVP_CIPHER:
        pass

    ctypedef struct EVP_CIPHER_CTX:
        pass

    int EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_TAG
    const EVP_CIPHER* EVP_aes_128_ctr()
    const EVP_CIPHER* EVP_aes_256_ctr()
    const EVP_CIPHER* EVP_aes_128_gcm()
    const EVP_CIPHER* EVP_aes_256_gcm()
    EVP_CIPHER_CTX* EVP_CIPHER_CTX_new()
    void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX* ctx)
    int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX* ctx, int what, int n, void* p)
    int EVP_CipherInit_ex(EVP_CIPHER_CTX* ctx, const EVP_CIPHER* cipher, void* engine, const uint8_t* key,
                          const uint8_t* iv, int encrypts)
    int EVP_CipherUpdate(EVP_CIPHER_CTX* ctx, uint8_t* out, int* written, const uint8_t* p, int n)
    int EVP_CipherFinal_ex(EVP_CIPHER_CTX* ctx, uint8_t* out, int* written)

cdef extern from "<openssl/sha.h>" nogil:
    ctypedef struct SHA_CTX:
        pass

    int SHA1_Init(SHA_CTX* ctx)
    int SHA1_Update(SHA_CTX* ctx, const void* p, size_t n)
    int SHA1_Final(uint8_t* out, SHA_CTX* ctx)

cdef extern from "<openssl/crypto.h>" nogil:
    int CRYPTO_memcmp(const void* a, const void* b, size_t n)
    void OPENSSL_cleanse(void* p, size_t n)

cdef extern from "<openssl/err.h>" nogil:
    void ERR_clear_error()

cdef enum:
    CM_SALT = 14
    AEAD_SALT = 12
    AEAD_TAG = 16
    HMAC_KEY = 20
    DIGEST = 20
    BLOCK = 64              # of SHA-1
    INDEX = 4               # bytes of SRTCP's index, with ENCRYPTED
    WINDOW = 64             # packets

cdef enum:
    LABEL_CIPHER = 0        # RFC 3711 4.3.2; those of SRTCP are three higher
    LABEL_AUTH = 1
    LABEL_SALT = 2

cdef uint32_t ENCRYPTED = 0x80000000
cdef uint32_t ROC_LAST = 0xFFFFFFFF

cdef struct SuiteShape:
    uint8_t key             # bytes of the master key and of the session key
    uint8_t salt
    uint8_t tag             # of SRTP
    uint8_t rtcp_tag
    uint8_t aead

# By Suite. RFC 4568 6.2.2: SRTCP has a tag of 80 bits in any case.
cdef SuiteShape[SUITES] SHAPES
SHAPES[:] = [
    SuiteShape(0, 0, 0, 0, False),
    SuiteShape(16, CM_SALT, 4, 10, False),
    SuiteShape(32, CM_SALT, 4, 10, False),
    SuiteShape(16, CM_SALT, 10, 10, False),
    SuiteShape(16, AEAD_SALT, AEAD_TAG, AEAD_TAG, True),
    SuiteShape(32, CM_SALT, 10, 10, False),
    SuiteShape(32, AEAD_SALT, AEAD_TAG, AEAD_TAG, True),
]

cdef struct Session:        # the session keys of SRTP or of SRTCP
    EVP_CIPHER_CTX* cipher
    SHA_CTX inner           # HMAC's two hashes, begun
    SHA_CTX outer
    uint8_t salt[CM_SALT]

cdef struct Window:         # what has come, or was sent
    uint64_t highest        # index
    uint64_t seen           # bit k: highest - k
    uint8_t begun

cdef struct Source:
    uint32_t ssrc
    uint8_t used
    uint64_t turn           # of the last packet: the lowest has been quiet for longest
    Window rtp
    Window rtcp

cdef struct Srtp:
    SuiteShape shape
    uint8_t sends
    uint32_t rtcp_index     # of the next report sent
    uint64_t turn
    Session rtp
    Session rtcp
    Source sources[SRTP_SOURCES]
    SrtpKey key


cdef uint32_t srtp_key_size(uint8_t suite) noexcept nogil:
    """Bytes of a suite's master key and master salt together, 0 for none."""
    return SHAPES[suite].key + SHAPES[suite].salt if suite < SUITES else 0


cdef void srtp_wipe(SrtpKey* key) noexcept nogil:
    """Leave nothing of a key behind."""
    OPENSSL_cleanse(key, sizeof(SrtpKey))


cdef const EVP_CIPHER* counter_mode(uint32_t key) noexcept nogil:
    return EVP_aes_256_ctr() if key == 32 else EVP_aes_128_ctr()


cdef bint derive(const SuiteShape* shape, const uint8_t* master, uint8_t label, uint8_t* out, int n) noexcept nogil:
    """n bytes of a session key (RFC 3711 4.3.3); False where libcrypto has no memory.

    The salt of an AEAD suite is two bytes shorter, and stands in front (RFC 7714 11).
    """
    cdef EVP_CIPHER_CTX* prf = EVP_CIPHER_CTX_new()
    cdef uint8_t iv[16]
    cdef int written = 0
    cdef bint done
    memset(iv, 0, sizeof(iv))
    memcpy(iv, master + shape.key, shape.salt)
    iv[7] ^= label
    memset(out, 0, <size_t>n)
    done = (prf != NULL and EVP_CipherInit_ex(prf, counter_mode(shape.key), NULL, master, iv, True) == 1
            and EVP_CipherUpdate(prf, out, &written, out, n) == 1)
    EVP_CIPHER_CTX_free(prf)
    return done


cdef void begin_hmac(Session* session, const uint8_t* key) noexcept nogil:
    """RFC 2104: the blocks that the key makes are hashed once."""
    cdef uint8_t block[BLOCK]
    cdef int i
    memset(block, 0x36, BLOCK)
    for i in range(HMAC_KEY):
        block[i] ^= key[i]
    SHA1_Init(&session.inner)
    SHA1_Update(&session.inner, block, BLOCK)
    for i in range(BLOCK):
        block[i] ^= 0x36 ^ 0x5C
    SHA1_Init(&session.outer)
    SHA1_Update(&session.outer, block, BLOCK)
    OPENSSL_cleanse(block, BLOCK)


cdef bint begin_cipher(const SuiteShape* shape, Session* session, const uint8_t* key, bint encrypts) noexcept nogil:
    cdef const EVP_CIPHER* cipher = counter_mode(shape.key)
    if shape.aead:
        cipher = EVP_aes_256_gcm() if shape.key == 32 else EVP_aes_128_gcm()
    session.cipher = EVP_CIPHER_CTX_new()
    # Counter mode works the same both ways.
    return (session.cipher != NULL
            and EVP_CipherInit_ex(session.cipher, cipher, NULL, key, NULL, encrypts or not shape.aead) == 1)


cdef bint begin(const Srtp* it, Session* session, uint8_t label) noexcept nogil:
    """Derive the session keys of SRTP (label 0) or SRTCP (label 3)."""
    cdef const uint8_t* master = it.key.key
    cdef uint8_t key[32]
    cdef bint done = derive(&it.shape, master, label + LABEL_CIPHER, key, it.shape.key)
    done = done and begin_cipher(&it.shape, session, key, it.sends)
    if done and not it.shape.aead:
        done = derive(&it.shape, master, label + LABEL_AUTH, key, HMAC_KEY)
        begin_hmac(session, key)
    OPENSSL_cleanse(key, sizeof(key))
    return done and derive(&it.shape, master, label + LABEL_SALT, session.salt, it.shape.salt)


cdef Srtp* srtp_new(const SrtpKey* key, bint sends) noexcept nogil:
    """What a key is good for, in one direction; NULL without memory, or where the suite is none."""
    cdef Srtp* it
    if not SUITE_NONE < key.suite < SUITES:
        return NULL
    it = <Srtp*>calloc(1, sizeof(Srtp))
    if it == NULL:
        return NULL
    it.shape = SHAPES[key.suite]
    it.sends = sends
    it.key = key[0]
    if not begin(it, &it.rtp, 0) or not begin(it, &it.rtcp, 3):
        srtp_free(it)
        ERR_clear_error()
        return NULL
    return it


cdef Srtp* srtp_heard(const Srtp* it) noexcept nogil:
    """Another one that opens what `it` opens, and has heard what that has: sources, rounds of their numbers, reports.
    NULL without memory, of NULL, and of one that sends: two of those would use one index twice."""
    cdef Srtp* other
    if it == NULL or it.sends:
        return NULL
    other = srtp_new(&it.key, False)
    if other != NULL:
        other.turn = it.turn
        memcpy(other.sources, it.sources, sizeof(it.sources))
    return other


cdef void srtp_free(Srtp* it) noexcept nogil:
    """NULL is nothing."""
    if it != NULL:
        EVP_CIPHER_CTX_free(it.rtp.cipher)
        EVP_CIPHER_CTX_free(it.rtcp.cipher)
        OPENSSL_cleanse(it, sizeof(Srtp))
        free(it)


cdef bint srtp_same(const Srtp* one, const Srtp* other) noexcept nogil:
    """Whether both have the same key, or are NULL both: what one knows of its sources then holds on (RFC 4568 7.1.4).
    """
    if one == NULL or other == NULL:
        return one == other
    return (one.key.suite == other.key.suite and one.key.mki_n == other.key.mki_n
            and memcmp(one.key.mki, other.key.mki, one.key.mki_n) == 0
            and memcmp(one.key.key, other.key.key, srtp_key_size(one.key.suite)) == 0)


# --- sources and indexes

cdef Source* source_of(Srtp* it, uint32_t ssrc) noexcept nogil:
    cdef uint32_t i
    for i in range(SRTP_SOURCES):
        if it.sources[i].used and it.sources[i].ssrc == ssrc:
            return &it.sources[i]
    return NULL


cdef Source* source_new(Srtp* it, uint32_t ssrc) noexcept nogil:
    """A place for another SSRC; NULL where a sender has none left."""
    cdef uint32_t i
    cdef Source* oldest = &it.sources[0]
    for i in range(SRTP_SOURCES):
        if not it.sources[i].used:
            oldest = &it.sources[i]
            break
        if it.sources[i].turn < oldest.turn:
            oldest = &it.sources[i]
    if oldest.used and it.sends:
        return NULL
    memset(oldest, 0, sizeof(Source))
    oldest.used = True
    oldest.ssrc = ssrc
    return oldest


cdef int64_t packet_index(const Window* window, uint16_t seq) noexcept nogil:
    """The index that a sequence number most likely stands for (RFC 3711 3.3.1); -1 before the first one."""
    cdef uint32_t roc = <uint32_t>(window.highest >> 16), last = <uint32_t>window.highest & 0xFFFF
    if not window.begun:
        return seq
    if last < 0x8000:
        if seq > last + 0x8000:
            if roc == 0:
                return -1
            roc -= 1
    elif last - 0x8000 > seq:
        if roc == ROC_LAST:
            return -1
        roc += 1
    return <int64_t>roc << 16 | seq


cdef bint is_new(const Window* window, uint64_t index) noexcept nogil:
    if not window.begun or index > window.highest:
        return True
    return window.highest - index < WINDOW and not window.seen >> (window.highest - index) & 1


cdef void note(Window* window, uint64_t index) noexcept nogil:
    cdef uint64_t on
    if not window.begun or index > window.highest:
        on = index - window.highest
        window.seen = window.seen << on | 1 if window.begun and on < WINDOW else 1
        window.highest = index
        window.begun = True
    else:
        window.seen |= <uint64_t>1 << (window.highest - index)


# --- packets

cdef uint32_t header_size(const uint8_t* p, uint32_t n) noexcept nogil:
    """Bytes of an RTP header with sources and extension; 0 where they do not fit into n."""
    cdef uint32_t at = RTP_HEADER
    if n < RTP_HEADER or p[0] >> 6 != 2:
        return 0
    at += 4 * (p[0] & 0x0F)
    if p[0] & 0x10:
        if at + 4 > n:
            return 0
        at += 4 + 4 * <uint32_t>read_u16(p + at + 2)
    return at if at <= n else 0


cdef void make_iv(const Srtp* it, const Session* session, uint32_t ssrc, uint64_t index, uint8_t* iv) noexcept nogil:
    """iv[16]: RFC 3711 4.1.1; of AEAD its first 12, RFC 7714 8.1 and 9.1. index: 48 bits."""
    cdef uint32_t at = 2 if it.shape.aead else 4, i
    memset(iv, 0, 16)
    write_u32(iv + at, ssrc)
    write_u32(iv + at + 4, <uint32_t>(index >> 16))
    write_u16(iv + at + 8, <uint16_t>index)
    for i in range(it.shape.salt):
        iv[i] ^= session.salt[i]


cdef void hmac(const Session* session, const uint8_t* p, uint32_t n, const uint8_t* roc, uint8_t* out) noexcept nogil:
    """out[DIGEST]; roc: the four bytes that stand behind a packet for its tag alone, NULL: none."""
    cdef SHA_CTX ctx = session.inner
    SHA1_Update(&ctx, p, n)
    if roc != NULL:
        SHA1_Update(&ctx, roc, 4)
    SHA1_Final(out, &ctx)
    ctx = session.outer
    SHA1_Update(&ctx, out, DIGEST)
    SHA1_Final(out, &ctx)


cdef bint crypt(Session* session, const uint8_t* iv, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    """Counter mode."""
    cdef int written = 0
    return (EVP_CipherInit_ex(session.cipher, NULL, NULL, NULL, iv, -1) == 1
            and EVP_CipherUpdate(session.cipher, out, &written, p, <int>n) == 1)


cdef bint seal(Session* session, const uint8_t* iv, const uint8_t* head, uint32_t head_n, const uint8_t* word,
               const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    """AEAD: out gets n bytes and the tag. head, and word where there is one (4 bytes), are authenticated alone."""
    cdef int written = 0
    return (EVP_CipherInit_ex(session.cipher, NULL, NULL, NULL, iv, -1) == 1
            and EVP_CipherUpdate(session.cipher, NULL, &written, head, <int>head_n) == 1
            and (word == NULL or EVP_CipherUpdate(session.cipher, NULL, &written, word, INDEX) == 1)
            and (n == 0 or EVP_CipherUpdate(session.cipher, out, &written, p, <int>n) == 1)
            and EVP_CipherFinal_ex(session.cipher, out + n, &written) == 1
            and EVP_CIPHER_CTX_ctrl(session.cipher, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG, out + n) == 1)


cdef bint unseal(Session* session, const uint8_t* iv, const uint8_t* head, uint32_t head_n, const uint8_t* word,
                 const uint8_t* p, uint32_t n, const uint8_t* tag, uint8_t* out) noexcept nogil:
    """AEAD: the other way; False where the tag is not right."""
    cdef int written = 0
    return (EVP_CipherInit_ex(session.cipher, NULL, NULL, NULL, iv, -1) == 1
            and EVP_CipherUpdate(session.cipher, NULL, &written, head, <int>head_n) == 1
            and (word == NULL or EVP_CipherUpdate(session.cipher, NULL, &written, word, INDEX) == 1)
            and (n == 0 or EVP_CipherUpdate(session.cipher, out, &written, p, <int>n) == 1)
            and EVP_CIPHER_CTX_ctrl(session.cipher, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG, <void*>tag) == 1
            and EVP_CipherFinal_ex(session.cipher, out + n, &written) == 1)


cdef int protect_rtp(Srtp* it, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    cdef Session* session = &it.rtp
    cdef uint32_t head = header_size(p, n)
    cdef Source* source
    cdef int64_t index
    cdef uint8_t[16] iv
    cdef uint8_t[4] roc
    cdef uint8_t[DIGEST] tag
    if head == 0:
        return SRTP_UNAUTHENTIC
    source = source_of(it, rtp_ssrc(p))
    if source == NULL:
        source = source_new(it, rtp_ssrc(p))
        if source == NULL:
            return SRTP_SPENT
    index = packet_index(&source.rtp, rtp_sequence(p))
    if index < 0 or not is_new(&source.rtp, <uint64_t>index):
        return SRTP_SPENT
    # Before it is used: no index serves twice, whatever comes of this packet.
    note(&source.rtp, <uint64_t>index)
    make_iv(it, session, source.ssrc, <uint64_t>index, iv)
    if out != p:
        memcpy(out, p, head)
    if it.shape.aead:
        if not seal(session, iv, out, head, NULL, p + head, n - head, out + head):
            return SRTP_SPENT
        return <int>(n + AEAD_TAG)
    if not crypt(session, iv, p + head, n - head, out + head):
        return SRTP_SPENT
    write_u32(roc, <uint32_t>(index >> 16))
    hmac(session, out, n, roc, tag)
    memcpy(out + n, tag, it.shape.tag)
    return <int>(n + it.shape.tag)


cdef int protect_rtcp(Srtp* it, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    cdef Session* session = &it.rtcp
    cdef uint32_t index = it.rtcp_index
    cdef uint8_t[16] iv
    cdef uint8_t[INDEX] word
    cdef uint8_t[DIGEST] tag
    if n < RTCP_HEADER:
        return SRTP_UNAUTHENTIC
    if index & ENCRYPTED:
        return SRTP_SPENT
    it.rtcp_index = index + 1
    make_iv(it, session, read_u32(p + 4), index, iv)
    write_u32(word, index | ENCRYPTED)
    if out != p:
        memcpy(out, p, RTCP_HEADER)
    if it.shape.aead:
        if not seal(session, iv, out, RTCP_HEADER, word, p + RTCP_HEADER, n - RTCP_HEADER, out + RTCP_HEADER):
            return SRTP_SPENT
        memcpy(out + n + AEAD_TAG, word, INDEX)
        return <int>(n + AEAD_TAG + INDEX)
    if not crypt(session, iv, p + RTCP_HEADER, n - RTCP_HEADER, out + RTCP_HEADER):
        return SRTP_SPENT
    memcpy(out + n, word, INDEX)
    hmac(session, out, n + INDEX, NULL, tag)
    memcpy(out + n + INDEX, tag, it.shape.rtcp_tag)
    return <int>(n + INDEX + it.shape.rtcp_tag)


cdef int srtp_protect(Srtp* it, const uint8_t* p, uint32_t n, bint rtcp, uint8_t* out) noexcept nogil:
    """Write the packet as it is to be sent to out (n + SRTP_ADDS bytes; p itself, or apart from it).

    Returns its length or a SrtpFault: SRTP_UNAUTHENTIC where it is no packet, SRTP_SPENT where it must not be sent.
    """
    return protect_rtcp(it, p, n, out) if rtcp else protect_rtp(it, p, n, out)


cdef int unprotect_rtp(Srtp* it, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    cdef Session* session = &it.rtp
    cdef uint32_t head = header_size(p, n), tag_n = it.shape.tag, mki_n = it.key.mki_n
    cdef const uint8_t* sent_tag
    cdef Source* source
    cdef int64_t index
    cdef uint8_t[16] iv
    cdef uint8_t[4] roc
    cdef uint8_t[DIGEST] tag
    if head == 0 or n < head + tag_n + mki_n:
        return SRTP_UNAUTHENTIC
    n -= tag_n + mki_n
    # The identifier stands before the tag (RFC 3711 3.1), and behind that of an AEAD (RFC 7714 8.2).
    sent_tag = p + n + (0 if it.shape.aead else mki_n)
    if mki_n and memcmp(p + n + (tag_n if it.shape.aead else 0), it.key.mki, mki_n) != 0:
        return SRTP_UNAUTHENTIC
    source = source_of(it, rtp_ssrc(p))
    index = packet_index(&source.rtp, rtp_sequence(p)) if source != NULL else rtp_sequence(p)
    if index < 0 or (source != NULL and not is_new(&source.rtp, <uint64_t>index)):
        return SRTP_REPLAYED
    make_iv(it, session, rtp_ssrc(p), <uint64_t>index, iv)
    if it.shape.aead:
        if not unseal(session, iv, p, head, NULL, p + head, n - head, sent_tag, out + head):
            return SRTP_UNAUTHENTIC
    else:
        write_u32(roc, <uint32_t>(index >> 16))
        hmac(session, p, n, roc, tag)
        if CRYPTO_memcmp(tag, sent_tag, tag_n) != 0 or not crypt(session, iv, p + head, n - head, out + head):
            return SRTP_UNAUTHENTIC
    if out != p:
        memcpy(out, p, head)
    if source == NULL:
        source = source_new(it, rtp_ssrc(p))
    it.turn += 1
    source.turn = it.turn
    note(&source.rtp, <uint64_t>index)
    return <int>n


cdef int unprotect_rtcp(Srtp* it, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    cdef Session* session = &it.rtcp
    cdef uint32_t tag_n = it.shape.rtcp_tag, mki_n = it.key.mki_n, index
    cdef const uint8_t* word
    cdef Source* source
    cdef uint8_t[16] iv
    cdef uint8_t[DIGEST] tag
    cdef bint good
    if n < RTCP_HEADER + tag_n + INDEX + mki_n:
        return SRTP_UNAUTHENTIC
    # The index is the last but the tag, and with AEAD the last (RFC 7714 9.2); the identifier follows it in both cases.
    n -= tag_n + INDEX + mki_n
    word = p + n + (AEAD_TAG if it.shape.aead else 0)
    if mki_n and memcmp(word + INDEX, it.key.mki, mki_n) != 0:
        return SRTP_UNAUTHENTIC
    index = read_u32(word) & ~ENCRYPTED
    source = source_of(it, read_u32(p + 4))
    if source != NULL and not is_new(&source.rtcp, index):
        return SRTP_REPLAYED
    make_iv(it, session, read_u32(p + 4), index, iv)
    if it.shape.aead:
        if word[0] & 0x80:
            good = unseal(session, iv, p, RTCP_HEADER, word, p + RTCP_HEADER, n - RTCP_HEADER, p + n,
                          out + RTCP_HEADER)
        else:
            good = unseal(session, iv, p, n, word, NULL, 0, p + n, out + n)
    else:
        hmac(session, p, n + INDEX, NULL, tag)
        good = CRYPTO_memcmp(tag, p + n + INDEX + mki_n, tag_n) == 0
        if good and word[0] & 0x80:
            good = crypt(session, iv, p + RTCP_HEADER, n - RTCP_HEADER, out + RTCP_HEADER)
    if not good:
        return SRTP_UNAUTHENTIC
    if out != p:
        memcpy(out, p, RTCP_HEADER if word[0] & 0x80 else n)
    if source == NULL:
        source = source_new(it, read_u32(p + 4))
    it.turn += 1
    source.turn = it.turn
    note(&source.rtcp, index)
    return <int>n


cdef int srtp_unprotect(Srtp* it, const uint8_t* p, uint32_t n, bint rtcp, uint8_t* out) noexcept nogil:
    """Write what a packet that came says to out (n bytes, apart from p, which stays as it is).

    Returns its length, or SRTP_UNAUTHENTIC or SRTP_REPLAYED: then nothing was learned of it, and out has nothing.
    """
    return unprotect_rtcp(it, p, n, out) if rtcp else unprotect_rtp(it, p, n, out)


NAMES = {
    "AES_CM_128_HMAC_SHA1_32": AES_CM_128_HMAC_SHA1_32,
    "AES_256_CM_HMAC_SHA1_32": AES_256_CM_HMAC_SHA1_32,
    "AES_CM_128_HMAC_SHA1_80": AES_CM_128_HMAC_SHA1_80,
    "AEAD_AES_128_GCM": AEAD_AES_128_GCM,
    "AES_256_CM_HMAC_SHA1_80": AES_256_CM_HMAC_SHA1_80,
    "AEAD_AES_256_GCM": AEAD_AES_256_GCM,
}
"""Suites by the names of RFC 4568 6.2, RFC 6188 and RFC 7714."""


def key_size(str suite not None) -> int:
    """Bytes of a suite's master key and salt; KeyError for one that is not known here."""
    return srtp_key_size(NAMES[suite])


cdef int key_from(str suite, bytes material, SrtpKey* out) except -1:
    """ValueError where the material is not as long as the suite's key and salt."""
    memset(out, 0, sizeof(SrtpKey))
    out.suite = <uint8_t>NAMES[suite]
    if <uint32_t>len(material) != srtp_key_size(out.suite):
        raise ValueError(f"expected {srtp_key_size(out.suite)} bytes of key and salt for {suite}, not {len(material)}")
    memcpy(out.key, <const uint8_t*><const char*>material, len(material))
    return 0


cdef class SrtpProbe:
    """One direction as tests see it. material: master key and salt. ValueError where they do not fit the suite.
    mki: what packets that come carry.

    session_keys: (cipher key, salt) that SRTP and SRTCP work with, in the place of derived ones.
    """
    cdef Srtp* it

    def __cinit__(self, str suite not None, bytes material not None, bint sends, session_keys=None,
                  bytes mki=b""):
        cdef SrtpKey key
        cdef bytes cipher, salt
        key_from(suite, material, &key)
        if len(mki) > SRTP_MKI_MAX:
            raise ValueError(f"expected an MKI of at most {SRTP_MKI_MAX} bytes, not {len(mki)}")
        key.mki_n = <uint8_t>len(mki)
        memcpy(key.mki, <const char*>mki, len(mki))
        self.it = srtp_new(&key, sends)
        if self.it == NULL:
            raise MemoryError
        if session_keys is not None:
            cipher, salt = session_keys
            self._work_with(&self.it.rtp, cipher, salt)
            self._work_with(&self.it.rtcp, cipher, salt)

    def __dealloc__(self):
        srtp_free(self.it)

    cdef int _work_with(self, Session* session, bytes cipher, bytes salt) except -1:
        EVP_CIPHER_CTX_free(session.cipher)
        session.cipher = NULL
        begin_cipher(&self.it.shape, session, cipher, self.it.sends)
        memcpy(session.salt, <const char*>salt, self.it.shape.salt)
        return 0

    def derived(self, uint8_t label, int n) -> bytes:
        """n bytes of the session key with that label (RFC 3711 4.3.2)."""
        cdef bytearray out = bytearray(n)
        if not derive(&self.it.shape, self.it.key.key, label, out, n):
            raise MemoryError
        return bytes(out)

    def keystream(self, uint32_t ssrc, uint64_t index, int n) -> bytes:
        """Counter mode alone."""
        cdef bytearray out = bytearray(n)
        cdef uint8_t[16] iv
        make_iv(self.it, &self.it.rtp, ssrc, index, iv)
        crypt(&self.it.rtp, iv, out, <uint32_t>n, out)
        return bytes(out)

    def expect(self, uint32_t ssrc, uint64_t index, uint32_t rtcp_index=0) -> None:
        """Go on as if the packet with that index, and the report before that one, had been the last."""
        cdef Source* source = source_of(self.it, ssrc)
        if source == NULL:
            source = source_new(self.it, ssrc)
        note(&source.rtp, index)
        self.it.rtcp_index = rtcp_index

    def protect(self, bytes packet not None, bint rtcp=False) -> bytes:
        """Empty where it must not be sent; ValueError where it is no packet."""
        cdef bytearray out = bytearray(len(packet) + SRTP_ADDS)
        cdef int n = srtp_protect(self.it, packet, <uint32_t>len(packet), rtcp, out)
        if n == SRTP_UNAUTHENTIC:
            raise ValueError("no packet")
        return bytes(out[:max(n, 0)])

    def unprotect(self, bytes packet not None, bint rtcp=False) -> bytes | str:
        """What it says, or "unauthentic" or "replayed"."""
        cdef bytearray out = bytearray(len(packet) + 1)
        cdef int n = srtp_unprotect(self.it, packet, <uint32_t>len(packet), rtcp, out)
        return bytes(out[:n]) if n >= 0 else "replayed" if n == SRTP_REPLAYED else "unauthentic"

    def protect_often(self, bytes packet not None, int operations) -> int:
        """A packet that often, its number one higher each time; returns how many could be sent."""
        cdef bytearray copy = bytearray(packet), out = bytearray(len(packet) + SRTP_ADDS)
        cdef uint8_t* p = copy
        cdef int _, sent = 0
        for _ in range(operations):
            write_u16(p + 2, rtp_sequence(p) + 1)
            sent += srtp_protect(self.it, p, <uint32_t>len(packet), False, out) > 0
        return sent

    def unprotect_often(self, packets) -> int:
        """Packets in their order; returns how many were authentic."""
        cdef bytearray out = bytearray(2048)
        cdef bytes packet
        cdef int right = 0
        for packet in packets:
            right += srtp_unprotect(self.it, packet, <uint32_t>len(packet), False, out) >= 0
        return right
