"""What the relay thread keeps of one RTP stream, and what passes between it and the loop.

A session belongs to the loop until its first command is queued, then to the thread, and to the loop again when it
has taken the CLOSED event: the queues hand it over. Counters are read by the loop at any time (relaxed).
"""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from sipcore.base.address cimport Address
from sipcore.base.sockname cimport sockaddr_in6, socklen_t
from sipcore.media.counters cimport SideCounters
from sipcore.media.dtmf cimport DtmfHearing, DtmfSender
from sipcore.media.egress cimport SPEAKER_NONE, Egress
from sipcore.media.latch cimport Latch
from sipcore.media.offload cimport OffloadFlow
from sipcore.media.play cimport Player
from sipcore.media.quality cimport Reception
from sipcore.media.rtcp cimport RtcpPassages
from sipcore.media.srtp cimport Srtp

cdef enum:
    SIDES = 4
    NO_SESSION = 0xFFFFFFFF

cdef struct Aim:                # what the loop tells the thread about one side
    Address rtp                 # signalled address and port of the far end; family 0: not known yet
    Address rtcp                # signalled RTCP address (a=rtcp or port + 1); where muxed the same as rtp
    Address signalling          # where its SIP came from: last choice of LEARN_SIGNALLED; family 0: none
    uint8_t learning            # Learning
    uint8_t mux                 # RTCP on the RTP port was agreed
    uint8_t active              # the offer/answer allows media from now on: learning may begin
    uint8_t moved               # the media moved (re-INVITE): what was learned is forgotten, a new window opens
    uint8_t rtcp_moved          # the same of its RTCP alone
    uint8_t sends               # packets are expected from it (its direction, hold): silence is watched
    uint8_t receives            # it wants to receive: else nothing is sent to it
    uint8_t secure              # over SRTP: without keys nothing passes
    uint8_t payload             # first agreed audio payload type, PAYLOAD_NONE: none
    uint8_t event_payload       # telephone-event, PAYLOAD_NONE: none
    uint16_t ptime              # ms, 20 where nothing is said
    uint32_t clock              # Hz of `payload`
    uint64_t since_us           # when it was told: the thread may take it later

cdef struct Flow:               # one socket
    int fd                      # -1: not bound
    uint16_t port
    uint8_t latched             # `name` is the latched source
    uint8_t own                 # which is a port of the relay itself: packets are limited
    uint16_t own_packets        # that came in `own_second`
    uint32_t own_second         # of the clock
    socklen_t name_size         # 0: nobody to send to
    sockaddr_in6 name           # where packets go; in the kernel's form, so that most packets need no other
    Latch latch

cdef struct SideKeys:           # of a side with SRTP
    Srtp* receive               # NULL: none
    Srtp* send
    Srtp* before                # what it sent with until lately; NULL: nothing
    uint64_t before_until_us

cdef struct Side:
    SideCounters counters
    Reception reception         # of the RTP that this side sends
    Flow flows[2]               # RTP, RTCP
    Egress egress               # towards this side
    RtcpPassages passages       # sender reports towards this side, for the round trip
    DtmfHearing digits          # that this side sends
    SideKeys keys
    OffloadFlow* offload        # of its RTP port; NULL: the kernel passes nothing on by itself
    uint64_t watch_us           # silence counts from here at least
    uint32_t clock
    uint16_t ptime
    int16_t pool                # number of the media address
    uint8_t family              # of that: 4 or 6
    uint8_t made                # it is in use; else all of it is zero
    uint8_t mux
    uint8_t sends
    uint8_t receives
    uint8_t active
    uint8_t secure
    uint8_t payload
    uint8_t event_payload
    uint8_t silent              # SILENT was said
    uint8_t offloaded           # the kernel passes on what this side sends
    uint8_t listener            # the one side that it passes them on to
    uint8_t settled             # packets passed on in the plain way, since the thread has it, up to Offload.settled
    uint32_t playing            # place of what is played towards this side, and 1; 0: nothing

cdef struct Session:            # most have two sides, and the memory of the others is not touched
    uint32_t generation         # never 0
    uint8_t hears[SIDES]        # bit s of hears[d]: d hears s
    uint8_t heard_by[SIDES]     # the same the other way round
    uint8_t timed_out           # TIMEOUT was said
    uint8_t captured            # packets are copied to the tap
    Side* sides[SIDES]

cdef struct Place:              # a sound or digits on their way to one side; the loop's, or the thread's while playing
    Player sound
    DtmfSender digits
    uint32_t session
    uint8_t side
    uint8_t is_digits

cdef enum CommandKind:
    COMMAND_BIND = 1            # `pair`; the sockets are the thread's from now on
    COMMAND_AIM = 2
    COMMAND_HEAR = 3
    COMMAND_MAP = 4
    COMMAND_CLOSE = 5           # n: sides whose ports stay bound, a bit each
    COMMAND_PLAY = 6            # `place`; the thread's until PLAYED
    COMMAND_SILENCE = 7         # stop playing
    COMMAND_CAPTURE = 8         # n: on or off
    COMMAND_RELEASE = 9         # `pair`: only its ports, to be said again in RELEASED; n: they stay bound
    COMMAND_PROTECT = 10        # `keys`; the thread's from now on
    COMMAND_INHERIT = 12        # `origin`: a side that is to be heard here on
    COMMAND_DROP = 11           # `pair`: of no session, to be closed and said again in RELEASED

cdef struct BoundPair:
    int rtp
    int rtcp
    uint16_t port
    int16_t pool
    uint8_t family

cdef struct NewKeys:            # NULL: none
    Srtp* receive
    Srtp* send

cdef struct Origin:             # a side of another session
    uint32_t session
    uint8_t side

cdef union CommandBody:
    Aim aim
    BoundPair pair
    uint8_t masks[SIDES]
    uint8_t payloads[24]        # from, to, Law, from, to, Law, ...
    uint32_t place              # in Thread.places
    NewKeys keys
    Origin origin

cdef struct Command:
    uint32_t session
    uint32_t generation
    uint8_t kind                # CommandKind
    uint8_t side
    uint8_t n                   # of payload pairs, or a switch, or a bit for each side
    CommandBody body

cdef enum EventKind:
    EVENT_LATCHED = 1           # value: Rank, address: the source
    EVENT_SILENT = 2            # value: ms, address: from where packets were expected
    EVENT_HEARD_AGAIN = 3       # value: ms of silence, address: the source
    EVENT_TIMEOUT = 4           # every side was silent, and none on hold; value: ms, side: SIDES
    EVENT_DTMF = 5              # value: duration in ms, and above 32 bits the event (RFC 4733 3.2)
    EVENT_PLAYED = 6            # value: bit 0 says that it was played to its end, above it stands the place
    EVENT_CLOSED = 7            # the sockets are nobody's; value: sides whose sockets are still bound, a bit each
    # Those of one side are; value: its even port, above 16 bits the pool, and in bit 32 whether they are still bound.
    EVENT_RELEASED = 8

cdef struct Event:
    uint32_t session
    uint32_t generation
    uint8_t kind                # EventKind
    uint8_t side
    uint64_t value
    Address address


cdef inline void side_make(Side* side) noexcept nogil:
    """A side that nothing is known of yet; one that is in use is left alone."""
    if side.made:
        return
    side.made = True
    side.egress.speaker = SPEAKER_NONE
    side.flows[0].fd = side.flows[1].fd = -1


cdef inline void side_forget(Side* side) noexcept nogil:
    if side.made:
        memset(side, 0, sizeof(Side))
