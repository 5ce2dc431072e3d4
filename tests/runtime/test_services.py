"""The services process beside a running edge: only where it is needed, started again, and never in the way of calls."""
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.api import http_client

from .edge import NETWORK, WAIT, RunningEdge, no_open_files
from .test_controlled import ControllingEdge

WEBHOOK = """
[[webhook]]
name = "crm"
url = "http://127.0.0.1:9/"
"""


def children(pid: int) -> list[str]:
    """The command lines of the processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found.append(Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def services_pid(edge: RunningEdge) -> int:
    """Of the services process that the edge began with; it may be ready before the worker is."""
    found = [line for line in edge.log if line["event"] == "services ready"]
    return int((found or [edge.event("services ready")])[0]["pid"])


def test_no_services_process_runs_where_nothing_needs_it(tmp_path):
    with RunningEdge(tmp_path) as edge:
        assert not any("proxy.services" in one for one in children(edge.process.pid))
        assert edge.stop() == 0


def test_it_is_started_again_and_ends_with_the_edge(tmp_path):
    with RunningEdge(tmp_path, more=WEBHOOK) as edge:
        first = services_pid(edge)
        os.kill(first, signal.SIGKILL)
        edge.event("services process died, starting it again", status=-signal.SIGKILL)
        second = edge.event("services ready")["pid"]
        assert second != first
        os.kill(edge.ready["pid"], signal.SIGKILL)
        edge.event("worker ready")
        edge.call()
        assert edge.stop() == 0
        assert not Path(f"/proc/{second}").exists()


def test_it_is_started_later_where_that_fails(tmp_path):
    with RunningEdge(tmp_path, more=WEBHOOK) as edge:
        with no_open_files(edge.process.pid):
            os.kill(services_pid(edge), signal.SIGKILL)
            for _ in range(2):
                assert edge.event("services process not started, trying again")["error"]
        pid = edge.event("services ready")["pid"]
        with no_open_files(edge.process.pid):
            os.kill(pid, signal.SIGKILL)
            edge.event("services process not started, trying again")
            assert edge.stop() == 0


def test_a_stopped_services_process_stops_no_call_and_is_killed_at_the_end(tmp_path):
    with RunningEdge(tmp_path, more=WEBHOOK, stop_timeout=1) as edge:
        pid = services_pid(edge)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(20):
            edge.call()
        assert time.monotonic() - began < 30
        assert edge.stop() == 0
        edge.event("services process killed: it did not stop in time")
        assert not Path(f"/proc/{pid}").exists()


def test_a_reload_starts_it_where_it_is_needed_from_now_on(tmp_path):
    with RunningEdge(tmp_path) as edge:
        edge.file.write_text(edge.text + WEBHOOK)
        edge.signal(signal.SIGHUP)
        edge.event("services ready")
        edge.file.write_text(edge.text + WEBHOOK.replace("crm", "desk"))
        edge.signal(signal.SIGHUP)
        assert edge.event("services ready")["epoch"] == 2
        edge.file.write_text(edge.text + '[database]\nurl = "sqlite+aiosqlite:///other.db"\n')
        edge.signal(signal.SIGHUP)
        assert "database.url" in edge.event("configuration kept")["reason"]


def test_a_refused_reload_leaves_the_port_of_the_api_alone(tmp_path):
    api = free_tcp_port()
    more = f'[api]\nbind = "127.0.0.1:{api}"\n'
    with RunningEdge(tmp_path) as edge:
        edge.file.write_text(edge.text.replace("t1 = 4", "t1 = 3") + more)
        edge.signal(signal.SIGHUP)
        assert edge.event("configuration kept")["reason"].startswith("[timers] cannot change")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", api), WAIT)
        edge.file.write_text(edge.text + more)
        edge.signal(signal.SIGHUP)
        assert edge.event("services ready")["epoch"] == 1
        socket.create_connection(("127.0.0.1", api), WAIT).close()


CONTROLLED = """
[[route]]
to = "pbx"
prefixes = ["2"]
control = true

[[transfer]]
name = "desk"
mode = "blind"
targets = ["sip:3001@{network}.3:{port}"]

[[webhook]]
name = "crm"
url = "http://127.0.0.1:{hook}/"

[api]
bind = "127.0.0.1:{api}"
"""


class Hook(BaseHTTPRequestHandler):
    """Takes every event."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.events.append(json.loads(body)["event"])  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *_: object) -> None:
        """Nothing: the test says what is wrong."""


def free_tcp_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
    return found


def test_a_call_is_handed_over_through_the_api_and_everybody_is_told(tmp_path):
    """Real processes from end to end: SIP, worker, link, API, database, webhook."""
    hook = HTTPServer(("127.0.0.1", 0), Hook)
    hook.events = []  # type: ignore[attr-defined]
    serving = threading.Thread(target=hook.serve_forever)
    serving.start()
    api = free_tcp_port()
    more = CONTROLLED.format(network=NETWORK, port=5060, hook=hook.server_port, api=api)
    try:
        with RunningEdge(tmp_path, more=more) as edge, http_client(f"http://127.0.0.1:{api}") as http:
            services_pid(edge)
            edge.call()
            (call,) = until(lambda: [one for one in http.get("/v1/calls").json()["calls"] if one["state"] == "up"])
            assert {leg["role"] for leg in call["legs"]} == {"caller", "agent"}
            assert http.get("/v1/upstreams").json()["upstreams"][0]["calls"] == 1
            path = f"/v1/calls/{call['id']}"
            assert http.patch(f"{path}/variables", json={"name": "Ann"}).json()["variables"]["name"] == "Ann"
            assert http.post(f"{path}/transcript", json={"turns": [{"role": "agent", "text": "One moment"}]}
                             ).status_code == 204
            started = http.post(f"{path}/transfer", json={"action": "desk"})
            assert started.status_code == 202, started.text
            assert http.post(f"{path}/transfer", json={"action": "desk"}).status_code == 409
            refer = edge.caller.wait("REFER")
            assert "3001" in (refer.header("Refer-To") or "")
            edge.caller.answer(refer, 603)
            where = started.headers["location"]
            transfer = until(lambda: (found := http.get(where).json())["ended"] and found)
            assert (transfer["state"], transfer["status"], transfer["accepted"]) == ("failed", 603, False)
            kept = where.replace("/v1/transfers/", "/v1/records/transfers/")
            until(lambda: http.get(kept).status_code == 200)
            assert http.get(kept).json()["verdict"]
            until(lambda: {"call.answered", "transfer.failed"} <= set(hook.events))  # type: ignore[attr-defined]
    finally:
        hook.shutdown()
        serving.join()
        hook.server_close()


FEW = """
[[webhook]]
name = "crm"
url = "http://127.0.0.1:9/"
attempts = 1
"""


def test_what_is_lost_is_counted(tmp_path):
    edge = ControllingEdge(tmp_path, FEW)
    edge.file.write_text(edge.text.replace("[services]\n", "[services]\nqueue = 16\n"))
    with edge:
        pid = services_pid(edge)
        one, _ = edge.call()
        edge.hang_up(one)
        edge.until("webhook_given_up", 2)
        os.kill(pid, signal.SIGSTOP)
        for _ in range(18):
            one, _ = edge.call()
            edge.hang_up(one)
        edge.until("records_lost", 1)
        edge.until("events_dropped", 1)
        os.kill(pid, signal.SIGCONT)
        assert edge.stop() == 0


WAITING = """
[[request]]
name = "price"
url = "http://127.0.0.1:{silent}/"
timeout = 20
fallback = '{{"price": "none"}}'

[[transfer]]
name = "priced"
mode = "blind"
targets = ["sip:3001@{network}.3:5060"]
before = ["price"]
headers = [{{ name = "X-Price", value = "{{results.data.price}}" }}, {{ name = "X-Name", value = "{{name}}" }}]
"""


def test_a_services_process_that_dies_in_the_middle_of_a_transfer_loses_neither_call_nor_record(tmp_path):
    api = free_tcp_port()
    more = CONTROLLED.format(network=NETWORK, port=5060, hook=9, api=api)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        more += WAITING.format(silent=silent.getsockname()[1], network=NETWORK)
        with RunningEdge(tmp_path, more=more) as edge, http_client(f"http://127.0.0.1:{api}") as http:
            pid = services_pid(edge)
            edge.call()
            (call,) = until(lambda: [one for one in http.get("/v1/calls").json()["calls"] if one["state"] == "up"])
            started = http.post(f"/v1/calls/{call['id']}/transfer", json={
                "action": "priced", "variables": {"name": "Ann"}})
            assert started.json()["state"] == "preparing"
            # The request is under way when nobody is there any more to await its answer.
            silent.settimeout(WAIT)
            held, _ = silent.accept()
            os.kill(pid, signal.SIGKILL)
            refer = edge.caller.wait("REFER")
            held.close()
            assert (refer.header("X-Name"), refer.header("X-Price")) == ("Ann", "none")
            edge.caller.answer(refer, 603)
            edge.event("services ready")
            where = started.headers["location"].replace("/v1/transfers/", "/v1/records/transfers/")
            record = until(lambda: (found := http.get(where)).status_code == 200 and found.json())
            assert (record["state"], record["status"]) == ("failed", 603)
            assert "the services process ended" in [step["detail"] for step in record["steps"]]
