"""The keys of one side, as the relay's thread has them."""
from sipcore.media.session cimport NewKeys, Side


cdef void sidekeys_take(Side* side, const NewKeys* keys) noexcept nogil
cdef void sidekeys_inherit(Side* side, const Side* origin) noexcept nogil
cdef void sidekeys_forget(Side* side) noexcept nogil
