"""The controlled calls of a relay."""
from sipcore.anchor.anchor cimport Anchor
from sipcore.anchor.legside cimport Desk
from sipcore.media.relay cimport MediaRelay


cdef class Bridges:
    cdef readonly Anchor anchor         # whose media addresses and rules count here too
    cdef readonly MediaRelay relay
    cdef Desk desk
    cdef dict owners                    # BridgeMedia by session of the relay
    cdef dict counts
