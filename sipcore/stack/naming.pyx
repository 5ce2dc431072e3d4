"""Host names in the way of a request: what the stack asks of whoever looks them up, and who waits for that.

The stack does no I/O: it asks a Naming, gets what is known at once, and is told the rest later, with the time. What
waits is bounded here, whatever the Naming does.
"""
from libc.stdint cimport uint64_t
from sipcore.base.slice cimport Slice, slice_bytes, slice_from
from sipcore.wire.uri cimport SCHEME_SIP, SCHEME_SIPS, Uri, parse_uri

from sipcore.base.place import Place, Unresolved

cdef enum:
    SHARE = 4               # one address may take a quarter of the room


class Naming:
    """Looks host names up (RFC 3263); this one knows none. An outcome is a tuple of Reached, or Unresolved."""

    def known(self, place):
        """The outcome for a Place, where it is known; None where it has to be asked for."""
        return Unresolved(place, "is a name, and nobody looks names up here")

    def resolve(self, place, told):
        """The same; where it has to be asked for, told(outcome, now) is called once, later."""
        return self.known(place)


cdef class Pending:
    """most: requests at a time. deadline_ms: see naming.pxd."""

    def __init__(self, int most=1000, uint64_t deadline_ms=10_000):
        self.most = most
        self.deadline_ms = deadline_ms
        self.waiting = {}
        self.by_address = {}

    def configure(self, int most, uint64_t deadline_ms):
        """Other bounds, for what begins to wait from now on."""
        self.most = most
        self.deadline_ms = deadline_ms

    def __len__(self):
        return len(self.waiting)

    cdef bint has_room(self, object address) except -1:
        return len(self.waiting) < self.most and self.by_address.get(address, 0) < max(1, self.most // SHARE)

    cdef void add(self, object handle, object address, object alarm) except *:
        self.waiting[handle] = address, alarm
        self.by_address[address] = self.by_address.get(address, 0) + 1

    cdef bint take(self, object handle) except -1:
        """Whether that was waiting; it is no more."""
        found = self.waiting.pop(handle, None)
        if found is None:
            return False
        address, alarm = found
        alarm.cancel()
        left = self.by_address[address] - 1
        if left:
            self.by_address[address] = left
        else:
            del self.by_address[address]
        return True


cdef object place_of(Slice text):
    """The Place that a sip: or sips: URI names; None for another URI."""
    cdef Uri uri
    if parse_uri(text, &uri) != 0 or (uri.scheme != SCHEME_SIP and uri.scheme != SCHEME_SIPS):
        return None
    return Place.of(
        slice_bytes(uri.maddr if uri.maddr.n else uri.host).decode("utf-8", "replace"), uri.port,
        slice_bytes(uri.transport).decode("utf-8", "replace"), uri.scheme == SCHEME_SIPS)


def place_in(str uri not None):
    """The Place that a sip: or sips: URI names, None for another URI."""
    cdef bytes text = uri.encode("utf-8", "surrogateescape")
    return place_of(slice_from(text))
