class Message:
    data: bytes
    is_request: bool
    method: str
    uri: str
    status: int
    reason: str
    call_id: str
    cseq: tuple[int, str]
    from_tag: str
    to_tag: str
    branch: str
    body: bytes
    size: int
    def __init__(self, data: bytes, check: bool = True) -> None: ...
    def header(self, name: str) -> str | None: ...
    def headers(self, name: str) -> list[str]: ...
    def items(self) -> list[tuple[str, str]]: ...

def index(data: bytes) -> Message: ...
def decode(data: bytes) -> Message: ...
