"""A Layer whose transactions have objects, and Handlers that hear of them (RFC 3261 8).

A Handler hears what happens synchronously, inside `feed` and `advance`, and may send from there. What it raises is
kept in `troubles`. Objects are there for what a user agent asks or answers; a forwarded request has none.
"""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport slice_bytes, slice_from, slice_of
from sipcore.stack.identity cimport TAG_TEXT
from sipcore.stack.layer cimport Layer
from sipcore.stack.tx cimport NO_TX, ROLE_UAC, ROLE_UAS

import os
import struct

cdef enum:
    TROUBLES = 100          # texts kept for the log between two takings


cdef class Transaction:
    """What a request that came and one of ours have in common."""


cdef class Holding(Layer):
    """Takes what Layer takes."""

    def __cinit__(self, *_, **__):
        self.troubles = []
        self.held = []
        self.salt = struct.unpack("<Q", os.urandom(8))[0]

    @property
    def time(self):
        """ms: the now of the step that is being taken, for Handlers."""
        return self.now

    def take_troubles(self):
        """Texts about mistakes of handlers since the last call, for the log."""
        taken = self.troubles[:]
        self.troubles.clear()
        return taken

    def new_tag(self):
        """A tag that nobody else makes and nobody can guess (19.3); the worker's number stands in it."""
        cdef uint8_t text[TAG_TEXT]
        self.drawn += 1
        self.identity.put_tag(text, self.drawn ^ self.salt)
        return slice_bytes(slice_of(text, TAG_TEXT)).decode("ascii")

    def new_call_id(self):
        """A Call-ID that nobody else makes (8.1.1.4)."""
        return self.new_tag() + self.new_tag()

    cdef bint _tell(self, object handler, str what, Transaction tx, object more) noexcept:
        """Let a transaction's handler hear of something; whether it made no mistake."""
        # From here on messages of other calls may be sent.
        self.outbox.call = 0
        try:
            if more is None:
                getattr(handler, what)(tx)
            else:
                getattr(handler, what)(tx, more)
        except Exception as error:
            self._trouble(f"{what}: {type(error).__name__}: {error}")
            return False
        return True

    cdef void _trouble(self, str text) noexcept:
        if len(self.troubles) < TROUBLES:
            self.troubles.append(text)

    cdef void _refuse(self, uint32_t listener, const Address* source, uint32_t status, bytes reason,
                      bytes headers) noexcept:
        self.answer(listener, source, status, slice_from(reason), slice_from(headers))

    cdef void _keep_object(self, uint32_t slot, Transaction tx) noexcept:
        while <uint32_t>len(self.held) <= slot:
            self.held.append(None)
        self.held[slot] = tx
        tx.slot = slot

    cdef Transaction _object(self, uint32_t slot):
        """The transaction of a head; None where it only lingers."""
        return <Transaction>self.held[slot] if slot < <uint32_t>len(self.held) else None

    cdef void _let_go(self, uint32_t slot) noexcept:
        """Part a head that only lingers from its object: what a call was made of goes when the call goes."""
        cdef Transaction tx = self._object(slot)
        if tx is not None:
            tx.slot = NO_TX
            tx.handler = None
            self.held[slot] = None

    cdef void on_free(self, uint32_t slot) noexcept:
        if self.slab[slot].role == ROLE_UAS or self.slab[slot].role == ROLE_UAC:
            self._let_go(slot)
