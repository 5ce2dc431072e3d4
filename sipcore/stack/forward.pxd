"""The proxy core: stateful forwarding on top of the transaction layer (RFC 3261 16)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.admission cimport Admission
from sipcore.stack.identity cimport BRANCH_TEXT, TOKEN_TEXT
from sipcore.stack.headerfilter cimport HeaderFilter
from sipcore.stack.layer cimport Layer
from sipcore.stack.plan cimport Routing
from sipcore.stack.record cimport Record, Records, Refer
from sipcore.stack.tx cimport Tx
from sipcore.stack.verdict cimport Request, Target, Verdict
from sipcore.wire.message cimport Msg


cdef class Search:
    """The serial search over a verdict's targets: what it takes to forward the request once more."""
    cdef Verdict verdict
    cdef uint32_t loop
    cdef int next                   # index of the target that is tried next
    cdef list attempts              # heads of the targets tried so far; one that is over may be another's by now
    cdef uint16_t status            # of the best final response so far, 0: none
    cdef bint settled               # a final response went upstream


cdef class Proxy(Layer):
    cdef readonly Admission admission
    cdef readonly Records records
    cdef object decide              # (Request) -> Verdict
    cdef object oversize            # (Request, Verdict, size) -> Verdict
    cdef object trace               # called with (what, listener, host, port, bytes), or None
    cdef list memo                  # Verdict or None by listener, group and method
    cdef Request request
    cdef Routing routing
    cdef HeaderFilter internal      # headers that stay inside, None for none
    cdef uint32_t max_calls         # at once, over all upstreams; 0: no limit
    cdef readonly bint draining
    cdef uint32_t outcome_ms        # how long a REFER's outcome is waited for
    cdef int group                  # of the message being handled, -1: none
    cdef bint listed
    cdef readonly list troubles     # texts for the log: what a configuration or policy mistake did
    cdef uint8_t branch_text[BRANCH_TEXT]
    cdef uint8_t token_text[TOKEN_TEXT]

    cdef void _forbid(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept
    cdef void _refuse(self, uint32_t listener, const Address* source, uint32_t status, bytes reason,
                      bytes headers) noexcept
    cdef void _stranger(self, uint32_t listener, const Address* source) noexcept
    cdef list _proxy_require(self)
    cdef uint32_t _loop_hash(self, Msg* m) noexcept
    cdef bint _loops(self, uint32_t loop) noexcept
    cdef Verdict _decide(self, uint32_t listener, const Address* source, bint in_dialog)
    cdef void _trouble(self, str text) noexcept
    cdef void _begin(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop) noexcept
    cdef bytes _allow(self, uint32_t methods)
    cdef void _apply(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop, Verdict verdict,
                     uint32_t record_slot, bint in_dialog) noexcept
    cdef int _resolve(self, Slice text, Address* out) noexcept
    cdef int _listener_for(self, const Address* to, uint32_t listener_in, int wanted) noexcept
    cdef bint _may_go(self, const Address* to, Record* record) noexcept
    cdef void _forward(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop,
                       Verdict verdict, uint32_t record_slot, bint in_dialog) noexcept
    cdef void _undo(self, uint32_t slot, uint32_t record_slot, bint begins_call) noexcept
    cdef uint32_t _open_search(self, uint32_t slot, Verdict verdict, uint32_t loop) noexcept
    cdef bint _is_attempt(self, uint32_t slot, uint32_t owner) noexcept
    cdef Verdict _shrink(self, uint32_t listener, const Address* source, Verdict verdict, uint32_t size,
                         bint in_dialog)
    cdef bint _plan(self, Msg* m, uint32_t slot, uint32_t loop, uint32_t listener, uint32_t out,
                    const Address* source, const Address* to, Verdict verdict, Target target, uint32_t record_slot,
                    bint in_dialog) except -1
    cdef void _strip(self, Msg* m, uint32_t listener, const Address* to) noexcept
    cdef void _cancel_all(self, uint32_t slot, uint32_t besides) noexcept
    cdef uint32_t _owner(self, uint32_t slot) noexcept
    cdef bint _still_trying(self, uint32_t owner, uint32_t besides, bint unheard) noexcept
    cdef bint _relay(self, uint32_t slot, uint32_t status, bint keep) noexcept
    cdef bint _try_next(self, uint32_t owner) noexcept
    cdef void _finish(self, uint32_t slot, uint32_t status, bytes reason) noexcept
    cdef void _open_record(self, uint32_t record_slot, const Address* source, Verdict verdict) noexcept
    cdef uint32_t _tag_hash(self, Slice tag) noexcept
    cdef void _arm_record(self, uint32_t record_slot) noexcept
    cdef void _drop_record(self, uint32_t record_slot) noexcept
    cdef void _close_record(self, uint32_t record_slot) noexcept
    cdef void _note_request(self, uint32_t slot, uint32_t record_slot) noexcept
    cdef void _refer_over(self, uint32_t record_slot, Refer* refer) noexcept
    cdef void _note_response(self, uint32_t slot, uint32_t status) noexcept
    cdef void _end_call(self, uint32_t record_slot, int by, uint32_t status) noexcept
    cdef void _stop_waiting(self, uint32_t record_slot) noexcept
