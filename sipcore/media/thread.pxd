"""The relay thread: everything that it reads and writes, and what the loop may call."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.ring cimport Ring
from sipcore.media.counters cimport ThreadCounters
from sipcore.media.offload cimport Offload
from sipcore.media.pace cimport Pace
from sipcore.media.ports cimport PortUse
from sipcore.media.session cimport Place, Session
from sipcore.media.tap cimport ByteRing

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t

cdef enum:
    PACKET_MAX = 2048           # longest datagram that is relayed
    EVENTS_AT_ONCE = 256        # of epoll
    SWEEP_SLICES = 20           # the watch looks at every session once in so many ticks
    OWN_MAX = 64                # media addresses

cdef struct OwnPorts:
    Address bound
    Address advertised
    uint16_t first
    uint16_t last
    PortUse* uses               # by port, from `first` on
    uint32_t offload            # record of the first pair and 1; 0: the kernel passes nothing of these on
    uint8_t tos                 # of what leaves from them

cdef struct Thread:
    # Set before the thread starts, and constant then:
    uint32_t limit              # sessions
    uint64_t learn_us
    uint64_t silence_us         # 0: not watched
    uint64_t timeout_us         # 0: never
    uint64_t tick_us            # one slice of the watch
    int nice                    # of the thread where it is an ordinary one; the loop's stays
    uint8_t realtime            # it may run before ordinary threads; the thread clears it where that is not allowed
    Session* sessions
    uint32_t releases           # sides that may be on their way back at a time
    uint32_t places_n
    Place* places               # what is played, or free
    ByteRing* tap               # copies of packets of captured sessions; NULL: none
    Ring* commands
    Ring* events
    uint64_t own_n              # rises when the relay gets one more; its ports are bound later
    OwnPorts own[OWN_MAX]
    int wake_fd                 # eventfd: commands wait
    int told_fd                 # eventfd: events wait
    int epoll_fd
    uint64_t stopping           # set by the loop
    uint64_t asleep             # set by the thread: no packet may come soon, so it does not look for commands by itself
    uint64_t starved            # set by the loop: it holds commands back until there is room
    ThreadCounters counters
    Offload offload
    # The thread's own:
    uint32_t* generations       # of open sessions, else 0; by session
    uint32_t high               # sessions that were ever open end here
    uint32_t live               # open sessions
    uint32_t cursor             # of the watch
    uint32_t sweeps
    uint64_t tick_at_us
    uint64_t measured_us        # when its use of the core was last looked at
    uint64_t cpu_us             # and what it had used by then
    Pace pace
    uint8_t told                # events were queued since the loop was last woken
    uint8_t shut                # sockets were closed in this round
    uint8_t* packet             # PACKET_MAX bytes, of the datagram at hand
    uint8_t* made               # PACKET_MAX + SRTP_ADDS bytes, of a packet that the edge makes or changes
    uint8_t* opened             # PACKET_MAX bytes: what the datagram at hand says, where it came over SRTP
    uint32_t* playing           # places that are being played
    uint32_t playing_n
    uint64_t play_at_us         # when the next packet of them is due
    pthread_t handle
    uint8_t running


cdef int thread_start(Thread* thread) noexcept
cdef void thread_wake(Thread* thread) noexcept nogil
cdef void thread_wake_later(Thread* thread) noexcept nogil
cdef void thread_starve(Thread* thread) noexcept nogil
cdef void thread_stop(Thread* thread) noexcept
