"""SRTP as Debian's libsrtp2 has it: an implementation of somebody else's to compare ours with."""
import ctypes
import functools

SUITES = {
    "AES_CM_128_HMAC_SHA1_80": "rtp_default",
    "AES_CM_128_HMAC_SHA1_32": "aes_cm_128_hmac_sha1_32",
    "AES_256_CM_HMAC_SHA1_80": "aes_cm_256_hmac_sha1_80",
    "AES_256_CM_HMAC_SHA1_32": "aes_cm_256_hmac_sha1_32",
    "AEAD_AES_128_GCM": "aes_gcm_128_16_auth",
    "AEAD_AES_256_GCM": "aes_gcm_256_16_auth",
}
ANY_INBOUND, ANY_OUTBOUND = 2, 3
ROOM = 2200


class _CryptoPolicy(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in (
        "cipher_type", "cipher_key_len", "auth_type", "auth_key_len", "auth_tag_len", "sec_serv")]


class _MasterKey(ctypes.Structure):
    _fields_ = [("key", ctypes.c_char_p), ("mki", ctypes.c_char_p), ("mki_size", ctypes.c_uint)]


class _Policy(ctypes.Structure):
    _fields_ = [
        ("ssrc_type", ctypes.c_int), ("ssrc", ctypes.c_uint), ("rtp", _CryptoPolicy), ("rtcp", _CryptoPolicy),
        ("key", ctypes.c_char_p), ("keys", ctypes.c_void_p), ("num_master_keys", ctypes.c_ulong),
        ("deprecated_ekt", ctypes.c_void_p), ("window_size", ctypes.c_ulong), ("allow_repeat_tx", ctypes.c_int),
        ("enc_xtn_hdr", ctypes.c_void_p), ("enc_xtn_hdr_count", ctypes.c_int), ("next", ctypes.c_void_p),
    ]


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libsrtp2.so.1")
    assert library.srtp_init() == 0
    return library


class LibSrtp:
    """One direction. material: master key and salt. mki: what packets carry."""

    def __init__(self, suite: str, material: bytes, sends: bool, mki: bytes = b""):
        self._library = _library()
        policy = _Policy(ssrc_type=ANY_OUTBOUND if sends else ANY_INBOUND, key=material, window_size=64)
        self._mki = mki
        if mki:
            self._key = _MasterKey(material, mki, len(mki))
            self._keys = (ctypes.POINTER(_MasterKey) * 1)(ctypes.pointer(self._key))
            policy.key = None
            policy.keys = ctypes.cast(self._keys, ctypes.c_void_p)
            policy.num_master_keys = 1
        getattr(self._library, f"srtp_crypto_policy_set_{SUITES[suite]}")(ctypes.byref(policy.rtp))
        # SRTCP has 80 bits of tag in every suite with SHA-1 (RFC 4568 6.2).
        rtcp = SUITES[suite].replace("sha1_32", "sha1_80").replace("aes_cm_128_hmac_sha1_80", "rtcp_default")
        getattr(self._library, f"srtp_crypto_policy_set_{rtcp}")(ctypes.byref(policy.rtcp))
        self._session = ctypes.c_void_p()
        status = self._library.srtp_create(ctypes.byref(self._session), ctypes.byref(policy))
        assert status == 0, status

    def close(self) -> None:
        self._library.srtp_dealloc(self._session)

    def _run(self, name: str, packet: bytes, rtcp: bool) -> bytes | int:
        room = ctypes.create_string_buffer(packet, ROOM)
        n = ctypes.c_int(len(packet))
        name += ("_rtcp" if rtcp else "") + ("_mki" if self._mki else "")
        more = () if not self._mki else (1, 0) if name.startswith("srtp_protect") else (1,)
        status = getattr(self._library, name)(self._session, room, ctypes.byref(n), *more)
        return room.raw[:n.value] if status == 0 else int(status)

    def protect(self, packet: bytes, rtcp: bool = False) -> bytes | int:
        """The packet as it is sent, or an error's number."""
        return self._run("srtp_protect", packet, rtcp)

    def unprotect(self, packet: bytes, rtcp: bool = False) -> bytes | int:
        return self._run("srtp_unprotect", packet, rtcp)
