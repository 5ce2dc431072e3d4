"""What the edge writes into messages and must recognise again: branch, dialog token, tag.

    branch   "z9hG4bK" word check loop       word   = version 4, worker 8, slot 28, generation 24 (64 bits)
    token    word check                      check  = 64 bits of SipHash-2-4
    tag      worker 8, hash 56               loop   = 32 bits (RFC 5393)
    flow     word, words of the address, check; word = version 4, listener 8, family 4, transport 4, port 16, 0

Words are written in base 32 (13 characters each, the loop hash in 7). The worker's number stands in every one
of them, so that whichever worker receives a message knows whose it is.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.siphash cimport SipKey
from sipcore.base.slice cimport Slice

cdef enum:
    IDENTITY_VERSION = 1
    ANCHORED_VERSION = 2                # of the token of a dialog whose media is anchored
    CONTACT_VERSION = 3                 # of the token in a Contact of ours
    FLOW_VERSION = 4                    # of the token in a Path of ours
    COOKIE = 7                          # bytes of "z9hG4bK"
    BRANCH_TEXT = 7 + 2 * 13 + 7
    TOKEN_TEXT = 2 * 13
    TAG_TEXT = 13
    FLOW_TEXT = 5 * 13                  # at most: IPv6; IPv4 takes two words less
    NO_SLOT = 0x0FFFFFFF                # the branch of a request that has no transaction (ACK to a 2xx)

cdef struct BranchParts:
    uint8_t worker
    uint32_t slot
    uint32_t generation
    uint32_t loop
    bint anchored                       # of a token: the dialog's media was anchored


cdef class Identity:
    cdef readonly uint8_t worker
    cdef SipKey branch_key
    cdef SipKey tag_key
    cdef SipKey table_key               # the transaction table's
    cdef SipKey token_keys[2]           # current, previous

    cdef void put_branch(self, uint8_t* out, uint32_t slot, uint32_t generation, uint32_t loop) noexcept nogil
    cdef bint get_branch(self, Slice text, BranchParts* out) noexcept nogil
    cdef void put_token(self, uint8_t* out, uint32_t slot, uint32_t generation, Slice call_id,
                        bint anchored) noexcept nogil
    cdef bint get_token(self, Slice text, Slice call_id, BranchParts* out) noexcept nogil
    cdef void put_contact(self, uint8_t* out, uint64_t number) noexcept nogil
    cdef bint get_contact(self, Slice text, uint8_t* worker) noexcept nogil
    cdef uint32_t put_flow(self, uint8_t* out, uint32_t listener, const Address* address) noexcept nogil
    cdef bint get_flow(self, Slice text, uint8_t* listener, Address* out) noexcept nogil
    cdef void put_tag(self, uint8_t* out, uint64_t seed) noexcept nogil
    cdef bint is_own_tag(self, Slice text) noexcept nogil
