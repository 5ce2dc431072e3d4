"""What an operator sees of targets and bans, and changes: on a running edge, with real sockets."""
import json
import os
import signal
import socket
import threading

from sipcore.wire.message import Message
from tests.api import http_client

from .edge import NETWORK, WAIT, RunningEdge, free_port, run_edge
from .test_run import worker_pid

PROBES = "health = {probe_interval = 0.2, probe_timeout = 0.5, slow_start = 0.3}\n"


def edge_of(folder, *, health: str = PROBES, **options) -> RunningEdge:
    edge = RunningEdge(folder, **options)
    edge.text = edge.text.replace("targets = [", health + "targets = [")
    edge.file.write_text(edge.text)
    return edge


class Endpoint:
    """Answers OPTIONS on the PBX's socket by a thread, with what it is told; 0 is silence."""

    def __init__(self, edge: RunningEdge):
        self.status = 200
        self._phone = edge.pbx
        self._ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        sock = self._phone.socket
        sock.settimeout(0.1)
        while not self._ended:
            try:
                data, source = sock.recvfrom(65535)
            except TimeoutError:
                continue
            message = Message(data)
            if message.is_request and message.method == "OPTIONS" and self.status:
                lines = [f"SIP/2.0 {self.status} Reason", *(f"{name}: {value}" for name, value in message.items()
                                                            if name in ("Via", "From", "To", "Call-ID", "CSeq")),
                         "Content-Length: 0", "", ""]
                sock.sendto("\r\n".join(lines).encode(), source)

    def end(self) -> None:
        self._ended = True
        self._thread.join(WAIT)


def targets(edge: RunningEdge) -> list[dict]:
    found: list[dict] = json.loads(edge.command("targets", "--json"))
    return found


def test_a_target_that_fails_and_recovers_is_told_of(tmp_path):
    with edge_of(tmp_path) as edge:
        endpoint = Endpoint(edge)
        address = f"{NETWORK}.3:{edge.pbx.number}"
        edge.until("targets_up", 1)
        for status in (503, 0):
            endpoint.status = status
            down = edge.event("target down", target=address)
            assert down["upstreams"] == ["pbx"]
            assert ("503" if status else "no answer") in down["why"]
            assert edge.until("targets_down", 1)["probes_failed"] >= 4
            (one,) = targets(edge)
            assert (one["address"], one["state"], one["share"]) == (address, "down", 0)
            endpoint.status = 200
            edge.event("target up", target=address)
            edge.until("targets_up", 1)
        endpoint.end()
        assert "pbx" in edge.command("targets")


def test_draining_outlives_the_worker(tmp_path):
    with edge_of(tmp_path, health="health = {all_down = false}\n") as edge:
        address = f"{NETWORK}.3:{edge.pbx.number}"
        edge.command("drain", address)
        assert [one["state"] for one in targets(edge)] == ["draining"]
        edge.caller.request("INVITE", edge.uri)
        assert edge.caller.wait("503")
        first = worker_pid(edge)
        os.kill(first, signal.SIGKILL)
        worker_pid(edge, after=first)
        assert [one["state"] for one in targets(edge)] == ["draining"]
        edge.command("resume", address)
        edge.call()


def test_a_drained_edge_begins_nothing_until_it_is_resumed(tmp_path):
    with edge_of(tmp_path, health="") as edge:
        dialog, _ = edge.call()
        edge.command("drain")
        for number in range(2):
            edge.caller.request("INVITE", edge.uri, call_id=f"drained-{number}")
            assert edge.caller.wait("503").header("Retry-After") == "10"
            if number == 0:
                # What goes on does so, and a new worker begins nothing either.
                edge.hang_up(dialog)
                first = worker_pid(edge)
                os.kill(first, signal.SIGKILL)
                worker_pid(edge, after=first)
        edge.command("resume")
        edge.call()


def test_the_api_bans_and_drains_as_the_command_line_does(tmp_path):
    port = free_port(f"{NETWORK}.1")
    more = f'[api]\nbind = "127.0.0.1:{port}"\n'
    with edge_of(tmp_path, health="", more=more) as edge, http_client(f"http://127.0.0.1:{port}") as http:
        edge.event("services ready")
        host, target = f"{NETWORK}.2", f"{NETWORK}.3:{edge.pbx.number}"
        assert http.post("/v1/bans", json={"address": host, "seconds": 60}).status_code == 201
        (ban,) = json.loads(edge.command("bans", "--json"))
        assert (ban["address"], ban["count"]) == (host, 0)
        assert http.get("/v1/bans").json()["bans"][0]["until"] == ban["until"]
        edge.caller.request("INVITE", edge.uri, call_id="banned")
        edge.until("banned", 1)
        assert http.delete(f"/v1/bans/{host}").status_code == 204
        assert http.post(f"/v1/targets/{target}/drain").json() == {"address": target, "known": True}
        assert [one["state"] for one in targets(edge)] == ["draining"]
        assert http.post(f"/v1/targets/{target}/resume").status_code == 200
        assert http.post("/v1/edge/drain").status_code == 204
        edge.caller.request("INVITE", edge.uri, call_id="drained")
        assert edge.caller.wait("503")
        assert http.post("/v1/edge/resume").status_code == 204
        edge.call()


def test_what_is_no_target_is_said_to_be_none(tmp_path):
    with edge_of(tmp_path, health="") as edge:
        found = run_edge("drain", "192.0.2.99", "-c", str(edge.file))
        assert (found.returncode, found.stderr.split(" is ")[0]) == (0, "192.0.2.99:5060")
        assert run_edge("drain", "nonsense:", "-c", str(edge.file)).returncode == 2
        assert run_edge("unban", "192.0.2.99", "-c", str(edge.file)).returncode == 1
        assert run_edge("unban", "nonsense", "-c", str(edge.file)).returncode == 2
        assert json.loads(edge.command("bans", "--json")) == []
    assert run_edge("targets", "-c", str(edge.file)).returncode == 1


def scan(host: str, port: int, number: int) -> None:
    with socket.create_connection((host, port), timeout=WAIT, source_address=(f"{NETWORK}.7", 0)) as sock:
        sock.sendall("\r\n".join([
            f"OPTIONS sip:100@{host} SIP/2.0", f"Via: SIP/2.0/TCP {NETWORK}.7;branch=z9hG4bK{number}",
            "Max-Forwards: 70", "From: <sip:100@h>;tag=1", "To: <sip:100@h>", f"Call-ID: scan{number}",
            "CSeq: 1 OPTIONS", "User-Agent: friendly-scanner", "Content-Length: 0", "", ""]).encode())


def test_a_scanner_on_a_connection_is_banned_and_can_be_let_in_again(tmp_path):
    port = free_port(f"{NETWORK}.1")
    more = f'[[listener]]\nname = "tcp"\nbind = "tcp:{NETWORK}.1:{port}"\n[abuse]\nstrikes = 3\n'
    with edge_of(tmp_path, health="", more=more) as edge:
        for number in range(3):
            scan(f"{NETWORK}.1", port, number)
            edge.until("scanners", number + 1)
        told = edge.event("address banned", address=f"{NETWORK}.7")
        assert told["seconds"] == 600
        (ban,) = json.loads(edge.command("bans", "--json"))
        assert (ban["address"], ban["count"]) == (f"{NETWORK}.7", 1)
        assert f"{NETWORK}.7" in edge.command("bans")
        assert edge.until("bans", 1)["bans_earned"] == 1
        # Its neighbours are not concerned.
        edge.call()
        edge.command("unban", f"{NETWORK}.7")
        assert json.loads(edge.command("bans", "--json")) == []
