"""Conversations as the agents' platforms tell them: the latest turns of each call, in bounded memory."""
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from proxy.policy.answers import cut

ALL_BYTES = 256 * 1024 * 1024
"""Most bytes of all conversations together; then the one that has waited longest for a turn is forgotten."""

_TURN_BYTES = 200
"""What a turn costs beside its text, so that empty ones are bounded too."""


class Turn(Struct, frozen=True):
    """What one of the two said. at: ms since 1970, 0 where nobody told."""

    speaker: Literal["caller", "agent"]
    text: str
    at: int = 0


class _Conversation:
    def __init__(self) -> None:
        self.turns: deque[Turn] = deque()
        self.size = 0


class Conversations:
    """limit: most bytes of one conversation; the latest turns are kept."""

    def __init__(self, limit: int, all_bytes: int = ALL_BYTES):
        self._limit = limit
        self._all_bytes = all_bytes
        self._size = 0
        self._calls: OrderedDict[str, _Conversation] = OrderedDict()

    def add(self, call: str, turns: Iterable[Turn]) -> None:
        """Append turns; of a single one that is longer than the limit its end is lost."""
        conversation = self._calls.setdefault(call, _Conversation())
        self._calls.move_to_end(call)
        for turn in turns:
            room = max(0, self._limit - _TURN_BYTES)
            kept = Turn(turn.speaker, cut(turn.text, room), turn.at)
            conversation.turns.append(kept)
            self._grow(conversation, _size(kept))
            while conversation.size > self._limit and conversation.turns:
                self._grow(conversation, -_size(conversation.turns.popleft()))
        if not conversation.turns:
            del self._calls[call]
        while self._size > self._all_bytes:
            _, oldest = self._calls.popitem(last=False)
            self._size -= oldest.size

    def _grow(self, conversation: _Conversation, size: int) -> None:
        conversation.size += size
        self._size += size

    def turns(self, call: str, most: int) -> list[Turn]:
        """The latest turns of a call, oldest first; none of a call that nobody told about."""
        conversation = self._calls.get(call)
        return list(conversation.turns)[-most:] if conversation else []

    def forget(self, call: str) -> None:
        """The call is over."""
        conversation = self._calls.pop(call, None)
        if conversation is not None:
            self._size -= conversation.size

    def __len__(self) -> int:
        return len(self._calls)


def _size(turn: Turn) -> int:
    return len(turn.text.encode()) + _TURN_BYTES
