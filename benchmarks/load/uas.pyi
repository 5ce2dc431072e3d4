class Uas:
    capacity: int
    def __init__(
        self, capacity: int, uri: str, status: int, t1: float, tails: tuple[bytes, bytes], reliable: bool
    ) -> None: ...
