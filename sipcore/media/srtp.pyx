# distutils: libraries = crypto
"""What a packet becomes under SRTP, and is again: counter mode with HMAC-SHA1 (RFC 3711, 6188), AES-GCM (RFC 7714).

A direction of a side has one master key, from which everything else is derived when it is set up (header extensions in
the clear: whatever else a peer asks for is not agreed to). Packets that come may carry that key's identifier (MKI),
packets that are sent carry none. A packet then costs a new IV and no allocation.

Memory: about 3 KiB a direction, libcrypto's part included.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy
from sipcore.media.libcrypto cimport CRYPTO_memcmp, ERR_clear_error, OPENSSL_cleanse
from sipcore.media.replay cimport Source, is_new, note, packet_index, source_heard, source_new, source_of
from sipcore.media.rtp cimport RTCP_HEADER, read_u32, rtp_header_size, rtp_sequence, rtp_ssrc, write_u32
from sipcore.media.sessionkeys cimport LABELS_SRTCP, LABELS_SRTP, session_keys_begin, session_keys_end
from sipcore.media.srtpkey cimport AEAD_TAG, srtp_key_same, suite_shape
from sipcore.media.transforms cimport DIGEST, IV, WORD, crypt, hmac, make_iv, seal, unseal

cdef uint32_t ENCRYPTED = 0x80000000    # of the word with SRTCP's index


cdef Srtp* srtp_new(const SrtpKey* key, bint sends) noexcept nogil:
    """What a key is good for, in one direction; NULL without memory, or where the suite is none."""
    cdef const SuiteShape* shape = suite_shape(key.suite)
    cdef Srtp* it
    if shape == NULL:
        return NULL
    it = <Srtp*>calloc(1, sizeof(Srtp))
    if it == NULL:
        return NULL
    it.shape = shape[0]
    it.sends = sends
    it.key = key[0]
    if (not session_keys_begin(&it.rtp, shape, key.key, LABELS_SRTP, sends)
            or not session_keys_begin(&it.rtcp, shape, key.key, LABELS_SRTCP, sends)):
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
        other.sources = it.sources
    return other


cdef void srtp_free(Srtp* it) noexcept nogil:
    """NULL is nothing."""
    if it != NULL:
        session_keys_end(&it.rtp)
        session_keys_end(&it.rtcp)
        OPENSSL_cleanse(it, sizeof(Srtp))
        free(it)


cdef bint srtp_same(const Srtp* one, const Srtp* other) noexcept nogil:
    """Whether both have the same key, or are NULL both: what one knows of its sources then holds on (RFC 4568 7.1.4).
    """
    if one == NULL or other == NULL:
        return one == other
    return srtp_key_same(&one.key, &other.key)


cdef int protect_rtp(Srtp* it, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    cdef SessionKeys* keys = &it.rtp
    cdef uint32_t head = rtp_header_size(p, n)
    cdef Source* source
    cdef int64_t index
    cdef uint8_t[IV] iv
    cdef uint8_t[WORD] roc
    cdef uint8_t[DIGEST] tag
    if head == 0:
        return SRTP_UNAUTHENTIC
    source = source_of(&it.sources, rtp_ssrc(p))
    if source == NULL:
        source = source_new(&it.sources, rtp_ssrc(p), False)
        if source == NULL:
            return SRTP_SPENT
    index = packet_index(&source.rtp, rtp_sequence(p))
    if index < 0 or not is_new(&source.rtp, <uint64_t>index):
        return SRTP_SPENT
    # Before it is used: no index serves twice, whatever comes of this packet.
    note(&source.rtp, <uint64_t>index)
    make_iv(&it.shape, keys, source.ssrc, <uint64_t>index, iv)
    if out != p:
        memcpy(out, p, head)
    if it.shape.aead:
        if not seal(keys, iv, out, head, NULL, p + head, n - head, out + head):
            return SRTP_SPENT
        return <int>(n + AEAD_TAG)
    if not crypt(keys, iv, p + head, n - head, out + head):
        return SRTP_SPENT
    write_u32(roc, <uint32_t>(index >> 16))
    hmac(keys, out, n, roc, tag)
    memcpy(out + n, tag, it.shape.tag)
    return <int>(n + it.shape.tag)


cdef int protect_rtcp(Srtp* it, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    cdef SessionKeys* keys = &it.rtcp
    cdef uint32_t index = it.rtcp_index
    cdef uint8_t[IV] iv
    cdef uint8_t[WORD] word
    cdef uint8_t[DIGEST] tag
    if n < RTCP_HEADER:
        return SRTP_UNAUTHENTIC
    if index & ENCRYPTED:
        return SRTP_SPENT
    it.rtcp_index = index + 1
    make_iv(&it.shape, keys, read_u32(p + 4), index, iv)
    write_u32(word, index | ENCRYPTED)
    if out != p:
        memcpy(out, p, RTCP_HEADER)
    if it.shape.aead:
        if not seal(keys, iv, out, RTCP_HEADER, word, p + RTCP_HEADER, n - RTCP_HEADER, out + RTCP_HEADER):
            return SRTP_SPENT
        memcpy(out + n + AEAD_TAG, word, WORD)
        return <int>(n + AEAD_TAG + WORD)
    if not crypt(keys, iv, p + RTCP_HEADER, n - RTCP_HEADER, out + RTCP_HEADER):
        return SRTP_SPENT
    memcpy(out + n, word, WORD)
    hmac(keys, out, n + WORD, NULL, tag)
    memcpy(out + n + WORD, tag, it.shape.rtcp_tag)
    return <int>(n + WORD + it.shape.rtcp_tag)


cdef int srtp_protect(Srtp* it, const uint8_t* p, uint32_t n, bint rtcp, uint8_t* out) noexcept nogil:
    """Write the packet as it is to be sent to out (n + SRTP_ADDS bytes; p itself, or apart from it).

    Returns its length or a SrtpFault: SRTP_UNAUTHENTIC where it is no packet, SRTP_SPENT where it must not be sent.
    """
    return protect_rtcp(it, p, n, out) if rtcp else protect_rtp(it, p, n, out)


cdef int unprotect_rtp(Srtp* it, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    cdef SessionKeys* keys = &it.rtp
    cdef uint32_t head = rtp_header_size(p, n), tag_n = it.shape.tag, mki_n = it.key.mki_n
    cdef const uint8_t* sent_tag
    cdef Source* source
    cdef int64_t index
    cdef uint8_t[IV] iv
    cdef uint8_t[WORD] roc
    cdef uint8_t[DIGEST] tag
    if head == 0 or n < head + tag_n + mki_n:
        return SRTP_UNAUTHENTIC
    n -= tag_n + mki_n
    # The identifier stands before the tag (RFC 3711 3.1), and behind that of an AEAD (RFC 7714 8.2).
    sent_tag = p + n + (0 if it.shape.aead else mki_n)
    if mki_n and memcmp(p + n + (tag_n if it.shape.aead else 0), it.key.mki, mki_n) != 0:
        return SRTP_UNAUTHENTIC
    source = source_of(&it.sources, rtp_ssrc(p))
    index = packet_index(&source.rtp, rtp_sequence(p)) if source != NULL else rtp_sequence(p)
    if index < 0 or (source != NULL and not is_new(&source.rtp, <uint64_t>index)):
        return SRTP_REPLAYED
    make_iv(&it.shape, keys, rtp_ssrc(p), <uint64_t>index, iv)
    if it.shape.aead:
        if not unseal(keys, iv, p, head, NULL, p + head, n - head, sent_tag, out + head):
            return SRTP_UNAUTHENTIC
    else:
        write_u32(roc, <uint32_t>(index >> 16))
        hmac(keys, p, n, roc, tag)
        if CRYPTO_memcmp(tag, sent_tag, tag_n) != 0 or not crypt(keys, iv, p + head, n - head, out + head):
            return SRTP_UNAUTHENTIC
    if out != p:
        memcpy(out, p, head)
    source = source_heard(&it.sources, source, rtp_ssrc(p))
    note(&source.rtp, <uint64_t>index)
    return <int>n


cdef int unprotect_rtcp(Srtp* it, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    cdef SessionKeys* keys = &it.rtcp
    cdef uint32_t tag_n = it.shape.rtcp_tag, mki_n = it.key.mki_n, index
    cdef const uint8_t* word
    cdef Source* source
    cdef uint8_t[IV] iv
    cdef uint8_t[DIGEST] tag
    cdef bint good
    if n < RTCP_HEADER + tag_n + WORD + mki_n:
        return SRTP_UNAUTHENTIC
    # The index is the last but the tag, and with AEAD the last (RFC 7714 9.2); the identifier follows it in both cases.
    n -= tag_n + WORD + mki_n
    word = p + n + (AEAD_TAG if it.shape.aead else 0)
    if mki_n and memcmp(word + WORD, it.key.mki, mki_n) != 0:
        return SRTP_UNAUTHENTIC
    index = read_u32(word) & ~ENCRYPTED
    source = source_of(&it.sources, read_u32(p + 4))
    if source != NULL and not is_new(&source.rtcp, index):
        return SRTP_REPLAYED
    make_iv(&it.shape, keys, read_u32(p + 4), index, iv)
    if it.shape.aead:
        if word[0] & 0x80:
            good = unseal(keys, iv, p, RTCP_HEADER, word, p + RTCP_HEADER, n - RTCP_HEADER, p + n,
                          out + RTCP_HEADER)
        else:
            good = unseal(keys, iv, p, n, word, NULL, 0, p + n, out + n)
    else:
        hmac(keys, p, n + WORD, NULL, tag)
        good = CRYPTO_memcmp(tag, p + n + WORD + mki_n, tag_n) == 0
        if good and word[0] & 0x80:
            good = crypt(keys, iv, p + RTCP_HEADER, n - RTCP_HEADER, out + RTCP_HEADER)
    if not good:
        return SRTP_UNAUTHENTIC
    if out != p:
        memcpy(out, p, RTCP_HEADER if word[0] & 0x80 else n)
    source = source_heard(&it.sources, source, read_u32(p + 4))
    note(&source.rtcp, index)
    return <int>n


cdef int srtp_unprotect(Srtp* it, const uint8_t* p, uint32_t n, bint rtcp, uint8_t* out) noexcept nogil:
    """Write what a packet that came says to out (n bytes, apart from p, which stays as it is).

    Returns its length, or SRTP_UNAUTHENTIC or SRTP_REPLAYED: then nothing was learned of it, and out has nothing.
    """
    return unprotect_rtcp(it, p, n, out) if rtcp else unprotect_rtp(it, p, n, out)
