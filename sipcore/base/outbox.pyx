"""The queue between whoever renders a message and the socket: 512 datagrams over an arena of 1 MiB.

The arena is filled from its beginning and starts over when the queue is empty, so a quiet proxy always writes to
the same few warm pages. Datagrams begin at multiples of eight bytes: AddressSanitizer can then hide everything
but the datagram that is being rendered.
"""
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from .address cimport Address, address_from, address_host
from .slice cimport SIPCORE_CHECK

cdef extern from "checked.h" nogil:
    void SIPCORE_HIDE(void* p, size_t n)
    void SIPCORE_UNPOISON(void* p, size_t n)


cdef void call_back(void* context) noexcept with gil:
    """The flush hook that `Outbox.on_full` sets; an exception of the callback goes to sys.unraisablehook."""
    (<object>context)()


@cython.final
cdef class Outbox:
    """Datagrams in the order in which they are to be sent."""

    def __cinit__(self):
        self.arena = <uint8_t*>malloc(OUTBOX_ARENA)
        if self.arena == NULL:
            raise MemoryError()
        SIPCORE_HIDE(self.arena, OUTBOX_ARENA)

    def __dealloc__(self):
        if self.arena != NULL:
            SIPCORE_UNPOISON(self.arena, OUTBOX_ARENA)
        free(self.arena)

    cdef uint8_t* reserve(self, uint32_t n) noexcept nogil:
        """Room for one datagram of up to n bytes; NULL, and one more dropped, where there is none even after a flush.

        Borrowed until the next call of reserve, commit, discard or clear. A reservation that is not committed is
        simply replaced by the next one.
        """
        SIPCORE_HIDE(self.arena + self.used, self.reserved)
        self.reserved = 0
        if not self._has_room(n):
            if self.flush != NULL and self.count:
                self.flush(self.context)
            if not self._has_room(n):
                self.dropped += 1
                return NULL
        self.reserved = n
        SIPCORE_UNPOISON(self.arena + self.used, n)
        return self.arena + self.used

    cdef void commit(self, const Address* to, uint16_t listener, uint32_t n) noexcept nogil:
        """Queue the first n bytes of what was reserved last, to be sent to `to` from listener."""
        cdef Datagram* datagram = &self.queue[self.first + self.count]
        SIPCORE_CHECK(n <= self.reserved and self.first + self.count < OUTBOX_DATAGRAMS)
        datagram.to = to[0]
        datagram.listener = listener
        datagram.offset = self.used
        datagram.n = n
        datagram.call = self.call
        SIPCORE_HIDE(self.arena + self.used, self.reserved)
        SIPCORE_UNPOISON(self.arena + self.used, n)
        self.reserved = 0
        self.used += (n + 7) & ~<uint32_t>7
        self.count += 1

    cdef void discard(self, uint32_t datagrams) noexcept nogil:
        """Forget the first datagrams of the queue: they were sent. Their room comes back when the queue is empty."""
        SIPCORE_CHECK(datagrams <= self.count)
        self.first += datagrams
        self.count -= datagrams
        if self.count == 0:
            self.clear()

    cdef void clear(self) noexcept nogil:
        """Forget the whole queue."""
        SIPCORE_HIDE(self.arena, OUTBOX_ARENA)
        self.first = self.count = self.used = self.reserved = 0

    cdef bint _has_room(self, uint32_t n) noexcept nogil:
        return self.first + self.count < OUTBOX_DATAGRAMS and n <= OUTBOX_ARENA - self.used

    def put(self, host: str, port: int, data: bytes, listener: int = 0, call: int = 0) -> bool:
        """Queue a copy of data; whether there was room. ValueError where host and port are no address.

        call: tells calls apart as far as a sender may change their order; 0: not known.
        """
        cdef Address to
        cdef uint32_t n = len(data)
        cdef uint16_t index = listener
        cdef uint32_t call_hash = call
        cdef uint8_t* room
        address_from(host, port, &to)
        room = self.reserve(n)
        if room == NULL:
            return False
        memcpy(room, <const char*>data, n)
        self.commit(&to, index, n)
        self.queue[self.first + self.count - 1].call = call_hash
        return True

    def drain(self) -> list[tuple[int, str, int, bytes]]:
        """Take everything out: (listener, host, port, bytes) of each datagram, in order."""
        cdef uint32_t i
        cdef Datagram* datagram
        out = []
        for i in range(self.first, self.first + self.count):
            datagram = &self.queue[i]
            data = (<const char*>self.arena)[datagram.offset:datagram.offset + datagram.n]
            out.append((datagram.listener, address_host(&datagram.to), datagram.to.port, data))
        self.clear()
        return out

    def datagram(self, index: int) -> bytes:
        """The bytes of one waiting datagram; IndexError where there are not that many."""
        cdef Datagram* datagram
        if not 0 <= index < self.count:
            raise IndexError(index)
        datagram = &self.queue[self.first + <uint32_t>index]
        return (<const char*>self.arena)[datagram.offset:datagram.offset + datagram.n]

    def sent(self, datagrams: int) -> None:
        """`discard`; ValueError where fewer are waiting."""
        if not 0 <= datagrams <= self.count:
            raise ValueError(f"{datagrams} datagrams of {self.count}")
        self.discard(datagrams)

    def on_full(self, callback) -> None:
        """Call callback() when there is no room (it drains); None for no callback."""
        self.callback = callback
        self.context = <void*>callback
        self.flush = NULL
        if callback is not None:
            self.flush = call_back
