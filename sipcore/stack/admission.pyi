from collections.abc import Iterable

from sipcore.base.trie import Trie

class Admission:
    groups: int
    sources: int
    def __init__(
        self,
        tries: Iterable[Trie],
        *,
        unlisted: str = "deny",
        unlisted_rate: int = 50,
        unlisted_burst: int = 100,
        unlisted_dialog_methods: Iterable[str] = ...,
        answer_rate: int = 10,
        sources: int = 65536,
    ) -> None: ...
    def add_group(
        self,
        action: str = "allow",
        methods: Iterable[str] = (),
        *,
        dialog_methods: Iterable[str] = ...,
        rate: int = 0,
        burst: int = 0,
        group_rate: int = 0,
        group_burst: int = 0,
        trusted: bool = False,
    ) -> int: ...
    def group(self, host: str, listener: int = 0) -> int: ...
