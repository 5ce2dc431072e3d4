"""The whole demo against an edge in this process, over loopback sockets; and that it notices what is wrong."""
import asyncio
import io
import socket

import msgspec
import pytest
from rich.console import Console

from proxy.demo import run_demo
from proxy.demo.call import Call
from proxy.demo.cast import PORT
from proxy.demo.forwarded import INTENT, NAME
from proxy.demo.phone import Phone
from proxy.demo.play import Play
from proxy.demo.report import Report
from proxy.demo.stage import SECRET_HEADER
from sipcore.wire.message import Message

from .edge import NETWORK, Edge


def outcomes(text):
    return {found["step"]: found for found in map(msgspec.json.decode, text.splitlines())}


class Wire:
    """Stands in for the ladder: every message by where it was seen."""

    def __init__(self):
        self.seen = []
        self.paths = []

    def message(self, part, direction, data):
        self.seen.append((part, direction, data))

    def note(self, text):
        pass

    def audio(self, text):
        self.paths.append(text)

    def verdict(self, text):
        pass

    def headers(self, title, message, budget):
        pass

    def arrived(self, part, start):
        return [data for where, direction, data in self.seen
                if where == part and direction == "in" and data.startswith(start)]


def test_every_step_goes_as_expected(tmp_path, capsys):
    async def play():
        with Edge(tmp_path) as edge:
            status = await run_demo(edge.address, json=True, serve=False, network=NETWORK,
                                    statistics=edge.audio.statistics)
            return status, edge.proxy.statistics()

    status, statistics = asyncio.run(play())
    found = outcomes(capsys.readouterr().out)
    assert {step["outcome"] for step in found.values()} == {"ok"}, found
    assert status == 0
    assert len(found) == 20
    assert found["audio path"]["found"].endswith(": 600 Hz at the caller, 1000 Hz at the agent")
    assert found["audio path to 2001"]["found"].endswith(": 440 Hz at the caller, 1000 Hz at the PBX")
    assert " 0 from a wrong source; no port in use" in found["audio counters"]["found"]
    assert "of 1,300 bytes" in found["transfer"]["found"]
    assert statistics["refers"] == 3
    assert (statistics["refers_completed"], statistics["refers_failed"], statistics["refers_refused"]) == (1, 1, 1)
    assert statistics["calls_answered"] == 4


def test_counters_that_cannot_be_read_are_told_and_fail_nothing(tmp_path, capsys):
    def gone():
        raise OSError("control.sock: Connection refused")

    async def play():
        with Edge(tmp_path) as edge:
            return await run_demo(edge.address, json=True, serve=False, network=NETWORK, statistics=gone)

    assert asyncio.run(play()) == 0
    counters = outcomes(capsys.readouterr().out)["audio counters"]
    assert counters["outcome"] == "skipped"
    assert counters["found"] == "the edge's counters cannot be read: control.sock: Connection refused"


def test_the_bytes_on_the_wire(tmp_path):
    wire = Wire()

    async def play():
        with Edge(tmp_path) as edge:
            stage = Play(edge.address, wire, NETWORK)
            report = Report(Console(file=io.StringIO()), json=False)
            try:
                await stage.run(report)
            finally:
                stage.close()
            assert report.ok, report.outcomes

    asyncio.run(play())
    transferred = wire.arrived("PBX", b"INVITE sip:2001@")
    assert len(transferred) == 1
    assert transferred[0].count(f"\r\nX-Customer-Intent: {INTENT}\r\n".encode()) == 1
    assert transferred[0].count(f"\r\nX-Caller-Name: {NAME}\r\n".encode()) == 1
    assert len(transferred[0]) <= 1300
    refer = wire.arrived("caller", b"REFER ")[0]
    assert (b"Refer-To: <sip:2001@%b.4:%d?" % (NETWORK.encode(), PORT)) in refer
    assert b"X-Caller-Name=Ann%20M%C3%BCller%20%26%20S%C3%B6hne" in refer
    assert b"X-Customer-Intent=billing%20question" in refer
    for part, direction, data in wire.seen:
        if direction == "in":
            assert SECRET_HEADER.encode() not in data, part
    assert wire.arrived("agent", b"SIP/2.0 603")
    assert not [data for data in wire.arrived("caller", b"REFER ") if b"9001" in data]
    notified = [Message(data).body[8:11] for data in wire.arrived("agent", b"NOTIFY ")]
    assert notified == [b"100", b"200", b"100", b"486"]


@pytest.mark.parametrize(("change", "step", "words"), [
    (lambda verdict: verdict.changed(insert=b""), "call", "X-Edge-Call"),
    (lambda verdict: verdict.changed(insert=verdict.insert.replace(b"billing", b"other")), "refer",
     "X-Customer-Intent"),
    (lambda verdict: verdict.changed(insert=verdict.insert * 2), "call", "X-Edge-Call"),
    (lambda verdict: verdict.changed(remove=()), "call", SECRET_HEADER),
    (lambda verdict: verdict.changed(replace=()), "refer", "X-Caller-Name inside Refer-To"),
    (lambda verdict: verdict.changed(anchor=0), "audio path", "the other end itself"),
])
def test_a_wrong_edge_is_noticed(tmp_path, capsys, change, step, words):
    async def play():
        with Edge(tmp_path, change) as edge:
            return await run_demo(edge.address, json=True, serve=False, network=NETWORK)

    status = asyncio.run(play())
    found = outcomes(capsys.readouterr().out)
    assert status == 1
    assert found[step]["outcome"] == "failed"
    assert words in found[step]["found"]
    assert found["echo"]["outcome"] == "skipped"


def test_without_an_edge_the_first_step_says_so(capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((f"{NETWORK}.1", 0))
        address = taken.getsockname()
    assert asyncio.run(run_demo(address, json=True, serve=False, network=NETWORK)) == 1
    found = outcomes(capsys.readouterr().out)
    assert found["edge"]["outcome"] == "failed"
    assert "unreachable" in found["edge"]["found"]
    assert found["call"]["outcome"] == "skipped"


def test_an_edge_that_does_not_answer_may_not_know_the_caller(capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((f"{NETWORK}.1", 0))
        assert asyncio.run(run_demo(silent.getsockname(), json=True, serve=False, network=NETWORK)) == 1
    found = outcomes(capsys.readouterr().out)["edge"]["found"]
    assert "no answer" in found
    assert f"no edge, or {NETWORK}.2 is not on its access list" in found


def test_a_refused_refer_is_told_from_both_ends(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Call.expect, "__defaults__", (2,))

    async def play():
        with Edge(tmp_path, edit=lambda text: text[:text.index("[[refer]]")]) as edge:
            return await run_demo(edge.address, json=True, serve=False, network=NETWORK)

    assert asyncio.run(play()) == 1
    found = outcomes(capsys.readouterr().out)["refer"]["found"]
    assert found == "caller: expected REFER within 2 s, came nothing; agent: came REFER 603"


def test_taken_addresses_are_told(capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((f"{NETWORK}.4", PORT))
        assert asyncio.run(run_demo((f"{NETWORK}.1", 5060), json=True, serve=False, network=NETWORK)) == 2
    assert f"UDP port {PORT}" in capsys.readouterr().err
    # What was opened before is closed again.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((f"{NETWORK}.2", PORT))


class Screen(io.StringIO):
    """Says when a text was written."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.shown = asyncio.Event()

    def write(self, text):
        if self.text in text:
            self.shown.set()
        return super().write(text)


def test_the_stand_ins_stay_up_for_any_phone(tmp_path):
    async def play():
        screen = Screen("stay up")
        with Edge(tmp_path) as edge:
            demo = asyncio.create_task(run_demo(edge.address, json=False, serve=True, network=NETWORK,
                                                console=Console(file=screen, width=100)))
            async with asyncio.timeout(60):
                await screen.shown.wait()
            phone = Phone("phone", "tester", (f"{NETWORK}.1", 5072), edge.address, frequency=700,
                          trace=lambda *_: None, secret=b"a phone of a test")
            try:
                for user, tone in (("echo", 700), ("2001", 440), ("agent", 600)):
                    call = phone.call(f"sip:{user}@{edge.address[0]}:{edge.address[1]}")
                    await call.expect("INVITE 200")
                    assert call.rtp is not None
                    assert await call.rtp.hears(tone), user
                    call.hang_up()
                    await call.expect("BYE 200")
                call = phone.call(f"sip:2001@{edge.address[0]}:{edge.address[1]}")
                await call.expect("INVITE 180")
                call.hang_up()
                await call.expect("INVITE 487")
                assert not phone.calls
            finally:
                phone.close()
                demo.cancel()
                await asyncio.gather(demo, return_exceptions=True)
        return screen.getvalue()

    shown = asyncio.run(play())
    assert "19 of 20 steps as expected" in shown
    assert "or agent there with any SIP phone. Ctrl-C ends it.\n" in shown, "one line, however narrow the terminal is"
    assert "<─────────── REFER ──│" in shown
    assert "X-Customer-Intent: billing question" in shown
