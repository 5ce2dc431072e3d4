"""Runs of bytes of one kind (runs.h), sixteen at a time where the machine can."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "runs.h" nogil:
    uint32_t run_to_control(const uint8_t* p, uint32_t i, uint32_t n)   # first control character in i..n, or n
    uint32_t run_to_byte(const uint8_t* p, uint32_t i, uint32_t n, uint8_t byte)
    uint32_t run_of_plain(const uint8_t* p, uint32_t i, uint32_t n)     # first that is no letter, digit, "-" or "."
    uint32_t run_to_colon(const uint8_t* p, uint64_t* low, uint64_t* high)      # of p[0..16), or 16

    ctypedef struct Controls:
        pass
    void controls_from(Controls* c, const uint8_t* p, uint32_t n, uint32_t i)
    uint32_t controls_next(Controls* c)     # the next control character, or n
    void controls_skip(Controls* c)         # the next one, which is there
