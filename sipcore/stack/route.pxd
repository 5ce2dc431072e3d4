"""The way of a request inside a dialog."""
from sipcore.stack.useragent cimport UserAgent

cpdef bint is_settled(UserAgent agent, str uri) except -1
cpdef bint is_sips(str uri) except -1
cpdef bint is_secure(tuple hop) except -1
cpdef tuple by_tcp(tuple hop)
cpdef tuple way_to(UserAgent agent, str uri, tuple far, int listener)
