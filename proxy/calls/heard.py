"""What the relay hears in a call, and what that means for it."""
from typing import TYPE_CHECKING, Any

from proxy.calls.media import Anchored
from proxy.calls.records import printable
from proxy.events import Event as Said

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from sipcore.anchor.bridgemedia import BridgeMedia


class Heard:
    """The MediaOwner of one call's BridgeMedia."""

    __slots__ = ("call",)

    def __init__(self, call: "Call"):
        self.call = call

    def on_played(self, media: "BridgeMedia", side: int, token: int, whole: bool) -> None:
        transfer = self.call.transfer
        if transfer is not None and transfer.whispering is not None:
            transfer.whispering.played(token)

    def on_digit(self, media: "BridgeMedia", side: int, digit: str, ms: int) -> None:
        call = self.call
        transfer = call.transfer
        if (transfer is not None and transfer.whispering is not None and isinstance(call.media, Anchored)
                and call.media.leg_on(side) is transfer.leg):
            transfer.whispering.pressed(digit)

    def on_silent(self, media: "BridgeMedia", side: int, ms: int) -> None:
        self._tell("call.silent", side, ms)
        self._log("warning", "no audio", side, ms)

    def on_heard(self, media: "BridgeMedia", side: int, ms: int) -> None:
        self._tell("call.heard_again", side, ms)
        self._log("info", "audio again", side, ms)

    def on_source(self, media: "BridgeMedia", side: int, address: tuple[str, int], rank: int) -> None:
        """Its audio comes from there: nothing that others ask for."""

    def on_timeout(self, media: "BridgeMedia", ms: int) -> None:
        """Nobody has sent anything for too long."""
        ends = self.call.calls.config.relay.on_timeout == "end"
        self.call.calls.log("warning", "audio timeout", call_id=printable(self.call.request.call_id), seconds=ms / 1000,
                            action="call ended" if ends else "none")
        if ends:
            self.call.end("edge", "media")

    def _log(self, level: str, event: str, side: int, ms: int) -> None:
        call = self.call
        role = call.media.roles.get(side, "target") if isinstance(call.media, Anchored) else ""
        # Who was bridged a moment ago and hears nothing finds the transfer by it.
        last = call.past[-1].id if call.past else ""
        call.calls.log(level, event, call_id=printable(call.request.call_id), side=role, seconds=ms / 1000,
                       **({"transfer": last} if last else {}))

    def _tell(self, name: str, side: int, ms: int) -> None:
        call = self.call
        calls = call.calls
        calls.count(name.replace("call.", "audio_"))
        if calls.services.wants(name) and isinstance(call.media, Anchored):
            detail: dict[str, Any] = {"side": call.media.roles.get(side, "target"), "ms": ms}
            calls.services.emit(Said(name=name, at=calls.now, call=call.struct(), detail=detail))
