"""The loop's side of the relay thread: sessions from opening to end, and who has which ports. Long because every method
is the loop's half of one hand-over to the thread.

A session is a number. Opening takes one off the free list, binding takes sockets that nobody has or makes them here
(the thread parks or closes them), everything else is a command of 112 bytes in the thread's queue. A session that is
closed comes back with the CLOSED event, that is in `take_events`: only then its counters are summed up and its ports
go to quarantine.

Where the queue is full, commands wait (commands.pyx), and where that is full too they are lost, except that sessions
to be closed are kept in a list through their slots, so that no close ever is.

Memory: a session has 3 KiB of the thread's and 28 bytes here, for two streams both ways with their reports.
"""
cimport cython
from libc.errno cimport errno
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.unistd cimport close as close_fd, read
from sipcore.base.address cimport address_from, address_host
from sipcore.base.pages cimport pages_give, pages_take
from sipcore.base.ring cimport (
    relaxed_store, ring_free, ring_front, ring_listen, ring_new, ring_publish, ring_release, ring_reserve,
)
from sipcore.media.clock cimport monotonic_us
from sipcore.media.commands cimport (
    commands_begin, commands_drain, commands_end, commands_place, commands_publish, commands_tell, commands_untaken,
)
from sipcore.media.counters cimport add_up
from sipcore.media.offloading cimport offload_pause, offload_share
from sipcore.media.places cimport Places
from sipcore.media.ports cimport PortPair, PortPool
from sipcore.media.session cimport (
    COMMAND_BIND, COMMAND_CLOSE, COMMAND_DROP, COMMAND_PROTECT, COMMAND_RELEASE, EVENT_CLOSED, EVENT_PLAYED,
    EVENT_RELEASED, Event, Session, Side, side_forget,
)
from sipcore.media.srtp cimport SRTP_ADDS, srtp_free
from sipcore.media.thread cimport (
    OWN_MAX, PACKET_MAX, SWEEP_SLICES, OwnPorts, thread_starve, thread_start, thread_stop, thread_wake,
)

import os

cdef extern from "<sys/epoll.h>" nogil:
    int EPOLL_CLOEXEC
    int epoll_create1(int flags)

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int count, int flags)

cdef enum:
    SESSIONS_MAX = 1 << 20
    QUEUE_MAX = 1 << 20


@cython.no_gc_clear     # the thread plays from `places` until __dealloc__ has stopped it
cdef class Sessions:
    """A relay thread with room for so many sessions, on the ports of these PortPools.

    learn_ms: a source is learned so long after media is allowed. silence_ms, timeout_ms: without RTP until SILENT and
    TIMEOUT are said, 0: never. watch_ms: how exactly. realtime, nice: what the thread asks of the system
    (priority.pyx). queue: commands that may wait for the thread, twice as many before they are lost, events for the
    loop, and sides that are being released. places: sounds and digits that can be sent at once. tap: where packets of
    captured sessions are copied to. program: a Program through which streams are handed to the kernel once the thread
    has passed on so many packets, settled, in the plain way. OSError where the thread or its descriptors cannot be had.
    """

    def __init__(self, pools, *, uint32_t sessions=4096, uint64_t learn_ms=10_000, uint64_t silence_ms=5000,
                 uint64_t timeout_ms=60_000, uint64_t watch_ms=1000, bint realtime=True, int nice=-10,
                 uint32_t queue=4096, uint32_t places=256, Tap tap=None, program=None,
                 uint8_t settled=25):
        cdef PortPool pool
        cdef int error
        if self.slots != NULL:
            raise RuntimeError("a relay is set up once")
        if not 1 <= sessions <= SESSIONS_MAX:
            raise ValueError(f"not a number of sessions from 1 to {SESSIONS_MAX}: {sessions}")
        if not 1 <= queue <= QUEUE_MAX:
            raise ValueError(f"not a length of a queue from 1 to {QUEUE_MAX}: {queue}")
        self.pools = ()
        self.program = program
        self.thread.offload.settled = settled
        if program is not None:
            offload_share(&self.thread.offload, program)
        for pool in pools:
            self._own(pool)
        self.sessions = sessions
        self.free_slots = self.unsaid = self.unsaid_last = NO_SESSION
        self.tap = tap
        self.places = Places(places)
        self.thread.limit = sessions
        self.thread.places_n = places
        self.thread.releases = queue
        self.thread.tap = &tap.ring if tap is not None else NULL
        self.thread.learn_us = learn_ms * 1000
        self.thread.silence_us = silence_ms * 1000
        self.thread.timeout_us = timeout_ms * 1000
        self.thread.tick_us = max(watch_ms * 1000 // SWEEP_SLICES, 1000)
        self.thread.nice = nice
        self.thread.realtime = realtime
        self.thread.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        self.thread.told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        self.thread.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self.thread.wake_fd < 0 or self.thread.told_fd < 0 or self.thread.epoll_fd < 0:
            raise OSError(errno, f"cannot start the media thread: {os.strerror(errno)}")
        self._watch_ports()
        self.slots = <Slot*>calloc(sessions, sizeof(Slot))
        commands_begin(&self.commands, 2 * queue)
        self.thread.sessions = <Session*>pages_take(sessions * sizeof(Session))
        self.sides = <Side*>pages_take(sessions * SIDES * sizeof(Side))
        self.thread.generations = <uint32_t*>calloc(sessions, sizeof(uint32_t))
        self.thread.packet = <uint8_t*>calloc(1, PACKET_MAX)
        self.thread.made = <uint8_t*>calloc(1, PACKET_MAX + SRTP_ADDS)
        self.thread.opened = <uint8_t*>calloc(1, PACKET_MAX)
        self.thread.places = self.places.each
        self.thread.playing = <uint32_t*>calloc(max(places, 1), sizeof(uint32_t))
        self.thread.commands = ring_new(queue, sizeof(Command))
        self.thread.events = ring_new(sessions + places + 2 * queue, sizeof(Event))
        if (self.slots == NULL or self.thread.sessions == NULL or self.sides == NULL
                or self.thread.generations == NULL or self.thread.packet == NULL or self.thread.made == NULL
                or self.thread.opened == NULL or self.thread.playing == NULL or self.thread.commands == NULL
                or self.thread.events == NULL):
            raise MemoryError()
        error = thread_start(&self.thread)
        if error:
            raise OSError(error, f"cannot start the media thread: {os.strerror(error)}")

    def __cinit__(self):
        self.thread.wake_fd = self.thread.told_fd = self.thread.epoll_fd = -1

    def __dealloc__(self):
        if self.thread.events != NULL:
            self._finish()
        self._close_descriptors()
        free(self.slots)
        commands_end(&self.commands)
        pages_give(self.thread.sessions, self.sessions * sizeof(Session))
        pages_give(self.sides, self.sessions * SIDES * sizeof(Side))
        free(self.thread.generations)
        free(self.thread.packet)
        free(self.thread.made)
        free(self.thread.opened)
        free(self.thread.playing)
        ring_free(self.thread.commands)
        ring_free(self.thread.events)

    def add_pool(self, PortPool pool not None) -> int:
        """Take one more media address; returns its number. ValueError where it has no ports, or there are too many."""
        self._own(pool)
        self._watch_ports()
        return len(self.pools) - 1

    def keep(self, int number, uint32_t spare, *, bint ahead=False) -> None:
        """Let so many free pairs of a pool stay bound between calls. ahead: bind as many now, in 20 us each, else they
        gather. What is more goes back to the system. IndexError where there is no such pool.
        """
        cdef PortPool pool = self.pools[number]
        pool.spare = min(spare, pool.pairs)
        if ahead and self.thread.running:
            pool.bind_ahead(monotonic_us())
        self._drop_spare()

    cdef void _drop_spare(self) noexcept:
        """Have the thread close what is bound and spare no more; as many at a time as it can say so."""
        cdef PortPool pool
        cdef Command* command
        cdef PortPair pair
        cdef uint32_t number
        for number in range(<uint32_t>len(self.pools)):
            pool = <PortPool>self.pools[number]
            while pool.parked.n > pool.spare and self.thread.running and self.releasing < self.thread.releases:
                command = self._command(NO_SESSION, COMMAND_DROP, 0)
                if command == NULL:
                    self.commands.lost -= 1
                    return
                if not pool.unpark(&pair):
                    break
                command.body.pair.rtp = pair.rtp
                command.body.pair.rtcp = pair.rtcp
                command.body.pair.port = pair.port
                command.body.pair.pool = <int16_t>number
                commands_publish(&self.commands, &self.thread)
                self.releasing += 1

    cdef int _own(self, PortPool pool) except -1:
        """Tell the thread which ports are the relay's own, before any of them is bound."""
        cdef OwnPorts* own = &self.thread.own[self.thread.own_n]
        if pool.uses == NULL:
            raise ValueError("a pool without ports")
        if self.thread.own_n == OWN_MAX:
            raise ValueError(f"more than {OWN_MAX} media addresses")
        address_from(pool.bound, 0, &own.bound)
        address_from(pool.advertised, 0, &own.advertised)
        own.first = pool.first_port
        own.last = pool.last_port
        own.uses = pool.uses
        own.tos = <uint8_t>pool.tos
        own.offload = 0
        if self.program is not None:
            own.offload = self.program.add(pool.bound, pool.first_port, pool.pairs) + 1
        pool.number = <uint16_t>self.thread.own_n
        self.pools = (*self.pools, pool)
        relaxed_store(&self.thread.own_n, self.thread.own_n + 1)
        return 0

    cdef void _watch_ports(self) noexcept:
        """Whatever the pools bind from now on, the thread watches."""
        cdef PortPool pool
        for pool in self.pools:
            pool.epoll_fd = self.thread.epoll_fd

    cdef void hush(self) noexcept:
        """Do not wake the thread for each of the commands that follow: `tell` does, once. Never left standing."""
        self.commands.quiet = True

    cdef void tell(self, bint later=False) noexcept:
        """later: the commands may wait for the next packet or tick (50 ms by default). Whatever is only about packets
        may: the one that comes first brings them."""
        commands_tell(&self.commands, &self.thread, later)

    cpdef uint32_t open(self) noexcept:
        """A session, NO_SESSION where none is free. Nobody hears anybody in it."""
        cdef uint32_t session = self.free_slots
        cdef Slot* slot
        cdef Session* shared
        cdef int side
        if not self.thread.running:
            return NO_SESSION
        if session != NO_SESSION:
            self.free_slots = self.slots[session].next
        elif self.fresh < self.sessions:
            session = self.fresh
            self.fresh += 1
        else:
            self.refused += 1
            return NO_SESSION
        slot = &self.slots[session]
        slot.generation += 1 if slot.generation != 0xFFFFFFFF else 2
        slot.state = SLOT_OPEN
        shared = &self.thread.sessions[session]
        memset(shared, 0, sizeof(Session))
        shared.generation = slot.generation
        for side in range(SIDES):
            slot.pool[side] = -1
            # The first two of all sessions stand together, and the others, which most never use, behind them.
            shared.sides[side] = &self.sides[2 * (session + (side >> 1) * self.sessions) + (side & 1)]
            side_forget(shared.sides[side])
        self.open_sessions += 1
        self.opened += 1
        return session

    cpdef int bind(self, uint32_t session, int side, int pool) noexcept:
        """A bound pair of ports of that pool for a side; returns the even one, -1 where none is to be had.

        A side that has its ports keeps them.
        """
        cdef PortPool ports
        cdef PortPair pair
        cdef Command* command
        cdef Slot* slot
        if not self._is_open(session, side) or not 0 <= pool < len(self.pools):
            return -1
        slot = &self.slots[session]
        if slot.pool[side] >= 0:
            return slot.port[side]
        # First the place, then the sockets: what could not be told to the thread would stay open.
        command = self._command(session, COMMAND_BIND, side)
        if command == NULL:
            return -1
        ports = <PortPool>self.pools[pool]
        if ports.take(&pair, monotonic_us()) != 0:
            return -1
        command.body.pair.rtp = pair.rtp
        command.body.pair.rtcp = pair.rtcp
        command.body.pair.port = pair.port
        command.body.pair.pool = <int16_t>pool
        command.body.pair.family = <uint8_t>ports.family
        self.commands.urgent = self.commands.urgent or ports.is_deaf(pair.port)
        commands_publish(&self.commands, &self.thread)
        slot.pool[side] = <int16_t>pool
        slot.port[side] = pair.port
        return pair.port

    cpdef bint release(self, uint32_t session, int side) noexcept:
        """Give the ports of one side back, which others go on without; a new pair may be bound for it at once.

        Nobody hears the side from then on, nor it anybody, and what was played to it ends. The ports come back with the
        RELEASED event. False where it has none, or the thread is too far behind: then they come back with the session.
        """
        cdef Command* command
        if not self._is_open(session, side) or self.slots[session].pool[side] < 0:
            return False
        if self.releasing == self.thread.releases:
            return False
        command = self._command(session, COMMAND_RELEASE, side)
        if command == NULL:
            return False
        command.body.pair.pool = self.slots[session].pool[side]
        command.body.pair.port = self.slots[session].port[side]
        command.n = (<PortPool>self.pools[self.slots[session].pool[side]]).keeps()
        commands_publish(&self.commands, &self.thread)
        self.slots[session].pool[side] = -1
        self.releasing += 1
        return True

    cpdef void close(self, uint32_t session) noexcept:
        """End a session. Its counters can be read until the CLOSED event, its ports rest from then on."""
        cdef Command* command
        if not self._is_open(session, 0):
            return
        self.slots[session].state = SLOT_CLOSING
        command = self._command(session, COMMAND_CLOSE, 0)
        if command != NULL:
            command.n = self._kept(session)
            commands_publish(&self.commands, &self.thread)
            return
        self.commands.lost -= 1
        self.slots[session].next = NO_SESSION
        if self.unsaid == NO_SESSION:
            self.unsaid = session
        else:
            self.slots[self.unsaid_last].next = session
        self.unsaid_last = session

    cdef uint8_t _kept(self, uint32_t session) noexcept:
        """The sides of a session that is to be closed whose ports stay bound, a bit each."""
        cdef uint8_t kept = 0
        cdef int side
        for side in range(SIDES):
            if self.slots[session].pool[side] >= 0 and (<PortPool>self.pools[self.slots[session].pool[side]]).keeps():
                kept |= 1 << side
        return kept

    cdef bint _is_open(self, uint32_t session, int side) noexcept:
        return (session < self.sessions and 0 <= side < SIDES and self.thread.running
                and self.slots[session].state == SLOT_OPEN)

    cdef Command* _command(self, uint32_t session, uint8_t kind, int side) noexcept:
        """The place of the next command, for `_publish`; NULL where the thread is too far behind."""
        cdef Command* command
        self._flush()
        command = commands_place(&self.commands, &self.thread, session,
                                 self.slots[session].generation if session != NO_SESSION else 0, kind, side)
        if command != NULL and session != NO_SESSION and self.program is not None:
            offload_pause(&self.thread.sessions[session])
        return command

    cdef void _flush(self) noexcept:
        """Hand over what waits, as far as there is room: commands, then sessions to be closed."""
        cdef Command* command
        cdef bint some = commands_drain(&self.commands, &self.thread)
        while self.commands.n == 0 and self.unsaid != NO_SESSION:
            command = <Command*>ring_reserve(self.thread.commands)
            if command == NULL:
                thread_starve(&self.thread)
                break
            command.session = self.unsaid
            command.generation = self.slots[self.unsaid].generation
            command.kind = COMMAND_CLOSE
            command.n = self._kept(self.unsaid)
            self.unsaid = self.slots[self.unsaid].next
            ring_publish(self.thread.commands)
            some = True
        if some:
            thread_wake(&self.thread)

    cdef void _on_closed(self, uint32_t session, uint8_t kept, uint64_t now_us) noexcept:
        """The thread has let go of a session. kept: bit of each side whose sockets are still bound."""
        cdef Slot* slot = &self.slots[session]
        cdef int side
        for side in range(SIDES):
            if slot.pool[side] >= 0:
                (<PortPool>self.pools[slot.pool[side]]).give(slot.port[side], kept >> side & 1, now_us)
            add_up(&self.thread.sessions[session].sides[side].counters, &self.ended)
        slot.state = SLOT_FREE
        slot.next = self.free_slots
        self.free_slots = session
        self.open_sessions -= 1

    cdef void _on_released(self, uint64_t pair, uint64_t now_us) noexcept:
        """The thread has let go of a pair; pair: as in EVENT_RELEASED."""
        (<PortPool>self.pools[pair >> 16 & 0xFFFF]).give(<uint16_t>pair, pair >> 32 & 1, now_us)
        self.releasing -= 1

    cdef void _close_descriptors(self) noexcept:
        cdef int* fds[3]
        fds[:] = [&self.thread.wake_fd, &self.thread.told_fd, &self.thread.epoll_fd]
        for fd in fds:
            if fd[0] >= 0:
                close_fd(fd[0])
                fd[0] = -1

    def fileno(self) -> int:
        """Readable when events wait; -1 after `stop`."""
        return self.thread.told_fd

    def take_events(self) -> list[tuple]:
        """What the thread has said since: (kind, session, generation, side, value, (host, port) or None) each.

        LATCHED: value is the rank of the source (Rank). SILENT: milliseconds without RTP, from where it was
        expected. HEARD_AGAIN: milliseconds of silence, the source. TIMEOUT: milliseconds in which no side has sent,
        though none was on hold; side is SIDES. DTMF: the duration in ms, and above 32 bits the event (RFC 4733 3.2).
        PLAYED: 1 where a sound or digits were sent to their end. CLOSED: the session's number may be given out again.
        RELEASED: whatever is said of this side from now on is of the one that has it next.
        """
        cdef list taken = []
        cdef Event* event
        cdef uint64_t count, value
        cdef uint64_t now_us = monotonic_us()
        if not self.thread.running:
            return taken
        read(self.thread.told_fd, &count, sizeof(count))
        ring_listen(self.thread.events)
        self._flush()
        event = <Event*>ring_front(self.thread.events)
        while event != NULL:
            value = event.value
            if event.kind == EVENT_PLAYED:
                self.places.give(<uint32_t>(value >> 1))
                value &= 1
            elif event.kind == EVENT_RELEASED:
                self._on_released(value, now_us)
                value = 0
            if event.session == NO_SESSION:
                ring_release(self.thread.events)
                event = <Event*>ring_front(self.thread.events)
                continue
            # What was said of a session before it was closed interests nobody any more.
            if event.kind == EVENT_CLOSED or self.slots[event.session].state == SLOT_OPEN:
                taken.append((event.kind, event.session, event.generation, event.side, value,
                              (address_host(&event.address), event.address.port) if event.address.family else None))
            if event.kind == EVENT_CLOSED:
                self._on_closed(event.session, <uint8_t>event.value, now_us)
            ring_release(self.thread.events)
            event = <Event*>ring_front(self.thread.events)
        self._drop_spare()
        return taken

    def stop(self) -> None:
        """End the thread and close every socket. Sessions are over, ports go to quarantine; a second time is nothing.
        """
        if not self.thread.running:
            return
        self._finish()
        self.places.end()
        self._close_descriptors()

    cdef void _finish(self) noexcept:
        """End the thread, take every pair back that anybody has, and close them all."""
        cdef uint64_t now_us = monotonic_us()
        cdef uint32_t session
        cdef Command* command
        cdef Event* event
        cdef PortPool pool
        thread_stop(&self.thread)
        command = commands_untaken(&self.commands)
        while command != NULL:
            # The thread never heard of these: their pairs are as they were.
            if command.kind == COMMAND_RELEASE or command.kind == COMMAND_DROP:
                self._on_released(<uint64_t>1 << 32 | <uint64_t>command.body.pair.pool << 16 | command.body.pair.port,
                                  now_us)
            elif command.kind == COMMAND_PROTECT:
                srtp_free(command.body.keys.receive)
                srtp_free(command.body.keys.send)
            command = commands_untaken(&self.commands)
        event = <Event*>ring_front(self.thread.events)
        while event != NULL:
            if event.kind == EVENT_RELEASED:
                self._on_released(event.value, now_us)
            elif event.kind == EVENT_CLOSED:
                self._on_closed(event.session, <uint8_t>event.value, now_us)
            ring_release(self.thread.events)
            event = <Event*>ring_front(self.thread.events)
        for session in range(self.fresh):
            if self.slots[session].state != SLOT_FREE:
                self._on_closed(session, 0xFF, now_us)
        for pool in self.pools:
            pool.close_all()

    @property
    def commands_waited(self) -> int:
        """That found the thread's queue full."""
        return self.commands.waited

    @property
    def commands_lost(self) -> int:
        """That the thread did not take in time; never a close."""
        return self.commands.lost

    def generation(self, uint32_t session) -> int:
        """How often this number was given out; 0 where it never was."""
        return self.slots[session].generation if session < self.sessions else 0

    def port(self, uint32_t session, int side) -> int:
        """The even port of a side, 0 where it has none."""
        if not self._is_open(session, side) or self.slots[session].pool[side] < 0:
            return 0
        return self.slots[session].port[side]
