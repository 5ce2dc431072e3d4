"""The Path of a REGISTER that goes on to a registrar (RFC 3327)."""
from libc.stdint cimport uint32_t
from sipcore.base.address cimport Address
from sipcore.stack.identity cimport Identity
from sipcore.stack.listener cimport Listener
from sipcore.wire.edit cimport Edit
from sipcore.wire.index cimport Msg


cdef void put_path(Edit* e, const Msg* m, Identity identity, uint32_t listener_in, const Listener* out,
                   const Address* source) noexcept nogil
