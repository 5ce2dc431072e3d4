"""The media of one controlled call."""
from libc.stdint cimport uint32_t
from sipcore.anchor.bridgekeys cimport BridgeKeys
from sipcore.anchor.legside cimport LegSide


cdef class BridgeMedia(BridgeKeys):
    cdef public object owner            # who is told what happens, None: nobody
    cdef uint32_t turn                  # rises with each exchange
    cdef bint renumbers                 # the relay was told to replace payload types
    cdef uint32_t tokens                # of what was played so far

    cdef bytes _render(self, LegSide side, int number, bytes description, bint fresh, bint answers)
