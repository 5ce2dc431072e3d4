"""A SIP message for Python."""
from cpython.unicode cimport PyUnicode_DecodeUTF8
from sipcore.base.slice cimport Slice
from sipcore.wire.index cimport Msg


cdef inline str slice_text(Slice s):
    """Bytes of a message as text: UTF-8, and what is none as surrogates, so that it can go out as it came."""
    return PyUnicode_DecodeUTF8(<const char*>s.p, s.n, b"surrogateescape")


cdef class Message:
    cdef readonly bytes data
    cdef Msg* msg               # over data; only as many headers as there are

    cdef int _adopt(self, const Msg* m, bytes data) except -1

    @staticmethod
    cdef Message of(const Msg* m)
