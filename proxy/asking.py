"""What calls ask and tell the services process: their half of a worker's link, with sounds as bytes."""
from collections.abc import Callable

from proxy.events import Answer, Asking, Event, Record
from proxy.services_link import ServicesLink

Step = Callable[[Callable[[], None]], None]
"""Does something to the stack from outside of its packets and timers, and sends what that says."""


class Asked:
    """proxy.calls.registry.Services, over a ServicesLink."""

    def __init__(self, link: ServicesLink, step: Step):
        self._link = link
        self._step = step
        self.used = link.used
        """Asked a dozen times a call; set where the link is attached after all."""

    def ask(self, question: Asking, answered: Callable[[Answer, bytes], None]) -> None:
        self._link.ask(question, lambda answer, sound: self._step(lambda: answered(answer, sound)))

    def emit(self, said: Event | Record) -> None:
        self._link.emit(said)

    def wants(self, name: str) -> bool:
        return self._link.wants(name)
