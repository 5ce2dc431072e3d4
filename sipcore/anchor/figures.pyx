"""What each side of a call sent and how well it arrived, as a JSON object: the first section whose media flowed.

{"codec":"PCMU","caller":{"packets":250,"lost":0,"jitter_ms":0.4,"mos":4.4,"rtt_ms":31,"far_lost":2},"callee":{...}}
The opinion score is of what the edge received from that side; its delay is half of both sides' round trips, where
their reports tell them. far_lost: of what that side was sent, as it reports. What usually is 0 is left out then.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport strlen
from sipcore.anchor.streams cimport CALLEE, CALLER
from sipcore.anchor.description cimport MAX_SECTIONS
from sipcore.base.decimal cimport put_number
from sipcore.base.slice cimport slice_of
from sipcore.media.quality cimport (
    Reception, reception_burst_ratio, reception_expected, reception_jitter_us, reception_lost,
)
from sipcore.media.session cimport SideCounters
from sipcore.stack.record cimport put_json, put_text

from sipcore.media.emodel import mos


cdef tuple _OTHER = ("stun", "dtls", "zrtp", "truncated", "giant", "other")


cdef uint8_t* _put_tenths(uint8_t* o, uint64_t tenths) noexcept:
    o = put_number(o, tenths // 10)
    o[0] = c'.'
    o[1] = <uint8_t>(c'0' + tenths % 10)
    return o + 2


cdef uint8_t* _put_some(uint8_t* o, const char* name, uint64_t value) noexcept:
    if value:
        o = put_number(put_text(o, name), value)
    return o


cdef uint8_t* _put_side(uint8_t* o, const SideCounters* c, const Reception* r, str codec,
                        double delay_ms) noexcept:
    cdef uint64_t expected = reception_expected(r), lost = reception_lost(r)
    cdef double jitter_ms = reception_jitter_us(r) / 1000.0
    o = put_text(o, b'{"packets":')
    o = put_number(o, c.packets)
    o = put_text(o, b',"octets":')
    o = put_number(o, c.octets)
    if expected:
        o = put_text(o, b',"lost":')
        o = put_number(o, lost)
        o = put_text(o, b',"jitter_ms":')
        o = _put_tenths(o, <uint64_t>(jitter_ms * 10 + 0.5))
        o = put_text(o, b',"mos":')
        o = _put_tenths(o, <uint64_t>(
            mos(min(1.0, lost / <double>expected), reception_burst_ratio(r), jitter_ms, delay_ms, codec) * 10 + 0.5))
    o = _put_some(o, b',"rtt_ms":', (c.round_trip_us + 500) // 1000)
    o = _put_some(o, b',"far_lost":', c.far_lost)
    o = _put_some(o, b',"out_of_order":', r.out_of_order)
    o = _put_some(o, b',"duplicates":', r.duplicates)
    o = _put_some(o, b',"wrong_source":', c.wrong_source)
    o = _put_some(o, b',"other":', c.stun + c.dtls + c.zrtp + c.truncated + c.giant + c.other)
    o = _put_some(o, b',"unauthentic":', c.unauthentic)
    o = _put_some(o, b',"replayed":', c.replayed)
    o = _put_some(o, b',"kernel_drops":', c.kernel_drops)
    o = _put_some(o, b',"send_failed":', c.send_failed)
    return put_text(o, b"}")


cdef uint8_t* put_figures(uint8_t* o, const Call* call, MediaRelay relay) noexcept:
    """Write the figures at o; nothing where no media was agreed."""
    cdef uint32_t i, session
    cdef const SideCounters* caller
    cdef const SideCounters* callee
    cdef double delay_ms
    cdef str codec
    for i in range(MAX_SECTIONS):
        if call.streams[i].agreed:
            session = call.streams[i].session
            caller = relay.counters(session, CALLER)
            callee = relay.counters(session, CALLEE)
            delay_ms = (caller.round_trip_us + callee.round_trip_us) / 2000.0
            codec = call.streams[i].codec.decode("utf-8", "replace")
            o = put_text(o, b'{"codec":')
            o = put_json(o, slice_of(<const uint8_t*>call.streams[i].codec, <uint32_t>strlen(call.streams[i].codec)))
            o = put_text(o, b',"caller":')
            o = _put_side(o, caller, relay.reception(session, CALLER), codec, delay_ms)
            o = put_text(o, b',"callee":')
            o = _put_side(o, callee, relay.reception(session, CALLEE), codec, delay_ms)
            o = _put_some(o, b',"ice_removed":', call.ice)
            return put_text(o, b"}")
    return o


cdef dict side_figures(MediaRelay relay, uint32_t session, int side, int partner, str codec, dict before):
    """The figures of one side of a session as a dict; its delay is half of its and its partner's round trips.

    before: the counters that the side had when it began, {} where all are its own.
    """
    cdef dict now = relay.side_counters(session, side)
    cdef const Reception* r = relay.reception(session, side)
    cdef uint64_t expected = reception_expected(r)
    cdef double jitter_ms = reception_jitter_us(r) / 1000.0
    cdef double delay_ms = (now["round_trip_us"] + relay.counters(session, partner).round_trip_us) / 2000.0
    cdef dict figures = {"codec": codec, "packets": now["packets"] - before.get("packets", 0),
                         "octets": now["octets"] - before.get("octets", 0)}
    if expected:
        figures["lost"] = now["lost"]
        figures["jitter_ms"] = round(jitter_ms, 1)
        figures["mos"] = round(mos(min(1.0, now["lost"] / <double>expected), reception_burst_ratio(r), jitter_ms,
                                   delay_ms, codec), 1)
    others = {
        "rtt_ms": (now["round_trip_us"] + 500) // 1000, "far_lost": now["far_lost"],
        "out_of_order": now["out_of_order"], "duplicates": now["duplicates"],
        "other": sum([now[name] - before.get(name, 0) for name in _OTHER]),
    }
    others |= {name: now[name] - before.get(name, 0) for name in
               ("wrong_source", "unauthentic", "replayed", "kernel_drops", "send_failed")}
    return figures | {name: value for name, value in others.items() if value}
