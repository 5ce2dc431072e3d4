"""A call as captures follow it: by the Call-IDs of its legs, which change with transfers, and by its audio."""
from typing import TYPE_CHECKING, Any

from sipcore.stack.calling import Calling

if TYPE_CHECKING:
    from proxy.calls.call import Call


class Traced:
    """One call. An object of its own, so that only calls that somebody captures have it."""

    def __init__(self, call: "Call"):
        self.call = call

    @property
    def place(self) -> tuple[int, int] | None:
        """Its (slot, generation) among the records; None where it has none."""
        return self.call.record.place if self.call.record is not None else None

    def call_ids(self) -> set[str]:
        """Of the legs that it has now."""
        call = self.call
        legs = (call.caller, call.peer, call.transfer.leg if call.transfer is not None else None)
        dialogs = [leg.dialog or (leg.phase.out if isinstance(leg.phase, Calling) else None)
                   for leg in legs if leg is not None]
        return {call.request.call_id, *(dialog.call_id for dialog in dialogs if dialog is not None)}

    def streams(self) -> list[tuple[int, dict[int, tuple[str, int]]]]:
        """Its sessions of the relay, and where each side of them is."""
        media: Any = self.call.media
        return media.media.places() if media.anchored else []
