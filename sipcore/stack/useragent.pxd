"""The user agent core: transactions that begin or end here, on top of the transaction layer (RFC 3261 8)."""
from sipcore.stack.alarms cimport Alarms
from sipcore.stack.uac cimport UserAgentClient


cdef class UserAgent(UserAgentClient):
    cdef public object naming       # Naming: who looks host names up
    cdef bint keyed                 # our Contacts carry a token
    cdef Alarms alarms
