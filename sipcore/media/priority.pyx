"""The relay thread before the event loop, unless it would take everything.

A packet must not wait until a callback of the loop has ended. With 100,000 packets/s and a loop busy for 3 ms of every
10 on one core, the packets' p50/p99 were 17/1500 us under SCHED_RR, 740/5900 at nice -10, 490/10800 at nice -20 and
9800/308000 without any (alone, at nice -10: 31/3000; other work took a tenth of the core in all of them). So it
runs under SCHED_RR where the system allows that (CAP_SYS_NICE or RLIMIT_RTPRIO), else at its nice value.

A flood must not silence the signalling: while the thread needs most of the core it is an ordinary one, and the
scheduler gives the loop its share.
"""
from libc.stdint cimport uint64_t
from posix.time cimport clock_gettime, timespec
from sipcore.base.ring cimport relaxed_store

cdef extern from "<time.h>" nogil:
    int CLOCK_THREAD_CPUTIME_ID

cdef extern from "<sched.h>" nogil:
    struct sched_param:
        int sched_priority
    int SCHED_OTHER, SCHED_RR
    int sched_setscheduler(int thread, int policy, const sched_param* parameters)

cdef extern from "<sys/resource.h>" nogil:
    int PRIO_PROCESS
    int setpriority(int which, unsigned int who, int nice)

cdef enum:
    MEASURE_US = 50_000
    # Percent of a core. A gap between the two, so that it does not go to and fro.
    TOO_MUCH = 94
    MODERATE = 80


cdef void priority_begin(Thread* thread) noexcept nogil:
    """Called by the thread itself. What is not allowed is done without."""
    if thread.nice:
        setpriority(PRIO_PROCESS, 0, thread.nice)
    _set(thread, thread.realtime)


cdef void priority_adjust(Thread* thread, uint64_t now) noexcept nogil:
    """Called by the thread from time to time: look at what it used since."""
    cdef timespec used
    cdef uint64_t cpu_us, share
    if not thread.realtime or now < thread.measured_us + MEASURE_US:
        return
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used)
    cpu_us = <uint64_t>used.tv_sec * 1_000_000 + <uint64_t>used.tv_nsec // 1000
    share = 100 * (cpu_us - thread.cpu_us) // (now - thread.measured_us)
    # The first measure has nothing before it.
    if thread.measured_us:
        if share > TOO_MUCH and thread.counters.realtime:
            _set(thread, False)
        elif share < MODERATE and not thread.counters.realtime:
            _set(thread, True)
    thread.cpu_us = cpu_us
    thread.measured_us = now


cdef void _set(Thread* thread, bint realtime) noexcept nogil:
    cdef sched_param parameters
    parameters.sched_priority = 1 if realtime else 0
    if sched_setscheduler(0, SCHED_RR if realtime else SCHED_OTHER, &parameters) == 0:
        relaxed_store(&thread.counters.realtime, realtime)
    elif realtime:
        thread.realtime = False
