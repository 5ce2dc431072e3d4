"""Who may send: the source check that stands before everything else."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.bucket cimport Bucket, SourceLimiter
from sipcore.base.trie cimport Trie

cdef enum:
    MAX_GROUPS = 256
    FOUND = 16

cdef enum Admittance:
    ADMIT_LISTED = 0        # the group's number goes with it
    ADMIT_UNLISTED = 1      # only what proves that we were there before
    ADMIT_SILENT = 2        # denied: no answer
    ADMIT_FORBID = 3        # denied: 403, rate-limited

cdef struct GroupRule:
    uint8_t admittance
    uint8_t trusted         # headers of the internal patterns may leave to it
    uint16_t methods        # one bit a Method: what it may begin
    uint16_t dialog_methods  # and what it may send inside a forwarded dialog
    uint32_t rate           # requests/s that begin something, all sources together; 0: no limit
    uint32_t burst
    Bucket bucket

cdef struct Found:
    uint32_t listener
    uint8_t family
    uint8_t ip[16]
    int group


cdef class Admission:
    cdef list tries                     # Trie by listener
    cdef Found found[FOUND]             # what group_of found last, by the address's fourth byte
    cdef list limiters                  # SourceLimiter or None, by group
    cdef SourceLimiter unlisted         # what unlisted sources may send, each
    cdef GroupRule rules[MAX_GROUPS]
    cdef readonly uint32_t groups
    cdef readonly uint32_t sources      # addresses that a limit remembers
    cdef uint8_t unlisted_admittance
    cdef uint16_t unlisted_dialog_methods
    cdef uint32_t answer_rate           # 403 a second, to all whom the access list refuses
    cdef Bucket answers

    cdef int admit(self, uint32_t listener, const Address* source, int* group) noexcept
    cdef bint may_begin(self, int group, const Address* source, uint64_t now) noexcept
    cdef bint may_ask(self, int group, const Address* source, uint64_t now) noexcept
    cdef bint may_look(self, const Address* source, uint64_t now) noexcept
    cdef void has_proven(self, const Address* source) noexcept
    cdef bint may_answer(self, uint64_t now) noexcept
    cdef uint32_t dialog_methods_of(self, int group) noexcept
    cdef int group_of(self, uint32_t listener, const Address* address) noexcept
