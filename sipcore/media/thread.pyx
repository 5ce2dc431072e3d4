"""The thread that relays media: a native one, never with the GIL, with an epoll of its own.

It may share a core with the event loop, and then goes first (priority.pyx). Commands come through one queue and
events go back through another, each with an eventfd. Commands are taken before the sockets of a round, so that a
packet that follows a command meets it, and most commands wake nobody: a socket that is in epoll brings them with its
next packet. Where the kernel has streams (offloading.pyx), no packet may come, and commands wake the thread. What epoll
says names a port; whose that is at the moment stands in a table (parking.pyx).

Its clock ticks coarsely, and only while there are sessions: every tick looks at one slice of them for silence.

While packets come fast it rests for a moment when it has none (pace.pxd).
"""
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from posix.time cimport nanosleep, timespec
from posix.unistd cimport write
from sipcore.base.ring cimport (
    exchange, relaxed_add, relaxed_load, relaxed_store, ring_front, ring_listen, ring_must_wake, ring_release,
)
from sipcore.media.clock cimport monotonic_us
from sipcore.media.counters cimport SideCounters
from sipcore.media.egress cimport SPEAKER_NONE, egress_map
from sipcore.media.forward cimport flow_retarget, forward_one, forward_soon, tell
from sipcore.media.latch cimport latch_aim
from sipcore.media.offloading cimport offload_bind, offload_end_session, offload_tick
from sipcore.media.pace cimport PACE_REST_US, pace_count
from sipcore.media.parking cimport port_closed, port_late, port_left, port_taken, port_use
from sipcore.media.playing cimport playing_begin, playing_end, playing_go_on
from sipcore.media.priority cimport priority_adjust, priority_begin
from sipcore.media.session cimport (
    COMMAND_AIM, COMMAND_BIND, COMMAND_CAPTURE, COMMAND_CLOSE, COMMAND_DROP, COMMAND_HEAR, COMMAND_INHERIT,
    COMMAND_MAP, COMMAND_PLAY, COMMAND_PROTECT, COMMAND_RELEASE, COMMAND_SILENCE, EVENT_CLOSED, EVENT_RELEASED,
    NO_SESSION, SIDES, Aim, BoundPair, Command, Flow, Session, Side, side_make,
)
from sipcore.media.sidekeys cimport sidekeys_forget, sidekeys_inherit, sidekeys_take
from sipcore.media.watching cimport look_for_drops, watch_slice

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64

    struct epoll_event:
        uint32_t events
        epoll_data_t data

    enum:
        EPOLLIN, EPOLLET, EPOLL_CTL_ADD
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int n, int timeout_ms)

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_attr_t:
        pass
    int pthread_attr_init(pthread_attr_t* attributes)
    int pthread_attr_setstacksize(pthread_attr_t* attributes, size_t n)
    int pthread_attr_destroy(pthread_attr_t* attributes)
    int pthread_create(pthread_t* handle, const pthread_attr_t* attributes, void* (*body)(void*) noexcept nogil,
                       void* argument)
    int pthread_join(pthread_t handle, void** result)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t* signals)
    int pthread_sigmask(int how, const sigset_t* signals, sigset_t* before)

cdef extern from "<sys/prctl.h>" nogil:
    int PR_SET_NAME, PR_SET_TIMERSLACK
    int prctl(int option, const char* name)

cdef enum:
    STACK_BYTES = 256 * 1024

cdef uint64_t WAKE = <uint64_t>-1       # epoll's data of the eventfd


cdef int thread_start(Thread* thread) noexcept:
    """Start it; returns 0 or an errno. Signals stay with the threads that Python knows."""
    cdef pthread_attr_t attributes
    cdef sigset_t all_signals, before
    cdef epoll_event event
    cdef int error
    event.events = EPOLLIN | <uint32_t>EPOLLET
    event.data.u64 = WAKE
    if epoll_ctl(thread.epoll_fd, EPOLL_CTL_ADD, thread.wake_fd, &event) != 0:
        return errno
    sigfillset(&all_signals)
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, STACK_BYTES)
    pthread_sigmask(SIG_SETMASK, &all_signals, &before)
    error = pthread_create(&thread.handle, &attributes, _run, thread)
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    pthread_attr_destroy(&attributes)
    thread.running = error == 0
    return error


cdef void thread_wake(Thread* thread) noexcept nogil:
    """The loop has published commands."""
    cdef uint64_t one = 1
    if ring_must_wake(thread.commands):
        write(thread.wake_fd, &one, sizeof(one))


cdef void thread_wake_later(Thread* thread) noexcept nogil:
    """The loop has published commands that may wait for the next packet or tick; without a session there is none."""
    if exchange(&thread.asleep, 0):
        thread_wake(thread)


cdef void thread_starve(Thread* thread) noexcept nogil:
    """The loop holds commands back. The wake-up comes after the flag, so that the thread cannot miss it."""
    cdef uint64_t one = 1
    if not relaxed_load(&thread.starved):
        relaxed_store(&thread.starved, 1)
        write(thread.wake_fd, &one, sizeof(one))


cdef void thread_stop(Thread* thread) noexcept:
    """End the thread, wait for it, and end every session, queued ones too: events say so. Their sockets stay bound.
    """
    cdef uint64_t one = 1
    cdef uint32_t number
    if not thread.running:
        return
    with nogil:
        relaxed_store(&thread.stopping, 1)
        write(thread.wake_fd, &one, sizeof(one))
        pthread_join(thread.handle, NULL)
        thread.running = False
        _take_commands(thread)
        for number in range(thread.high):
            if thread.generations[number]:
                _on_close(thread, number, 0xFF)


cdef void* _run(void* argument) noexcept nogil:
    cdef Thread* thread = <Thread*>argument
    cdef epoll_event events[EVENTS_AT_ONCE]
    cdef uint64_t one = 1, now, data
    cdef uint32_t holder
    cdef timespec rest
    cdef int i, n
    prctl(PR_SET_NAME, b"sipedge-media")
    # Else the kernel would add 50 us to the rest of an ordinary thread.
    prctl(PR_SET_TIMERSLACK, <const char*>1)
    rest.tv_sec = 0
    rest.tv_nsec = 1000 * PACE_REST_US
    priority_begin(thread)
    while not relaxed_load(&thread.stopping):
        if thread.live == 0 or thread.offload.active:
            # What is published after this wakes the thread, what was published before is taken now.
            exchange(&thread.asleep, 1)
            _take_commands(thread)
            _wake_loop(thread)
            thread.pace.fast = thread.pace.fast and thread.live != 0
        n = epoll_wait(thread.epoll_fd, events, EVENTS_AT_ONCE, 0 if thread.pace.fast else _timeout_ms(thread))
        if n == 0 and thread.pace.fast:
            nanosleep(&rest, NULL)
            n = epoll_wait(thread.epoll_fd, events, EVENTS_AT_ONCE, _timeout_ms(thread))
        if n < 0 and errno != EINTR:
            break
        relaxed_add(&thread.counters.wakeups, 1)
        # Before the packets: an answer that was passed on holds for whatever is sent after it.
        _take_commands(thread)
        for i in range(n):
            data = events[i].data.u64
            holder = port_use(thread, data).holder if data != WAKE else 0
            if holder:
                holder -= 1
                forward_soon(&thread.sessions[holder >> 3], holder >> 1 & 3)
        for i in range(n):
            data = events[i].data.u64
            if data == WAKE:
                # Whatever was published before the queue listens again is taken here.
                ring_listen(thread.commands)
                _take_commands(thread)
                if relaxed_load(&thread.starved):
                    relaxed_store(&thread.starved, 0)
                    write(thread.told_fd, &one, sizeof(one))
                continue
            holder = port_use(thread, data).holder
            if holder:
                holder -= 1
                forward_one(thread, &thread.sessions[holder >> 3], holder >> 3, holder >> 1 & 3, holder & 1)
            elif not thread.shut:
                port_late(thread, data)
        thread.shut = False
        if thread.live:
            now = monotonic_us()
            pace_count(&thread.pace, now, <uint32_t>max(n, 0))
            if thread.playing_n and now >= thread.play_at_us:
                playing_go_on(thread, now)
            if now >= thread.tick_at_us:
                thread.tick_at_us = now + thread.tick_us
                offload_tick(thread, now)
                watch_slice(thread, now)
                priority_adjust(thread, now)
        _wake_loop(thread)
    return NULL


cdef void _wake_loop(Thread* thread) noexcept nogil:
    """Let the loop know of events, where there are any."""
    cdef uint64_t one = 1
    if thread.told:
        thread.told = False
        if ring_must_wake(thread.events):
            write(thread.told_fd, &one, sizeof(one))


cdef int _timeout_ms(Thread* thread) noexcept nogil:
    """Until the next tick or the next packet to play; for ever where there is nothing to watch."""
    cdef uint64_t now, until_us
    if thread.live == 0:
        return -1
    now = monotonic_us()
    until_us = min(thread.tick_at_us, thread.play_at_us) if thread.playing_n else thread.tick_at_us
    return <int>((until_us - now + 999) // 1000) if now < until_us else 0


cdef void _take_commands(Thread* thread) noexcept nogil:
    cdef Command* command
    cdef Session* session
    command = <Command*>ring_front(thread.commands)
    while command != NULL:
        if command.kind == COMMAND_DROP:
            _on_drop(thread, &command.body.pair)
            ring_release(thread.commands)
            command = <Command*>ring_front(thread.commands)
            continue
        session = &thread.sessions[command.session]
        side_make(session.sides[command.side])
        offload_end_session(thread, session)
        if thread.generations[command.session] == 0:
            thread.generations[command.session] = command.generation
            thread.live += 1
            if command.session >= thread.high:
                thread.high = command.session + 1
        if command.kind == COMMAND_BIND:
            _on_bind(thread, session, command)
        elif command.kind == COMMAND_AIM:
            _on_aim(thread, session.sides[command.side], &command.body.aim)
        elif command.kind == COMMAND_HEAR:
            _on_hear(session, command.body.masks)
        elif command.kind == COMMAND_MAP:
            egress_map(&session.sides[command.side].egress, command.body.payloads, command.n)
        elif command.kind == COMMAND_PROTECT:
            sidekeys_take(session.sides[command.side], &command.body.keys)
        elif command.kind == COMMAND_INHERIT:
            sidekeys_inherit(session.sides[command.side],
                             thread.sessions[command.body.origin.session].sides[command.body.origin.side])
        elif command.kind == COMMAND_PLAY:
            playing_begin(thread, session, command.body.place, monotonic_us())
        elif command.kind == COMMAND_SILENCE:
            if session.sides[command.side].playing:
                playing_end(thread, session, session.sides[command.side].playing - 1, False)
        elif command.kind == COMMAND_CAPTURE:
            session.captured = command.n
        elif command.kind == COMMAND_RELEASE:
            _on_release(thread, session, command)
        elif command.kind == COMMAND_CLOSE:
            _on_close(thread, command.session, command.n)
        ring_release(thread.commands)
        command = <Command*>ring_front(thread.commands)


cdef void _on_bind(Thread* thread, Session* session, Command* command) noexcept nogil:
    cdef BoundPair* pair = &command.body.pair
    cdef Side* side = session.sides[command.side]
    cdef int i
    side.pool = pair.pool
    side.family = pair.family
    side.flows[0].fd = pair.rtp
    side.flows[1].fd = pair.rtcp
    for i in range(2):
        side.flows[i].port = <unsigned short>(pair.port + i)
        flow_retarget(&side.flows[i], side.family)
        port_taken(thread, side, i, command.session, command.side)
    offload_bind(thread, side)


cdef void _on_aim(Thread* thread, Side* side, const Aim* aim) noexcept nogil:
    cdef uint64_t now = aim.since_us
    cdef int i
    for i in range(2):
        latch_aim(&side.flows[i].latch, &aim.rtcp if i else &aim.rtp, &aim.signalling, aim.learning, aim.active,
                  aim.moved or (i and aim.rtcp_moved), now, thread.learn_us)
        flow_retarget(&side.flows[i], side.family)
    if aim.moved or (aim.active and not side.active) or (aim.sends and not side.sends):
        side.watch_us = now
        side.silent = False
    side.active = aim.active or (side.active and not aim.moved)
    side.sends = aim.sends
    side.receives = aim.receives
    side.secure = aim.secure
    if aim.secure:
        # One stream, whoever speaks in it: under one key no number may be used for two packets.
        side.egress.rewrites = True
    else:
        sidekeys_forget(side)
    side.mux = aim.mux
    side.payload = aim.payload
    side.event_payload = aim.event_payload
    side.ptime = aim.ptime or 20
    side.clock = aim.clock or 8000


cdef void _on_hear(Session* session, const uint8_t* masks) noexcept nogil:
    """Between two packets, so that none meets half of a table."""
    cdef int listener, side
    memset(session.heard_by, 0, SIDES)
    for listener in range(SIDES):
        session.hears[listener] = masks[listener]
        for side in range(SIDES):
            if masks[listener] >> side & 1:
                side_make(session.sides[listener])
                session.heard_by[side] |= 1 << listener


cdef void _close_side(Thread* thread, Session* session, int number, bint kept) noexcept nogil:
    cdef Side* side = session.sides[number]
    cdef int i
    if not side.made:
        return
    look_for_drops(thread, side)
    side.offload = NULL
    if side.playing:
        playing_end(thread, session, side.playing - 1, False)
    sidekeys_forget(side)
    for i in range(2):
        if side.flows[i].fd >= 0:
            port_left(thread, side, i, kept)


cdef void _on_release(Thread* thread, Session* session, Command* command) noexcept nogil:
    """Give the sockets of one side up and forget whose they were; nobody hears it any more, nor it anybody.

    Its counters go on, so that sums stay right, but what the far end had said is void.
    """
    cdef Side* side = session.sides[command.side]
    cdef SideCounters* counters = &side.counters
    cdef uint8_t masks[SIDES]
    cdef int i
    _close_side(thread, session, command.side, command.n)
    for i in range(SIDES):
        masks[i] = 0 if i == command.side else session.hears[i] & ~(1 << command.side)
        if session.sides[i].made and session.sides[i].egress.speaker == command.side:
            # Whoever is on this side next is another source, though its number is the same.
            session.sides[i].egress.speaker = SPEAKER_NONE
    _on_hear(session, masks)
    for i in range(2):
        memset(&side.flows[i], 0, sizeof(Flow))
        side.flows[i].fd = -1
    memset(&side.reception, 0, sizeof(side.reception))
    memset(&side.egress, 0, sizeof(side.egress))
    side.egress.speaker = SPEAKER_NONE
    memset(&side.passages, 0, sizeof(side.passages))
    memset(&side.digits, 0, sizeof(side.digits))
    side.active = side.sends = side.receives = side.secure = side.mux = side.silent = False
    relaxed_store(&counters.round_trip_us, 0)
    relaxed_store(&counters.far_lost, 0)
    relaxed_store(&counters.far_fraction, 0)
    relaxed_store(&counters.far_jitter, 0)
    tell(thread, command.session, session, EVENT_RELEASED, command.side,
         <uint64_t>(command.n != 0) << 32 | <uint64_t>command.body.pair.pool << 16 | command.body.pair.port, NULL)


cdef void _on_drop(Thread* thread, const BoundPair* pair) noexcept nogil:
    """Close a pair that no session has."""
    port_closed(thread, <uint16_t>pair.pool, pair.port, pair.rtp)
    port_closed(thread, <uint16_t>pair.pool, <uint16_t>(pair.port + 1), pair.rtcp)
    tell(thread, NO_SESSION, thread.sessions, EVENT_RELEASED, 0, <uint64_t>pair.pool << 16 | pair.port, NULL)


cdef void _on_close(Thread* thread, uint32_t number, uint8_t kept) noexcept nogil:
    """Give the sockets up; with the event the session is the loop's again. kept: bit of each side whose stay bound."""
    cdef Session* session = &thread.sessions[number]
    cdef int side
    offload_end_session(thread, session)
    for side in range(SIDES):
        _close_side(thread, session, side, kept >> side & 1)
    thread.generations[number] = 0
    thread.live -= 1
    tell(thread, number, session, EVENT_CLOSED, 0, kept, NULL)
