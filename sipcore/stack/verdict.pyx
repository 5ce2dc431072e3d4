"""Request and Verdict: the one synchronous question that the stack asks of the policy.

A Request is a view over the message that is being decided; it is valid only until `decide` returns. A Verdict is
immutable, and what the configuration makes constant is one prebuilt Verdict for all calls.
"""
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc
from sipcore.base.address cimport Address, address_from, address_host, transport_name, transport_number
from sipcore.base.slice cimport Slice, slice_bytes, slice_from, slice_iequal, slice_of
from sipcore.stack.headerfilter cimport HeaderFilter
from sipcore.wire.fault cimport fault_text
from sipcore.wire.index cimport (
    DEFAULT_LIMITS, KIND_REQUEST, NO_HEADER, Msg, header_text, header_value, index_message, msg_find, msg_value,
)
from sipcore.wire.nameaddr cimport next_value
from sipcore.wire.tables cimport H_CALL_ID, H_OTHER, HEADER_LIST, header_flags, header_id
from sipcore.wire.values cimport msg_check, msg_from, msg_to, msg_uri

from sipcore.base.errors import MalformedMessage
from sipcore.base.place import Place, valid_host
from sipcore.wire.tables import canonical_name

planned_size = NULL

cdef enum:
    FILTERS_KEPT = 1000


cdef class Target:
    """Where a request goes: Target(host, port, listener=-1, uri=b"", transport="udp", name="").

    host is an IP literal, or a name, which is looked up before the target is tried; port 0 and transport "" leave to
    DNS what they are then (RFC 3263).
    """

    def __init__(self, str host not None, int port=5060, int listener=-1, bytes uri not None=b"",
                 str transport not None="udp", str name not None=""):
        try:
            address_from(host, port, &self.address)
        except ValueError:
            if not valid_host(host) or not 0 <= port <= 65535:
                raise
            self.place = Place.of(host, port, transport)
            self.address.port = <uint16_t>port
        self.address.transport = <uint8_t>transport_number(transport or "udp")
        self.name = name
        _check_value(uri)
        self.listener = listener
        self.uri = uri

    @property
    def host(self):
        return address_host(&self.address) if self.place is None else self.place.host

    @property
    def port(self):
        return self.address.port

    @property
    def transport(self):
        return transport_name(self.address.transport)

    def __repr__(self):
        secure = f", transport={self.transport!r}, name={self.name!r}" if self.address.transport else ""
        return f"Target({self.host!r}, {self.port}, listener={self.listener}, uri={self.uri!r}{secure})"


cdef class Verdict:
    """What is to be done with a request. All fields by keyword; see verdict.pxd for each one's meaning.

    ValueError where header lines could break the message: every line of `insert` and `headers` must end in CRLF
    and hold no other CR, LF or NUL, and so must `uri`, `reason` and the values of `replace` hold none.
    """
    FORWARD = ACTION_FORWARD
    REJECT = ACTION_REJECT
    DROP = ACTION_DROP
    LOCAL = ACTION_LOCAL

    def __init__(self, *, int action=ACTION_FORWARD, int status=0, str reason not None="",
                 bytes headers not None=b"", tuple targets not None=(), bytes uri not None=b"",
                 bytes insert not None=b"", tuple remove not None=(), tuple replace not None=(), body=None,
                 bint compact=False, bint record_route=True, bint nat=False,
                 bint control=False, int budget=0, int anchor=0,
                 int upstream=-1, int max_calls=0,
                 int try_timeout=2000, int ring_timeout=180_000, int max_duration=0, int scope=SCOPE_REQUEST,
                 str precall not None="", str note not None="", str warn not None="",
                 bint tcp=False, Verdict fallback=None):
        if action == ACTION_REJECT and not 300 <= status <= 699:
            raise ValueError(f"a rejection needs a status of 300..699, not {status}")
        _check_lines(headers)
        _check_lines(insert)
        _check_value(uri)
        if "\r" in reason or "\n" in reason or "\0" in reason:
            raise ValueError(f"CR, LF or NUL in {reason!r}")
        if body is not None and not isinstance(body, bytes):
            raise TypeError("body must be bytes or None")
        for target in targets:
            if not isinstance(target, Target):
                raise TypeError(f"not a Target: {target!r}")
        self.action = action
        self.status = status
        self.reason = reason
        self.headers = headers
        self.targets = targets
        self.uri = uri
        self.insert = insert
        self.remove = remove
        self.replace = replace
        self.body = body
        self.compact = compact
        self.record_route = record_route
        self.nat = nat
        self.tcp = tcp
        self.fallback = fallback
        self.control = control
        self.budget = <uint32_t>budget
        self.anchor = anchor
        self.upstream = upstream
        self.max_calls = <uint32_t>max_calls
        self.try_timeout = <uint32_t>try_timeout
        self.ring_timeout = <uint32_t>ring_timeout
        self.max_duration = <uint32_t>max_duration
        self.scope = scope
        self.precall = precall
        self.note = note
        self.warn = warn
        self.removals = _filter(remove) if remove else None
        replacements = []
        for name, value in replace:
            _check_value(value)
            replacements.append((canonical_name(name).encode("ascii"), value))
        self.replacements = tuple(replacements)

    def changed(self, **fields):
        """A copy with these fields changed."""
        kept = {name: getattr(self, name) for name in _FIELDS}
        return Verdict(**(kept | fields))

    def routed(self, tuple targets not None, bytes insert not None):
        """A copy with these targets and inserted lines, for this request alone: what differs between calls of one
        route. It costs a third of a microsecond, where `changed` costs several."""
        cdef Verdict copy = Verdict.__new__(Verdict)
        _check_lines(insert)
        copy.action = self.action
        copy.status = self.status
        copy.reason = self.reason
        copy.headers = self.headers
        copy.targets = targets
        copy.uri = self.uri
        copy.insert = insert
        copy.remove = self.remove
        copy.replace = self.replace
        copy.body = self.body
        copy.compact = self.compact
        copy.record_route = self.record_route
        copy.nat = self.nat
        copy.tcp = self.tcp
        copy.fallback = self.fallback
        copy.control = self.control
        copy.budget = self.budget
        copy.anchor = self.anchor
        copy.upstream = self.upstream
        copy.max_calls = self.max_calls
        copy.try_timeout = self.try_timeout
        copy.ring_timeout = self.ring_timeout
        copy.max_duration = self.max_duration
        copy.scope = SCOPE_REQUEST
        copy.precall = self.precall
        copy.note = self.note
        copy.warn = self.warn
        copy.removals = self.removals
        copy.replacements = self.replacements
        return copy

    def __repr__(self):
        default = Verdict()
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in _FIELDS
                          if getattr(self, name) != getattr(default, name))
        return f"Verdict({shown})"

    def __eq__(self, other):
        if not isinstance(other, Verdict):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _FIELDS)

    __hash__ = None


_FIELDS = ("action", "status", "reason", "headers", "targets", "uri", "insert", "remove", "replace", "body",
           "compact", "record_route", "nat", "control", "budget", "anchor", "upstream", "max_calls", "try_timeout",
           "ring_timeout", "max_duration", "scope", "precall", "note", "warn",
           "tcp", "fallback")


cdef int _check_value(bytes value) except -1:
    if b"\r" in value or b"\n" in value or b"\0" in value:
        raise ValueError(f"CR, LF or NUL in {value!r}")
    return 0


cdef int _check_lines(bytes lines) except -1:
    if lines:
        if not lines.endswith(b"\r\n"):
            raise ValueError(f"header lines must end in CRLF: {lines!r}")
        for line in lines.removesuffix(b"\r\n").split(b"\r\n"):
            _check_value(line)
            if b":" not in line or line.startswith((b" ", b"\t", b":")):
                raise ValueError(f"not a header line: {line!r}")
    return 0


cdef dict _filters = {}


cdef HeaderFilter _filter(tuple names):
    """One filter for the same names: verdicts are many, the lists that a configuration has are few."""
    found = _filters.get(names)
    if found is None:
        if len(_filters) == FILTERS_KEPT:
            _filters.clear()
        found = _filters[names] = HeaderFilter(names)
    return found


cdef str _text(Slice s):
    return slice_bytes(s).decode("utf-8", "surrogateescape")


cdef str _value(Slice s):
    cdef str text = _text(s)
    return " ".join(line.strip(" \t") for line in text.split("\r\n")) if "\r\n" in text else text


cdef class Request:
    """The message being decided, read-only. Text is UTF-8 with surrogateescape; nothing is unescaped."""

    def __cinit__(self):
        self.msg = NULL
        self.own = NULL

    def __dealloc__(self):
        free(self.own)

    cdef void point(self, const Msg* msg, int group, int listener, const Address* source, bint in_dialog) noexcept:
        self.msg = msg
        self.group = group
        self.listener = listener
        self.source_address = source[0]
        self.in_dialog = in_dialog
        self.routed = False
        self.has_far = False
        self.upstream = -1
        self.body_replaced = False
        self.body_growth = 0
        self.towards = None
        self.realms = None
        self.internal = None

    @staticmethod
    def parse(bytes data not None, *, int group=0, int listener=0, source=("127.0.0.1", 5060), bint in_dialog=False,
              uint64_t now=0):
        """A Request over its own bytes, for tests and checks. MalformedMessage where the bytes are no request."""
        cdef Request request = Request()
        cdef Address address
        cdef int fault
        address_from(source[0], source[1], &address)
        request.data = data
        request.own = <Msg*>malloc(sizeof(Msg))
        if request.own == NULL:
            raise MemoryError
        fault = index_message(request.own, slice_from(data).p, <uint32_t>len(data), &DEFAULT_LIMITS)
        if fault == 0:
            fault = msg_check(request.own)
        if fault == 0 and request.own.kind == KIND_REQUEST:
            fault = msg_uri(request.own)
        if fault or request.own.kind != KIND_REQUEST:
            raise MalformedMessage(fault_text(fault) if fault else "not a request", status=400)
        request.point(request.own, group, listener, &address, in_dialog)
        request.now = now
        return request

    cdef Msg* _message(self) except NULL:
        if self.msg == NULL:
            raise ValueError("a Request is valid only while it is being decided")
        return <Msg*>self.msg

    @property
    def method(self):
        return _text(self._message().method_text)

    @property
    def far(self):
        """(host, port) of the dialog's other end, as the dialog began; None where that is not known."""
        return (address_host(&self.far_address), self.far_address.port) if self.has_far else None

    @property
    def source(self):
        """(host, port) that the packet came from."""
        return address_host(&self.source_address), self.source_address.port

    @property
    def uri(self):
        return _text(self._message().uri_text)

    @property
    def scheme(self):
        return _text(self._message().uri.scheme_text).lower()

    @property
    def user(self):
        """User part of the request URI, or the number of a tel URI; as written, still escaped."""
        return _text(self._message().uri.user)

    @property
    def host(self):
        """Host of the request URI; IPv6 without brackets."""
        return _text(self._message().uri.host)

    @property
    def port(self):
        return self._message().uri.port

    @property
    def maddr(self):
        """Where the request URI leads in place of its host (RFC 3261 19.1.1); "" where that says it."""
        return _text(self._message().uri.maddr)

    @property
    def call_id(self):
        return _text(msg_value(self._message(), H_CALL_ID))

    @property
    def to_tag(self):
        return _text(self._message().to.tag) if msg_to(self._message()) == 0 else ""

    @property
    def from_uri(self):
        return _text(self._message().from_.uri) if msg_from(self._message()) == 0 else ""

    @property
    def to_uri(self):
        return _text(self._message().to.uri) if msg_to(self._message()) == 0 else ""

    @property
    def body(self):
        cdef Msg* m = self._message()
        return slice_bytes(slice_of(m.base + m.body, m.n - m.body))

    @property
    def size(self):
        """Bytes as received."""
        cdef Msg* m = self._message()
        return m.n - m.start

    def header(self, str name not None):
        """First line of a header, unfolded, in whatever spelling it stands; None where it is absent."""
        cdef bytes raw = name.encode("utf-8", "surrogateescape")
        cdef uint8_t i = msg_find(self._message(), slice_from(raw))
        return None if i == NO_HEADER else _value(header_value(self.msg, i))

    def headers(self, str name not None):
        """All values of a header; the comma lists of list headers are split."""
        cdef bytes raw = name.encode("utf-8", "surrogateescape")
        cdef uint8_t id = header_id(slice_from(raw).p, <uint32_t>len(raw))
        cdef uint32_t i = msg_find(self._message(), slice_from(raw))
        cdef Slice rest, item
        values = []
        while i != NO_HEADER:
            if id != H_OTHER or slice_iequal(header_text(self.msg, i), slice_from(raw)):
                rest = header_value(self.msg, i)
                if header_flags(id) & HEADER_LIST:
                    while next_value(&rest, &item) > 0:
                        values.append(_value(item))
                else:
                    values.append(_value(rest))
            i = self.msg.headers[i].next
        return values

    def x_headers(self):
        """Headers whose name begins with X-: the name as written to the first value."""
        cdef Msg* m = self._message()
        cdef uint32_t i = m.first[H_OTHER]
        cdef Slice name
        found = {}
        while i != NO_HEADER:
            name = header_text(m, i)
            if name.n > 2 and (name.p[0] | 0x20) == c'x' and name.p[1] == c'-':
                found.setdefault(_text(name), _value(header_value(m, i)))
            i = m.headers[i].next
        return found

    def size_with(self, Verdict verdict not None, int target=0):
        """Exact bytes of the request as it would go out under that verdict to its target of that number; to the one
        that it is about, where it is about one alone."""
        self._message()
        if planned_size == NULL:
            raise RuntimeError("sipcore.stack.plan is not loaded")
        return planned_size(self, verdict, target)
