"""The keys of one controlled call."""
from libc.stdint cimport uint8_t
from sipcore.anchor.bridgestreams cimport BridgeStreams
from sipcore.anchor.legside cimport LegSide
from sipcore.anchor.rewrite cimport Place


cdef class BridgeKeys(BridgeStreams):
    cdef uint8_t _mode(self, uint8_t srtp, int listener) except? 255
    cdef int _offer_keys(self, LegSide side, Place* places) except -1
    cdef int _answer_keys(self, LegSide side, Place* places) except -1
