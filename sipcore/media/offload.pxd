"""Streams that have settled, in the hands of the kernel: it passes their packets on without waking the thread."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.media.quality cimport Reception

cdef extern from "../media/offload.h" nogil:
    enum: OFFLOAD_LOOPBACK, OFFLOAD_ANY

    struct OffloadFlow:
        uint64_t active
        uint32_t interface
        uint32_t source[4]
        uint32_t local[4]
        uint32_t target[4]
        uint16_t source_port
        uint16_t local_port
        uint16_t target_port
        uint8_t ttl
        uint8_t tos
        uint32_t ssrc
        uint32_t ssrc_out
        uint32_t timestamp_add
        uint16_t sequence_add
        uint8_t event_payload
        uint8_t payload
        uint32_t clock
        uint32_t timestamp
        uint16_t sequence
        uint16_t payload_out
        uint64_t timestamp_ns
        uint64_t heard_ns
        uint64_t packets
        uint64_t octets
        Reception reception

    struct OffloadPool:
        uint32_t first
        uint32_t pairs
        uint32_t index

cdef enum:
    OFFLOAD_INTERFACES = 64

cdef struct Offload:            # the thread's; constant but for the counts
    OffloadFlow* flows          # NULL: the kernel has no program of ours
    uint8_t settled             # packets that show that a stream has settled
    uint64_t* beat              # CLOCK_MONOTONIC of the thread's last sign of life
    int ask_fd                  # netlink: for routes
    int changed_fd              # netlink: tells when routes or addresses change
    uint32_t interfaces[OFFLOAD_INTERFACES]     # where the program is
    uint32_t interfaces_n
    uint64_t active             # streams that the kernel passes on now
    uint64_t begun              # handed to it so far
