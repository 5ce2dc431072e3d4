"""Whether the worker falls behind, and what share of new requests it refuses then."""
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    ALL = 1000              # the share of everything
    WINDOW_MS = 100
    ANSWERS = 16            # Retry-After lines to choose from


cdef class Overload:
    cdef readonly uint32_t share        # of new requests that are refused, in thousandths; 0: all is well
    cdef readonly bint on               # from the first refusal until a calm time after the last one
    cdef readonly uint64_t entered      # how often it came on
    cdef readonly uint32_t lag          # us: the least in the last window
    cdef readonly uint32_t worst        # us: the most since it was read
    cdef uint32_t limit                 # us of lag that may last
    cdef uint32_t fill_limit            # thousandths of the transactions that may be in use
    cdef uint64_t window                # ms, when this window began
    cdef uint64_t calm                  # ms, since when nothing was refused
    cdef uint32_t least                 # us, in this window
    cdef uint32_t samples
    cdef uint32_t fill                  # thousandths, the most in this window
    cdef bint lost                      # packets were dropped, or could not be sent, in this window
    cdef uint32_t above                 # windows in a row above the limit
    cdef uint64_t state                 # of the random numbers
    cdef list lines                     # bytes: Retry-After lines

    cdef void note(self, uint32_t lag, uint32_t fill, bint lost, uint64_t now) noexcept nogil
    cdef bint refuses(self, uint64_t now, uint32_t lot) noexcept nogil
    cdef void _turn(self, uint64_t now) noexcept nogil
    cdef uint32_t _draw(self) noexcept nogil
    cdef bytes retry_after(self)
