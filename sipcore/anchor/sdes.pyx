"""Security descriptions (RFC 4568).

    a=crypto:<tag> <suite> inline:<key and salt, base64>["|" lifetime]["|" MKI ":" length][" " session parameter]...

A line can be used where its suite is known, its key is as long as the suite asks for, there is one of them, with an MKI
of at most 16 bytes if with any, and no session parameter changes what packets look like: WSH and parameters that begin
with "-" do not (6.3.7, 9.1). Other lines are as good as absent (5.1.2). Lifetimes are read and not kept to: no call
lasts that long.

An MKI is for the packets of whoever sends the line; the keys that are made here have none, as each side may choose.

Of an offer's lines the strongest is taken, and its tag echoed. A section is RTP/SAVP, or, as many phones have it,
RTP/AVP with keys that the other one may make use of or not.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from sipcore.base.decimal cimport put_number
from sipcore.base.slice cimport Slice, slice_at, slice_from, slice_iis, slice_is, slice_of
from sipcore.media.srtpkey cimport SRTP_MKI_MAX, SUITE_NONE, SUITES, SrtpKey, srtp_key_size, srtp_wipe
from sipcore.wire.edit cimport (
    Edit, edit_begin, edit_delete, edit_insert, edit_render, edit_room, edit_size, edit_text,
)
from sipcore.wire.sdp cimport SdpIndex, SdpMedia, index_sdp, next_word, sdp_attribute, sdp_line

from sipcore.media.srtpkey import NAMES

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void* p, size_t n, unsigned int flags)

cdef enum:
    TAG_DIGITS = 9
    LINE_ROOM = 128             # bytes of the longest line that is made
    NO_VALUE = 64               # of a character that is none of base64

cdef const char* ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef uint8_t[256] VALUES        # of base64's characters
cdef Slice[SUITES] SUITE_NAMES
cdef list _KEPT = []            # what the slices point into


cdef int _set_up() except -1:
    cdef int i
    cdef bytes text
    memset(VALUES, NO_VALUE, sizeof(VALUES))
    for i in range(64):
        VALUES[<uint8_t>ALPHABET[i]] = <uint8_t>i
    for name, number in NAMES.items():
        text = name.encode("ascii")
        _KEPT.append(text)
        SUITE_NAMES[<int>number] = slice_from(text)
    return 0


_set_up()


# --- reading

cdef bint is_savp(Slice proto) noexcept nogil:
    """RTP/SAVP, RTP/SAVPF; not over DTLS."""
    return proto.n >= 8 and slice_iis(slice_of(proto.p, 8), b"RTP/SAVP", 8)


cdef bint is_key(Slice line) noexcept nogil:
    """Keys (RFC 4568, 4567, 8122, 6189) and what would agree on them beside offer and answer (RFC 5939)."""
    cdef Slice value
    return (sdp_attribute(line, b"crypto", 6, &value) or sdp_attribute(line, b"key-mgmt", 8, &value)
            or sdp_attribute(line, b"fingerprint", 11, &value) or sdp_attribute(line, b"setup", 5, &value)
            or sdp_attribute(line, b"zrtp-hash", 9, &value) or sdp_attribute(line, b"tcap", 4, &value)
            or sdp_attribute(line, b"acap", 4, &value) or sdp_attribute(line, b"pcfg", 4, &value)
            or sdp_attribute(line, b"acfg", 4, &value) or sdp_attribute(line, b"creq", 4, &value))


cdef bint decode(Slice text, uint8_t* out, uint32_t n) noexcept nogil:
    """Base64 of exactly n bytes (RFC 4648 4). Padding may be left out, as some phones do."""
    cdef uint32_t i, bits = 0, have = 0, at = 0
    cdef uint8_t value
    while text.n and slice_at(text, text.n - 1) == c'=':
        text.n -= 1
    if text.n != (8 * n + 5) // 6:
        return False
    for i in range(text.n):
        value = VALUES[slice_at(text, i)]
        if value == NO_VALUE:
            return False
        bits = bits << 6 | value
        have += 6
        if have >= 8:
            have -= 8
            out[at] = <uint8_t>(bits >> have)
            at += 1
    return at == n


cdef bint is_lifetime(Slice text) noexcept nogil:
    """1*DIGIT or "2^" 1*DIGIT."""
    cdef uint32_t i
    if text.n > 2 and slice_is(slice_of(text.p, 2), b"2^", 2):
        text = slice_of(text.p + 2, text.n - 2)
    for i in range(text.n):
        if not c'0' <= slice_at(text, i) <= c'9':
            return False
    return text.n > 0


cdef bint parse_mki(Slice text, SrtpKey* out) noexcept nogil:
    """MKI ":" length (RFC 4568 6.1): a number, and the bytes that it takes in each packet. False where it does not fit
    in them, or they are more than are taken."""
    cdef uint32_t i = 0, k, carry
    cdef uint32_t length = 0
    while i < text.n and c'0' <= slice_at(text, text.n - 1 - i) <= c'9' and i < 3:
        length += (slice_at(text, text.n - 1 - i) - c'0') * (1 if i == 0 else 10 if i == 1 else 100)
        i += 1
    if i == 0 or i + 2 > text.n or slice_at(text, text.n - 1 - i) != c':' or not 0 < length <= SRTP_MKI_MAX:
        return False
    out.mki_n = <uint8_t>length
    memset(out.mki, 0, SRTP_MKI_MAX)
    for i in range(text.n - 1 - i):
        if not c'0' <= slice_at(text, i) <= c'9':
            return False
        carry = slice_at(text, i) - c'0'
        for k in range(length):
            carry += 10 * <uint32_t>out.mki[length - 1 - k]
            out.mki[length - 1 - k] = <uint8_t>carry
            carry >>= 8
        if carry:
            return False
    return True


cdef bint parse_key(Slice text, SrtpKey* out) noexcept nogil:
    """inline:... of a suite that stands in out already."""
    cdef uint32_t i, stop = 0, end
    cdef Slice rest
    if text.n < 7 or not slice_iis(slice_of(text.p, 7), b"inline:", 7):
        return False
    text = slice_of(text.p + 7, text.n - 7)
    while stop < text.n and slice_at(text, stop) != c'|':
        stop += 1
    end = stop
    if end < text.n:
        rest = slice_of(text.p + end + 1, text.n - end - 1)
        end = 0
        while end < rest.n and slice_at(rest, end) != c'|':
            end += 1
        if is_lifetime(slice_of(rest.p, end)):
            if end < rest.n and not parse_mki(slice_of(rest.p + end + 1, rest.n - end - 1), out):
                return False
        elif end < rest.n or not parse_mki(rest, out):
            # Nothing of the grammar, or several keys.
            return False
    for i in range(stop):
        if slice_at(text, i) == c';':
            return False
    return decode(slice_of(text.p, stop), out.key, srtp_key_size(out.suite))


cdef bint parse_crypto(Slice line, Crypto* out) noexcept nogil:
    """Read a line; whether it is one that can be used."""
    cdef Slice rest, word
    cdef uint32_t i
    memset(out, 0, sizeof(Crypto))
    if not sdp_attribute(line, b"crypto", 6, &rest):
        return False
    word = next_word(&rest)
    if not 0 < word.n <= TAG_DIGITS:
        return False
    for i in range(word.n):
        if not c'0' <= slice_at(word, i) <= c'9':
            return False
        out.tag = 10 * out.tag + slice_at(word, i) - c'0'
    word = next_word(&rest)
    for i in range(1, SUITES):
        if word.n == SUITE_NAMES[i].n and slice_iis(word, <const char*>SUITE_NAMES[i].p, word.n):
            out.key.suite = <uint8_t>i
    if out.key.suite == SUITE_NONE or not parse_key(next_word(&rest), &out.key):
        return False
    word = next_word(&rest)
    while word.n:
        if slice_at(word, 0) != c'-' and not (word.n > 4 and slice_iis(slice_of(word.p, 4), b"WSH=", 4)):
            return False
        word = next_word(&rest)
    return True


cdef void section_cryptos(const SdpIndex* sdp, uint32_t section, Cryptos* out) noexcept nogil:
    """The lines of a section that can be used, in their order; of those with one tag the first."""
    cdef const SdpMedia* media = &sdp.media[section]
    cdef uint32_t i, k
    cdef bint again
    out.count = 0
    for i in range(media.first_line, <uint32_t>media.first_line + media.line_count):
        if out.count < MAX_CRYPTO and parse_crypto(sdp_line(sdp, i), &out.line[out.count]):
            again = False
            for k in range(out.count):
                again = again or out.line[k].tag == out.line[out.count].tag
            out.count += not again


cdef const Crypto* cryptos_best(const Cryptos* offered) noexcept nogil:
    """The strongest of the lines, NULL where there is none."""
    cdef const Crypto* best = NULL
    cdef uint32_t i
    for i in range(offered.count):
        if best == NULL or offered.line[i].key.suite > best.key.suite:
            best = &offered.line[i]
    return best


cdef const Crypto* cryptos_match(const Cryptos* offered, const Cryptos* answered, const Crypto** answer) noexcept nogil:
    """The line of an offer that an answer takes: the same tag and suite (RFC 4568 5.1.3). NULL where there is none."""
    cdef uint32_t i, k
    for k in range(answered.count):
        for i in range(offered.count):
            if (offered.line[i].tag == answered.line[k].tag
                    and offered.line[i].key.suite == answered.line[k].key.suite):
                answer[0] = &answered.line[k]
                return &offered.line[i]
    return NULL


cdef uint8_t mode_after_refusal(Slice refusal) noexcept nogil:
    """What is left for a far end that has refused RTP/AVP with keys (SRTP_OFFER): most that do take RTP/SAVP alone, or
    keys nowhere else (RFC 4568 says nothing of keys in RTP/AVP). refusal: the description in its refusal, of what it
    could have done (RFC 3261 21.4.26), empty for none: where it names RTP/AVP, it gets that without keys.
    """
    cdef SdpIndex sdp
    cdef uint32_t i
    if refusal.n and index_sdp(refusal, &sdp) == 0:
        for i in range(sdp.medias):
            if sdp.media[i].proto.n >= 7 and slice_iis(slice_of(sdp.media[i].proto.p, 7), b"RTP/AVP", 7):
                return SRTP_PASS
    return SRTP_OFFER_ALONE


# --- making

cdef bint key_fresh(SrtpKey* key, uint8_t suite) noexcept nogil:
    """A random key of that suite, unless it is one already; False where the kernel has no random bytes."""
    cdef uint32_t n = srtp_key_size(suite)
    if key.suite == suite:
        return True
    srtp_wipe(key)
    if n == 0 or getrandom(key.key, n, 0) != <ssize_t>n:
        return False
    key.suite = suite
    return True


cdef uint8_t* put_crypto(uint8_t* o, const Crypto* crypto) noexcept nogil:
    """a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:..., with its line end."""
    cdef uint32_t n = srtp_key_size(crypto.key.suite), i, bits
    memcpy(o, b"a=crypto:", 9)
    o = put_number(o + 9, crypto.tag)
    o[0] = c' '
    memcpy(o + 1, SUITE_NAMES[crypto.key.suite].p, SUITE_NAMES[crypto.key.suite].n)
    o += 1 + SUITE_NAMES[crypto.key.suite].n
    memcpy(o, b" inline:", 8)
    o += 8
    for i in range(0, n, 3):
        bits = <uint32_t>crypto.key.key[i] << 16
        bits |= <uint32_t>crypto.key.key[i + 1] << 8 if i + 1 < n else 0
        bits |= crypto.key.key[i + 2] if i + 2 < n else 0
        o[0] = <uint8_t>ALPHABET[bits >> 18]
        o[1] = <uint8_t>ALPHABET[bits >> 12 & 63]
        o[2] = <uint8_t>ALPHABET[bits >> 6 & 63] if i + 1 < n else c'='
        o[3] = <uint8_t>ALPHABET[bits & 63] if i + 2 < n else c'='
        o += 4
    memcpy(o, b"\r\n", 2)
    return o + 2


cdef void set_proto(Edit* e, const SdpIndex* sdp, Slice proto, bint secure) noexcept nogil:
    """RTP/AVP to RTP/SAVP or back; feedback (RFC 4585) stays."""
    cdef uint32_t at = <uint32_t>(proto.p - sdp.text.p) + 4
    if is_savp(proto) and not secure:
        edit_delete(e, at, 1)
    elif secure and proto.n >= 7 and slice_iis(slice_of(proto.p, 7), b"RTP/AVP", 7):
        edit_insert(e, at, slice_of(<const uint8_t*>b"S", 1))


cdef void edit_profile(Edit* e, const SdpIndex* sdp, uint32_t section, uint8_t profile, bint is_open,
                       const Cryptos* made) noexcept nogil:
    """Have a section say a profile, with these keys in the place of its own. Nothing for PROFILE_KEPT.

    A section that is not open gets no keys. made counts for PROFILE_BESIDE and PROFILE_SECURE.
    """
    cdef const SdpMedia* media = &sdp.media[section]
    cdef uint32_t i, k, stop = <uint32_t>media.first_line + media.line_count, at
    cdef uint8_t* start
    cdef uint8_t* o
    if profile == PROFILE_KEPT:
        return
    set_proto(e, sdp, media.proto, profile == PROFILE_SECURE)
    at = stop
    for i in range(media.first_line, stop):
        if at == stop and sdp.line[i].type == c'a':
            at = i
        if is_key(sdp_line(sdp, i)):
            edit_delete(e, sdp.line[i].start, sdp.line[i].stop - sdp.line[i].start)
    if not is_open or profile == PROFILE_PLAIN or made.count == 0:
        return
    # Before the first attribute; where there is none, behind the last line, which may have no line end.
    start = o = edit_room(e, 2 + made.count * LINE_ROOM)
    if start == NULL:
        return
    if at == stop and sdp.line[at - 1].stop == sdp.line[at - 1].start + sdp.line[at - 1].length:
        memcpy(o, b"\r\n", 2)
        o += 2
    for k in range(made.count):
        o = put_crypto(o, &made.line[k])
    edit_insert(e, sdp.line[at].start if at < stop else sdp.line[at - 1].stop, edit_text(e, start, o))


# --- for tests

def usable(bytes description not None, uint32_t section=0) -> list[tuple[int, str, bytes]]:
    """(tag, suite, key and salt) of a section's lines that can be used. ValueError where the description is none."""
    cdef SdpIndex sdp
    cdef Cryptos found
    cdef uint32_t i
    if index_sdp(slice_from(description), &sdp) or section >= sdp.medias:
        raise ValueError("no such section")
    section_cryptos(&sdp, section, &found)
    names = {number: name for name, number in NAMES.items()}
    return [(found.line[i].tag, names[found.line[i].key.suite],
             (<const char*>found.line[i].key.key)[:srtp_key_size(found.line[i].key.suite)])
            for i in range(found.count)]


def identifiers(bytes description not None, uint32_t section=0) -> list[bytes]:
    """The MKI of each line that `usable` shows, empty for none."""
    cdef SdpIndex sdp
    cdef Cryptos found
    cdef uint32_t i
    if index_sdp(slice_from(description), &sdp) or section >= sdp.medias:
        raise ValueError("no such section")
    section_cryptos(&sdp, section, &found)
    return [(<const char*>found.line[i].key.mki)[:found.line[i].key.mki_n] for i in range(found.count)]


def with_profile(bytes description not None, uint32_t section, str profile not None, suites=()) -> bytes:
    """A description with another profile ("kept", "plain", "beside", "secure") and fresh keys of these suites."""
    cdef SdpIndex sdp
    cdef Edit e
    cdef Cryptos made
    cdef bytearray out
    if index_sdp(slice_from(description), &sdp) or section >= sdp.medias:
        raise ValueError("no such section")
    memset(&made, 0, sizeof(made))
    for name in suites:
        made.line[made.count].tag = made.count + 1
        if not key_fresh(&made.line[made.count].key, <uint8_t>NAMES[name]):
            raise OSError("no random bytes")
        made.count += 1
    edit_begin(&e, slice_from(description).p, 0, <uint32_t>len(description))
    edit_profile(&e, &sdp, section, ("kept", "plain", "beside", "secure").index(profile), sdp.media[section].port != 0,
                 &made)
    out = bytearray(edit_size(&e))
    edit_render(&e, out)
    return bytes(out)
