"""The relay sessions of anchored calls, as the loop asks for them: whose they are, where, and what came to them."""
from libc.stdint cimport uint32_t
from sipcore.anchor.anchor cimport Anchor
from sipcore.anchor.description cimport MAX_SECTIONS
from sipcore.anchor.streams cimport CALLEE, NO_POOL, Call
from sipcore.media.session cimport NO_SESSION, SideCounters


def profile(Anchor anchor not None, uint32_t session):
    """The profile that the verdict gave the session's call, 0 where it has none."""
    cdef uint32_t section = 0
    cdef Call* call = anchor._of_session(session, &section)
    return 0 if call == NULL else call.profile


def place(Anchor anchor not None, uint32_t session, int side):
    """(bound address, even port) that a side of the session's call sends to; None where it has none."""
    cdef uint32_t section = 0
    cdef Call* call = anchor._of_session(session, &section)
    if call == NULL or not 0 <= side <= CALLEE or call.pools[side] == NO_POOL:
        return None
    return anchor.relay.pools[call.pools[side]].bound, call.streams[section].ports[side]


def sessions_of(Anchor anchor not None, uint32_t record, uint32_t generation):
    """The sessions of a call, in the order of its media sections."""
    cdef uint32_t k, i
    for k in range(anchor.fresh):
        if anchor.calls[k].used and anchor.calls[k].record == record and anchor.calls[k].generation == generation:
            return [anchor.calls[k].streams[i].session for i in range(MAX_SECTIONS)
                    if anchor.calls[k].streams[i].session != NO_SESSION]
    return []


def wrong_sources(Anchor anchor not None):
    """(session, side, packets) where packets of sources that the call did not agree on were dropped."""
    cdef uint32_t k, i, session
    cdef int side
    cdef const SideCounters* counters
    found = []
    for k in range(anchor.fresh):
        for i in range(MAX_SECTIONS if anchor.calls[k].used else 0):
            session = anchor.calls[k].streams[i].session
            for side in range(CALLEE + 1):
                counters = anchor.relay.counters(session, side)
                if counters != NULL and counters.wrong_source:
                    found.append((session, side, counters.wrong_source))
    return found
