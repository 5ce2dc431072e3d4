"""Requests of the far end inside a leg's dialog."""
from sipcore.stack.leg cimport Leg
from sipcore.stack.uas cimport ServerTransaction

cpdef object take(Leg leg, ServerTransaction tx)
cpdef object _on_bye(Leg leg, ServerTransaction tx)
