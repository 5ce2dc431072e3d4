"""The place where a layer above the stack changes session descriptions on their way through a dialog."""
from sipcore.base.slice cimport Slice, slice_empty


cdef class MediaHook:
    """Leaves everything as it is."""

    def __cinit__(self):
        self.reason = b""
        self.headers = b""

    cdef uint32_t begin(self, uint32_t record, uint32_t generation, int profile) noexcept:
        """A call begins whose verdict wants its media anchored: a number above 0 for it, 0 where there is no room."""
        return 0

    cdef int on_request(self, const Msg* m, const Passing* p, Slice* body) noexcept:
        """A request that may carry a session description: HOOK_LEAVE, HOOK_REPLACE, or the status to refuse with.

        body comes in as what would be sent, and lives, replaced, until the hook is asked again. The same request
        may be shown more than once (another target, another size); each time the last one counts.
        """
        return HOOK_LEAVE

    cdef int on_response(self, const Msg* m, const Passing* p, Slice* body) noexcept:
        """The same for a response of 101 to 299; a refusal goes to the side that sent the request."""
        return HOOK_LEAVE

    cdef void on_refused(self, const Passing* p) noexcept:
        """A request inside the dialog was not sent, or ended without an answer to its offer, if any, which is void."""

    cdef bint retells(self, uint32_t call) noexcept:
        """Whether an offer of the call's beginning, refused, may be told once more in another way."""
        return False

    cdef bint on_offer_refused(self, const Msg* m, const Passing* p) noexcept:
        """The INVITE that begins a call was refused for what it offers: whether it is to be shown once more, and then
        told in another way. m: the refusal."""
        return False

    cdef void on_other_target(self, uint32_t call) noexcept:
        """The INVITE that begins a call goes on to somebody who has refused nothing yet."""

    cdef Slice end(self, uint32_t call, bint figures) noexcept:
        """The call is over. Where figures are wanted, returns a JSON value for its log line; n = 0 for none."""
        return slice_empty()
