"""Fixtures of the tests with real phones."""
from tests.edge import network, start_edge  # noqa: F401
