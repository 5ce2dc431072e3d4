_Where = tuple[str, int]

class LatchProbe:
    def __init__(self) -> None: ...
    def aim(
        self,
        signalled: _Where | None = None,
        signalling: _Where | None = None,
        *,
        learning: int = 1,
        active: bool = True,
        moved: bool = False,
        now: int = 0,
        learn: int = 10_000_000,
    ) -> None: ...
    def admit(self, source: _Where, ssrc: int = 1, now: int = 0) -> str: ...
    def admit_often(self, source: _Where, operations: int) -> int: ...
    @property
    def target(self) -> _Where | None: ...
    @property
    def rank(self) -> int: ...
