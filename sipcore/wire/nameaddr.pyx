"""name-addr = [ display-name ] LAQUOT addr-spec RAQUOT, or a bare addr-spec, with header parameters.

The brackets are found first (no "<" or ">" can stand in a URI), so that the URI is walked once only, by
whoever parses it. Bare URIs carry no parameters, headers or commas of their own (RFC 3261 20.10).
"""
import re

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memset
from sipcore.base.runs cimport run_to_byte
from sipcore.base.slice cimport Slice, slice_at, slice_bytes, slice_from, slice_iis, slice_of
from .fault cimport (FAULT_ADDR_SPEC, FAULT_BRACKET, FAULT_DISPLAY, FAULT_LIST, FAULT_PARAM, FAULT_TAG, wire_fault)
from .scan cimport (CH_DISPLAY, CH_OPAQUE, Param, is_class, scan_known, scan_param, scan_quoted, skip_class, skip_lws,
                    trim_lws)
from .uri import URI


cdef int _scan_params(NameAddr* out, uint32_t i) noexcept nogil:
    """Walk the header parameters whose first ";" stands at i, and remember the tag."""
    cdef Slice text = out.text
    cdef Param param
    cdef int32_t after
    cdef uint32_t start = i + 1
    if scan_known(text, start, b"tag=", 4, &param.value) == text.n:
        out.tag = param.value
        out.params = slice_of(text.p + start, text.n - start)
        return 0
    start = skip_lws(text, start)
    while True:
        after = scan_param(text, i + 1, &param)
        if after < 0:
            return after
        if param.name.n == 3 and slice_iis(param.name, b"tag", 3):
            if out.tag.n or param.value.n == 0 or param.quoted:
                return FAULT_TAG
            out.tag = param.value
        i = <uint32_t>after
        if i == text.n:
            out.params = slice_of(text.p + start, text.n - start)
            return 0
        if slice_at(text, i) != c';':
            return FAULT_PARAM


cdef int _bare(NameAddr* out) noexcept nogil:
    """addr-spec without brackets: it ends at the first ";" or LWS."""
    cdef Slice text = out.text
    cdef uint32_t i = 0, stop
    cdef uint8_t c
    while i < text.n:
        c = slice_at(text, i)
        if c == c';' or c == c'?' or c == c',' or not is_class(c, CH_OPAQUE):
            break
        i += 1
    stop = i
    i = skip_lws(text, i)
    if stop == 0 or (i < text.n and slice_at(text, i) != c';'):
        return FAULT_ADDR_SPEC
    out.uri = slice_of(text.p, stop)
    return 0 if i == text.n else _scan_params(out, i)


cdef int parse_name_addr(Slice text, NameAddr* out) noexcept nogil:
    """Read one value of From, To, Contact, Route, Record-Route, Refer-To, Referred-By, P-Asserted-Identity...

    The URI inside is delimited, not checked: parse_uri does that. Returns 0 or a fault code; FAULT_TAG also
    where a tag is empty or given twice, because two readers could take different ones.
    """
    cdef uint32_t i = 0, start, close
    cdef int32_t after
    memset(out, 0, sizeof(NameAddr))
    text = trim_lws(text)
    out.text = text
    if text.n == 0:
        return FAULT_ADDR_SPEC
    if slice_at(text, 0) == c'"':
        after = scan_quoted(text, 0)
        if after < 0:
            return after
        out.display = slice_of(text.p, <uint32_t>after)
        i = skip_lws(text, <uint32_t>after)
        if i == text.n or slice_at(text, i) != c'<':
            return FAULT_DISPLAY
    elif slice_at(text, 0) != c'<':
        while i < text.n:
            start = skip_class(text.p, i, text.n, CH_DISPLAY)
            if start > i:
                out.display.n = start
            i = skip_lws(text, start)
            if i == start:
                break
        if i == text.n or slice_at(text, i) != c'<':
            if text.n == 1 and slice_at(text, 0) == c'*':
                out.star = True
                out.display.n = 0
                return 0
            if i < text.n and slice_at(text, i) == c':' and i == out.display.n:
                out.display.n = 0
                return _bare(out)
            return FAULT_DISPLAY
        out.display.p = text.p
    i += 1
    close = run_to_byte(text.p, i, text.n, c'>')
    if close == text.n:
        return FAULT_BRACKET
    out.brackets = True
    out.uri = slice_of(text.p + i, close - i)
    i = skip_lws(text, close + 1)
    if i == text.n:
        return 0
    return _scan_params(out, i) if slice_at(text, i) == c';' else FAULT_PARAM


cdef int next_value(Slice* rest, Slice* item) noexcept nogil:
    """Take the next value off a comma list: 1 and item (trimmed), 0 at its end, or a fault code.

    Commas inside quotes and angle brackets separate nothing. An empty value is FAULT_LIST.
    """
    cdef Slice s = rest[0]
    cdef uint32_t i = skip_lws(s, 0), start = i
    cdef int32_t after
    cdef uint8_t c
    if i == s.n:
        rest[0] = slice_of(s.p + i, 0)
        return 0
    while i < s.n:
        c = slice_at(s, i)
        if c == c',':
            break
        if c == c'"':
            after = scan_quoted(s, i)
            if after < 0:
                return after
            i = <uint32_t>after
        elif c == c'<':
            i = run_to_byte(s.p, i, s.n, c'>')
            if i == s.n:
                return FAULT_BRACKET
            i += 1
        else:
            i += 1
    item[0] = trim_lws(slice_of(s.p + start, i - start))
    if item.n == 0:
        return FAULT_LIST
    if i < s.n:
        i = skip_lws(s, i + 1)
        if i == s.n:
            return FAULT_LIST
    rest[0] = slice_of(s.p + i, s.n - i)
    return 1


cdef bint param_value(Slice params, const char* name, uint32_t n, Slice* value) noexcept nogil:
    """Whether name (n bytes) is among the header parameters params ("a=b;c", no ";" first).

    value becomes its value with quotes, n = 0 where it has none. A fault ends the walk as "absent".
    """
    cdef Param param
    cdef int32_t after = -1
    cdef uint32_t i
    while True:
        i = <uint32_t>(after + 1)
        after = scan_param(params, i, &param)
        if after < 0:
            return False
        if param.name.n == n and slice_iis(param.name, name, n):
            value[0] = param.value
            return True
        if <uint32_t>after == params.n or slice_at(params, <uint32_t>after) != c';':
            return False


cdef dict param_dict(Slice params):
    """Header parameters by lower-case name, values as received (quotes kept), None without "="; first one wins."""
    cdef Param param
    cdef int32_t after = -1
    cdef dict found = {}
    while params.n and after < <int32_t>params.n:
        after = scan_param(params, <uint32_t>(after + 1), &param)
        if after < 0:
            break
        name = slice_bytes(param.name).decode("ascii").lower()
        has_value = param.text.n > param.name.n
        found.setdefault(name, slice_bytes(param.value).decode("utf-8", "surrogateescape") if has_value else None)
    return found


cdef bytes render_params(Slice params):
    """Header parameters with one ";" before each and no LWS."""
    cdef Param param
    cdef int32_t after = -1
    cdef list parts = []
    while params.n and after < <int32_t>params.n:
        after = scan_param(params, <uint32_t>(after + 1), &param)
        if after < 0:
            break
        parts.append(b";" + slice_bytes(param.name))
        if param.text.n > param.name.n:
            parts.append(b"=" + slice_bytes(param.value))
    return b"".join(parts)


cdef str _unquoted(bytes display):
    """A display name without quotes, escapes resolved and folds made spaces."""
    if display[:1] == b'"':
        display = re.sub(rb"\\(.)", rb"\1", display[1:len(display) - 1], flags=re.DOTALL)
    return re.sub(rb"[ \t]*(\r\n[ \t]+)+", b" ", display).decode("utf-8", "surrogateescape")


cdef class NameAddress:
    """One value of From, To, Contact, Route... with its URI, immutable; WireFault where it is malformed."""
    cdef bytes _raw
    cdef NameAddr _addr
    cdef readonly object uri

    def __init__(self, value: bytes) -> None:
        self._raw = value
        cdef int code = parse_name_addr(slice_from(value), &self._addr)
        if code != 0:
            raise wire_fault(code, value)
        self.uri = None if self._addr.star else URI(slice_bytes(self._addr.uri))

    @property
    def display(self) -> str:
        """Display name as text for people: without quotes, escapes resolved."""
        return _unquoted(slice_bytes(self._addr.display))

    @property
    def star(self) -> bool:
        """Contact: * (RFC 3261 10.2.2)."""
        return bool(self._addr.star)

    @property
    def brackets(self) -> bool:
        return bool(self._addr.brackets)

    @property
    def tag(self) -> str:
        return slice_bytes(self._addr.tag).decode("utf-8", "surrogateescape")

    @property
    def params(self) -> dict[str, str | None]:
        """Header parameters, names in lower case, values as received."""
        return param_dict(self._addr.params)

    def param(self, name: str) -> str | None:
        """Value of one header parameter as received, "" where it has none; None where there is no such parameter."""
        cdef bytes key = name.encode("ascii")
        cdef Slice value
        if not param_value(self._addr.params, key, <uint32_t>len(key), &value):
            return None
        return slice_bytes(value).decode("utf-8", "surrogateescape")

    def render(self) -> bytes:
        """The value in canonical form: display as received, URI in brackets, parameters without LWS."""
        if self._addr.star:
            return b"*"
        display = slice_bytes(self._addr.display)
        return (display + b" " if display else b"") + b"<%b>" % slice_bytes(self._addr.uri) + render_params(
            self._addr.params)


def quote_display(name: str) -> str:
    """A display name as quoted-string: backslash before quote and backslash; CR, LF and NUL become spaces."""
    plain = re.sub("[\\x00-\\x08\\x0a-\\x1f\\x7f]", " ", name)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def split_values(value: bytes) -> list[bytes]:
    """The values of a comma list, trimmed; commas in quotes and angle brackets separate nothing."""
    cdef Slice rest = slice_from(value), item
    cdef int code = 1
    values = []
    while True:
        code = next_value(&rest, &item)
        if code == 0:
            return values
        if code < 0:
            raise wire_fault(code, value)
        values.append(slice_bytes(item))
