"""What the stack tells whoever anchors media, and asks of it: see sipcore.anchor."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.wire.index cimport Msg

cdef enum:
    HOOK_LEAVE = 0              # the body stays as it is
    HOOK_REPLACE = 1            # the body becomes `body`; higher numbers are the status of a refusal

cdef struct Passing:            # a message on its way through a dialog whose media is anchored
    uint32_t call               # what `begin` returned
    uint32_t cseq               # of the request
    uint16_t status             # 0: a request
    uint8_t method              # of the request; METHOD_ACK too
    uint8_t side                # who sent the request: 0 the side that began the call, 1 the other one
    uint8_t listener_in         # this message came in by it
    uint8_t listener_out        # and goes out by it
    Address source              # where this message came from
    bint reliable               # a provisional response that PRACK acknowledges (RFC 3262)
    bint early                  # of the INVITE that begins the call, before its final answer
    uint32_t tag                # of a response: hash of its To tag, so that forks are told apart


cdef class MediaHook:
    cdef readonly bytes reason          # of the last refusal
    cdef readonly bytes headers         # complete header lines of the last refusal

    cdef uint32_t begin(self, uint32_t record, uint32_t generation, int profile) noexcept
    cdef int on_request(self, const Msg* m, const Passing* p, Slice* body) noexcept
    cdef int on_response(self, const Msg* m, const Passing* p, Slice* body) noexcept
    cdef void on_refused(self, const Passing* p) noexcept
    cdef bint retells(self, uint32_t call) noexcept
    cdef bint on_offer_refused(self, const Msg* m, const Passing* p) noexcept
    cdef void on_other_target(self, uint32_t call) noexcept
    cdef Slice end(self, uint32_t call, bint figures) noexcept
