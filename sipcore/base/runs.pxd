"""Runs of bytes of one kind (runs.h), sixteen at a time where the machine can."""
from libc.stdint cimport uint8_t, uint32_t

cdef extern from "runs.h" nogil:
    uint32_t run_to_control(const uint8_t* p, uint32_t i, uint32_t n)   # first control character in i..n, or n
    uint32_t run_of_name(const uint8_t* p, uint32_t i, uint32_t n, uint32_t* control)   # both, of one line
    uint32_t run_to_byte(const uint8_t* p, uint32_t i, uint32_t n, uint8_t byte)
    uint32_t run_of_plain(const uint8_t* p, uint32_t i, uint32_t n)     # first that is no letter, digit, "-" or "."
