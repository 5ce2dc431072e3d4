from collections.abc import Callable, Iterable

from sipcore.base.bans import Bans
from sipcore.stack.control import Controlling
from sipcore.stack.overload import Overload
from sipcore.wire.fingerprints import Fingerprints

class Guarding(Controlling):
    overload: Overload
    bans: Bans
    scanners: Fingerprints | None
    on_ban: Callable[[str, int], object] | None
    def look_for(self, patterns: Iterable[str]) -> None: ...
    def offend(self, host: str) -> None: ...
    def statistics(self) -> dict[str, int]: ...
