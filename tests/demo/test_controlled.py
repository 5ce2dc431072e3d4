"""The demo's controlled calls, against an edge with its services process: `sipedge run --demo` as a whole, and a wrong
edge."""
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import wave
from pathlib import Path

import msgspec
import pytest

from proxy import load
from proxy.demo import configuration, run_demo
from proxy.demo.api import Api
from proxy.demo.call import Unexpected
from proxy.demo.cast import CALLER_HOST, PORT
from proxy.demo.voice import can_speak
from sipcore.media.sound import prepare
from tests.edge import kill_group
from tests.security.namespace import Namespace

from .edge import NETWORK

ROOT = Path(__file__).parents[2]
LONGEST = 240
"""Seconds for a whole run on a busy machine."""
ENDS = ("warm-caller", "warm-agent", "warm-human", "blind-caller", "blind-agent", "blind-caller-transferred",
        "blind-human")


@contextlib.contextmanager
def running(folder, arguments, **more):
    """`sipedge run` with those arguments; killed when it takes too long."""
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "run", *arguments], cwd=folder, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "COLUMNS": "200"},
        **more)
    clock = threading.Timer(LONGEST, process.kill)
    clock.start()
    try:
        yield process
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 0
    finally:
        clock.cancel()
        if process.returncode is None:
            kill_group(process)
            process.communicate()


@pytest.fixture
def namespace():
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    try:
        made = Namespace()
    except OSError as error:
        pytest.skip(f"no network namespace can be made: {error}")
    yield made
    made.close()


def loudness(file):
    """Mean amplitude left and right, whole file."""
    with wave.open(str(file)) as opened:
        assert (opened.getnchannels(), opened.getframerate(), opened.getsampwidth()) == (2, 8000, 2)
        samples = memoryview(opened.readframes(opened.getnframes())).cast("h")
    return [sum(map(abs, samples[side::2])) / max(1, len(samples) // 2) for side in (0, 1)]


@pytest.mark.timeout(LONGEST + 30)
def test_run_with_the_demo_plays_all_of_it(namespace, tmp_path):
    """What `make run` does, in a network of its own as it has fixed addresses."""
    with namespace.entered():
        run = running(tmp_path, ["--demo"])
        process = run.__enter__()
    shown = []
    try:
        for line in process.stdout:
            shown.append(line)
            if "The HTTP API is at" in line:
                break
    finally:
        run.__exit__(*sys.exc_info())
    text = "".join(shown)
    assert "\n38 of 38 steps as expected\n" in text, text
    for part in ("─ REFER ──", "| X-Customer-Intent: billing question\n", "| X-Caller-Name: Ann Müller\n",
                 "| X-Contract: K-4711\n", "  = The call to 2002 was busy (486), the caller stayed with the agent.\n",
                 "  = 2001 answered, the caller is connected there.\n",
                 "  = The caller's server accepted the REFER, its call to 2002 was busy (486), "
                 "the caller went back to the agent.\n",
                 "  = The caller's server accepted the REFER, 2001 answered (200), the caller is connected there.\n",
                 "  ♪ before the bridge: the human hears the edge alone (",
                 "  ♪ after the bridge: the caller hears human alone ("):
        assert part in text, part
    # The terminal is the demo's alone.
    assert not [line for line in shown if line.startswith("{")]
    log = (tmp_path / "out" / "demo" / "edge.log").read_text().splitlines()
    assert msgspec.json.decode(log[0])["event"] == "running"
    lines = [msgspec.json.decode(line) for line in log if '"to":"assistant"' in line]
    assert [(line["callee"], line["ended"]) for line in lines] == [
        ("127.0.0.5:5070", "caller"), ("127.0.0.5:5070", "transfer")]
    for end in ENDS:
        said, heard = loudness(tmp_path / "out" / "demo" / f"{end}.wav")
        assert said > 100, end
        assert heard > 100, end


def test_an_edge_that_runs_for_the_demo_alone_ends_with_its_exit_status(namespace, tmp_path):
    """Here with that of taken addresses, which is the soonest."""
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((f"127.0.0.{CALLER_HOST}", PORT))
        run = subprocess.run(
            [sys.executable, "-m", "proxy", "run", "--demo", "--once", "--json"], cwd=tmp_path, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)})
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("The demo's endpoints need UDP port 5070 of 127.0.0.2 to .5: ")
    assert "ended" in (tmp_path / "out" / "demo" / "edge.log").read_text()


@pytest.mark.parametrize("option", ["--once", "--json"])
def test_what_is_for_the_demo_needs_it(option):
    run = subprocess.run([sys.executable, "-m", "proxy", "run", option], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (2, "--once and --json are for --demo\n")


@pytest.mark.timeout(LONGEST + 30)
def test_an_edge_without_a_model_is_noticed(tmp_path, capsys):
    """The fallback arrives in the place of the model's answer, and the demo says where."""
    file, url, token = configuration.prepare(tmp_path, "http://127.0.0.1:9/v1", NETWORK)
    api = Api(url, token.read_text().strip())

    async def play():
        await api.ready()
        return await run_demo((f"{NETWORK}.1", 5060), json=True, serve=False, network=NETWORK, api=api,
                              recordings=tmp_path / "recordings")

    with running(tmp_path, ["-c", str(file)]):
        status = asyncio.run(play())
    found = {one["step"]: one for one in map(msgspec.json.decode, capsys.readouterr().out.splitlines())}
    assert status == 1
    assert len(found) == 38
    assert found["busy target"]["outcome"] == "ok"
    assert found["headers at the person"]["outcome"] == "failed"
    assert "expected ['billing question'], found ['general inquiry']" in found["headers at the person"]["found"]
    assert found["recordings"]["outcome"] == "skipped"


def test_the_configuration_is_good(tmp_path):
    file, url, token = configuration.prepare(tmp_path, "http://127.0.0.1:9/v1", NETWORK)
    config = load.load(file)
    assert f"http://{config.api.bind}" == url
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(token.read_text().strip()) >= 32
    assert [action.name for action in config.transfers] == ["handover", "referral"]
    whisper = config.transfers[0].whisper
    assert whisper is not None
    assert bool(whisper.summary) == can_speak()


def test_without_a_speech_program_a_tone_is_whispered(tmp_path, monkeypatch):
    monkeypatch.setattr(configuration, "can_speak", lambda: False)
    file, _, _ = configuration.prepare(tmp_path, "http://127.0.0.1:9/v1", NETWORK)
    whisper = load.load(file).transfers[0].whisper
    assert whisper is not None
    assert (whisper.file, whisper.summary) == ("whisper.wav", "")
    assert prepare(tmp_path / whisper.file).seconds == 2


def test_an_api_that_does_not_answer_is_told():
    port = configuration.free_port("127.0.0.1")
    with pytest.raises(Unexpected, match=rf"GET http://127\.0\.0\.1:{port}/v1/calls: .*refused"):
        asyncio.run(Api(f"http://127.0.0.1:{port}", "x").ask("GET", "/v1/calls", expected=200))
