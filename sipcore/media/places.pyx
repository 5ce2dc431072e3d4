"""A place is taken when something is to be played, and free again when the thread has said that it is over. Until then
the bytes of the sound are kept here, by references of its own: nothing that collects cycles may drop what the thread
reads."""
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from sipcore.media.dtmf cimport DTMF_DIGITS, DTMF_NONE, dtmf_event, dtmf_start
from sipcore.media.play cimport player_start
from sipcore.media.rtp cimport RTP_HEADER
from sipcore.media.thread cimport PACKET_MAX

import random


cdef class Places:
    """n places. To be let go of after the thread has ended."""

    def __cinit__(self, uint32_t n):
        cdef uint32_t number
        self.each = <Place*>calloc(max(n, 1), sizeof(Place))
        self.sounds = <PyObject**>calloc(max(n, 1), sizeof(PyObject*))
        self.free = <uint32_t*>calloc(max(n, 1), sizeof(uint32_t))
        if self.each == NULL or self.sounds == NULL or self.free == NULL:
            raise MemoryError()
        self.n = self.free_n = n
        for number in range(n):
            self.free[number] = number

    def __dealloc__(self):
        if self.sounds != NULL:
            self.end()
        free(self.each)
        free(self.sounds)
        free(self.free)

    cdef Place* take(self) noexcept:
        """A free one, NULL where there is none."""
        if self.free_n == 0:
            return NULL
        self.free_n -= 1
        return &self.each[self.free[self.free_n]]

    cdef uint32_t number(self, const Place* it) noexcept:
        return <uint32_t>(it - self.each)

    cdef void keep(self, const Place* it, object sound) noexcept:
        """Hold the bytes that a place that was taken is played from."""
        Py_INCREF(sound)
        self.sounds[self.number(it)] = <PyObject*>sound

    cdef void give(self, uint32_t number) noexcept:
        """Nothing is played from it any more."""
        Py_XDECREF(self.sounds[number])
        self.sounds[number] = NULL
        self.free[self.free_n] = number
        self.free_n += 1

    cdef void end(self) noexcept:
        """The thread has ended: keep no sound, and let nothing be played."""
        cdef uint32_t number
        for number in range(self.n):
            Py_XDECREF(self.sounds[number])
            self.sounds[number] = NULL
        self.free_n = 0


cdef int _check_payload(int payload) except -1:
    if not 0 <= payload <= 127:
        raise ValueError(f"not a payload type: {payload}")
    return 0


cdef int place_sound(Place* it, bytes frames, int payload, uint32_t frame_bytes, uint32_t ptime,
                     uint32_t timestamp_step, bint loop) except -1:
    """What is to be played is these frames, borrowed; ptime: ms. ValueError where they are no whole frames, or do not
    fit into a packet."""
    if not (0 < frame_bytes <= PACKET_MAX - RTP_HEADER and ptime and frames and len(frames) % frame_bytes == 0):
        raise ValueError(f"no whole frames of {frame_bytes} bytes, or not of a time: {len(frames)} bytes")
    _check_payload(payload)
    memset(it, 0, sizeof(Place))
    player_start(&it.sound, <const uint8_t*><const char*>frames, frame_bytes, <uint32_t>(len(frames) // frame_bytes),
                 ptime * 1000, timestamp_step, loop, 0)
    it.sound.payload = <uint8_t>payload
    it.sound.ssrc = random.getrandbits(32)
    it.sound.sequence = random.getrandbits(16)
    it.sound.timestamp = random.getrandbits(32)
    return 0


cdef int place_digits(Place* it, str digits, int payload, uint32_t duration_ms, uint32_t gap_ms, uint32_t ptime,
                      uint32_t clock) except -1:
    """What is to be sent is these telephone events (RFC 4733). ValueError where a character is no digit, or durations
    make no event."""
    cdef int i = 0
    events = [dtmf_event(<uint8_t>ord(digit) if digit.isascii() else 0) for digit in digits]
    if not events or DTMF_NONE in events or len(events) > DTMF_DIGITS:
        raise ValueError(f"not 1 to {DTMF_DIGITS} digits of 0-9*#A-D!: {digits!r}")
    _check_payload(payload)
    memset(it, 0, sizeof(Place))
    it.is_digits = True
    it.digits.count = <uint8_t>len(events)
    for event in events:
        it.digits.event[i] = event
        i += 1
    it.digits.payload = <uint8_t>payload
    it.digits.ssrc = random.getrandbits(32)
    it.digits.sequence = random.getrandbits(16)
    it.digits.timestamp = random.getrandbits(32)
    if dtmf_start(&it.digits, duration_ms, gap_ms, ptime, clock, 0) != 0:
        raise ValueError(f"not a duration of an event: {duration_ms} ms")
    return 0
