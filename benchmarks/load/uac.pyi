class Uac:
    capacity: int
    def __init__(
        self,
        capacity: int,
        host: bytes,
        port: int,
        t1: float,
        hold: float,
        serial: int,
        templates: tuple[bytes, bytes, bytes],
        flows: int,
    ) -> None: ...
