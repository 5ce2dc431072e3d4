"""Captures on demand and recordings by route, of calls through an edge that runs as processes of its own."""
import signal
import struct
import subprocess
import sys
import time
import wave
from pathlib import Path

from proxy.keeping import LINGER_SECONDS

from .edge import NETWORK, ROOT, WAIT, RunningEdge
from .test_audio import AnchoredEdge, Ear, call, ears  # noqa: F401 the fixture

FRAMES = 25


def capture(edge: RunningEdge, call_id: str, file: Path, *more: str, command: str = "capture") -> subprocess.Popen[str]:
    """`sipedge capture`, or `record`."""
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", command, "-c", str(edge.file), "--call-id", call_id, "--output", str(file),
         *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def capturing(edge: RunningEdge, call_id: str, file: Path, *more: str) -> subprocess.Popen[str]:
    """The same, once it has begun."""
    process = capture(edge, call_id, file, *more)
    edge.event("capturing", call_id=call_id)
    return process


def datagrams(file: Path) -> list[tuple[tuple[str, int], tuple[str, int], bytes]]:
    """(source, destination, payload) of what a capture holds."""
    data, found, at = file.read_bytes(), [], 24
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        packet = data[at + 16:at + 16 + size]
        at += 16 + size
        ports = struct.unpack_from("!HH", packet, 20)
        hosts = [".".join(map(str, packet[start:start + 4])) for start in (12, 16)]
        found.append(((hosts[0], ports[0]), (hosts[1], ports[1]), packet[28:]))
    return found


def talk(one: Ear, for_one, other: Ear, for_other, frames: int = FRAMES) -> None:
    """Frames of sound both ways, each waited for."""
    for number in range(frames):
        one.send(for_one, bytes([number]) * 160)
        other.hear()
        other.send(for_other, bytes([0x80 + number]) * 160)
        one.hear()


def test_a_capture_has_the_call_s_audio_and_messages_and_nothing_else(tmp_path, ears):  # noqa: F811
    one, other = ears
    with AnchoredEdge(tmp_path) as edge, Ear(f"{NETWORK}.2") as third, Ear(f"{NETWORK}.3") as fourth:
        dialog, for_one, for_other = call(edge, one, other)
        second, for_third, for_fourth = call(edge, third, fourth)
        process = capturing(edge, dialog.call_id, tmp_path / "call.pcap")
        talk(third, for_third, fourth, for_fourth, 3)
        talk(one, for_one, other, for_other)
        edge.hang_up(second)
        began = time.monotonic()
        edge.hang_up(dialog)
        took = time.monotonic() - began
        shown, errors = process.communicate(timeout=WAIT)
        assert (process.returncode, errors) == (0, "")
        found = datagrams(tmp_path / "call.pcap")
        assert shown == f"{tmp_path / 'call.pcap'}: {len(found)} packets\n"
    audio = [packet for packet in found if packet[2][0] == 0x80]
    assert len(audio) == 4 * FRAMES, "each packet in and out"
    assert {packet[:2] for packet in audio} == {
        ((one.host, one.port), for_one), (for_other, (other.host, other.port)),
        ((other.host, other.port), for_other), (for_one, (one.host, one.port))}
    messages = [packet[2] for packet in found if packet[2][0] != 0x80]
    assert [message.split()[0] for message in messages].count(b"BYE") == 2
    assert len(messages) == 4 or took > LINGER_SECONDS, "BYE and 200, in and out; the 200 while it is waited for"
    assert all(dialog.call_id.encode() in message for message in messages)


def test_a_capture_ends_by_time_and_by_its_asker_and_the_call_goes_on(tmp_path, ears):  # noqa: F811
    one, other = ears
    with AnchoredEdge(tmp_path) as edge:
        dialog, for_one, for_other = call(edge, one, other)
        by_time = capturing(edge, dialog.call_id, tmp_path / "time.pcap", "--seconds", "0.3")
        assert by_time.communicate(timeout=WAIT) == (f"{tmp_path / 'time.pcap'}: 0 packets\n", "")
        by_asker = capturing(edge, dialog.call_id, tmp_path / "asker.pcap")
        # The thread hears of the capture when it next looks: from the first frames on at the latest.
        talk(one, for_one, other, for_other, 2)
        talk(one, for_one, other, for_other, 2)
        by_asker.send_signal(signal.SIGINT)
        shown, errors = by_asker.communicate(timeout=WAIT)
        assert (by_asker.returncode, errors) == (0, "")
        found = datagrams(tmp_path / "asker.pcap")
        assert shown == f"{tmp_path / 'asker.pcap'}: {len(found)} packets\n"
        assert 8 <= len(found) <= 16
        talk(one, for_one, other, for_other, 2)
        edge.hang_up(dialog)


def test_what_cannot_be_captured_is_said(tmp_path, ears):  # noqa: F811
    with AnchoredEdge(tmp_path) as edge:
        process = capture(edge, "nobody@nowhere", tmp_path / "none.pcap")
        assert process.communicate(timeout=WAIT) == ("", "no call in progress has the Call-ID nobody@nowhere\n")
        assert process.returncode == 1
        assert not list(tmp_path.glob("*.pcap*"))
        before = tmp_path / "before.pcap"
        before.write_text("a capture from before")
        process = capture(edge, "nobody@nowhere", before)
        assert process.wait(WAIT) == 1
        process.communicate()
        assert before.read_text() == "a capture from before"
        assert not list(tmp_path.glob(".before*"))
        process = capture(edge, "nobody@nowhere", tmp_path / "no" / "folder.pcap")
        assert process.communicate(timeout=WAIT) == ("", f"{tmp_path}/no/folder.pcap: No such file or directory\n")
        edge.hang_up(call(edge, *ears)[0])


def test_a_route_s_calls_are_recorded_caller_left_callee_right(tmp_path, ears):  # noqa: F811
    one, other = ears
    edge = AnchoredEdge(tmp_path)
    edge.text = edge.text.replace('media = "anchor"\n', 'media = "anchor"\nrecord = "calls/today"\n')
    edge.file.write_text(edge.text)
    with edge:
        dialog, for_one, for_other = call(edge, one, other)
        talk(one, for_one, other, for_other)
        edge.hang_up(dialog)
        told = edge.event("recorded")
        assert told["call_id"] == dialog.call_id
        (file,) = (tmp_path / "calls" / "today").iterdir()
        assert told["file"] == str(file)
        assert file.name.endswith(f"Z-{dialog.call_id}.wav")
    assert_each_on_its_side(file)


def assert_each_on_its_side(file: Path) -> None:
    """What `talk` says: in mu-law bytes below 0x80 are negative, those above positive (or the other zero)."""
    with wave.open(str(file)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, 8000)
        frames = struct.unpack(f"<{2 * sound.getnframes()}h", sound.readframes(sound.getnframes()))
    assert min(frames[0::2]) < -1000
    assert max(frames[0::2]) <= 0
    assert max(frames[1::2]) > 1000
    assert min(frames[1::2]) >= 0


def test_a_call_in_progress_is_recorded_on_demand_until_it_ends(tmp_path, ears):  # noqa: F811
    one, other = ears
    with AnchoredEdge(tmp_path) as edge, Ear(f"{NETWORK}.2") as third, Ear(f"{NETWORK}.3") as fourth:
        dialog, for_one, for_other = call(edge, one, other)
        second, for_third, for_fourth = call(edge, third, fourth)
        process = capture(edge, dialog.call_id, tmp_path / "call.wav", command="record")
        edge.event("recording", call_id=dialog.call_id)
        talk(fourth, for_fourth, third, for_third, 3)
        talk(one, for_one, other, for_other)
        edge.hang_up(second)
        edge.hang_up(dialog)
        shown, errors = process.communicate(timeout=WAIT)
        assert (process.returncode, errors) == (0, "")
        assert shown.startswith(f"{tmp_path / 'call.wav'}: ")
        assert shown.endswith(" s\n")
    assert_each_on_its_side(tmp_path / "call.wav")


def test_a_recording_on_demand_ends_by_time_and_by_its_asker_and_says_what_cannot_be(tmp_path, ears):  # noqa: F811
    one, other = ears
    with AnchoredEdge(tmp_path) as edge:
        dialog, for_one, for_other = call(edge, one, other)
        file = tmp_path / "call.wav"
        by_time = capture(edge, dialog.call_id, file, "--seconds", "0.2", command="record")
        assert by_time.communicate(timeout=WAIT) == (f"{file}: nothing was said\n", "")
        by_asker = capture(edge, dialog.call_id, file, command="record")
        edge.event("recording", call_id=dialog.call_id)
        edge.event("recording", call_id=dialog.call_id)
        talk(one, for_one, other, for_other)
        by_asker.send_signal(signal.SIGINT)
        shown, errors = by_asker.communicate(timeout=WAIT)
        assert (by_asker.returncode, errors) == (0, "")
        assert shown.endswith(" s\n")
        assert_each_on_its_side(file)
        nobody = capture(edge, "nobody@nowhere", file, command="record")
        assert nobody.communicate(timeout=WAIT) == ("", "no call in progress has the Call-ID nobody@nowhere\n")
        edge.hang_up(dialog)


def test_a_folder_that_cannot_be_written_to_starts_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    edge = AnchoredEdge(tmp_path)
    text = edge.text.replace('media = "anchor"\n', 'media = "anchor"\nrecord = "file/calls"\n')
    edge.file.write_text(text)
    line = text.splitlines().index('record = "file/calls"') + 1
    found = subprocess.run([sys.executable, "-m", "proxy", "run", "-c", str(edge.file)], capture_output=True, text=True,
                           timeout=WAIT, cwd=ROOT, check=False)
    for phone in (edge.caller, edge.pbx):
        phone.socket.close()
    assert found.returncode == 2
    assert found.stderr == (f"{edge.file}:{line}: route[0].record: {tmp_path}/file/calls cannot be written to (Not a "
                            "directory); expected a folder of the edge's own\n")


def test_a_stop_ends_what_is_kept(tmp_path, ears):  # noqa: F811
    one, other = ears
    with AnchoredEdge(tmp_path) as edge:
        dialog, for_one, for_other = call(edge, one, other)
        process = capturing(edge, dialog.call_id, tmp_path / "call.pcap")
        talk(one, for_one, other, for_other, 2)
        talk(one, for_one, other, for_other, 2)
        assert edge.stop() == 0
        shown, _ = process.communicate(timeout=WAIT)
        found = datagrams(tmp_path / "call.pcap")
        assert shown == f"{tmp_path / 'call.pcap'}: {len(found)} packets\n"
        assert 8 <= len(found) <= 16


def test_a_capture_of_a_controlled_call_has_the_messages_of_both_legs_and_the_audio(tmp_path, ears):  # noqa: F811
    one, other = ears
    edge = AnchoredEdge(tmp_path)
    edge.text = edge.text.replace('media = "anchor"\n', 'media = "anchor"\ncontrol = true\n')
    edge.file.write_text(edge.text)
    with edge:
        dialog, for_one, for_other = call(edge, one, other)
        process = capturing(edge, dialog.call_id, tmp_path / "call.pcap")
        talk(one, for_one, other, for_other, 4)
        talk(one, for_one, other, for_other)
        edge.hang_up(dialog)
        shown, errors = process.communicate(timeout=WAIT)
        assert (process.returncode, errors) == (0, "")
        found = datagrams(tmp_path / "call.pcap")
        assert shown == f"{tmp_path / 'call.pcap'}: {len(found)} packets\n"
    audio = [packet for packet in found if packet[2][0] == 0x80]
    assert 4 * FRAMES <= len(audio) <= 4 * FRAMES + 16
    assert {packet[:2] for packet in audio} == {
        ((one.host, one.port), for_one), (for_other, (other.host, other.port)),
        ((other.host, other.port), for_other), (for_one, (one.host, one.port))}
    messages = [packet[2] for packet in found if packet[2][0] != 0x80]
    call_ids = {line for message in messages for line in message.split(b"\r\n") if line.startswith(b"Call-ID")}
    assert len(call_ids) == 2
    assert [message.split()[0] for message in messages].count(b"BYE") == 2
