"""What the target of a warm transfer hears alone before the bridge, and the key that it answers with."""
import re
from typing import TYPE_CHECKING

from proxy.calls.table import Event
from proxy.events import Answer, AskSpeech
from proxy.policy.placement import fill_text
from sipcore.media.law import converted

if TYPE_CHECKING:
    from proxy.calls.transfer import Transfer
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.leg import Leg
    from sipcore.wire.message import Message

LONGEST_TEXT = 4000
"""Bytes of a spoken text."""
_OTHER_LAW = {"PCMU": "PCMA", "PCMA": "PCMU"}
SLACK = 2.0
"""Seconds beyond its longest after which a whisper whose end nobody reported has ended."""

_SIGNAL = re.compile(rb"(?:^|[\r\n])\s*Signal\s*=\s*([0-9A-D*#])", re.IGNORECASE)


def key_of(request: "Message") -> str:
    """The key that an INFO says was pressed (application/dtmf-relay, application/dtmf); empty for none."""
    kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    if request.method != "INFO" or kind not in ("application/dtmf-relay", "application/dtmf"):
        return ""
    found = _SIGNAL.search(request.body)
    if found is not None:
        return found[1].decode("ascii").upper()
    text = request.body.strip()
    return text.decode("ascii").upper() if kind == "application/dtmf" and re.fullmatch(rb"[0-9A-Da-d*#]", text) else ""


class Whispering:
    """Prepared while the target rings, played when it has answered; cut after its longest."""

    def __init__(self, transfer: "Transfer"):
        whisper = transfer.action.whisper
        assert whisper is not None
        self.transfer = transfer
        self.whisper = whisper
        self.sounds: dict[str, bytes] = {}
        """By codec: the next target may take another one."""
        self._codec = ""
        """Which was asked for last."""
        self._spoken = ""
        self._asked = False
        self._coming = False
        self._token = 0
        self._wait: Alarm | None = None

    def prepare(self) -> None:
        """Ask for the sound, once for all targets: what is said depends on none of them."""
        call = self.transfer.call
        if self._asked or call.caller is None:
            return
        self._asked = True
        whisper = self.whisper
        text = fill_text(whisper.text, self.transfer.preparation.variables(), LONGEST_TEXT) if whisper.text else ""
        self._ask(AskSpeech(
            ask=0, call=call.id, codec=self.transfer.media.sound_codec(call.caller), deadline=whisper.deadline,
            text=text, file=whisper.file, summary=whisper.summary, fallback=whisper.fallback, longest=whisper.longest))

    def begin(self) -> None:
        """The target has answered: play it, or wait a bounded time for it."""
        if self._coming:
            self._wait_for_it()
        else:
            self._play()

    def await_key(self) -> None:
        self._stop_waiting()
        self._wait = self.transfer.call.calls.after(
            self.whisper.answer_within, lambda: self.transfer.happen(Event.KEY_TIMEOUT))

    def end(self, leg: "Leg | None" = None) -> None:
        """Stop it, where it is heard by a leg; what it was asked for may still serve the next target."""
        self._stop_waiting()
        if self._token and leg is not None:
            self.transfer.media.stop_playing(leg)
        self._token = 0

    def played(self, token: int) -> None:
        """It was heard to its end."""
        if token and token == self._token:
            self._token = 0
            self._stop_waiting()
            self.transfer.happen(Event.WHISPER_DONE)

    def pressed(self, key: str) -> None:
        if self.transfer.status.state != "whispering" or not key:
            return
        if key == self.whisper.accept:
            self.transfer.happen(Event.KEY_ACCEPT)
        elif key == self.whisper.decline:
            self.transfer.happen(Event.KEY_DECLINE)

    def _ask(self, question: AskSpeech) -> None:
        self._coming = True
        self._codec = question.codec
        self.transfer.call.calls.ask(question, self.whisper.deadline, self._ready)

    def _wait_for_it(self) -> None:
        self._wait = self.transfer.call.calls.after(self.whisper.wait, self._late)

    def _ready(self, answer: Answer, sound: bytes) -> None:
        self._coming = False
        if self.transfer.ended:
            return
        self.sounds[self._codec] = sound
        self._spoken = answer.spoken or self._spoken
        self.transfer.note("whisper", answer.error or f"{len(sound)} bytes of sound, {self._codec}")
        if answer.extracted:
            self.transfer.extracted += answer.extracted
        if self._wait is not None and not self._token and self.transfer.status.state == "whispering":
            self._stop_waiting()
            self._play()

    def _late(self) -> None:
        self._wait = None
        self.transfer.note("whisper", f"not ready within {self.whisper.wait:g} s of the answer")
        self.transfer.happen(Event.WHISPER_DONE)

    def _play(self) -> None:
        leg = self.transfer.leg
        sound, codec = self._fitting(leg) if leg is not None else (b"", "")
        if self._coming:
            self._wait_for_it()
            return
        if leg is not None and sound:
            self._token = self.transfer.media.play(leg, sound, codec)
        if self._token:
            token = self._token
            self._wait = self.transfer.call.calls.after(self.whisper.longest + SLACK, lambda: self.played(token))
        else:
            self.transfer.happen(Event.WHISPER_DONE)

    def _fitting(self, leg: "Leg") -> tuple[bytes, str]:
        """The sound in a codec that the target has agreed to, which was not known when it was asked for, and that
        codec; asks for it once more where G.711 of one law is not enough, and then nothing is there yet."""
        codecs = self.transfer.media.sound_codecs(leg)
        for codec in codecs:
            if codec in self.sounds:
                return self.sounds[codec], codec
        for codec in codecs:
            law = _OTHER_LAW.get(codec, "")
            if self.sounds.get(law):
                self.sounds[codec] = converted(self.sounds[law], codec)
                return self.sounds[codec], codec
        if not codecs:
            self.transfer.note("whisper", "the target has agreed to no codec that it could be played in")
        elif any(self.sounds.values()):
            self._ask(AskSpeech(
                ask=0, call=self.transfer.call.id, codec=codecs[0], deadline=self.whisper.deadline, text=self._spoken,
                file=self.whisper.file, longest=self.whisper.longest))
        return b"", ""

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None
