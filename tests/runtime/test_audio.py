"""Audio through the edge as a set of processes: packets both ways, what is logged and counted of them, reload, stop."""
import os
import re
import signal
import socket
import struct
import threading
import time

import pytest

from tests.endpoints import Dialog

from .edge import NETWORK, WAIT, RunningEdge

FIRST, LAST = 21000, 21039
MEDIA = f"""
[[media]]
name = "local"
bind = "{NETWORK}.1"
ports = "{FIRST}-{LAST}"
"""
Address = tuple[str, int]


class AnchoredEdge(RunningEdge):
    """Its route anchors. relay: lines of [relay]."""

    def __init__(self, folder, relay: str = "", media: str = MEDIA):
        super().__init__(folder, more=f"{media}[relay]\n{relay}")
        self.text = self.text.replace('to = "pbx"\n', 'to = "pbx"\nmedia = "anchor"\n')
        self.file.write_text(self.text)


class Ear:
    """A port for audio."""

    def __init__(self, host: str):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(WAIT)
        self.host, self.port = self.socket.getsockname()
        self.sequence = 0
        self.more = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    @property
    def sdp(self) -> bytes:
        return (f"v=0\r\no=- 1 1 IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
                f"m=audio {self.port} RTP/AVP 0\r\n{self.more}").encode()

    def send(self, to: Address, text: bytes) -> None:
        self.sequence += 1
        self.socket.sendto(struct.pack("!BBHII", 0x80, 0, self.sequence, 160 * self.sequence, 7) + text, to)

    def hear(self) -> tuple[bytes, Address]:
        data, source = self.socket.recvfrom(2048)
        return data[12:], source


def place(body: bytes) -> Address:
    """Where a session description wants audio."""
    host, port = re.search(rb"c=IN IP4 (\S+)", body), re.search(rb"m=audio (\d+)", body)
    assert host is not None
    assert port is not None
    return host[1].decode(), int(port[1])


def call(edge: RunningEdge, one: Ear, other: Ear) -> tuple[Dialog, Address, Address]:
    """A call between two ears: the caller's dialog, and where each ear was told to send."""
    sdp = [("Content-Type", "application/sdp")]
    edge.caller.request("INVITE", edge.uri, call_id=f"call-{next(edge._numbers)}", body=one.sdp, headers=sdp)
    arrived = edge.pbx.wait("INVITE")
    edge.pbx.answer(arrived, 200, body=other.sdp, headers=sdp)
    answered = edge.caller.wait("200")
    dialog = edge.caller.caller_dialog(answered)
    dialog.send("ACK")
    edge.pbx.wait("ACK")
    return dialog, place(answered.message.body), place(arrived.message.body)


@pytest.fixture
def ears():
    with Ear(f"{NETWORK}.2") as one, Ear(f"{NETWORK}.3") as other:
        yield one, other


def test_audio_goes_through_the_edge_s_ports_and_is_counted(tmp_path, ears):
    one, other = ears
    with AnchoredEdge(tmp_path) as edge:
        dialog, for_one, for_other = call(edge, one, other)
        assert for_one[0] == for_other[0] == f"{NETWORK}.1"
        assert FIRST <= for_one[1] <= LAST
        assert FIRST <= for_other[1] <= LAST
        assert for_one[1] != for_other[1]
        one.send(for_one, b"from the caller")
        assert other.hear() == (b"from the caller", for_other)
        other.send(for_other, b"from the callee")
        assert one.hear() == (b"from the callee", for_one)
        found = edge.until("rtp_out", 2)
        assert (found["rtp_in"], found["rtp_wrong_source"], found["media_calls_up"]) == (2, 0, 1)
        assert (found["media_sessions"], found["media_ports_used"], found["media_ports_free"]) == (1, 2, 18)
        assert "rtp_in                                 2\n" in edge.command("stats")
        edge.hang_up(dialog)
        end = time.monotonic() + WAIT
        while (found := edge.statistics())["media_ports_used"]:
            assert time.monotonic() < end, found
        assert (found["media_sessions"], found["media_calls_up"], found["rtp_in"]) == (0, 0, 2)
        assert edge.stop() == 0
        (line,) = edge.call_lines()
        assert (line["media"]["caller"]["packets"], line["media"]["callee"]["packets"]) == (1, 1)


def test_audio_from_elsewhere_is_dropped_counted_and_told(tmp_path, ears):
    one, other = ears
    with AnchoredEdge(tmp_path, 'learning = "off"\n') as edge, Ear(f"{NETWORK}.8") as stranger:
        dialog, for_one, for_other = call(edge, one, other)
        for _ in range(5):
            stranger.send(for_one, b"injected")
        told = edge.event("audio from a wrong source dropped")
        assert (told["call_id"], told["side"], told["port"]) == (dialog.call_id, "caller", for_one[1])
        assert 1 <= told["packets"] <= 5
        assert edge.until("rtp_wrong_source", 5)["rtp_out"] == 0
        one.send(for_one, b"from the caller")
        assert other.hear() == (b"from the caller", for_other)


def test_silence_says_which_side_and_from_where_it_was_expected(tmp_path, ears):
    one, other = ears
    with AnchoredEdge(tmp_path, "silence_seconds = 0.3\ntimeout_seconds = 0.6\n") as edge:
        dialog, _, for_other = call(edge, one, other)
        said = [edge.event("no audio"), edge.event("no audio")]
        assert {line["side"]: line["expected_from"] for line in said} == {
            "caller": f"{one.host}:{one.port}", "callee": f"{other.host}:{other.port}"}
        assert {line["call_id"] for line in said} == {dialog.call_id}
        timeout = edge.event("audio timeout")
        assert (timeout["call_id"], timeout["action"]) == (dialog.call_id, "none")
        other.send(for_other, b"back")
        again = edge.event("audio again")
        assert (again["side"], again["from"]) == ("callee", f"{other.host}:{other.port}")
        edge.hang_up(dialog)


def test_a_call_without_audio_ends_here_where_that_is_wanted(tmp_path, ears):
    with AnchoredEdge(tmp_path, 'silence_seconds = 1\ntimeout_seconds = 2\non_timeout = "end"\n') as edge:
        dialog, _, _ = call(edge, *ears)
        assert edge.event("audio timeout")["action"] == "call ended here"
        end = time.monotonic() + WAIT
        while (found := edge.statistics())["media_ports_used"] or found["calls_up"]:
            assert time.monotonic() < end, found
        # The phones were told nothing, and their BYE still passes.
        edge.hang_up(dialog)
        assert edge.stop() == 0
        (line,) = edge.call_lines()
        assert (line["ended"], line["status"]) == ("media", 200)


def test_a_call_whose_picture_stopped_goes_on_while_there_is_audio(tmp_path, ears):
    one, other = ears
    relay = 'kinds = ["audio", "video"]\nsilence_seconds = 0\ntimeout_seconds = 3\non_timeout = "end"\n'
    with AnchoredEdge(tmp_path, relay) as edge:
        one.more = other.more = "m=video 4000 RTP/AVP 31\r\n"
        dialog, for_one, _ = call(edge, one, other)
        heard, enough = [], threading.Event()

        def talk():
            while not enough.wait(0.02):
                one.send(for_one, b"talk")
                heard.append(other.hear())

        talker = threading.Thread(target=talk)
        talker.start()
        try:
            timeout = edge.event("audio timeout")
            assert (timeout["stream"], timeout["action"]) == (1, "none")
        finally:
            enough.set()
            talker.join()
        timeout = edge.event("audio timeout")
        assert (timeout["stream"], timeout["action"]) == (0, "call ended here")
        assert heard
        edge.hang_up(dialog)


def test_new_ports_are_for_new_calls(tmp_path, ears):
    one, other = ears
    with AnchoredEdge(tmp_path) as edge, Ear(f"{NETWORK}.2") as third, Ear(f"{NETWORK}.3") as fourth:
        _, for_one, for_other = call(edge, one, other)
        edge.file.write_text(edge.text.replace(f"{FIRST}-{LAST}", f"{LAST + 1}-{LAST + 40}"))
        edge.signal(signal.SIGHUP)
        edge.event("worker ready", epoch=1)
        _, for_third, _ = call(edge, third, fourth)
        assert LAST < for_third[1] <= LAST + 40
        for ear, far, to in ((one, other, for_one), (third, fourth, for_third)):
            ear.send(to, b"still here")
            assert far.hear()[0] == b"still here"
        # What was kept ready of the old ones is anybody's again.
        end = time.monotonic() + WAIT
        for port in set(range(FIRST, LAST + 1, 2)) - {for_one[1], for_other[1]}:
            while not can_be_bound(f"{NETWORK}.1", port):
                assert time.monotonic() < end, f"port {port} is still taken"


def can_be_bound(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def test_more_ports_are_room_for_more_calls(tmp_path, ears):
    """Where `sessions` says nothing the ports alone bound the calls, also those of another configuration."""
    one_call = f"{FIRST}-{FIRST + 3}"
    with (AnchoredEdge(tmp_path, media=MEDIA.replace(f"{FIRST}-{LAST}", one_call)) as edge,
          Ear(f"{NETWORK}.2") as third, Ear(f"{NETWORK}.3") as fourth):
        dialog, _, _ = call(edge, *ears)
        edge.file.write_text(edge.text.replace(one_call, f"{FIRST}-{LAST}"))
        edge.signal(signal.SIGHUP)
        edge.event("worker ready", epoch=1)
        second, for_third, _ = call(edge, third, fourth)
        third.send(for_third, b"room")
        assert fourth.hear()[0] == b"room"
        for each in (dialog, second):
            edge.hang_up(each)


@pytest.mark.parametrize(("old", "new", "reason"), [
    ("[relay]\n", "[relay]\nsilence_seconds = 7\n",
     "relay.silence_seconds cannot change while the edge runs: restart it"),
    (f'bind = "{NETWORK}.1"', 'bind = "192.0.2.77"', '"192.0.2.77" cannot be bound on this machine'),
], ids=["silence", "address"])
def test_what_cannot_change_while_it_runs(tmp_path, ears, old, new, reason):
    with AnchoredEdge(tmp_path) as edge:
        edge.file.write_text(edge.text.replace(old, new))
        edge.signal(signal.SIGHUP)
        assert reason in edge.event("configuration kept")["reason"]
        edge.hang_up(call(edge, *ears)[0])


def test_media_where_none_was_needs_a_restart(tmp_path):
    with RunningEdge(tmp_path) as edge:
        edge.file.write_text(edge.text + MEDIA)
        edge.signal(signal.SIGHUP)
        assert edge.event("configuration kept")["reason"] == (
            "[[media]] where none was cannot change while the edge runs: restart it")


def test_a_stop_closes_every_port(tmp_path, ears):
    with AnchoredEdge(tmp_path) as edge:
        _, for_one, for_other = call(edge, *ears)
        assert edge.stop() == 0
        (line,) = edge.call_lines()
        assert line["ended"] == "stop"
    for host, port in (for_one, for_other):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((host, port))


def test_a_killed_worker_leaves_no_port_behind(tmp_path, ears):
    with AnchoredEdge(tmp_path) as edge:
        _, for_one, _ = call(edge, *ears)
        os.kill(edge.ready["pid"], signal.SIGKILL)
        edge.event("worker ready")
        # The next one has bound it as one of those that it keeps ready.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, pytest.raises(OSError, match="in use"):
            taken.bind(for_one)
        found = edge.until("media_ports_free", 20)
        assert (found["media_ports_used"], found["media_ports_taken"]) == (0, 0)
        edge.hang_up(call(edge, *ears)[0])


def test_calls_beyond_the_ports_get_503(tmp_path, ears):
    with AnchoredEdge(tmp_path, media=MEDIA.replace(str(LAST), str(FIRST + 3))) as edge:
        dialog, _, _ = call(edge, *ears)
        edge.caller.request("INVITE", edge.uri, call_id="one-too-many", body=ears[0].sdp,
                            headers=[("Content-Type", "application/sdp")])
        edge.caller.wait("503")
        assert edge.until("media_calls", 1)["calls_answered"] == 1
        edge.hang_up(dialog)
