# distutils: libraries = crypto
"""SRTP as a Python object, and loops in C, for tests and benchmarks; nothing of the product uses it."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from sipcore.media.replay cimport Source, note, source_new, source_of
from sipcore.media.rtp cimport rtp_sequence, write_u16
from sipcore.media.sessionkeys cimport SessionKeys, begin_cipher, derive, session_keys_end
from sipcore.media.srtp cimport (
    SRTP_ADDS, SRTP_REPLAYED, SRTP_UNAUTHENTIC, Srtp, srtp_free, srtp_new, srtp_protect, srtp_unprotect,
)
from sipcore.media.srtpkey cimport SRTP_MKI_MAX, SrtpKey, key_from
from sipcore.media.transforms cimport IV, crypt, make_iv


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

    cdef int _work_with(self, SessionKeys* keys, bytes cipher, bytes salt) except -1:
        session_keys_end(keys)
        begin_cipher(keys, &self.it.shape, cipher, self.it.sends)
        memcpy(keys.salt, <const char*>salt, self.it.shape.salt)
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
        cdef uint8_t[IV] iv
        make_iv(&self.it.shape, &self.it.rtp, ssrc, index, iv)
        crypt(&self.it.rtp, iv, out, <uint32_t>n, out)
        return bytes(out)

    def expect(self, uint32_t ssrc, uint64_t index, uint32_t rtcp_index=0) -> None:
        """Go on as if the packet with that index, and the report before that one, had been the last."""
        cdef Source* source = source_of(&self.it.sources, ssrc)
        if source == NULL:
            source = source_new(&self.it.sources, ssrc, not self.it.sends)
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
