from collections.abc import Callable, Sequence

from sipcore.base.outbox import Outbox
from sipcore.net.stream import Streams

class Sender:
    segmenting: bool
    sent: int
    errors: int
    def __init__(
        self,
        outbox: Outbox,
        descriptors: Sequence[int],
        on_trouble: Callable[[str], None] | None = None,
        streams: Streams | None = None,
    ) -> None: ...
    def send(self) -> int: ...
