"""URIs in one pass, and the immutable view that policy code works with.

"@" stands nowhere in a sip URI but after the userinfo (RFC 3261 25.1), so the host is found first, and each byte
is then looked at once, with the class of the part that it stands in. Parts are kept as received; escapes are
resolved by whoever compares or shows them.

Long because the one pass over a URI and the view of what it found belong to one noun.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memset
from sipcore.base.runs cimport run_to_byte
from sipcore.base.slice cimport Slice, ascii_lower, slice_at, slice_bytes, slice_from, slice_iequal, slice_iis, slice_of
from .escape cimport decoded, escaped, same_unescaped, unescape_into
from .fault cimport (FAULT_HOST, FAULT_TEL_NUMBER, FAULT_URI_COUNT, FAULT_URI_EMPTY, FAULT_URI_ESCAPE,
                     FAULT_URI_HEADER, FAULT_URI_OPAQUE, FAULT_URI_PARAM, FAULT_URI_PARAM_TWICE, FAULT_URI_SCHEME,
                     FAULT_URI_USER, WIRE_OK, wire_fault)
from .host cimport scan_host
from .scan cimport (CH_ALPHA, CH_DIGIT, CH_HEX, CH_OPAQUE, CH_PASSWORD, CH_PHONE, CH_SCHEME, CH_URI_HEADER,
                    CH_URI_PARAM, CH_USER, is_class, is_escape, scan_port, skip_class)


cdef inline int32_t _scan_part(Slice s, uint32_t i, uint32_t stop, uint16_t kind) noexcept nogil:
    """The first index from i on, before stop, that is neither of class kind nor an escape."""
    i = skip_class(s.p, i, stop, kind)
    while i < stop and slice_at(s, i) == c'%':
        if not is_escape(s, i, stop):
            return FAULT_URI_ESCAPE
        i = skip_class(s.p, i + 3, stop, kind)
    return <int32_t>i


cdef Known known_param(Slice name) noexcept nogil:
    """Which of the parameters of RFC 3261 19.1.1 name is, in any case and with any escapes."""
    cdef uint8_t room[27]
    if name.n == 2 and slice_iis(name, b"lr", 2):
        return KNOWN_LR
    if name.n == 9 and slice_iis(name, b"transport", 9):
        return KNOWN_TRANSPORT
    if name.n == 5 and slice_iis(name, b"maddr", 5):
        return KNOWN_MADDR
    if name.n == 4 and slice_iis(name, b"user", 4):
        return KNOWN_USER
    if name.n == 6 and slice_iis(name, b"method", 6):
        return KNOWN_METHOD
    if name.n == 3 and slice_iis(name, b"ttl", 3):
        return KNOWN_TTL
    if name.n <= 27 and memchr(name.p, c'%', name.n) != NULL:    # 27: "transport" with every letter escaped
        name = slice_of(room, unescape_into(name, room))
        if memchr(name.p, c'%', name.n) == NULL:
            return known_param(name)
    return KNOWN_NONE


cdef int _keep_param(Slice name, Slice value, Uri* out) noexcept nogil:
    """Remember a parameter that the stack asks for; each of them may be given once (19.1.1)."""
    cdef Known known = known_param(name)
    cdef Slice* place
    if known == KNOWN_NONE:
        return WIRE_OK
    if known == KNOWN_LR:
        if out.lr:
            return FAULT_URI_PARAM_TWICE
        out.lr = True
        return WIRE_OK
    if known == KNOWN_TRANSPORT:
        place = &out.transport
    elif known == KNOWN_MADDR:
        place = &out.maddr
    elif known == KNOWN_USER:
        place = &out.user_param
    elif known == KNOWN_METHOD:
        place = &out.method
    else:
        place = &out.ttl
    if place.p != NULL:
        return FAULT_URI_PARAM_TWICE
    place[0] = value
    return WIRE_OK


cdef bint _repeats(const Slice* names, uint32_t count, Slice params) noexcept nogil:
    """Whether one of the names of params stands there twice."""
    cdef uint32_t i, k
    cdef bint plain = run_to_byte(params.p, 0, params.n, c'%') == params.n
    for i in range(1, count):
        for k in range(i):
            if slice_iequal(names[i], names[k]) or not plain and same_unescaped(names[i], names[k], True):
                return True
    return False


cdef int32_t _scan_params(Slice s, uint32_t i, Uri* out, bint* repeats) noexcept nogil:
    """uri-parameters = *( ";" pname [ "=" pvalue ] ) from i on; the index after them. repeats: a name stands twice."""
    cdef uint32_t first = i + 1, start, count = 0
    cdef Slice names[URI_MAX_PARTS]
    cdef int32_t after
    cdef Slice name, value
    cdef int code
    if i >= s.n or slice_at(s, i) != c';':
        return <int32_t>i
    while i < s.n and slice_at(s, i) == c';':
        start = i + 1
        after = _scan_part(s, start, s.n, CH_URI_PARAM)
        if after < 0:
            return after
        if <uint32_t>after == start:
            return FAULT_URI_PARAM
        i = <uint32_t>after
        name = slice_of(s.p + start, i - start)
        value = slice_of(s.p + i, 0)
        if i < s.n and slice_at(s, i) == c'=':
            start = i + 1
            after = _scan_part(s, start, s.n, CH_URI_PARAM)
            if after < 0:
                return after
            i = <uint32_t>after
            value = slice_of(s.p + start, i - start)
        code = _keep_param(name, value, out)
        if code != 0:
            return code
        if count < URI_MAX_PARTS:
            names[count] = name
        count += 1
    if count > URI_MAX_PARTS:
        return FAULT_URI_COUNT
    out.params = slice_of(s.p + first, i - first)
    repeats[0] = count > 1 and _repeats(names, count, out.params)
    return <int32_t>i


cdef int32_t _scan_headers(Slice s, uint32_t i, Uri* out) noexcept nogil:
    """headers = "?" hname "=" hvalue *( "&" hname "=" hvalue ), with the "?" at i; the index after them."""
    cdef uint32_t first = i + 1, start, count = 0
    cdef int32_t after
    while True:
        start = i + 1
        after = _scan_part(s, start, s.n, CH_URI_HEADER)
        if after < 0:
            return after
        i = <uint32_t>after
        if i == start or i == s.n or slice_at(s, i) != c'=':
            return FAULT_URI_HEADER
        after = _scan_part(s, i + 1, s.n, CH_URI_HEADER)
        if after < 0:
            return after
        i = <uint32_t>after
        count += 1
        if i == s.n or slice_at(s, i) != c'&':
            break
    if count > URI_MAX_PARTS:
        return FAULT_URI_COUNT
    out.headers = slice_of(s.p + first, i - first)
    return <int32_t>i


cdef int _parse_sip(Slice s, uint32_t i, Uri* out) noexcept nogil:
    """[ userinfo ] hostport uri-parameters [ headers ] from i on."""
    cdef uint32_t stop, start = i
    cdef int32_t after
    cdef bint repeats = False
    stop = run_to_byte(s.p, i, s.n, c'@')
    if stop < s.n:
        after = _scan_part(s, i, stop, CH_USER)
        if after < 0:
            return after
        i = <uint32_t>after
        out.user = slice_of(s.p + start, i - start)
        out.has_user = True
        if i == start:
            return FAULT_URI_USER
        if i < stop:
            if slice_at(s, i) != c':':
                return FAULT_URI_USER
            start = i + 1
            after = _scan_part(s, start, stop, CH_PASSWORD)
            if after < 0:
                return after
            if <uint32_t>after != stop:
                return FAULT_URI_USER
            out.has_password = True
            out.password = slice_of(s.p + start, stop - start)
        i = stop + 1
    start = i
    after = scan_host(s, i, &out.host, &out.host_kind, out.quad)
    if after < 0:
        return after
    i = <uint32_t>after
    if i < s.n and slice_at(s, i) == c':':
        after = scan_port(s, i + 1, &out.port)
        if after < 0:
            return after
        i = <uint32_t>after
    out.host_port = slice_of(s.p + start, i - start)
    if i < s.n and slice_at(s, i) == c';':
        after = _scan_params(s, i, out, &repeats)
        if after < 0:
            return after
        i = <uint32_t>after
    if i < s.n and slice_at(s, i) == c'?':
        after = _scan_headers(s, i, out)
        if after < 0:
            return after
        i = <uint32_t>after
    if i == s.n:
        # 19.1.1: no parameter twice. Two peers may each follow another one.
        return FAULT_URI_PARAM_TWICE if repeats else WIRE_OK
    if out.headers.p != NULL:
        return FAULT_URI_HEADER
    return FAULT_URI_PARAM if out.params.p != NULL else FAULT_HOST


cdef int _parse_tel(Slice s, uint32_t i, Uri* out) noexcept nogil:
    """telephone-subscriber = ( "+" digits | local digits ) *par from i on, no par twice (RFC 3966 3)."""
    cdef uint32_t start = i, digits = 0
    cdef int32_t after
    cdef uint16_t digit = CH_HEX
    cdef uint8_t c
    cdef bint repeats = False
    if i < s.n and slice_at(s, i) == c'+':
        digit = CH_DIGIT
        i += 1
    while i < s.n and is_class(slice_at(s, i), CH_PHONE):
        c = slice_at(s, i)
        if is_class(c, digit) or (digit == CH_HEX and (c == c'*' or c == c'#')):
            digits += 1
        elif c != c'-' and c != c'.' and c != c'(' and c != c')':
            return FAULT_TEL_NUMBER
        i += 1
    if digits == 0:
        return FAULT_TEL_NUMBER
    out.user = slice_of(s.p + start, i - start)
    out.has_user = True
    after = _scan_params(s, i, out, &repeats)
    if after < 0:
        return after
    if <uint32_t>after != s.n:
        return FAULT_TEL_NUMBER if <uint32_t>after == i else FAULT_URI_PARAM
    return FAULT_URI_PARAM_TWICE if repeats else WIRE_OK


cdef int _parse_opaque(Slice s, Uri* out) noexcept nogil:
    """scheme ":" and anything printable that could not end the URI where it stands."""
    cdef uint32_t i = 0
    if s.n and is_class(slice_at(s, 0), CH_ALPHA):
        i = skip_class(s.p, i, s.n, CH_SCHEME)
    if i == 0 or i == s.n or slice_at(s, i) != c':':
        return FAULT_URI_SCHEME
    out.scheme_text = slice_of(s.p, i)
    i += 1
    if i == s.n:
        return FAULT_URI_OPAQUE
    while i < s.n:
        if not is_class(slice_at(s, i), CH_OPAQUE):
            return FAULT_URI_OPAQUE
        i += 1
    return WIRE_OK


cdef int parse_uri(Slice text, Uri* out) noexcept nogil:
    """Read a whole URI, without LWS around it, into out; 0 or a fault code.

    A request URI with headers parses: whoever takes requests looks at out.headers and refuses (19.1.5). Of
    the parameters that out caches none may be given twice; others are not compared with each other.
    """
    cdef uint8_t c
    memset(out, 0, sizeof(Uri))
    out.text = text
    if text.n == 0:
        return FAULT_URI_EMPTY
    if text.n >= 4:
        c = ascii_lower(text.p[0])
        if c == c's' and ascii_lower(text.p[1]) == c'i' and ascii_lower(text.p[2]) == c'p':
            if text.p[3] == c':':
                out.scheme = SCHEME_SIP
                out.scheme_text = slice_of(text.p, 3)
                return _parse_sip(text, 4, out)
            if ascii_lower(text.p[3]) == c's' and text.n >= 5 and text.p[4] == c':':
                out.scheme = SCHEME_SIPS
                out.scheme_text = slice_of(text.p, 4)
                return _parse_sip(text, 5, out)
        elif c == c't' and slice_iis(slice_of(text.p, 4), b"tel:", 4):
            out.scheme = SCHEME_TEL
            out.scheme_text = slice_of(text.p, 3)
            return _parse_tel(text, 4, out)
    return _parse_opaque(text, out)


cdef bint uri_param(const Uri* uri, const char* name, uint32_t n, Slice* value) noexcept nogil:
    """Whether uri has the parameter name (n bytes, unescaped); value becomes its value as received.

    value.n is 0 for a parameter without one. For tel and sip URIs.
    """
    cdef Slice rest = uri.params, found
    while next_uri_part(&rest, c';', &found, value):
        if same_unescaped(found, slice_of(<const uint8_t*>name, n), True):
            return True
    value[0] = slice_of(NULL, 0)
    return False


cdef list _pairs(Slice parts, uint8_t separator):
    cdef Slice name, value
    cdef list pairs = []
    while next_uri_part(&parts, separator, &name, &value):
        pairs.append((decoded(name), decoded(value) if value.p != NULL else None))
    return pairs


cdef str _joined(object pairs, str separator, uint16_t kind):
    """Names and values (None: name alone) as one escaped text."""
    if hasattr(pairs, "items"):
        pairs = pairs.items()
    return separator.join(
        escaped(name, kind) if value is None else f"{escaped(name, kind)}={escaped(value, kind)}"
        for name, value in pairs
    )


_KEEP = object()


cdef object _exact(str text, str scheme, str host, object user):
    """The URI of text, which must have just these parts: none of them may bring a part of another kind along."""
    uri = URI(text)
    if uri.scheme != scheme.lower():
        raise wire_fault(FAULT_URI_SCHEME, scheme.encode("utf-8", "replace"))
    if uri.host != host:
        raise wire_fault(FAULT_HOST, host.encode("utf-8", "replace"))
    if uri.user != user:
        raise wire_fault(FAULT_URI_USER, text.encode("utf-8", "replace"))
    return uri


cdef class URI:
    """A URI in parts, immutable, for code above the GIL.

    Text properties come with escapes resolved; `render` gives what was parsed. Two URIs are `==` where their
    bytes are; `same_uri` (uriequal) compares by RFC 3261 19.1.4. Raises WireFault (a ValueError) where text is
    malformed.
    """
    def __init__(self, text: str | bytes) -> None:
        self._raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        cdef int code = parse_uri(slice_from(self._raw), &self._uri)
        if code != 0:
            raise wire_fault(code, self._raw)

    @staticmethod
    def build(scheme: str, host: str = "", *, user: str | None = None, password: str | None = None,
              port: int = 0, params=(), headers=()) -> URI:
        """A sip, sips or tel URI from plain parts, each escaped once; tel takes user and params only.

        params and headers: a mapping or pairs; a value of None is a parameter without value.
        """
        if scheme.lower() == "tel":
            head = f"tel:{user or ''}"
        else:
            head = f"{scheme}:"
            if user is not None:
                head += escaped(user, CH_USER)
                head += "@" if password is None else f":{escaped(password, CH_PASSWORD)}@"
            head += (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
        params = _joined(params, ";", CH_URI_PARAM)
        headers = _joined(headers, "&", CH_URI_HEADER)
        return _exact(head + (f";{params}" if params else "") + (f"?{headers}" if headers else ""), scheme, host, user)

    def replace(self, *, scheme=_KEEP, user=_KEEP, host=_KEEP, port=_KEEP, params=_KEEP, headers=_KEEP) -> URI:
        """A sip or sips URI with some parts changed (plain, as in `build`) and the others as they were received."""
        if self._uri.scheme not in (SCHEME_SIP, SCHEME_SIPS):
            raise ValueError(f"only sip and sips URIs have parts to replace, not {self.scheme}")
        cdef str userinfo = ""
        if user is _KEEP:
            if self._uri.has_user:
                userinfo = slice_bytes(self._uri.user).decode("ascii")
                if self._uri.has_password:
                    userinfo += ":" + slice_bytes(self._uri.password).decode("ascii")
                userinfo += "@"
        elif user is not None:
            userinfo = escaped(user, CH_USER) + "@"
        host = self.host if host is _KEEP else host
        port = self._uri.port if port is _KEEP else port
        tail = slice_bytes(self._uri.params).decode("ascii") if params is _KEEP else _joined(params, ";", CH_URI_PARAM)
        query = (slice_bytes(self._uri.headers).decode("ascii") if headers is _KEEP
                 else _joined(headers, "&", CH_URI_HEADER))
        scheme = self.scheme if scheme is _KEEP else scheme
        return _exact(f"{scheme}:{userinfo}" + (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
                      + (f";{tail}" if tail else "") + (f"?{query}" if query else ""),
                      scheme, host, self.user if user is _KEEP else user)

    @property
    def scheme(self) -> str:
        """In lower case."""
        return slice_bytes(self._uri.scheme_text).decode("ascii").lower()

    @property
    def user(self) -> str | None:
        """User part, or the number of a tel URI; None where there is none."""
        return decoded(self._uri.user) if self._uri.has_user else None

    @property
    def password(self) -> str | None:
        return decoded(self._uri.password) if self._uri.has_password else None

    @property
    def host(self) -> str:
        """As received, IPv6 without brackets; empty for tel and for schemes that are not ours."""
        return slice_bytes(self._uri.host).decode("ascii")

    @property
    def port(self) -> int:
        """0 where there is none."""
        return self._uri.port

    @property
    def params(self) -> dict[str, str | None]:
        """Parameters, names in lower case; None for one without a value."""
        return {name.lower(): value for name, value in reversed(_pairs(self._uri.params, c";"))}

    def param(self, name: str) -> str | None:
        """Value of one parameter, "" where it has none; None where the URI has no such parameter."""
        wanted = name.lower()
        return next((value or "" for found, value in _pairs(self._uri.params, c";") if found.lower() == wanted), None)

    @property
    def headers(self) -> dict[str, str]:
        """Headers by name as written; of headers with one name the first (see `header_list`)."""
        return dict(reversed(self.header_list))

    @property
    def header_list(self) -> list[tuple[str, str]]:
        return _pairs(self._uri.headers, c"&")

    @property
    def opaque(self) -> str:
        """What follows the scheme, as received."""
        return self._raw[self._uri.scheme_text.n + 1:].decode("ascii")

    def render(self) -> str:
        """The text as it goes on the wire."""
        return self._raw.decode("ascii")

    def __str__(self) -> str:
        return self.render()

    def __repr__(self) -> str:
        return f"URI({self.render()!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, URI) and self._raw == (<URI>other)._raw

    def __hash__(self) -> int:
        return hash(self._raw)
