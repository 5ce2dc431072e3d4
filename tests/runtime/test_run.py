"""The edge as a set of processes: what an operator does to it, and what calls notice of that."""
import fcntl
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from .edge import NETWORK, WAIT, RunningEdge, free_port, no_open_files, run_edge

REALM = """
[[realm]]
name = "house"
realm = "example.com"
users_file = "users"
"""
SERVICES = """
[[webhook]]
name = "crm"
url = "http://127.0.0.1:9/"
"""


def worker_pid(edge: RunningEdge, after: int = 0) -> int:
    return int((edge.event("worker ready") if after else edge.ready)["pid"])


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_call_is_counted_and_logged(tmp_path):
    with RunningEdge(tmp_path) as edge:
        dialog, _ = edge.call()
        found = edge.until("calls_up", 1)
        assert (found["calls"], found["calls_answered"], found["calls_ended"]) == (1, 1, 0)
        assert (found["workers"], found["restarts"], found["dialogs"]) == (1, 0, 1)
        edge.hang_up(dialog)
        text = edge.command("stats")
        assert "calls_ended                            1\n" in text
        assert text.startswith("workers 1, restarts 0, configuration 0, up ")
        assert edge.stop() == 0
        (line,) = edge.call_lines()
    assert (line["event"], line["ended"], line["status"]) == ("call", "caller", 200)
    assert (line["from"], line["to"], line["group"], line["upstream"]) == ("alice", "2001", "phones", "pbx")
    assert line["callee"] == f"{NETWORK}.3:{edge.pbx.number}"


def test_trace_on_and_off(tmp_path):
    with RunningEdge(tmp_path) as edge:
        edge.command("trace", "on")
        edge.call()
        seen = [edge.event("message", direction=direction, peer=f"{NETWORK}.2:{edge.caller.number}")
                for direction in ("in", "out")]
        assert seen[0]["text"].startswith(f"INVITE {edge.uri} SIP/2.0\r\n")
        assert seen[1]["text"].startswith("SIP/2.0 100 ")
        edge.command("trace", "off")
        edge.call()
        edge.stop()
        with pytest.raises(AssertionError, match="ended before"):
            edge.event("never")
    out = [line["text"].split(" ")[0] for line in edge.log if line.get("direction") == "out"]
    assert out.count("INVITE") == 1, "each message is shown once, and none after the end"


def test_trace_survives_a_new_configuration_and_a_new_worker(tmp_path):
    with RunningEdge(tmp_path) as edge:
        edge.command("trace", "on")
        edge.signal(signal.SIGHUP)
        edge.event("worker ready", epoch=1)
        edge.call()
        edge.event("message", direction="out")
        os.kill(edge.ready["pid"], signal.SIGKILL)
        edge.event("worker ready")
        edge.call()
        edge.event("message", direction="in")


def test_a_good_configuration_takes_effect_on_the_next_call(tmp_path):
    with RunningEdge(tmp_path) as edge:
        dialog, _ = edge.call()
        edge.file.write_text(edge.text.replace(
            'value = "{call_id}"', 'value = "{call_id}"\n[[headers.add]]\nname = "X-New"\nvalue = "yes"'))
        edge.signal(signal.SIGHUP)
        edge.event("worker ready", epoch=1)
        _, arrived = edge.ring()
        assert arrived.header("X-New") == "yes"
        edge.answer(arrived)
        edge.hang_up(dialog)
        assert edge.until("calls_ended", 1)["epoch"] == 1


def test_a_call_stays_with_its_group_and_its_upstream_wherever_they_stand_now(tmp_path):
    more = ('\n[[group]]\nname = "first"\naddresses = ["192.0.2.1"]\n'
            '\n[[upstream]]\nname = "first"\ntargets = [{ address = "192.0.2.1" }]\n')
    with RunningEdge(tmp_path) as edge:
        dialog, _ = edge.call()
        edge.file.write_text(edge.text.replace("\n[[group]]", more + "\n[[group]]", 1).replace(
            'name = "pbx"\n', 'name = "pbx"\nmax_calls = 1\n'))
        edge.signal(signal.SIGHUP)
        edge.event("worker ready", epoch=1)
        edge.caller.request("INVITE", edge.uri, call_id="too-many")
        edge.caller.wait("503")
        edge.hang_up(dialog)
        edge.until("calls_ended", 1)
        assert edge.stop() == 0
    (line,) = edge.call_lines()
    assert (line["group"], line["upstream"]) == ("phones", "pbx")


def test_a_bad_configuration_is_refused_with_its_place(tmp_path):
    with RunningEdge(tmp_path) as edge:
        edge.file.write_text(edge.text.replace("X-Edge-Call", "Subject"))
        line = edge.file.read_text().splitlines().index('name = "Subject"') + 1
        edge.signal(signal.SIGHUP)
        reason = edge.event("configuration kept")["reason"]
        assert reason.startswith(f"{edge.file}:{line}: headers[0].add[0].name: ")
        edge.file.write_text(edge.text)
        _, arrived = edge.ring()
        assert arrived.header("X-Edge-Call")
        assert edge.statistics()["epoch"] == 0


def test_a_configuration_that_the_worker_refuses_is_nobodys(tmp_path):
    """The users' file is good when the supervisor reads it, and another one when the worker does."""
    users = tmp_path / "users"
    os.mkfifo(users)
    with RunningEdge(tmp_path) as edge:
        edge.file.write_text(edge.text + REALM + SERVICES)
        edge.signal(signal.SIGHUP)
        with users.open("w") as first:
            users.unlink()
            users.write_text("ann: nonsense\n")
            first.write("ann:{PLAIN}secret\n")
        assert edge.event("configuration kept by worker")["reason"]
        edge.file.write_text(edge.text)
        assert edge.statistics()["epoch"] == 0
        os.kill(edge.ready["pid"], signal.SIGKILL)
        assert edge.event("worker ready")["epoch"] == 0
        edge.call()
        assert not [line for line in edge.log if line["event"] == "services ready"]
        edge.file.write_text(edge.text + SERVICES)
        edge.signal(signal.SIGHUP)
        assert edge.event("services ready")["epoch"] == 1
        assert edge.statistics()["epoch"] == 1


def test_what_is_read_while_no_worker_is_there_is_the_next_ones(tmp_path):
    with RunningEdge(tmp_path) as edge:
        for _ in range(4):  # The pause before the last one is long enough for what follows.
            os.kill(edge.ready["pid"], signal.SIGKILL)
            edge.event("worker died, starting it again")
            edge.ready = edge.event("worker ready")
        os.kill(edge.ready["pid"], signal.SIGKILL)
        edge.event("worker died, starting it again")
        edge.signal(signal.SIGHUP)
        edge.event("worker ready", epoch=1)
        edge.call()


@pytest.mark.parametrize(("old", "new", "named"), [
    ('name = "local"', 'name = "other"', "[[listener]]"),
    ("t1 = 4", "t1 = 3", "[timers]"),
    ("[log]", "[limits]\ndialogs = 64\n\n[log]", "[limits]"),
])
def test_what_a_running_edge_cannot_change(tmp_path, old, new, named):
    with RunningEdge(tmp_path) as edge:
        edge.file.write_text(edge.text.replace(old, new, 1))
        edge.signal(signal.SIGHUP)
        assert edge.event("configuration kept")["reason"] == f"{named} cannot change while the edge runs: restart it"


def test_a_killed_worker_is_replaced_and_its_calls_go_on(tmp_path):
    with RunningEdge(tmp_path) as edge:
        one, _ = edge.call()
        second, _ = edge.call()
        edge.until("calls_up", 2)
        began = time.monotonic()
        os.kill(edge.ready["pid"], signal.SIGKILL)
        # Sent while nobody reads: the sockets are the supervisor's, so that the packet waits.
        one.send("BYE")
        edge.pbx.answer(edge.pbx.wait("BYE"), 200)
        edge.caller.wait("200")
        assert time.monotonic() - began < 30
        assert edge.event("worker died, starting it again")["status"] == -signal.SIGKILL
        assert edge.event("worker ready")["pid"] != edge.ready["pid"]
        edge.hang_up(second)
        edge.call()
        found = edge.until("calls", 3)
        assert found["restarts"] == 1
        assert found["forged_tokens"] == 0


def test_a_worker_that_dies_at_once_is_retried_with_a_pause(tmp_path):
    with RunningEdge(tmp_path) as edge:
        pid, times = edge.ready["pid"], []
        for _ in range(4):
            os.kill(pid, signal.SIGKILL)
            times.append(time.monotonic())
            pid = edge.event("worker ready")["pid"]
        assert times[-1] - times[-2] >= 0.4
        assert edge.statistics()["restarts"] == 4
        edge.call()


def test_a_worker_that_cannot_be_started_now_is_started_later(tmp_path):
    with RunningEdge(tmp_path) as edge:
        with no_open_files(edge.process.pid):
            os.kill(edge.ready["pid"], signal.SIGKILL)
            for _ in range(2):
                assert edge.event("worker not started, trying again")["error"]
        pid = edge.event("worker ready")["pid"]
        edge.call()
        with no_open_files(edge.process.pid):
            os.kill(pid, signal.SIGKILL)
            edge.event("worker not started, trying again")
            assert edge.stop() == 0


def test_a_stop_lets_a_ringing_call_be_answered(tmp_path):
    with RunningEdge(tmp_path, stop_timeout=30) as edge:
        edge.call()
        _, arrived = edge.ring()
        edge.signal(signal.SIGTERM)
        edge.event("stopping")
        edge.caller.request("INVITE", edge.uri, call_id="late")
        refused = edge.caller.wait("503")
        assert refused.header("Retry-After")
        edge.answer(arrived)
        assert edge.process.wait(WAIT) == 0
        lines = edge.call_lines()
        assert [line["ended"] for line in lines] == ["stop", "stop"]
        assert [line["status"] for line in lines] == [200, 200]
        assert not alive(edge.ready["pid"])
        assert list(tmp_path.glob("*.sock")) == []


def test_a_stop_waits_no_longer_than_its_timeout(tmp_path):
    with RunningEdge(tmp_path, stop_timeout=1) as edge:
        edge.ring()
        began = time.monotonic()
        assert edge.stop() == 0
        assert 0.9 < time.monotonic() - began < 30
        assert edge.event("stopped")["unfinished"] >= 1
        (line,) = edge.call_lines()
        assert line["ended"] == "stop"


def test_a_worker_ends_with_its_supervisor(tmp_path):
    with RunningEdge(tmp_path) as edge:
        edge.process.kill()
        edge.process.wait()
        end = time.monotonic() + WAIT
        while alive(edge.ready["pid"]) and time.monotonic() < end:
            os.sched_yield()
        assert not alive(edge.ready["pid"])


def test_a_port_that_is_taken(tmp_path):
    with RunningEdge(tmp_path) as edge:
        second = run_edge("run", "-c", str(edge.file))
        assert second.returncode == 1
        assert second.stderr == (
            f"{edge.file}: cannot bind udp:{edge.address[0]}:{edge.address[1]}: Address already in use\n")
        assert second.stdout == ""
        # The first one is as it was, its control socket too.
        assert edge.statistics()["workers"] == 1


def test_an_address_of_the_command_line_that_cannot_be_bound(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(f'[[listener]]\nname = "a"\nbind = "udp:127.0.0.1:1"\n[process]\ndirectory = "{tmp_path}"\n')
    found = run_edge("run", "-c", str(file), "--listen", "udp:192.0.2.1:5060")
    assert found.returncode == 1
    assert found.stderr.startswith("--listen: cannot bind udp:192.0.2.1:5060: ")


def test_a_bad_configuration_starts_nothing(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text('[[listener]]\nname = "a"\nbind = "udp:127.0.0.1:5060"\ncolour = "red"\n')
    for command in ("run", "check", "stats"):
        found = run_edge(command, "-c", str(file))
        assert found.returncode == 2
        assert found.stderr.startswith(f"{file}:4: listener[0].colour: unknown key")
        assert "Traceback" not in found.stderr


def test_stats_and_trace_without_an_edge(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(f'[[listener]]\nname = "a"\nbind = "udp:{NETWORK}.1:{free_port(f"{NETWORK}.1")}"\n'
                    f'[process]\ndirectory = "{tmp_path}"\n')
    for command in (("stats",), ("trace", "on")):
        found = run_edge(*command, "-c", str(file))
        assert found.returncode == 1
        assert found.stderr.startswith("no edge runs with this configuration: ")


def test_what_the_size_policy_does_is_counted_beyond_a_worker(tmp_path):
    with RunningEdge(tmp_path) as edge:
        edge.caller.request("INVITE", edge.uri, headers=[("X-Padding", "x" * 1400)])
        arrived = edge.pbx.wait("INVITE")
        assert arrived.header("X-Edge-Call") is None, "dropped: the budget is 1300"
        found = edge.until("size_over", 1)
        assert (found["size_compact"], found["size_drop"]) == (1, 1)
        assert found["size_fragment"] + found["size_sent_over"] == 1
        assert "bytes (pbx): compact header names" in edge.event("policy")["text"]
        os.kill(edge.ready["pid"], signal.SIGKILL)
        edge.event("worker ready")
        edge.caller.request("INVITE", edge.uri, call_id="second", headers=[("X-Padding", "x" * 1400)])
        assert edge.until("size_over", 2)["oversize"] == 2


def test_a_reader_that_does_not_read_blocks_no_call(tmp_path):
    """Standard output is a pipe of one page that nobody reads: calls go on, and their lines are lost and counted."""
    read, write = os.pipe()
    try:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
        os.write(write, b"-" * 4096)
        with RunningEdge(tmp_path, stdout=write) as edge:
            flood(edge, 3600)
            found = edge.until("journal_dropped", 1)
            assert found["calls_failed"] == 3600
            edge.hang_up(edge.call()[0])
            assert edge.stop() == 0
    finally:
        os.close(read)
        os.close(write)


def flood(edge: RunningEdge, calls: int) -> None:
    """So many calls that the PBX refuses, one by one."""
    for number in range(calls):
        invite = edge.caller.request("INVITE", edge.uri, call_id=f"flood-{number}-" + '"' * 60)
        edge.pbx.answer(edge.pbx.wait("INVITE"), 486)
        edge.pbx.wait("ACK")
        edge.caller.ack(invite, edge.caller.wait("486"))


def test_a_log_that_nobody_reads_blocks_no_call(tmp_path):
    with RunningEdge(tmp_path, more="trace = true\n") as edge:
        edge.call()
        edge.event("message")
        edge.pause_reading()
        flood(edge, 200)
        assert edge.until("log_lost", 1)["calls_failed"] == 200


@pytest.mark.parametrize("where", ["file", "env"])
def test_a_key_of_ones_own_recognises_the_calls_of_the_edge_before(tmp_path, where):
    (tmp_path / "key").write_text("k" * 40)
    secrets = '[secrets]\ntoken_key_file = "key"\n' if where == "file" else '[secrets]\ntoken_key_env = "EDGE_KEY"\n'
    with RunningEdge(tmp_path, more=secrets, environment={"EDGE_KEY": "k" * 40}) as edge:
        dialog, _ = edge.call()
        assert edge.stop() == 0
        address = edge.address
        with RunningEdge(tmp_path, more=secrets, environment={"EDGE_KEY": "k" * 40},
                         arguments=("--listen", f"udp:{address[0]}:{address[1]}")):
            edge.hang_up(dialog)
    assert b"k" * 40 not in b"".join(json.dumps(line).encode() for line in edge.log)


def test_a_running_edge_is_asked_without_its_secrets(tmp_path):
    secrets = '[secrets]\ntoken_key_env = "EDGE_KEY"\n'
    with RunningEdge(tmp_path, more=secrets, environment={"EDGE_KEY": "k" * 40}) as edge:
        assert edge.command("stats").startswith("workers 1,")
        edge.command("trace", "on")
        assert edge.command("targets")


def test_a_key_that_is_missing_or_short_starts_nothing(tmp_path):
    (tmp_path / "key").write_text("short-secret")
    file = tmp_path / "edge.toml"
    listener = f'[[listener]]\nname = "a"\nbind = "udp:{NETWORK}.1:{free_port(f"{NETWORK}.1")}"\n'
    for secrets, text in (('token_key_file = "key"', "the key has 12 bytes, expected 32 at least"),
                          ('token_key_file = "none"', "cannot read none: No such file or directory"),
                          ('token_key_env = "NO_SUCH_KEY"', "the environment has no variable NO_SUCH_KEY")):
        file.write_text(f"{listener}[secrets]\n{secrets}\n")
        found = run_edge("run", "-c", str(file))
        assert (found.returncode, "short-secret" in found.stderr) == (2, False)
        assert found.stderr == f"{file}:5: secrets.{secrets.split(' ')[0]}: {text}\n"


def test_the_control_socket_may_stand_deep_in_folders(tmp_path):
    """Its path is longer than the address of a socket can be."""
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    with RunningEdge(folder) as edge:
        assert edge.statistics()["workers"] == 1
        assert len(list(folder.glob("control-*.sock"))) == 1
    assert not list(folder.glob("control-*.sock"))


def test_a_client_that_says_nothing_or_nonsense_does_not_hold_the_control_socket(tmp_path):
    with RunningEdge(tmp_path) as edge:
        (path,) = tmp_path.glob("control-*.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent, \
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as noisy:
            silent.connect(str(path))
            noisy.connect(str(path))
            noisy.send(b"\xc1 no message")
            assert edge.statistics()["workers"] == 1
            assert edge.event("control client")["error"]
            silent.settimeout(WAIT)
            assert silent.recv(10) == b""
        assert path.stat().st_mode & 0o777 == 0o600
