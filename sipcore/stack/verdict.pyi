from collections.abc import Sequence
from typing import Any, ClassVar

from sipcore.base.place import Place

class Target:
    listener: int
    uri: bytes
    host: str
    port: int
    transport: str
    name: str
    place: Place | None
    def __init__(
        self,
        host: str,
        port: int = 5060,
        listener: int = -1,
        uri: bytes = b"",
        transport: str = "udp",
        name: str = "",
    ) -> None: ...

class Verdict:
    FORWARD: ClassVar[int]
    REJECT: ClassVar[int]
    DROP: ClassVar[int]
    LOCAL: ClassVar[int]
    action: int
    status: int
    reason: str
    headers: bytes
    targets: tuple[Target, ...]
    uri: bytes
    insert: bytes
    remove: tuple[str, ...]
    replace: tuple[tuple[str, bytes], ...]
    body: bytes | None
    compact: bool
    record_route: bool
    nat: bool
    control: bool
    budget: int
    anchor: int
    upstream: int
    max_calls: int
    try_timeout: int
    ring_timeout: int
    max_duration: int
    scope: int
    precall: str
    tcp: bool
    fallback: Verdict | None
    note: str
    warn: str
    def __init__(
        self,
        *,
        action: int = ...,
        status: int = ...,
        reason: str = ...,
        headers: bytes = ...,
        targets: tuple[Target, ...] = ...,
        uri: bytes = ...,
        insert: bytes = ...,
        remove: tuple[str, ...] = ...,
        replace: tuple[tuple[str, bytes], ...] = ...,
        body: bytes | None = ...,
        compact: bool = ...,
        record_route: bool = ...,
        nat: bool = ...,
        control: bool = ...,
        budget: int = ...,
        anchor: int = ...,
        upstream: int = ...,
        max_calls: int = ...,
        try_timeout: int = ...,
        ring_timeout: int = ...,
        max_duration: int = ...,
        scope: int = ...,
        precall: str = ...,
        tcp: bool = ...,
        fallback: Verdict | None = ...,
        note: str = ...,
        warn: str = ...,
    ) -> None: ...
    def changed(self, **fields: Any) -> Verdict: ...
    def routed(self, targets: tuple[Target, ...], insert: bytes) -> Verdict: ...

class Request:
    group: int
    listener: int
    in_dialog: bool
    routed: bool
    now: int
    method: str
    source: tuple[str, int]
    far: tuple[str, int] | None
    towards: Target | None
    upstream: int
    uri: str
    scheme: str
    user: str
    host: str
    port: int
    maddr: str
    call_id: str
    to_tag: str
    from_uri: str
    to_uri: str
    body: bytes
    size: int
    @staticmethod
    def parse(
        data: bytes,
        *,
        group: int = 0,
        listener: int = 0,
        source: Sequence[Any] = ...,
        in_dialog: bool = False,
        now: int = 0,
    ) -> Request: ...
    def header(self, name: str) -> str | None: ...
    def headers(self, name: str) -> list[str]: ...
    def x_headers(self) -> dict[str, str]: ...
    def size_with(self, verdict: Verdict, target: int = 0) -> int: ...
