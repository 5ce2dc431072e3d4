"""The way to the services process, as calls use it."""
from collections.abc import Callable
from typing import Protocol

from proxy.events import Answer, Asking, Event, Record


class Services(Protocol):
    """The way to the services process."""

    @property
    def used(self) -> bool: ...

    def ask(self, question: Asking, answered: Callable[[Answer, bytes], None]) -> None:
        """answered is called exactly once, with an `error` where no answer came."""

    def emit(self, said: Event | Record) -> None: ...

    def wants(self, name: str) -> bool: ...


class NoServices:
    """Where no services process is: questions are answered with an error at once."""

    used = False

    def ask(self, question: Asking, answered: Callable[[Answer, bytes], None]) -> None:
        answered(Answer(ask=0, error="no services process is configured"), b"")

    def emit(self, said: Event | Record) -> None:
        pass

    def wants(self, name: str) -> bool:
        return False
