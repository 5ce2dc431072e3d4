"""What the stack asks the policy, and what the policy answers."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.stack.headerfilter cimport HeaderFilter
from sipcore.stack.realmfilter cimport RealmFilter
from sipcore.wire.index cimport Msg

cdef enum Action:
    ACTION_FORWARD = 0
    ACTION_REJECT = 1       # answer with `status`
    ACTION_DROP = 2         # no answer
    ACTION_LOCAL = 3        # answered by the edge itself (OPTIONS: 200)

cdef enum Scope:
    SCOPE_REQUEST = 0       # valid for this request alone
    SCOPE_GROUP = 1         # the same for every sip: request of this listener, group and method


cdef class Target:
    cdef Address address            # of a name that has to be looked up: its family is 0
    cdef readonly object place      # Place of such a name; None where there is an address
    cdef readonly int listener      # to send from; -1: the first that fits
    cdef readonly bytes uri         # request URI for this target; empty: the verdict's, or as it came
    cdef readonly str name          # server name that a TLS target's certificate must show; empty: its IP address


cdef class Verdict:
    cdef readonly int action        # Action
    cdef readonly int status        # of a rejection
    cdef readonly str reason
    cdef readonly bytes headers     # complete header lines of a rejection
    cdef readonly tuple targets     # of Target, in the order in which they are tried; empty: along Route and URI
    cdef readonly bytes uri         # replaces the request URI; empty: as it came
    cdef readonly bytes insert      # complete header lines, put behind the last header
    cdef readonly tuple remove      # header names, or patterns that end in *
    cdef readonly tuple replace     # (header name, new value)
    cdef readonly object body       # bytes that replace the body, or None
    cdef readonly bint compact      # write header names in their short form
    cdef readonly bint record_route
    cdef readonly bint nat          # REGISTER: Path; INVITE: the caller is reached where it came from
    cdef readonly uint32_t budget   # bytes above which `oversize` is asked; 0: never
    cdef readonly bint tcp          # what would go by UDP goes by TCP, this request alone: it is too big
    cdef readonly object fallback   # Verdict under which it is sent where no connection comes about, or None
    cdef readonly bint control      # INVITE: the edge is an end of the dialog itself, see UserAgent
    cdef readonly int anchor        # profile that the media is anchored with, from 1; 0: it goes end to end
    cdef readonly int upstream      # index in the configuration, -1: none
    cdef readonly uint32_t max_calls        # concurrent calls of that upstream; 0: no limit
    cdef readonly uint32_t try_timeout      # ms until the next target is tried
    cdef readonly uint32_t ring_timeout     # ms, Timer C
    cdef readonly uint32_t max_duration     # s, of the dialog; 0: no limit
    cdef readonly int scope         # Scope
    cdef readonly str precall       # with control: what is asked before the call is routed; empty: nothing
    cdef readonly str note          # for the call's log line
    cdef readonly str warn          # what the user should know about this message
    cdef HeaderFilter removals      # of `remove`, None where that is empty
    cdef tuple replacements         # (canonical name, value)


cdef class Request:
    cdef const Msg* msg             # borrowed for the time of one decision
    cdef Msg* own                   # of Request.parse
    cdef bytes data                 # of Request.parse
    cdef readonly int group
    cdef readonly int listener
    cdef readonly bint in_dialog
    cdef readonly bint routed       # begins something, and Route leads it past us first
    cdef readonly uint64_t now      # ms, of the decision
    cdef Address source_address
    cdef bint body_replaced         # anchoring changes the body
    cdef int body_growth            # and adds so many bytes to it
    cdef readonly Target towards    # the one that it is too big for; None: it is not about one of them alone
    cdef RealmFilter realms         # credentials that are taken out as it leaves, None for none
    cdef HeaderFilter internal      # and headers
    cdef readonly int upstream      # of the dialog's other end, as the call that began it had it; -1: not known
    cdef bint has_far               # whether the next is known
    cdef Address far_address        # of the dialog's other end

    cdef Msg* _message(self) except NULL
    cdef void point(self, const Msg* msg, int group, int listener, const Address* source, bint in_dialog) noexcept


# Set by plan.pyx: the exact size of the request under a verdict, for target number i.
ctypedef uint32_t (*size_function)(Request request, Verdict verdict, int i) except? 0
cdef size_function planned_size
