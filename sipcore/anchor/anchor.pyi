from collections.abc import Iterable

from sipcore.anchor.streams import Streams

class Anchor(Streams):
    live: int
    def configure(
        self,
        pools_of: Iterable[Iterable[int]],
        rules: Iterable[
            tuple[int, int, int] | tuple[int, int, int, bool] | tuple[int, int, int, bool, tuple[int, int]]
        ],
        suites: Iterable[str] = (),
        plain_listeners: Iterable[int] = (),
    ) -> None: ...
    def statistics(self) -> dict[str, int]: ...
    def owner(self, session: int) -> tuple[int, int, int] | None: ...
