"""The caller on hold: what it hears while the transfer is on its way to the target."""
from typing import TYPE_CHECKING

from proxy.events import Answer, AskSpeech

if TYPE_CHECKING:
    from proxy.calls.transfer import Transfer

LONGEST_SOUND = 600.0
"""Seconds."""


class Hold:
    """Of one transfer. Nobody waits for the sound: until it is there the caller hears nothing."""

    def __init__(self, transfer: "Transfer"):
        self.transfer = transfer
        self._sound = b""
        self._codec = ""
        self._on = False

    def prepare(self) -> None:
        """Ask for the sound, where the action has one."""
        call, action = self.transfer.call, self.transfer.action
        if action.hold_file and call.media.anchored and call.caller is not None:
            self._codec = codec = self.transfer.media.sound_codec(call.caller)
            call.calls.ask(AskSpeech(ask=0, call=call.id, codec=codec, deadline=action.deadline, file=action.hold_file,
                                     longest=LONGEST_SOUND), action.deadline, self._ready)

    def _ready(self, answer: Answer, sound: bytes) -> None:
        if not self.transfer.ended:
            self._sound = sound
            self._play()

    def begin(self) -> None:
        """Nobody hears the caller, nor the caller anybody but the sound."""
        call = self.transfer.call
        if self._on or not call.media.anchored or call.caller is None:
            return
        self._on = True
        self.transfer.media.isolate(call.caller)
        if call.peer is not None:
            self.transfer.media.isolate(call.peer)
        self._play()

    def _play(self) -> None:
        caller = self.transfer.call.caller
        if self._on and self._sound and caller is not None:
            self.transfer.media.play(caller, self._sound, self._codec, loop=True)

    def end(self) -> None:
        """Caller and agent hear each other again."""
        caller, peer = self.transfer.call.caller, self.transfer.call.peer
        if self._on and caller is not None and peer is not None:
            self._on = False
            self.transfer.media.join(caller, peer)

    def forget(self) -> None:
        """Keep no sound: a transfer is shown for long after its end."""
        self._sound = b""
