"""The values of a message, parsed when somebody asks, and once."""
from sipcore.wire.index cimport Msg

# Each returns 0, or a fault code; the value then stands in the Msg.
cdef int msg_uri(Msg* m) noexcept nogil
cdef int msg_via(Msg* m) noexcept nogil
cdef int msg_from(Msg* m) noexcept nogil
cdef int msg_to(Msg* m) noexcept nogil
cdef int msg_contact(Msg* m) noexcept nogil
cdef int msg_route(Msg* m) noexcept nogil
cdef int msg_cseq(Msg* m) noexcept nogil
cdef int msg_max_forwards(Msg* m) noexcept nogil
cdef int msg_check(Msg* m) noexcept nogil
