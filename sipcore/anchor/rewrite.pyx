"""Rewriting a session description (RFC 8866) by patches: addresses and ports become the edge's, all else stays.

Touched are: the address of o=, c= of the session and of sections, the port of m=, a=rtcp, and where the edge is an end
of SRTP the profile and the keys. ICE (RFC 8839) and bundling
(RFC 9143) are taken out, because the edge takes part in neither, and so is what names other addresses. A section that
goes end to end keeps its address: it gets a c= of its own where it relied on the session's.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from sipcore.anchor.description cimport TREAT_ANCHOR, TREAT_PASS, TREAT_REFUSE
from sipcore.anchor.sdes cimport PROFILE_KEPT, edit_profile
from sipcore.base.address cimport Address, address_from, render_ip
from sipcore.base.slice cimport Slice, slice_at, slice_from, slice_is, slice_of
from sipcore.wire.edit cimport (
    Edit, edit_begin, edit_delete, edit_insert, edit_number, edit_render, edit_replace, edit_room, edit_size, edit_text,
)
from sipcore.wire.fault cimport wire_fault
from sipcore.wire.sdp cimport (
    SDP_MAX_MEDIA, SDP_NO_LINE, SdpIndex, SdpMedia, index_sdp, next_word, sdp_attribute, sdp_line,
)


cdef Slice _address(Edit* e, const Host* host) noexcept nogil:
    """IN IP4 192.0.2.1"""
    cdef uint8_t* room = edit_room(e, 7 + host.n)
    if room == NULL:
        return slice_of(e.base, 0)
    memcpy(room, b"IN IP6 " if host.family == 6 else b"IN IP4 ", 7)
    memcpy(room + 7, host.text, host.n)
    return edit_text(e, room, room + 7 + host.n)


cdef void _replace_value(Edit* e, const SdpIndex* sdp, uint32_t line, Slice value) noexcept nogil:
    edit_replace(e, sdp.line[line].start + 2, sdp.line[line].length - 2, value)


cdef void _delete_line(Edit* e, const SdpIndex* sdp, uint32_t line) noexcept nogil:
    edit_delete(e, sdp.line[line].start, sdp.line[line].stop - sdp.line[line].start)


cdef bint _is_bundle(Slice line) noexcept nogil:
    cdef Slice value
    return (sdp_attribute(line, b"group", 5, &value) and value.n >= 6
            and slice_is(slice_of(value.p, 6), b"BUNDLE", 6))


cdef bint _is_ice(Slice line) noexcept nogil:
    cdef Slice value
    return (sdp_attribute(line, b"candidate", 9, &value) or sdp_attribute(line, b"ice-ufrag", 9, &value)
            or sdp_attribute(line, b"ice-pwd", 7, &value) or sdp_attribute(line, b"ice-options", 11, &value)
            or sdp_attribute(line, b"ice-lite", 8, &value) or sdp_attribute(line, b"ice-mismatch", 12, &value)
            or sdp_attribute(line, b"ice-pacing", 10, &value) or sdp_attribute(line, b"remote-candidates", 17, &value)
            or sdp_attribute(line, b"end-of-candidates", 17, &value)
            or sdp_attribute(line, b"bundle-only", 11, &value))


cdef bint _is_address(Slice line) noexcept nogil:
    """Alternative connectivity (RFC 6947), a connection capability (RFC 7006), a source filter (RFC 4570)."""
    cdef Slice value
    return (sdp_attribute(line, b"altc", 4, &value) or sdp_attribute(line, b"ccap", 4, &value)
            or sdp_attribute(line, b"source-filter", 13, &value))


cdef uint32_t _delete_ways(Edit* e, const SdpIndex* sdp, uint32_t first, uint32_t stop, bint bundles) noexcept nogil:
    """Take out what would lead around the edge; bundles: only what joins sections. Returns how much was of ICE or of
    bundling."""
    cdef uint32_t i, found = 0
    cdef Slice line
    for i in range(first, stop):
        line = sdp_line(sdp, i)
        if _is_bundle(line) or (not bundles and _is_ice(line)):
            _delete_line(e, sdp, i)
            found += 1
        elif not bundles and _is_address(line):
            _delete_line(e, sdp, i)
    return found


cdef bint _is_dtls(Slice line) noexcept nogil:
    """RFC 8122, RFC 8842."""
    cdef Slice value
    return (sdp_attribute(line, b"fingerprint", 11, &value) or sdp_attribute(line, b"setup", 5, &value)
            or sdp_attribute(line, b"tls-id", 6, &value))


cdef void _delete_dtls(Edit* e, const SdpIndex* sdp, uint32_t first, uint32_t stop) noexcept nogil:
    cdef uint32_t i
    for i in range(first, stop):
        if _is_dtls(sdp_line(sdp, i)):
            _delete_line(e, sdp, i)


cdef void take_out_dtls(const SdpIndex* sdp, Edit* e, const Place* places, uint32_t count) noexcept nogil:
    """Take what would agree on keys over DTLS out of a description whose sections offer it beside plain RTP (RFC 8643):
    nothing of that gets through the relay. Sections that get keys of the edge's have lost it with their own.
    """
    cdef uint32_t i
    cdef bint passes = False
    for i in range(min(count, sdp.medias)):
        passes = passes or places[i].treatment == TREAT_PASS
        if places[i].treatment == TREAT_ANCHOR and places[i].profile == PROFILE_KEPT:
            _delete_dtls(e, sdp, sdp.media[i].first_line, <uint32_t>sdp.media[i].first_line + sdp.media[i].line_count)
    if not passes:
        _delete_dtls(e, sdp, 0, sdp.media[0].first_line if sdp.medias else sdp.lines)


cdef void _own_connection(Edit* e, const SdpIndex* sdp, const SdpMedia* media) noexcept nogil:
    """Give a section that goes end to end the session's c= as its own, behind its m= and i=."""
    cdef uint32_t after = media.first_line
    cdef Slice line = sdp_line(sdp, sdp.connection.line)
    cdef Slice crlf = slice_of(<const uint8_t*>b"\r\n", 2)
    if media.line_count > 1 and sdp.line[after + 1].type == c'i':
        after += 1
    if sdp.line[after].stop == sdp.line[after].start + sdp.line[after].length:
        # The last line, without a line end.
        edit_insert(e, sdp.line[after].stop, crlf)
        edit_insert(e, sdp.line[after].stop, line)
    else:
        edit_insert(e, sdp.line[after].stop, line)
        edit_insert(e, sdp.line[after].stop, crlf)


cdef void _rtcp(Edit* e, const SdpIndex* sdp, const SdpMedia* media, uint16_t port, Slice address) noexcept nogil:
    """a=rtcp with the edge's port, and its address where one stood there."""
    cdef uint32_t at = <uint32_t>(media.rtcp.p - sdp.text.p), end = at + media.rtcp.n
    cdef Slice rest = media.rtcp, word = next_word(&rest)
    edit_replace(e, at, word.n, edit_number(e, port if media.rtcp_port == media.port else port + 1))
    word = next_word(&rest)
    if word.n:
        at = <uint32_t>(word.p - sdp.text.p)
        edit_replace(e, at, end - at, address)


cdef uint32_t rewrite(const SdpIndex* sdp, Edit* e, const Place* places, uint32_t count,
                      const Host* host) noexcept nogil:
    """Fill e, begun over the description's text, for a description whose first `count` sections have places.

    Sections beyond them are refused. Returns the number of ICE and bundling attributes that were taken out. The
    edit's overflow tells when there was too much to change.
    """
    cdef uint32_t i, ice = 0, start
    cdef bint passes = False
    cdef const SdpMedia* media
    cdef Slice address = _address(e, host), text
    cdef uint8_t treatment
    for i in range(sdp.medias):
        passes = passes or (i < count and places[i].treatment == TREAT_PASS)

    # The addrtype stands before the address, with any number of spaces between.
    start = <uint32_t>(sdp.origin_address.p - sdp.text.p)
    while slice_at(sdp.text, start - 1) == c' ':
        start -= 1
    start -= 3
    edit_replace(e, start, <uint32_t>(sdp.origin_address.p - sdp.text.p) + sdp.origin_address.n - start,
                 slice_of(address.p + 3, address.n - 3))
    if sdp.connection.line != SDP_NO_LINE:
        _replace_value(e, sdp, sdp.connection.line, address)
    # A section that goes end to end may have its ICE at the session level, but its port is its own alone.
    ice += _delete_ways(e, sdp, 0, sdp.media[0].first_line if sdp.medias else sdp.lines, passes)

    for i in range(sdp.medias):
        media = &sdp.media[i]
        treatment = places[i].treatment if i < count else TREAT_REFUSE
        if treatment == TREAT_PASS:
            if media.connection.line == SDP_NO_LINE and sdp.connection.line != SDP_NO_LINE:
                _own_connection(e, sdp, media)
            continue
        ice += _delete_ways(e, sdp, media.first_line, <uint32_t>media.first_line + media.line_count, False)
        text = edit_number(e, places[i].port if treatment == TREAT_ANCHOR else 0)
        edit_replace(e, <uint32_t>(media.port_text.p - sdp.text.p), media.port_text.n, text)
        if i < count:
            edit_profile(e, sdp, i, places[i].profile, treatment == TREAT_ANCHOR and places[i].port, &places[i].made)
        if media.connection.line != SDP_NO_LINE:
            _replace_value(e, sdp, media.connection.line, address)
        if media.rtcp_line != SDP_NO_LINE:
            if treatment == TREAT_ANCHOR and places[i].port:
                _rtcp(e, sdp, media, places[i].port, address)
            else:
                _delete_line(e, sdp, media.rtcp_line)
    return ice


cdef dict _TREATMENTS = {"refuse": TREAT_REFUSE, "pass": TREAT_PASS, "anchor": TREAT_ANCHOR}


def rewritten(bytes body not None, str host not None, places not None):
    """body as it leaves the edge, and how many ICE attributes it lost. WireFault where it is malformed.

    places: ("refuse" | "pass" | "anchor", port) of each section.
    """
    cdef SdpIndex sdp
    cdef Edit e
    cdef Place[SDP_MAX_MEDIA] all_places
    cdef Host to
    cdef uint32_t count = 0, ice
    cdef bytearray out
    cdef int fault = index_sdp(slice_from(body), &sdp)
    if fault:
        raise wire_fault(fault, body)
    memset(all_places, 0, sizeof(all_places))
    for treatment, port in places[:SDP_MAX_MEDIA]:
        all_places[count].treatment = _TREATMENTS[treatment]
        all_places[count].port = port
        count += 1
    host_of(host, &to)
    edit_begin(&e, slice_from(body).p, 0, <uint32_t>len(body))
    ice = rewrite(&sdp, &e, all_places, count, &to)
    if e.overflow:
        raise ValueError("too much to change")
    out = bytearray(edit_size(&e))
    edit_render(&e, out)
    return bytes(out), ice


cdef int host_of(str host, Host* out) except -1:
    """An address literal in the form that rewrite takes; ValueError for anything else."""
    cdef Address address
    address_from(host, 0, &address)
    out.family = address.family
    out.n = render_ip(&address, out.text, False)
    return 0
