"""Takes credentials for the edge's own realms out of a message that goes on (RFC 3261 22.3): whoever it goes to has no
use for them but to guess passwords. Those for other realms pass.

Cost: two looks into the index of a message without credentials.
"""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice, slice_equal, slice_from, slice_iis
from sipcore.wire.edit cimport Edit, edit_delete
from sipcore.wire.index cimport NO_HEADER, Msg, header_value
from sipcore.wire.tables cimport H_AUTHORIZATION, H_PROXY_AUTHORIZATION


cdef class RealmFilter:
    """realms: as challenges name them, without quotes and backslashes."""

    def __init__(self, realms=()):
        self.realms = tuple(realms)
        self.texts = [realm.encode("utf-8") for realm in self.realms]

    def names(self, bytes value not None):
        """Whether a header value has one of the realms."""
        return self._matches(slice_from(value))

    cdef void remove(self, Edit* e, const Msg* m) noexcept:
        """Delete every Authorization and Proxy-Authorization with one of the realms."""
        cdef uint32_t i
        cdef uint8_t id
        for id in (H_AUTHORIZATION, H_PROXY_AUTHORIZATION):
            i = m.first[id]
            while i != NO_HEADER:
                if self._matches(header_value(m, i)):
                    edit_delete(e, m.headers[i].name, <uint32_t>m.headers[i].end - m.headers[i].name)
                i = m.headers[i].next

    cdef bint _matches(self, Slice value) noexcept:
        """Whether a realm parameter is one of ours. Where quotes do not end, the rest is read as the value."""
        cdef uint32_t at = 0, begin, name, name_n
        cdef const uint8_t* p = value.p
        while at < value.n:
            # A name in front of an equals sign; what else stands there (the scheme, commas) is passed over.
            name = at
            while at < value.n and _is_word(p[at]):
                at += 1
            name_n = at - name
            while at < value.n and _is_space(p[at]):
                at += 1
            if at == value.n or p[at] != c'=':
                if at == name:
                    at += 1
                continue
            at += 1
            while at < value.n and _is_space(p[at]):
                at += 1
            begin = at
            if at < value.n and p[at] == c'"':
                at += 1
                begin = at
                while at < value.n and p[at] != c'"':
                    at += 2 if p[at] == c'\\' else 1
            else:
                while at < value.n and p[at] != c',' and not _is_space(p[at]):
                    at += 1
            if at > value.n:
                at = value.n
            if slice_iis(Slice(p + name, name_n), b"realm", 5) and self._is_ours(Slice(p + begin, at - begin)):
                return True
            if at < value.n:
                at += 1
        return False

    cdef bint _is_ours(self, Slice text) noexcept:
        cdef Slice realm
        cdef bytes plain
        cdef uint32_t i
        for i in range(text.n):
            if text.p[i] == c'\\':
                # An escape that none of our own realms needs, and that a reader takes away.
                plain = (<const char*>text.p)[:text.n].replace(b"\\", b"")
                return plain in self.texts
        for own in self.texts:
            realm = slice_from(own)
            if slice_equal(realm, text):
                return True
        return False


cdef inline bint _is_space(uint8_t c) noexcept nogil:
    return c == c' ' or c == c'\t' or c == 13 or c == 10


cdef inline bint _is_word(uint8_t c) noexcept nogil:
    return not (_is_space(c) or c == c',' or c == c'=' or c == c'"')
