from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sipcore.base.errors import SipEdgeError

Headers = Iterable[tuple[str, str]]

class BadText(SipEdgeError, ValueError): ...

def raw(text: str) -> bytes: ...
def header_lines(headers: Headers) -> bytes: ...
def tail(body: bytes, content_type: str, compact: bool = False) -> bytes: ...
def uri_of(value: str) -> str: ...
def address_of(value: str) -> str: ...
@dataclass(frozen=True, kw_only=True)
class Outgoing:
    method: str
    uri: str
    call_id: str
    cseq: int
    local: str
    local_tag: str
    remote: str
    remote_tag: str = ""
    route: tuple[str, ...] = ()
    contact: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = "application/sdp"
    next_hop: str = ""
    max_forwards: int = 70
    compact: bool = False
    @property
    def destination(self) -> str: ...
    @property
    def most(self) -> int: ...
    def changed(self, **fields: Any) -> Outgoing: ...
    def render(self, via: bytes) -> bytes: ...
