"""A request's way out, and its way on to the next target."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.admission cimport Admission
from sipcore.stack.anchoring cimport Anchoring
from sipcore.stack.headerfilter cimport HeaderFilter
from sipcore.stack.identity cimport BRANCH_TEXT, TOKEN_TEXT
from sipcore.stack.realmfilter cimport RealmFilter
from sipcore.stack.routing cimport Routing
from sipcore.stack.verdict cimport Target, Verdict
from sipcore.wire.index cimport Msg


cdef class Search:
    """The serial search over a request's targets: what it takes to forward the request once more."""
    cdef Verdict verdict            # None inside a dialog
    cdef Verdict decided            # the same before the size policy changed it
    cdef tuple targets              # of Target: the verdict's, with the addresses that names led to in their place
    cdef uint32_t loop
    cdef int next                   # index of the target that is tried next
    cdef list attempts              # heads of the targets tried so far; one that is over may be another's by now
    cdef uint16_t status            # of the best final response so far, 0: none
    cdef bytes best                 # that response, None where it was none that came
    cdef int best_group             # of who sent it; like `group`
    cdef bint settled               # a final response went upstream
    cdef bint by_tcp                # the target that is next is being tried by TCP, because the request is too big
    cdef uint16_t refused           # what the last target refused an offer with, which was then told in another way
    cdef bint again                 # the target that is next refused an offer, and gets another one
    cdef bint listed                # as of the request
    cdef int group                  # as of the request, as the configuration of now numbers it; -1: none, or it is gone
    cdef int upstream               # of the verdict, the same
    # of a search that began with a name (see Seeking)
    cdef bint begins                # nothing was sent yet
    cdef bint waiting               # the name that is next is being asked for
    cdef uint32_t record            # dialog record of the request, or NO_RECORD
    cdef uint32_t record_generation
    cdef Verdict refusal            # what the size policy said of it, None: nothing
    cdef object why                 # Unresolved of the last target that leads nowhere, None for none


cdef void keep_best(Search search, const Msg* m, int group) noexcept


cdef class Failover(Anchoring):
    cdef readonly Admission admission
    cdef Routing routing
    cdef bint listed                # whether the message being handled comes from a listed source
    cdef HeaderFilter internal      # headers that stay inside, None for none
    cdef RealmFilter realms         # credentials for these stay inside, None for none
    cdef uint8_t branch_text[BRANCH_TEXT]
    cdef uint8_t token_text[TOKEN_TEXT]

    cdef int _listener_for(self, const Address* to, uint32_t listener_in, int wanted) noexcept
    cdef void _undo(self, uint32_t slot, uint32_t record_slot, bint begins_call) noexcept
    cdef uint32_t _open_search(self, uint32_t slot, Verdict verdict, tuple targets, uint32_t loop) noexcept
    cdef bint _is_attempt(self, uint32_t slot, uint32_t owner) noexcept
    cdef int _plan(self, Msg* m, uint32_t slot, uint32_t loop, uint32_t listener, uint32_t out,
                   const Address* source, const Address* to, Verdict verdict, Target target, uint32_t record_slot,
                   bint in_dialog) except -1
    cdef void _tell_refused(self, Msg* m, int status) noexcept
    cdef void _strip(self, Msg* m, uint32_t listener, const Address* to) noexcept
    cdef bint _may_pass_internal(self, uint32_t listener, const Address* to) noexcept
    cdef void _cancel_all(self, uint32_t slot, uint32_t besides, Slice lines) noexcept
    cdef uint32_t _owner(self, uint32_t slot) noexcept
    cdef bint _still_trying(self, uint32_t owner, uint32_t besides, bint unheard) noexcept
    cdef bint _try_next(self, uint32_t owner) noexcept
    cdef Target _next_target(self, uint32_t owner, Search search)
    cdef bint _by_tcp(self, Address* to, int* out, uint32_t listener_in) noexcept
    cdef void _try_tcp_first(self, Search search, Verdict verdict, int at) noexcept
    cdef void _leave_refused(self, uint32_t owner, Search search) noexcept
    cdef void _pass_tcp(self, Search search) noexcept
    cdef void _remember_record(self, Search search, uint32_t record_slot) noexcept
    cdef Target _target_at(self, const Address* to, int listener)
    cdef bint _may_begin(self, uint32_t owner, const Address* to, Search search) except -1
    cdef bint _fits(self, uint32_t owner, uint32_t slot, int* out, Address* to, Target target,
                    Search search) except -1
    cdef bint _end_too_big(self, uint32_t owner, Search search) noexcept
    cdef uint32_t _record_of(self, uint32_t owner, Search search) noexcept nogil
    cdef uint32_t _try_ms(self, Search search) noexcept
