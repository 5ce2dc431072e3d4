"""Transactions, forwarding, dialogs and legs, sans-IO.

A leg and its parts name each other's types, which the compiled modules look up when they are loaded: the leg is to be
loaded first.
"""
import sipcore.stack.leg  # noqa: F401
