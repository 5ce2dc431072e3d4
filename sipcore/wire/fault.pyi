from sipcore.base.errors import MalformedMessage

class WireFault(MalformedMessage, ValueError):
    code: int
    value: bytes
    def __init__(self, code: int, value: bytes = ...) -> None: ...

def fault_codes() -> dict[int, str]: ...
