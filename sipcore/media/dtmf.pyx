"""Hearing and sending telephone events.

An event is a run of packets with one timestamp; its duration grows, and its end is said up to three times. It is
reported when its end is heard first, or when the next one begins, or when updates stay away: once in every case.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from .play cimport write_header
from .rtp cimport RTP_HEADER, read_u16, write_u16

cdef enum:
    END = 0x80
    VOLUME = 10             # dBm0 below zero, of the tone that is meant
    LONGEST = 0xFFFF        # of the duration field
    LATE = 10               # s; a timestamp further back is that of a stream that began anew

cdef const uint8_t* DIGITS = b"0123456789*#ABCD!"


cdef uint8_t dtmf_event(uint8_t digit) noexcept nogil:
    """The event (RFC 4733 3.2) of a character of "0123456789*#ABCD", "!" for a flash; DTMF_NONE for any other."""
    cdef uint8_t i
    if c'a' <= digit <= c'd':
        digit -= 32
    for i in range(DTMF_FLASH + 1):
        if DIGITS[i] == digit:
            return i
    return DTMF_NONE


cdef uint8_t dtmf_digit(uint8_t event) noexcept nogil:
    """The character of an event up to DTMF_FLASH."""
    return DIGITS[event] if event <= DTMF_FLASH else c'?'


cdef void report(DtmfHearing* hearing, DtmfEvent* out) noexcept nogil:
    hearing.going = False
    out.event = hearing.event
    out.duration_ms = <uint32_t>(<uint64_t>hearing.duration * 1000 // hearing.clock) if hearing.clock else 0


cdef int dtmf_packet(DtmfHearing* hearing, const uint8_t* payload, uint32_t n, uint32_t ssrc, uint32_t timestamp,
                     uint32_t clock, uint64_t now_us, DtmfEvent* out) noexcept nogil:
    """Take one telephone-event payload of n bytes into account. Returns how many events to report stand in out[2].

    Late packets of an event before are ignored, as are events above DTMF_FLASH. Of several events in one payload
    (RFC 4733 2.5.1.5) the first counts.
    """
    cdef int reports = 0
    cdef uint8_t event
    cdef bint ended
    cdef uint32_t duration
    if n < DTMF_PAYLOAD or payload[0] > DTMF_FLASH:
        return 0
    event = payload[0]
    ended = payload[1] & END
    duration = read_u16(payload + 2)
    if not hearing.known or hearing.ssrc != ssrc or hearing.timestamp != timestamp or hearing.event != event:
        if hearing.known and hearing.ssrc == ssrc and 0 < hearing.timestamp - timestamp < LATE * clock:
            return 0
        if (hearing.going and hearing.ssrc == ssrc and hearing.event == event
                and timestamp - hearing.timestamp == LONGEST):
            # RFC 4733 2.5.1.3: an event too long for the field goes on in another segment.
            hearing.before += LONGEST
        else:
            if hearing.going:
                report(hearing, &out[0])
                reports = 1
            hearing.known = hearing.going = True
            hearing.event = event
            hearing.ssrc = ssrc
            hearing.clock = clock
            hearing.before = hearing.duration = 0
        hearing.timestamp = timestamp
    elif not hearing.going:
        return 0
    hearing.last_us = now_us
    if hearing.before + duration > hearing.duration:
        hearing.duration = hearing.before + duration
    if ended:
        report(hearing, &out[reports])
        reports += 1
    return reports


cdef int dtmf_quiet(DtmfHearing* hearing, uint64_t now_us, DtmfEvent* out) noexcept nogil:
    """Whether an event is over because no update came for DTMF_SILENCE_US; it stands in out[0] then."""
    if not hearing.going or now_us - hearing.last_us < DTMF_SILENCE_US:
        return 0
    report(hearing, out)
    return 1


cdef int dtmf_start(DtmfSender* sender, uint32_t duration_ms, uint32_t gap_ms, uint32_t ptime_ms, uint32_t clock,
                    uint64_t now_us) noexcept nogil:
    """Begin the events of the sender, whose count, event, payload, ssrc, sequence and timestamp the caller has set.

    Returns 0, or -1 where an event cannot have this duration (0, or above 65535 timestamp units) or ptime is 0.
    """
    cdef uint64_t length = <uint64_t>duration_ms * clock // 1000
    if length == 0 or length > LONGEST or ptime_ms == 0 or <uint64_t>ptime_ms * clock // 1000 == 0:
        return -1
    sender.length = <uint32_t>length
    sender.gap = <uint32_t>(<uint64_t>gap_ms * clock // 1000)
    sender.timestamp_step = <uint32_t>(<uint64_t>ptime_ms * clock // 1000)
    sender.ptime_us = ptime_ms * 1000
    sender.elapsed = 0
    sender.ends = 0
    sender.at = 0
    sender.due_us = now_us
    return 0


cdef int dtmf_next(DtmfSender* sender, uint64_t now_us, uint8_t* out) noexcept nogil:
    """Write the packet that is due into out (RTP_HEADER + DTMF_PAYLOAD); returns its length.

    0: nothing is due before due_us. -1: all events are sent. An update that is late is sent late, and says what has
    passed by then; the end is said three times, a ptime apart (RFC 4733 2.5.1.4).
    """
    cdef uint64_t late
    cdef bint first
    if now_us < sender.due_us:
        return 0
    if sender.at >= sender.count:
        return -1
    late = (now_us - sender.due_us) // sender.ptime_us
    sender.due_us += late * sender.ptime_us
    first = sender.elapsed == 0
    if first:
        sender.begun_us = sender.due_us
        sender.timestamp += <uint32_t>late * sender.timestamp_step
        late = 0
    if (late + 1) * sender.timestamp_step >= sender.length - sender.elapsed:
        sender.elapsed = sender.length
    else:
        sender.elapsed += <uint32_t>(late + 1) * sender.timestamp_step
    sender.due_us += sender.ptime_us
    write_header(out, sender.payload, first, sender.sequence, sender.timestamp, sender.ssrc)
    out[RTP_HEADER] = sender.event[sender.at]
    out[RTP_HEADER + 1] = VOLUME
    write_u16(out + RTP_HEADER + 2, <uint16_t>sender.elapsed)
    sender.sequence += 1
    if sender.elapsed == sender.length:
        out[RTP_HEADER + 1] |= END
        sender.ends += 1
        if sender.ends == DTMF_ENDS:
            finish_event(sender)
    return RTP_HEADER + DTMF_PAYLOAD


cdef void finish_event(DtmfSender* sender) noexcept nogil:
    """On to the next event. The second and third end went out while the gap had begun already."""
    cdef uint64_t passed = (sender.due_us - sender.begun_us) // sender.ptime_us * sender.timestamp_step
    cdef uint64_t whole = <uint64_t>sender.length + sender.gap
    if whole > passed:
        sender.due_us += (whole - passed) * sender.ptime_us // sender.timestamp_step
        passed = whole
    sender.timestamp += <uint32_t>passed
    sender.elapsed = 0
    sender.ends = 0
    sender.at += 1
