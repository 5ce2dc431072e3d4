"""The thread that relays media: a native one, never with the GIL, with an epoll of its own.

It may share a core with the event loop, and then goes first (priority.pyx). Commands come through one queue and
events go back through another, each with an eventfd. Commands are taken before the sockets of a round, so that a
packet that follows a command meets it; the event of a socket that such a command has closed finds nothing, because
epoll's data says slot and generation.

Its clock ticks coarsely, and only while there are sessions: every tick looks at one slice of them for silence.
"""
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.unistd cimport close, write
from sipcore.base.ring cimport (
    relaxed_add, relaxed_load, relaxed_store, ring_front, ring_listen, ring_must_wake, ring_release,
)
from sipcore.media.clock cimport monotonic_us
from sipcore.media.dtmf cimport DtmfEvent, dtmf_quiet
from sipcore.media.egress cimport egress_map
from sipcore.media.forward cimport flow_retarget, forward_one, say_digits, tell
from sipcore.media.latch cimport latch_aim, latch_target
from sipcore.media.playing cimport playing_begin, playing_end, playing_go_on
from sipcore.media.priority cimport priority_adjust, priority_begin
from sipcore.media.session cimport (
    COMMAND_AIM, COMMAND_BIND, COMMAND_CAPTURE, COMMAND_CLOSE, COMMAND_HEAR, COMMAND_MAP, COMMAND_PLAY, COMMAND_SILENCE,
    EVENT_CLOSED, EVENT_SILENT, EVENT_TIMEOUT, SIDES, Aim, BoundPair, Command, Flow, Session, Side,
)

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
    int PR_SET_NAME
    int prctl(int option, const char* name)

cdef extern from "sockets.h" nogil:
    long sipcore_socket_drops(int fd)

cdef enum:
    STACK_BYTES = 256 * 1024
    DROPS_EVERY = 8             # sweeps between two looks at a socket's drops: a system call each

cdef uint64_t WAKE = <uint64_t>-1       # epoll's data of the eventfd
cdef uint64_t NEVER = <uint64_t>-1


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


cdef void thread_starve(Thread* thread) noexcept nogil:
    """The loop holds commands back. The wake-up comes after the flag, so that the thread cannot miss it."""
    cdef uint64_t one = 1
    if not relaxed_load(&thread.starved):
        relaxed_store(&thread.starved, 1)
        write(thread.wake_fd, &one, sizeof(one))


cdef void thread_stop(Thread* thread) noexcept:
    """End the thread, wait for it, and close the sockets of every session, queued ones too."""
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
                _on_close(thread, number)


cdef void* _run(void* argument) noexcept nogil:
    cdef Thread* thread = <Thread*>argument
    cdef epoll_event events[EVENTS_AT_ONCE]
    cdef uint64_t one = 1, now, data
    cdef uint32_t number
    cdef int i, n
    prctl(PR_SET_NAME, b"sipedge-media")
    priority_begin(thread)
    while not relaxed_load(&thread.stopping):
        n = epoll_wait(thread.epoll_fd, events, EVENTS_AT_ONCE, _timeout_ms(thread))
        if n < 0 and errno != EINTR:
            break
        relaxed_add(&thread.counters.wakeups, 1)
        # Before the packets: an answer that was passed on holds for whatever is sent after it.
        _take_commands(thread)
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
            number = <uint32_t>data >> 3
            if thread.generations[number] != <uint32_t>(data >> 32):
                relaxed_add(&thread.counters.stray, 1)
                continue
            forward_one(thread, &thread.sessions[number], number, data >> 1 & 3, data & 1)
        if thread.live:
            now = monotonic_us()
            if thread.playing_n and now >= thread.play_at_us:
                playing_go_on(thread, now)
            if now >= thread.tick_at_us:
                thread.tick_at_us = now + thread.tick_us
                _watch_slice(thread, now)
                priority_adjust(thread, now)
        if thread.told:
            thread.told = False
            if ring_must_wake(thread.events):
                write(thread.told_fd, &one, sizeof(one))
    return NULL


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
        session = &thread.sessions[command.session]
        if thread.generations[command.session] == 0:
            thread.generations[command.session] = command.generation
            thread.live += 1
            if command.session >= thread.high:
                thread.high = command.session + 1
        if command.kind == COMMAND_BIND:
            _on_bind(thread, session, command)
        elif command.kind == COMMAND_AIM:
            _on_aim(thread, &session.sides[command.side], &command.body.aim)
        elif command.kind == COMMAND_HEAR:
            _on_hear(session, command.body.masks)
        elif command.kind == COMMAND_MAP:
            egress_map(&session.sides[command.side].egress, command.body.payloads, command.n)
        elif command.kind == COMMAND_PLAY:
            playing_begin(thread, session, command.body.place, monotonic_us())
        elif command.kind == COMMAND_SILENCE:
            if session.sides[command.side].playing:
                playing_end(thread, session, session.sides[command.side].playing - 1, False)
        elif command.kind == COMMAND_CAPTURE:
            session.captured = command.n
        elif command.kind == COMMAND_CLOSE:
            _on_close(thread, command.session)
        ring_release(thread.commands)
        command = <Command*>ring_front(thread.commands)


cdef void _on_bind(Thread* thread, Session* session, Command* command) noexcept nogil:
    cdef BoundPair* pair = &command.body.pair
    cdef Side* side = &session.sides[command.side]
    cdef epoll_event event
    cdef int i
    side.family = pair.family
    side.flows[0].fd = pair.rtp
    side.flows[1].fd = pair.rtcp
    for i in range(2):
        side.flows[i].port = <unsigned short>(pair.port + i)
        flow_retarget(&side.flows[i], side.family)
        event.events = EPOLLIN
        event.data.u64 = <uint64_t>command.generation << 32 | command.session << 3 | command.side << 1 | <uint32_t>i
        if epoll_ctl(thread.epoll_fd, EPOLL_CTL_ADD, side.flows[i].fd, &event) != 0:
            relaxed_add(&thread.counters.socket_errors, 1)


cdef void _on_aim(Thread* thread, Side* side, const Aim* aim) noexcept nogil:
    cdef uint64_t now = monotonic_us()
    cdef int i
    for i in range(2):
        latch_aim(&side.flows[i].latch, &aim.rtcp if i else &aim.rtp, &aim.signalling, aim.learning, aim.active,
                  aim.moved, now, thread.learn_us)
        flow_retarget(&side.flows[i], side.family)
    if aim.moved or (aim.active and not side.active) or (aim.sends and not side.sends):
        side.watch_us = now
        side.silent = False
    side.active = aim.active or (side.active and not aim.moved)
    side.sends = aim.sends
    side.receives = aim.receives
    side.mux = aim.mux
    side.payload = aim.payload
    side.event_payload = aim.event_payload
    side.ptime = aim.ptime or 20
    side.clock = aim.clock or 8000


cdef void _on_hear(Session* session, const uint8_t* masks) noexcept nogil:
    """Between two packets, so that none meets half of a table."""
    cdef int listener, side
    for side in range(SIDES):
        session.heard_by[side] = 0
    for listener in range(SIDES):
        session.hears[listener] = masks[listener]
        for side in range(SIDES):
            if masks[listener] >> side & 1:
                session.heard_by[side] |= 1 << listener


cdef void _on_close(Thread* thread, uint32_t number) noexcept nogil:
    """Close the sockets; with the event the session is the loop's again."""
    cdef Session* session = &thread.sessions[number]
    cdef Flow* flow
    cdef int side, i
    for side in range(SIDES):
        _look_for_drops(&session.sides[side])
        if session.sides[side].playing:
            playing_end(thread, session, session.sides[side].playing - 1, False)
        for i in range(2):
            flow = &session.sides[side].flows[i]
            if flow.fd >= 0:
                close(flow.fd)
                flow.fd = -1
    thread.generations[number] = 0
    thread.live -= 1
    tell(thread, number, session, EVENT_CLOSED, 0, 0, NULL)


cdef void _watch_slice(Thread* thread, uint64_t now) noexcept nogil:
    """Look at the next slice of the sessions for silence."""
    cdef uint32_t n = (thread.high + SWEEP_SLICES - 1) // SWEEP_SLICES
    while n > 0:
        n -= 1
        if thread.cursor >= thread.high:
            thread.cursor = 0
            thread.sweeps += 1
            break
        if thread.generations[thread.cursor]:
            _watch(thread, thread.cursor, now)
        thread.cursor += 1


cdef void _watch(Thread* thread, uint32_t number, uint64_t now) noexcept nogil:
    cdef Session* session = &thread.sessions[number]
    cdef Side* side
    cdef uint64_t idle, least = NEVER
    cdef DtmfEvent digit
    cdef bint held = False
    cdef uint8_t i
    for i in range(SIDES):
        side = &session.sides[i]
        if side.flows[0].fd < 0:
            continue
        if thread.sweeps % DROPS_EVERY == 0:
            _look_for_drops(side)
        if side.digits.going:
            say_digits(thread, session, number, i, &digit, dtmf_quiet(&side.digits, now, &digit))
        if not side.active:
            continue
        if not side.sends:
            # On hold: neither does the other one have to play anything.
            held = True
            continue
        idle = now - max(side.counters.heard_us, side.watch_us)
        if thread.silence_us and idle >= thread.silence_us and not side.silent:
            side.silent = True
            tell(thread, number, session, EVENT_SILENT, i, idle // 1000, latch_target(&side.flows[0].latch))
        # A muted phone may go on with its reports: it is not gone.
        least = min(least, now - max(side.counters.alive_us, side.watch_us))
    if held or least == NEVER or least < thread.timeout_us:
        session.timed_out = False
    elif thread.timeout_us and not session.timed_out:
        session.timed_out = True
        tell(thread, number, session, EVENT_TIMEOUT, SIDES, least // 1000, NULL)


cdef void _look_for_drops(Side* side) noexcept nogil:
    cdef uint64_t drops = 0
    cdef long n
    cdef int i
    for i in range(2):
        if side.flows[i].fd >= 0:
            n = sipcore_socket_drops(side.flows[i].fd)
            if n > 0:
                drops += <uint64_t>n
    if drops:
        relaxed_store(&side.counters.kernel_drops, drops)
