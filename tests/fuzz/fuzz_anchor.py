"""Offers and answers of whole calls through an anchoring proxy with a relay: any order, any descriptions, any answers.

The input is a script of steps that end with a line holding one dot. A step is who (`a` the caller, `b` the callee),
what, and the description that goes with it, if any. What: `i` an INVITE (inside the dialog where there is one), `u`
UPDATE, `p` PRACK, `k` ACK, `y` BYE, `c` CANCEL; a digit answers the last request that came: 1 with 183, 3 with a 183
that is reliable, 2 with 200, 4 with 488, 5 with 503, 7 with 487; `t` lets two seconds pass. In a description the
talker's address stands as HOST.
"""
import sys
from typing import Any

from sipcore.media.ports import PortPool
from sipcore.stack.verdict import Verdict
from sipcore.wire.fault import WireFault
from sipcore.wire.message import Message
from sipcore.wire.sdp import Sdp
from tests.anchor.bench import PASS, REFUSE, SDP_TYPE, AnchorBench, sdp
from tests.endpoints import EDGE, Dialog, Phone, Received
from tests.fuzz import harness
from tests.media.stage import HOST

FIRST, LAST = 21300, 21315
END = b"\n.\n"
STEPS = 24
METHODS = {b"u": "UPDATE", b"p": "PRACK", b"k": "ACK", b"y": "BYE"}
STATUS = {b"1": 183, b"2": 200, b"3": 183, b"4": 488, b"5": 503, b"7": 487}
# Longer than all steps together.
DURATION = 60
# What the log is told where a description is not taken.
TOLD = ("answer in ACK left out: ", "provisional response not forwarded: ", "session description refused with ")
# Longer than the duration of a call, Timer C and the states that linger behind it.
QUIET_MS = 600_000


class End:
    """A phone, its dialog, and the last request that it has not answered."""

    def __init__(self, phone: Phone):
        self.phone = phone
        self.dialog: Dialog | None = None
        self.asked: Received | None = None
        self.invite = b""
        self.rseq = 0


class Run:
    """One script on a proxy of its own."""

    def __init__(self, other: int):
        self.bench = AnchorBench(pools=[PortPool(HOST, FIRST, LAST, quarantine=0)], sessions=6, calls=3, other=other,
                                 verdict=Verdict(anchor=1, max_duration=DURATION))
        self.passes = other == PASS
        self.calls = 0
        self.over: set[str] = set()
        self.ends = {b"a": End(self.bench.phone("alice", "127.0.0.2")), b"b": End(self.bench.phone("bob", "127.0.0.3"))}

    def play(self, data: bytes) -> None:
        for step in data.split(END)[:STEPS]:
            end = self.ends.get(step[:1])
            if end is not None:
                self.step(end, step[1:2], step[2:2000].replace(b"HOST", end.phone.host.encode()))
                self.bench.run()
                self.look()
        self.bench.run(QUIET_MS)
        self.look()
        self.bench.empty()
        found = self.bench.proxy.statistics() | self.bench.anchor.statistics()
        assert min(found.values()) >= 0
        assert found["media_calls_up"] == 0

    def step(self, end: End, what: bytes, body: bytes) -> None:
        headers = list(SDP_TYPE) if body else []
        if what == b"t":
            self.bench.run(2000)
        elif what == b"i" and end.dialog is None:
            if end is self.ends[b"a"]:
                self.calls += 1
                end.invite = end.phone.request("INVITE", self.ends[b"b"].phone.uri, call_id=f"c{self.calls}",
                                               headers=headers, body=body)
        elif what == b"c" and end.invite:
            self.over.add(Message(end.invite).call_id)
            end.phone.cancel(end.invite)
        elif what in STATUS and end.asked is not None:
            if what == b"3":
                end.rseq += 1
                headers += [("Require", "100rel"), ("RSeq", str(end.rseq))]
            end.phone.answer(end.asked, STATUS[what], headers=headers, body=body)
        elif (what == b"i" or what in METHODS) and end.dialog is not None:
            if what == b"p":
                headers.append(("RAck", f"1 {end.dialog.cseq} INVITE"))
            if what == b"y":
                self.over.add(end.dialog.call_id)
            sent = end.dialog.send("INVITE" if what == b"i" else METHODS[what], headers=headers, body=body)
            end.invite = sent if what == b"i" else end.invite

    def look(self) -> None:
        """Take what arrived; whatever the edge anchors says the edge's address, and nothing went wrong inside."""
        for end in self.ends.values():
            for message in end.phone.received():
                if message.packet.source != EDGE:
                    # From phone to phone, where a dialog has no route.
                    continue
                if message.message.cseq == (1, "INVITE") and message.name >= "300" and not message.message.is_request:
                    self.over.add(message.message.call_id)
                self.judge(message.message)
                if message.message.is_request:
                    if message.name != "ACK":
                        end.asked = message
                    if message.name == "INVITE" and end.dialog is None and not message.message.to_tag:
                        end.dialog = end.phone.callee_dialog(message)
                elif end.dialog is None and message.header("Contact") and message.message.cseq[1] == "INVITE":
                    end.dialog = end.phone.caller_dialog(message)
        assert [text for text in self.bench.proxy.take_troubles() if not text.startswith(TOLD)] == []

    def judge(self, message: Message) -> None:
        """Of a call that is over nothing is anchored; what a refusal says of codecs is neither offer nor answer."""
        if message.cseq[1] not in ("INVITE", "ACK", "UPDATE", "PRACK"):
            return
        if not message.is_request and message.status >= 300:
            return
        if not message.body or message.call_id in self.over:
            return
        try:
            found = Sdp(message.body)
        except WireFault:
            raise AssertionError("a description passed that nobody can read") from None
        for media in found.media:
            # Who may pass other kinds can answer them with audio: what was offered decides what becomes of a section.
            if not self.passes:
                assert media.connection in (HOST, "")
                assert media.port == 0 or (FIRST <= media.port < LAST and media.port % 2 == 0)


def target(data: bytes) -> None:
    unraisable: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    run = Run(PASS if data[:1] == b"+" else REFUSE)
    try:
        run.play(data.lstrip(b"+"))
    finally:
        run.bench.close()
        sys.unraisablehook = before
    # What a function that cannot raise had to swallow.
    assert not unraisable, unraisable[0]


def script(*steps: bytes) -> bytes:
    return END.join(steps)


def _seeds() -> list[bytes]:
    def text(port: int, *more: str) -> bytes:
        return sdp("127.0.0.1", port, *more).replace(b"127.0.0.1", b"HOST")

    one, two = text(4000), text(5000)
    held = text(4000, "a=sendonly")
    more = text(4000, "a=rtcp-mux", "m=video 4004 RTP/AVP 31", "a=rtcp:4005", "m=audio 4008 RTP/AVP 8")
    call = (b"ai" + one, b"b2" + two, b"ak")
    return [
        script(*call, b"ay", b"b2"),
        script(b"ai" + one, b"b1" + two, b"b1" + text(5002), b"b2" + two, b"ak", b"by", b"a2"),
        script(b"ai", b"b2" + one, b"ak" + two, b"bi" + more, b"a2" + two, b"bk", b"ay", b"b2"),
        script(b"ai" + one, b"b3" + two, b"ap", b"b2", b"au" + held, b"b2" + two, b"b2", b"ak", b"ay", b"b2"),
        script(*call, b"ai" + held, b"b2" + text(5000, "a=recvonly"), b"ak", b"bi" + more, b"a4", b"bk", b"ay", b"b2"),
        script(b"ai" + one, b"b1" + two, b"ac", b"b2", b"b7"),
        script(b"ai" + one, b"b4", b"ai" + more, b"b2" + two + b"m=video 0 RTP/AVP 31\r\n", b"ak"),
        script(b"ai" + one, b"at", b"bt", b"b5"),
        script(*call, b"ai" + one, b"bi" + two, b"a4", b"b4", b"au" + b"v=0\r\n", b"bu" + more, b"a2" + one),
        b"+" + script(b"ai" + more, b"b2" + more, b"ak", b"ai", b"b2" + text(5000), b"ak" + text(4000), b"by", b"a2"),
    ]


SEEDS = _seeds()

if __name__ == "__main__":
    harness.run(target, SEEDS)
