"""Telephone events in RTP (RFC 4733): one report for each event heard, and the packets of events sent."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    DTMF_PAYLOAD = 4            # bytes of one event in a packet
    DTMF_DIGITS = 32            # events of one DtmfSender
    DTMF_FLASH = 16             # the last event that is reported; above are modem and line signals
    DTMF_NONE = 255
    DTMF_SILENCE_US = 200000    # without an update for so long an event is over, though its end was lost
    DTMF_ENDS = 3               # times that the end is sent (RFC 4733 2.5.1.4)

cdef struct DtmfEvent:          # to report
    uint8_t event               # 0 to DTMF_FLASH
    uint32_t duration_ms

cdef struct DtmfHearing:        # one direction of one stream; zeroed: nothing heard
    uint64_t last_us            # last update of the event
    uint32_t ssrc
    uint32_t timestamp          # of the event, or of its last segment
    uint32_t duration           # timestamp units, segments before this one included
    uint32_t before             # of those, the ones of segments before
    uint32_t clock              # Hz
    uint8_t event
    uint8_t known               # timestamp and ssrc are those of an event
    uint8_t going               # it has not been reported yet

cdef struct DtmfSender:
    uint64_t due_us             # when the next packet is to leave
    uint64_t begun_us           # when the first packet of the event was due
    uint32_t ptime_us
    uint32_t ssrc
    uint32_t timestamp          # of the event; between events and after them, where the stream goes on
    uint32_t timestamp_step     # a packet
    uint32_t elapsed            # timestamp units of the event that were said so far
    uint32_t length             # timestamp units of every event
    uint32_t gap                # timestamp units between two events
    uint16_t sequence           # of the next packet
    uint8_t payload             # payload type of telephone-event
    uint8_t ends                # how often the end was said
    uint8_t count               # events
    uint8_t at                  # the one that is being sent
    uint8_t event[DTMF_DIGITS]


cdef int dtmf_packet(DtmfHearing* hearing, const uint8_t* payload, uint32_t n, uint32_t ssrc, uint32_t timestamp,
                     uint32_t clock, uint64_t now_us, DtmfEvent* out) noexcept nogil
cdef int dtmf_quiet(DtmfHearing* hearing, uint64_t now_us, DtmfEvent* out) noexcept nogil
cdef int dtmf_start(DtmfSender* sender, uint32_t duration_ms, uint32_t gap_ms, uint32_t ptime_ms, uint32_t clock,
                    uint64_t now_us) noexcept nogil
cdef int dtmf_next(DtmfSender* sender, uint64_t now_us, uint8_t* out) noexcept nogil
cdef uint8_t dtmf_event(uint8_t digit) noexcept nogil
cdef uint8_t dtmf_digit(uint8_t event) noexcept nogil
