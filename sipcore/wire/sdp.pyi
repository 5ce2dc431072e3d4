from collections.abc import Sequence
from typing import NamedTuple

class Codec(NamedTuple):
    payload: int
    name: str
    clock: int
    channels: int

class Media(NamedTuple):
    kind: str
    port: int
    port_count: int
    proto: str
    formats: tuple[str, ...]
    codecs: tuple[Codec, ...]
    connection: str
    direction: str
    rtcp_port: int
    ptime: int
    start: int
    stop: int

class Sdp:
    def __init__(self, body: bytes) -> None: ...
    @property
    def version(self) -> int: ...
    @property
    def origin_address(self) -> str: ...
    @property
    def connection(self) -> str: ...
    @property
    def media(self) -> tuple[Media, ...]: ...

def keep_codecs(body: bytes, names: Sequence[str]) -> bytes: ...
