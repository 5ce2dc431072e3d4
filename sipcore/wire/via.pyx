"""via-parm = sent-protocol LWS sent-by *( SEMI via-params ); LWS may stand around "/", ":", ";" and "=".

One pass over the value; the extents of the value and of its rport and received parameters are kept so that a
response can be routed, and a request amended, by offset.
"""
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from sipcore.base.address cimport (TRANSPORT_OTHER, TRANSPORT_SCTP, TRANSPORT_TCP, TRANSPORT_TLS, TRANSPORT_UDP,
                                   TRANSPORT_WS, TRANSPORT_WSS, Transport)
from sipcore.base.slice cimport Slice, slice_at, slice_bytes, slice_from, slice_iis, slice_is, slice_of
from .cseq cimport parse_uint
from .fault cimport (FAULT_LIST, FAULT_VIA_BRANCH, FAULT_VIA_PARAM_TWICE, FAULT_VIA_PROTOCOL, FAULT_VIA_RPORT,
                     FAULT_VIA_SENT_BY, FAULT_VIA_TRANSPORT, FAULT_VIA_TTL, wire_fault)
from .nameaddr cimport param_dict, render_params
from .host cimport HOST_IPV6, scan_host
from .scan cimport CH_TOKEN, Param, scan_known, scan_param, scan_port, skip_class, skip_lws


cdef Transport transport_of(Slice name) noexcept nogil:
    """The transport that a Via or a transport parameter names, without regard to case."""
    if name.n == 3:
        if slice_iis(name, b"udp", 3):
            return TRANSPORT_UDP
        if slice_iis(name, b"tcp", 3):
            return TRANSPORT_TCP
        if slice_iis(name, b"tls", 3):
            return TRANSPORT_TLS
        if slice_iis(name, b"wss", 3):
            return TRANSPORT_WSS
    elif name.n == 2 and slice_iis(name, b"ws", 2):
        return TRANSPORT_WS
    elif name.n == 4 and slice_iis(name, b"sctp", 4):
        return TRANSPORT_SCTP
    return TRANSPORT_OTHER


cdef inline uint32_t _token(Slice s, uint32_t i, Slice* out) noexcept nogil:
    cdef uint32_t start = i
    i = skip_class(s.p, i, s.n, CH_TOKEN)
    out[0] = slice_of(s.p + start, i - start)
    return i


cdef int32_t _sent_protocol(Slice s, uint32_t i, Via* out) noexcept nogil:
    """sent-protocol = protocol-name SLASH protocol-version SLASH transport; the index after it."""
    cdef Slice name, version
    if i + 12 <= s.n and slice_is(slice_of(s.p + i, 12), b"SIP/2.0/UDP ", 12):
        out.protocol_ok = True
        out.transport = slice_of(s.p + i + 8, 3)
        out.transport_id = TRANSPORT_UDP
        return <int32_t>(i + 11)
    if i + 8 <= s.n and slice_is(slice_of(s.p + i, 8), b"SIP/2.0/", 8):
        out.protocol_ok = True
        i = skip_lws(s, i + 8)
    else:
        i = skip_lws(s, _token(s, i, &name))
        if name.n == 0 or i >= s.n or slice_at(s, i) != c'/':
            return FAULT_VIA_PROTOCOL
        i = skip_lws(s, _token(s, skip_lws(s, i + 1), &version))
        if version.n == 0 or i >= s.n or slice_at(s, i) != c'/':
            return FAULT_VIA_PROTOCOL
        out.protocol_ok = slice_iis(name, b"SIP", 3) and slice_is(version, b"2.0", 3)
        i = skip_lws(s, i + 1)
    i = _token(s, i, &out.transport)
    if out.transport.n == 0 or skip_lws(s, i) == i:
        return FAULT_VIA_TRANSPORT
    out.transport_id = transport_of(out.transport)
    return <int32_t>i


cdef inline void _keep_branch(Slice value, Via* out) noexcept nogil:
    out.branch = value
    out.cookie = value.n > 7 and slice_is(slice_of(value.p, 7), b"z9hG4bK", 7)


cdef int _keep_param(Param* param, Via* out) noexcept nogil:
    """Remember a parameter that routing asks for; each of them may be given once."""
    cdef uint32_t number = 0
    cdef Slice value = param.value
    cdef uint32_t n = param.name.n
    if n == 6 and slice_iis(param.name, b"branch", 6):
        if out.branch.n:
            return FAULT_VIA_PARAM_TWICE
        if value.n == 0 or param.quoted:
            return FAULT_VIA_BRANCH
        _keep_branch(value, out)
    elif n == 5 and slice_iis(param.name, b"rport", 5):
        if out.rport:
            return FAULT_VIA_PARAM_TWICE
        out.rport = RPORT_EMPTY
        out.rport_text = param.text
        if value.n:
            if parse_uint(value, 65535, &number) != 0 or number == 0:
                return FAULT_VIA_RPORT
            out.rport = RPORT_VALUE
            out.rport_port = <uint16_t>number
    elif n == 8 and slice_iis(param.name, b"received", 8):
        if out.received_text.n:
            return FAULT_VIA_PARAM_TWICE
        out.received_text = param.text
        if value.n >= 2 and slice_at(value, 0) == c'[' and slice_at(value, value.n - 1) == c']':
            value = slice_of(value.p + 1, value.n - 2)
        out.received = value
    elif n == 5 and slice_iis(param.name, b"alias", 5):
        out.alias = True
    elif n == 5 and slice_iis(param.name, b"maddr", 5):
        if out.maddr.n:
            return FAULT_VIA_PARAM_TWICE
        out.maddr = value
    elif n == 3 and slice_iis(param.name, b"ttl", 3):
        if out.ttl >= 0:
            return FAULT_VIA_PARAM_TWICE
        if parse_uint(value, 255, &number) != 0:
            return FAULT_VIA_TTL
        out.ttl = <int16_t>number
    return 0


cdef int parse_via(Slice* rest, Via* out) noexcept nogil:
    """Take the first value off a Via list; rest becomes what follows its comma (n = 0: nothing).

    received and maddr are delimited, not checked to be addresses. Returns 0 or a fault code.
    """
    cdef Slice s = rest[0]
    cdef uint32_t i, start, stop, host_start
    cdef int32_t after
    cdef int code
    cdef uint32_t known
    cdef Param param
    memset(out, 0, sizeof(Via))
    out.ttl = -1
    start = skip_lws(s, 0)
    after = _sent_protocol(s, start, out)
    if after < 0:
        return after
    host_start = skip_lws(s, <uint32_t>after)
    after = scan_host(s, host_start, &out.host, &out.host_kind, out.quad)
    if after < 0:
        return FAULT_VIA_SENT_BY
    stop = <uint32_t>after
    i = skip_lws(s, stop)
    if i < s.n and slice_at(s, i) == c':':
        after = scan_port(s, skip_lws(s, i + 1), &out.port)
        if after < 0:
            return FAULT_VIA_SENT_BY
        stop = <uint32_t>after
        i = skip_lws(s, stop)
    out.sent_by = slice_of(s.p + host_start, stop - host_start)
    if i < s.n and slice_at(s, i) == c';':
        out.params.p = s.p + skip_lws(s, i + 1)
        while i < s.n and slice_at(s, i) == c';':
            known = scan_known(s, i + 1, b"branch=", 7, &param.value) if out.branch.n == 0 else 0
            if known:
                _keep_branch(param.value, out)
                i = stop = known
                continue
            after = scan_param(s, i + 1, &param)
            if after < 0:
                return after
            code = _keep_param(&param, out)
            if code != 0:
                return code
            i = <uint32_t>after
            stop = <uint32_t>(param.text.p - s.p) + param.text.n
        out.params.n = stop - <uint32_t>(out.params.p - s.p)
    out.text = slice_of(s.p + start, stop - start)
    if i < s.n:
        if slice_at(s, i) != c',':
            return FAULT_VIA_SENT_BY
        i = skip_lws(s, i + 1)
        if i == s.n:
            return FAULT_LIST
    rest[0] = slice_of(s.p + i, s.n - i)
    return 0


cdef class ViaValue:
    """One Via value, immutable, for code above the GIL; WireFault where it is malformed."""
    cdef bytes _raw
    cdef Via _via

    def __init__(self, value: bytes) -> None:
        cdef Slice rest = slice_from(value)
        self._raw = value
        cdef int code = parse_via(&rest, &self._via)
        if code == 0 and rest.n:
            code = FAULT_LIST
        if code != 0:
            raise wire_fault(code, value)

    @property
    def transport(self) -> str:
        return slice_bytes(self._via.transport).decode("ascii")

    @property
    def host(self) -> str:
        """sent-by host, IPv6 without brackets."""
        return slice_bytes(self._via.host).decode("ascii")

    @property
    def port(self) -> int:
        """0 where there is none."""
        return self._via.port

    @property
    def branch(self) -> str:
        return slice_bytes(self._via.branch).decode("utf-8", "surrogateescape")

    @property
    def cookie(self) -> bool:
        """Whether the branch was made by an RFC 3261 element."""
        return bool(self._via.cookie)

    @property
    def received(self) -> str:
        return slice_bytes(self._via.received).decode("utf-8", "surrogateescape")

    @property
    def maddr(self) -> str:
        return slice_bytes(self._via.maddr).decode("utf-8", "surrogateescape")

    @property
    def rport(self) -> int | None:
        """None: absent, 0: asked for, else the port."""
        return None if self._via.rport == RPORT_ABSENT else self._via.rport_port

    @property
    def rport_extent(self) -> tuple[int, int] | None:
        """Offsets of the whole rport parameter (without its ";"), where a server writes the port (RFC 3581 4)."""
        return self._extent(self._via.rport_text)

    @property
    def received_extent(self) -> tuple[int, int] | None:
        """Offsets of the whole received parameter."""
        return self._extent(self._via.received_text)

    cdef tuple _extent(self, Slice part):
        cdef Py_ssize_t start = part.p - <const uint8_t*><const char*>self._raw
        return (start, start + part.n) if part.n else None

    @property
    def ttl(self) -> int | None:
        return None if self._via.ttl < 0 else self._via.ttl

    @property
    def protocol_ok(self) -> bool:
        return bool(self._via.protocol_ok)

    @property
    def params(self) -> dict[str, str | None]:
        """All parameters, names in lower case, values as received."""
        return param_dict(self._via.params)

    def render(self) -> bytes:
        """The value as SIP/2.0, without folds and spare LWS, its parameters as received."""
        cdef str host = f"[{self.host}]" if self._via.host_kind == HOST_IPV6 else self.host
        cdef str port = f":{self.port}" if self.port else ""
        return f"SIP/2.0/{self.transport} {host}{port}".encode("ascii") + render_params(self._via.params)


def split_via(value: bytes) -> list[bytes]:
    """The values of a Via header, each as received; WireFault where one is malformed."""
    cdef Slice rest = slice_from(value)
    cdef Via via
    cdef int code
    values = []
    while True:
        code = parse_via(&rest, &via)
        if code != 0:
            raise wire_fault(code, value)
        values.append(slice_bytes(via.text))
        if rest.n == 0:
            return values
