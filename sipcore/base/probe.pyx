"""Loops and mistakes in C for the tests and benchmarks of this layer; nothing of the product uses it.

Each loop does a number of operations without Python in between and returns something that depends on all of them,
so that the compiler drops none.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from .address cimport Address, address_from
from .base32 cimport BASE32_U64, get_base32_u64, put_base32_u64
from .bucket cimport Bucket, SourceLimiter, bucket_take
from .linger cimport Linger
from .outbox cimport Outbox
from .pool cimport Buffer, Pool
from .runs cimport (Controls, controls_from, controls_next, run_of_plain, run_to_byte, run_to_colon, run_to_control)
from .siphash cimport SipKey, SipState, siphash13, siphash24, siphash_final, siphash_init, siphash_update
from .trie cimport Trie
from .wheel cimport Wheel

cdef extern from "checked.h" nogil:
    const bint SIPCORE_IS_CHECKED

CHECKED = bool(SIPCORE_IS_CHECKED)


cdef class Kept:
    """One buffer of a pool as a Python object; given back when it goes."""
    cdef Pool pool
    cdef Buffer buffer

    def __init__(self, Pool pool not None, bytes data not None):
        """Keep a copy of data; MemoryError where the pool refuses."""
        self.give()
        if pool.keep(<const uint8_t*><const char*>data, <uint32_t>len(data), &self.buffer) != 0:
            raise MemoryError("the pool's limit is used up")
        self.pool = pool

    def __dealloc__(self):
        if self.pool is not None:
            self.pool.give(&self.buffer)

    def __bytes__(self) -> bytes:
        return (<const char*>self.buffer.p)[:self.buffer.n] if self.buffer.p != NULL else b""

    @property
    def address(self) -> int:
        """Where the buffer lies; 0 where it was given back."""
        return <uintptr_t>self.buffer.p

    @property
    def capacity(self) -> int:
        return self.buffer.capacity

    def give(self) -> None:
        """Give the buffer back; a second time does nothing."""
        if self.pool is not None:
            self.pool.give(&self.buffer)

    def give_twice(self) -> None:
        """Give a copy of the buffer back after the buffer itself; RuntimeError where no check would stop it."""
        cdef Buffer copy = self.buffer
        if not SIPCORE_IS_CHECKED:
            raise RuntimeError("not a checked build")
        self.pool.give(&self.buffer)
        self.pool.give(&copy)

    def read_after_give(self, uint32_t index) -> int:
        """A byte of the buffer after giving it back; RuntimeError where it would not be poisoned."""
        cdef Buffer copy = self.buffer
        if not SIPCORE_IS_CHECKED:
            raise RuntimeError("not a checked build")
        self.pool.give(&self.buffer)
        return copy.p[index]


def overrun_outbox(Outbox outbox not None, uint32_t reserved, uint32_t written) -> None:
    """Write more than was reserved; RuntimeError where AddressSanitizer's shadow is not kept."""
    cdef uint8_t* room
    cdef uint32_t i
    if not SIPCORE_IS_CHECKED:
        raise RuntimeError("not a checked build")
    room = outbox.reserve(reserved)
    for i in range(written):
        room[i] = 0


def runs(bytes data not None, uint32_t start, uint8_t byte) -> tuple[int, int, int, list[int]]:
    """run_to_control, run_to_byte, run_of_plain and all Controls of data from start on.

    The bytes stand in memory of their own: AddressSanitizer sees a read behind them.
    """
    cdef uint32_t n = <uint32_t>len(data), at
    cdef uint8_t* p = <uint8_t*>malloc(n)
    cdef Controls controls
    cdef list every = []
    if p == NULL and n:
        raise MemoryError
    memcpy(p, <const char*>data, n)
    controls_from(&controls, p, n, start)
    at = controls_next(&controls)
    while at < n:
        every.append(at)
        at = controls_next(&controls)
    found = (run_to_control(p, start, n), run_to_byte(p, start, n, byte), run_of_plain(p, start, n), every)
    free(p)
    return found


def name_key(bytes data not None) -> tuple[int, bytes]:
    """run_to_colon of the sixteen bytes of data: where the colon stands, and the key's bytes; ValueError for others."""
    cdef uint64_t words[2]
    cdef uint32_t at
    if len(data) != 16:
        raise ValueError(f"sixteen bytes, not {len(data)}")
    at = run_to_colon(<const uint8_t*><const char*>data, &words[0], &words[1])
    return at, b"" if at == 16 else words[0].to_bytes(8, "little") + words[1].to_bytes(8, "little")


def hash_often(bytes data, str how, int operations) -> int:
    """how: "13", "24", or "slices" (three slices, the rounds of 1-3)."""
    cdef SipKey key
    cdef SipState state
    cdef const uint8_t* p = <const uint8_t*><const char*>data
    cdef size_t n = <size_t>len(data)
    cdef uint64_t total = 0
    cdef bint slices = how == "slices", strong = how == "24"
    key.k1 = 1
    for _ in range(operations):
        key.k0 = total      # the next hash waits for this one, as a lookup would
        if slices:
            siphash_init(&state, &key)
            siphash_update(&state, p, n // 3)
            siphash_update(&state, p + n // 3, n // 3)
            siphash_update(&state, p + n // 3 * 2, n - n // 3 * 2)
            total += siphash_final(&state)
        else:
            total += siphash24(&key, p, n) if strong else siphash13(&key, p, n)
    return total


def base32_often(int operations) -> int:
    """Write and read one word an operation."""
    cdef uint8_t text[BASE32_U64]
    cdef uint64_t word = 0, total = 0
    cdef int i
    for i in range(operations):
        put_base32_u64(total ^ <uint64_t>0x9E3779B97F4A7C15 * <uint64_t>i, text)
        if get_base32_u64(text, &word) == 0:
            total += word
    return total


def rearm_often(Wheel wheel not None, uint64_t now, uint64_t length, uint32_t stride, int operations) -> int:
    """Arm the ids 0, stride, 2 * stride, ... (modulo capacity) for now + length."""
    cdef uint64_t id = 0
    cdef int i
    for i in range(operations):
        wheel.arm(<uint32_t>id, now + length + i)
        id += stride
        if id >= wheel.capacity:
            id -= wheel.capacity
    return wheel.count


def turn_wheel(Wheel wheel not None, uint64_t now, uint64_t length, int operations) -> int:
    """Expire and re-arm until that many have expired, time going on to each next deadline; returns the time."""
    cdef uint32_t out[64]
    cdef int n, i, done = 0
    while done < operations:
        n = wheel.expire(now, out, 64)
        for i in range(n):
            wheel.arm(out[i], now + length)
        done += n
        if n == 0:
            now = wheel.next_deadline()
    return now


def idle_often(Wheel wheel not None, uint64_t now, int operations) -> int:
    """Expire where nothing is due, and ask for the next deadline: what every batch pays."""
    cdef uint32_t out[64]
    cdef uint64_t total = 0
    for _ in range(operations):
        total += wheel.expire(now, out, 64)
        total += wheel.next_deadline()
    return total


def linger_often(Linger linger not None, uint64_t now, uint32_t stride, int operations) -> int:
    """Push an id and expire what is due, one millisecond an operation; returns how many expired."""
    cdef uint32_t out[64]
    cdef uint64_t id = 0
    cdef int total = 0
    cdef int i
    for i in range(operations):
        linger.push(<uint32_t>id, now + i)
        id += stride
        if id >= linger.capacity:
            id -= linger.capacity
        total += linger.expire(now + i, out, 64)
    return total


def take_often(Pool pool not None, uint32_t n, int operations) -> int:
    """Take eight buffers and give them back: sixteen calls for eight operations."""
    cdef Buffer buffers[8]
    cdef uint64_t total = 0
    cdef int i
    for _ in range(operations // 8):
        for i in range(8):
            pool.take(n, &buffers[i])
            total += <uintptr_t>buffers[i].p
        for i in range(8):
            pool.give(&buffers[i])
    return total


cdef class Addresses:
    """IP literals, read once; looked up in turn."""
    cdef Address* address
    cdef uint32_t n
    cdef uint32_t at

    def __cinit__(self, ips: list[str]):
        cdef uint32_t i = 0
        self.address = <Address*>malloc(len(ips) * sizeof(Address))
        if self.address == NULL:
            raise MemoryError()
        for ip in ips:
            address_from(ip, 0, &self.address[i])
            i += 1
        self.n = i

    def __dealloc__(self):
        free(self.address)


def look_up_often(Trie trie not None, Addresses addresses not None, int operations) -> int:
    """Look the next addresses up; returns the sum of the values."""
    cdef int64_t total = 0
    for _ in range(operations):
        total += trie.find(&addresses.address[addresses.at])
        addresses.at += 1
        if addresses.at == addresses.n:
            addresses.at = 0
    return total


def limit_often(SourceLimiter limiter not None, uint64_t now, uint32_t sources, int operations) -> int:
    """Requests of as many IPv4 sources, one a millisecond; returns how many were let through."""
    cdef Address address
    cdef uint32_t ip
    cdef int passed = 0
    address_from("0.0.0.0", 0, &address)
    cdef int i
    for i in range(operations):
        ip = <uint32_t>(now + i) % sources
        memcpy(address.ip, &ip, 4)
        passed += limiter.take(&address, now + i)
    return passed


def bucket_often(uint64_t now, int operations) -> int:
    """One request a millisecond against 100 a second; returns how many were let through."""
    cdef Bucket bucket
    cdef int passed = 0
    bucket.at = bucket.spent = 0
    cdef int i
    for i in range(operations):
        passed += bucket_take(&bucket, now + i, 100, 10)
    return passed


def outbox_often(Outbox outbox not None, bytes data, int operations) -> int:
    """Queue copies of data, 64 a batch as the net layer does; returns how many were queued."""
    cdef Address to
    cdef uint8_t* room
    cdef uint32_t n = <uint32_t>len(data)
    cdef int queued = 0
    address_from("192.0.2.1", 5060, &to)
    cdef int i
    for i in range(operations):
        if i & 63 == 0:
            outbox.clear()
        room = outbox.reserve(n)
        if room != NULL:
            memcpy(room, <const char*>data, n)
            outbox.commit(&to, 0, n)
            queued += 1
    outbox.clear()
    return queued
