from sipcore.wire.message import Message

NEVER: frozenset[str]
TRUSTED: frozenset[str]
REFUSAL: frozenset[str]
ALWAYS: frozenset[str]

def crossing(message: Message, *, trusted: bool) -> tuple[tuple[str, str], ...]: ...
