"""The table of server transactions alone, for its tests; nothing of the product uses it."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from sipcore.stack.keytable cimport (
    KeyTable, keytable_enter, keytable_find, keytable_free, keytable_leave, keytable_make,
)
from sipcore.stack.tx cimport NO_TX, Tx


cdef class Keys:
    """Transactions 0..capacity - 1, each with a key where it is entered."""
    cdef KeyTable table
    cdef Tx* slab
    cdef readonly uint32_t capacity

    def __cinit__(self, uint32_t capacity):
        self.capacity = capacity
        self.slab = <Tx*>calloc(capacity, sizeof(Tx))
        if self.slab == NULL or keytable_make(&self.table, capacity) != 0:
            raise MemoryError

    def __dealloc__(self):
        free(self.slab)
        keytable_free(&self.table)

    @property
    def buckets(self) -> int:
        """How many are in use."""
        return self.table.count

    def enter(self, uint32_t slot, uint64_t key) -> None:
        """IndexError where there is no such transaction."""
        if slot >= self.capacity:
            raise IndexError(slot)
        self.slab[slot].key = key
        keytable_enter(&self.table, self.slab, slot)

    def leave(self, uint32_t slot) -> None:
        """Of one that was entered; IndexError where there is no such transaction."""
        if slot >= self.capacity:
            raise IndexError(slot)
        keytable_leave(&self.table, self.slab, slot)

    def find(self, uint64_t key) -> int | None:
        """The transaction with that key, or None."""
        cdef uint32_t slot = keytable_find(&self.table, self.slab, key)
        return None if slot == NO_TX else slot
