"""Addresses that are let in and shut out through the API, by an edge that runs on."""
import os
import signal
import time

import pytest

from tests.api import http_client

from .edge import WAIT, RunningEdge, SocketPhone
from .test_services import free_tcp_port, services_pid

HOST = "127.0.0.77"
"""In none of the edge's groups."""


MORE = """
[unlisted]
answer = "forbid"

[api]
bind = "{api}"

[database]
url = "sqlite+aiosqlite:///edge.db"
"""


class Guarded:
    """An edge with an API, and a stranger who asks it for its OPTIONS."""

    def __init__(self, folder):
        self.base = f"127.0.0.1:{free_tcp_port()}"
        self.edge = RunningEdge(folder, more=MORE.format(api=self.base))

    def __enter__(self):
        self.edge.__enter__()
        self.stranger = SocketPhone("stranger", HOST, self.edge.address)
        self.pid = services_pid(self.edge)
        self.http = http_client(f"http://{self.base}")
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()
        self.stranger.socket.close()
        self.edge.__exit__(*error)

    def is_in(self, seconds: float = WAIT) -> bool | None:
        """Whether the stranger is answered with 200 or with 403. None: not within so many seconds; it hears 403 now and
        then only."""
        host, port = self.edge.address
        call_id = os.urandom(4).hex()
        self.stranger.request("OPTIONS", f"sip:{host}:{port}", call_id=call_id)
        self.stranger.socket.settimeout(seconds)
        data = b""
        # An answer to an earlier question may have been late.
        while call_id.encode() not in data:
            try:
                data, _ = self.stranger.socket.recvfrom(65535)
            except TimeoutError:
                return None
        assert data.split(b" ")[1] in (b"200", b"403")
        return data.split(b" ")[1] == b"200"

    def until(self, inside: bool) -> None:
        end = time.monotonic() + WAIT
        while self.is_in(1) is not inside:
            assert time.monotonic() < end, f"the stranger is{' not' * inside} in"

    def add(self, **more) -> dict:
        answer = self.http.post("/v1/access", json={"group": "phones", "prefix": HOST} | more)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


def test_an_address_is_let_in_and_shut_out(tmp_path):
    with Guarded(tmp_path) as guarded:
        guarded.until(inside=False)
        entry = guarded.add()
        guarded.until(inside=True)
        os.kill(guarded.edge.ready["pid"], signal.SIGKILL)
        guarded.edge.event("worker died, starting it again")
        guarded.edge.event("worker ready")
        assert guarded.is_in(), "the next worker knows it too"
        assert guarded.http.delete(f"/v1/access/{entry['id']}").status_code == 204
        guarded.until(inside=False)
        assert guarded.edge.stop() == 0


def test_an_entry_outlives_its_processes_and_a_reload(tmp_path):
    with Guarded(tmp_path) as guarded:
        guarded.add()
        guarded.until(inside=True)
        os.kill(guarded.pid, signal.SIGKILL)
        guarded.edge.event("services ready")
        assert guarded.is_in()
        guarded.edge.signal(signal.SIGHUP)
        guarded.edge.event("worker ready")
        assert guarded.is_in()
        assert guarded.edge.stop() == 0
    with Guarded(tmp_path) as again:
        again.until(inside=True)


@pytest.mark.parametrize("hung", [False, True])
def test_an_entry_ends_whatever_the_services_process_does(tmp_path, hung):
    with Guarded(tmp_path) as guarded:
        guarded.add(expires=time.time_ns() // 1_000_000 + 5000)
        guarded.until(inside=True)
        if hung:
            os.kill(guarded.pid, signal.SIGSTOP)
        guarded.until(inside=False)
        if hung:
            os.kill(guarded.pid, signal.SIGCONT)
        assert guarded.http.get("/v1/access").json()["entries"] == []
