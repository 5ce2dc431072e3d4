"""The C pieces of this layer as Python objects, and loops in C, for its tests and benchmarks; nothing of the product
uses it."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from ..base.address cimport Address, address_from
from .dtmf cimport (
    DTMF_DIGITS, DTMF_NONE, DTMF_PAYLOAD, DtmfEvent, DtmfHearing, DtmfSender, dtmf_digit, dtmf_event, dtmf_next,
    dtmf_packet, dtmf_quiet, dtmf_start,
)
from .pace cimport Pace, pace_count
from .play cimport Player, player_next, player_start
from .quality cimport (
    Reception, RtpNumbers, reception_burst_ratio, reception_expected, reception_jitter_us, reception_lost,
    reception_packet,
)
from .rtcp cimport RtcpMap, RtcpPassages, RtcpReport, rtcp_passes, rtcp_read, rtcp_rewrite, rtcp_round_trip
from .rtp cimport RTP_HEADER
from .tap cimport TAP_IN, TAP_OUT, Tap, TapRecord

RECEPTION_BYTES = sizeof(Reception)


cdef class Receiver:
    """One Reception."""
    cdef Reception r

    def packet(self, uint16_t sequence, uint32_t timestamp=0, uint64_t arrival_ns=0, uint32_t clock=8000,
               uint32_t ssrc=1) -> None:
        cdef RtpNumbers numbers = RtpNumbers(ssrc, timestamp, sequence)
        reception_packet(&self.r, &numbers, arrival_ns, clock)

    def figures(self) -> dict[str, float]:
        return {
            "packets": self.r.packets, "expected": reception_expected(&self.r), "lost": reception_lost(&self.r),
            "out_of_order": self.r.out_of_order, "duplicates": self.r.duplicates, "bursts": self.r.bursts,
            "strays": self.r.strays, "restarts": self.r.restarts, "jitter_us": reception_jitter_us(&self.r),
            "jitter_us_max": self.r.jitter_us_max, "burst_ratio": reception_burst_ratio(&self.r),
        }

    def receive_often(self, uint32_t operations) -> int:
        """So many packets in order, 20 ms apart."""
        cdef RtpNumbers numbers
        cdef uint32_t i
        numbers.ssrc = 1
        for i in range(operations):
            numbers.timestamp = i * 160
            numbers.sequence = <uint16_t>i
            reception_packet(&self.r, &numbers, <uint64_t>i * 20000000 + 1, 8000)
        return reception_jitter_us(&self.r)


cdef class Pacing:
    """One Pace."""
    cdef Pace pace

    def fast(self, uint64_t now_us, uint32_t n) -> bool:
        pace_count(&self.pace, now_us, n)
        return self.pace.fast


def read_rtcp(data: bytes, about: int = 0) -> tuple[bool, dict[str, int]]:
    """Whether the compound adds up, and what was found."""
    cdef RtcpReport report
    memset(&report, 0, sizeof(report))
    whole = rtcp_read(<const uint8_t*><const char*>data, <uint32_t>len(data), about, &report) == 0
    return whole, {
        "ssrc": report.ssrc, "sr": report.sr, "ntp_middle": report.ntp_middle, "block": report.block,
        "about": report.about, "fraction": report.fraction, "cumulative": report.cumulative,
        "highest": report.highest, "jitter": report.jitter, "lsr": report.lsr, "dlsr": report.dlsr, "bye": report.bye,
    }


def read_rtcp_often(data: bytes, uint32_t operations) -> int:
    cdef RtcpReport report
    cdef const uint8_t* p = <const uint8_t*><const char*>data
    cdef uint32_t i, n = <uint32_t>len(data), found = 0
    for i in range(operations):
        memset(&report, 0, sizeof(report))
        rtcp_read(p, n, i, &report)
        found += report.block
    return found


def rewrite_rtcp(data: bytes, sender: tuple[int, int], reported: tuple[int, int], uint32_t timestamp_add=0,
                 uint16_t sequence_add=0) -> bytes | None:
    """The compound with sender and reported, each (from, to), changed; None where it does not add up."""
    cdef RtcpMap map
    cdef bytearray room = bytearray(data)
    map.sender_from, map.sender_to = sender
    map.reported_from, map.reported_to = reported
    map.timestamp_add = timestamp_add
    map.sequence_add = sequence_add
    if rtcp_rewrite(<uint8_t*><char*>room, <uint32_t>len(room), &map) != 0:
        return None
    return bytes(room)


cdef class Passages:
    """One RtcpPassages."""
    cdef RtcpPassages p

    def passes(self, uint32_t ntp_middle, uint64_t now_us) -> None:
        rtcp_passes(&self.p, ntp_middle, now_us)

    def round_trip(self, uint32_t lsr, uint32_t dlsr, uint64_t now_us) -> int:
        return rtcp_round_trip(&self.p, lsr, dlsr, now_us)


cdef class Playing:
    """One Player."""
    cdef Player p
    cdef bytes frames

    def __init__(self, bytes frames not None, uint32_t frame_bytes, *, uint32_t ptime_us=20000, uint32_t step=160,
                 bint loop=False, uint64_t now_us=0, uint8_t payload=0, uint32_t ssrc=1, uint16_t sequence=0,
                 uint32_t timestamp=0):
        self.frames = frames
        player_start(&self.p, <const uint8_t*><const char*>frames, frame_bytes,
                     <uint32_t>(len(frames) // frame_bytes), ptime_us, step, loop, now_us)
        self.p.payload = payload
        self.p.ssrc = ssrc
        self.p.sequence = sequence
        self.p.timestamp = timestamp

    def next(self, uint64_t now_us) -> bytes | None:
        """The packet that is due, b"" for none, None at the end."""
        cdef uint8_t out[2048]
        cdef int n = player_next(&self.p, now_us, out)
        return None if n < 0 else (<const char*>out)[:n]

    @property
    def state(self) -> tuple[int, int, int, int]:
        """Sequence number and timestamp of the next packet, when it is due, frames skipped."""
        return self.p.sequence, self.p.timestamp, self.p.due_us, self.p.skipped

    def play_often(self, uint64_t now_us, uint32_t operations) -> int:
        """So many packets, each at its time; the time of the next one."""
        cdef uint8_t out[2048]
        cdef uint32_t _
        for _ in range(operations):
            player_next(&self.p, now_us, out)
            now_us = self.p.due_us
        return now_us


cdef class Hearing:
    """One DtmfHearing; reports are (digit, ms)."""
    cdef DtmfHearing h

    def packet(self, payload: bytes, uint32_t timestamp, uint64_t now_us=0, uint32_t ssrc=1,
               uint32_t clock=8000) -> list[tuple[str, int]]:
        cdef DtmfEvent events[2]
        cdef int n = dtmf_packet(&self.h, <const uint8_t*><const char*>payload, <uint32_t>len(payload), ssrc,
                                 timestamp, clock, now_us, events)
        return [(chr(dtmf_digit(events[i].event)), events[i].duration_ms) for i in range(n)]

    def quiet(self, uint64_t now_us) -> list[tuple[str, int]]:
        cdef DtmfEvent event
        if dtmf_quiet(&self.h, now_us, &event):
            return [(chr(dtmf_digit(event.event)), event.duration_ms)]
        return []

    def hear_often(self, uint32_t operations) -> int:
        """So many updates, ten for each event; how many events were reported."""
        cdef DtmfEvent events[2]
        cdef uint8_t payload[4]
        cdef uint32_t i
        cdef int reports = 0
        memcpy(payload, b"\x05\x0a\x00\xa0", 4)
        for i in range(operations):
            reports += dtmf_packet(&self.h, payload, 4, 1, i // 10 * 2000, 8000, i, events)
        return reports


cdef class Sending:
    """One DtmfSender."""
    cdef DtmfSender s

    def __init__(self, digits: str, *, uint32_t duration_ms=100, uint32_t gap_ms=60, uint32_t ptime_ms=20,
                 uint32_t clock=8000, uint64_t now_us=0, uint8_t payload=101, uint32_t ssrc=1, uint16_t sequence=0,
                 uint32_t timestamp=0):
        cdef uint8_t event
        if len(digits) > DTMF_DIGITS:
            raise ValueError("too many digits")
        for digit in digits:
            event = dtmf_event(<uint8_t>ord(digit))
            if event == DTMF_NONE:
                raise ValueError(digit)
            self.s.event[self.s.count] = event
            self.s.count += 1
        self.s.payload = payload
        self.s.ssrc = ssrc
        self.s.sequence = sequence
        self.s.timestamp = timestamp
        if dtmf_start(&self.s, duration_ms, gap_ms, ptime_ms, clock, now_us) != 0:
            raise ValueError(duration_ms)

    def next(self, uint64_t now_us) -> bytes | None:
        """The packet that is due, b"" for none, None at the end."""
        cdef uint8_t out[RTP_HEADER + DTMF_PAYLOAD]
        cdef int n = dtmf_next(&self.s, now_us, out)
        return None if n < 0 else (<const char*>out)[:n]

    @property
    def state(self) -> tuple[int, int, int]:
        """Sequence number and timestamp of the next packet, when it is due."""
        return self.s.sequence, self.s.timestamp, self.s.due_us


cdef int fill_record(TapRecord* head, uint64_t time_ns, uint32_t session, int side, bint sent, bint rtcp, str host,
                     int port, uint16_t n) except -1:
    cdef Address far
    address_from(host, port, &far)
    head.time_ns = time_ns
    head.far = far
    head.session = session
    head.generation = 0
    head.n = n
    head.side = <uint8_t>side
    head.direction = TAP_OUT if sent else TAP_IN
    head.rtcp = rtcp
    head.form = 0
    return 0


def tap_put(Tap tap not None, data: bytes, *, uint64_t time_ns=0, uint32_t session=0, side: int = 0,
            sent: bool = False, rtcp: bool = False, far: tuple[str, int] = ("192.0.2.1", 4000)) -> bool:
    """Tap.put of one packet."""
    cdef TapRecord head
    fill_record(&head, time_ns, session, side, sent, rtcp, far[0], far[1], <uint16_t>len(data))
    return tap.put(&head, <const uint8_t*><const char*>data)


def tap_put_often(Tap tap not None, data: bytes, uint32_t operations) -> int:
    """So many packets put without the GIL, numbered by their time; returns how many found room."""
    cdef TapRecord head
    cdef const uint8_t* p = <const uint8_t*><const char*>data
    cdef uint32_t i
    cdef int taken = 0
    fill_record(&head, 0, 0, 0, False, False, "192.0.2.1", 4000, <uint16_t>len(data))
    with nogil:
        for i in range(operations):
            head.time_ns = i
            taken += tap.put(&head, p)
    return taken
