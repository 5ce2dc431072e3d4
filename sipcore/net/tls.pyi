from collections.abc import Sequence
from datetime import datetime

from sipcore.net.certificate import Certificate

class TlsContext:
    server: bool
    asks: bool
    authorities: frozenset[bytes]
    names: tuple[str, ...]
    def __init__(
        self,
        *,
        server: bool,
        certificates: Sequence[tuple[str, str]] = (),
        ca: str = "",
        client_certificate: str = "none",
        minimum_version: str = "1.2",
    ) -> None: ...

def read_certificate(file: str) -> Certificate: ...
def validity(file: str) -> tuple[datetime, datetime]: ...
