"""Context by reference with real processes: what a request had no room for is had over HTTP by the token in it."""
import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from proxy.policy.references import LENGTH
from tests.endpoints import Received

from .edge import NETWORK, RunningEdge
from .test_services import free_tcp_port, services_pid, until

MORE = """
[api]
bind = "127.0.0.1:{api}"
token_file = "tokens"

[reference]
key_file = "keys"
token_file = "pbx"
seconds = {seconds}
"""
BLIND = """
[[transfer]]
name = "blind"
mode = "blind"
upstream = "pbx"
targets = ["sip:2002@{network}.9"]
headers = [
    {{ name = "X-Long", value = "{{long}}" }}, {{ name = "X-Other", value = "{{long}}", priority = 1 }},
    {{ name = "X-Intent", value = "{{intent}}", priority = 9 }},
]
"""
LONG = {"X-Long": 500 * "l", "X-Mid": 300 * "m"}


class ReferringEdge(RunningEdge):
    """Its upstream has a budget of 1000 bytes, and the step `reference`. tight: of so many."""

    def __init__(self, folder: Path, *, seconds: int = 600, more: str = "", control: bool = False, tight: int = 1000):
        self.api = free_tcp_port()
        super().__init__(folder, more=MORE.format(api=self.api, seconds=seconds) + more)
        self.text = self.text.replace('name = "pbx"\n', 'name = "pbx"\nrefer_headers = ["refer-to"]\n'
                                      f'mtu = {tight + 200}\nsize_policy = ["reference", "drop", "refuse"]\n', 1)
        self.text = self.text.replace("[process]", "".join(
            f'[[headers.add]]\nname = "{name}"\nvalue = "{value}"\n' for name, value in LONG.items()) + "[process]")
        if control:
            self.text = self.text.replace('to = "pbx"\nheaders = ["call"]\n', 'to = "pbx"\ncontrol = true\n')
        self.file.write_text(self.text)
        for name in ("tokens", "keys", "pbx"):
            (folder / name).write_text(f"a secret of the tests that is called {name}\n")

    def __enter__(self) -> "ReferringEdge":
        super().__enter__()
        return self

    def redeem(self, token: str, who: str = "pbx") -> httpx.Response:
        return self.ask("GET", f"/v1/context/{token}", who)

    def ask(self, method: str, path: str, who: str = "tokens", **body: object) -> httpx.Response:
        secret = (self.folder / who).read_text().strip()
        return httpx.request(method, f"http://127.0.0.1:{self.api}{path}", json=body or None, timeout=60,
                             headers={"Authorization": f"Bearer {secret}"}, trust_env=False)

    def invited(self) -> Received:
        """An INVITE as the PBX gets it."""
        return self.ring()[1]


def first_token(edge: ReferringEdge) -> str:
    """Of an INVITE, once the services process has told the worker that it is there."""
    until(lambda: edge.ask("GET", "/health/ready").status_code == 200)
    return str(until(lambda: edge.invited().header("X-Context-Ref")))


def is_over(pid: int) -> bool:
    """Whether nothing of a process is left but its number: no thread that ends holds its sockets any more."""
    return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            and [task.name for task in Path(f"/proc/{pid}/task").iterdir()] == [str(pid)])


def token_of(invite: Received) -> str:
    token = invite.header("X-Context-Ref") or ""
    assert len(token) == LENGTH
    return token


def test_what_an_invite_had_no_room_for_is_redeemed_as_soon_as_it_is_there(tmp_path):
    with ReferringEdge(tmp_path) as edge:
        first_token(edge)
        for _ in range(20):
            invite = edge.invited()
            answer = edge.redeem(token_of(invite))
            assert answer.status_code == 200, answer.text
            assert answer.json()["headers"] == LONG | {"X-Edge-Call": invite.message.call_id}
            assert len(invite.packet.data) <= 1000
            assert [invite.header(name) for name in LONG] == [None, None]
        counted = edge.until("size_reference", 21)
        assert counted["size_over"] == counted["size_reference"] + counted["size_reference_failed"]
        # Once more, after the worker is another one; and nothing else for the PBX.
        os.kill(edge.ready["pid"], signal.SIGKILL)
        edge.event("worker ready")
        assert edge.redeem(token_of(invite)).status_code == 200
        assert edge.ask("GET", "/v1/calls", "pbx").status_code == 401
        assert edge.until("contexts_redeemed", 21)["contexts"] == 21
        assert edge.stop() == 0
    said = str(edge.log)
    assert token_of(invite) not in said
    assert ": X-Mid, X-Long by reference; now " in said


def test_what_fits_carries_no_token(tmp_path):
    with ReferringEdge(tmp_path, tight=4000) as edge:
        invite = edge.invited()
        assert {name: invite.header(name) for name in LONG} == LONG
        assert invite.header("X-Context-Ref") is None


def test_without_the_services_process_no_token_is_sent_that_nobody_could_redeem(tmp_path):
    with ReferringEdge(tmp_path) as edge:
        pid = services_pid(edge)
        first_token(edge)
        # While the supervisor is held nobody starts another one.
        edge.signal(signal.SIGSTOP)
        try:
            os.kill(pid, signal.SIGKILL)
            until(lambda: is_over(pid))
            invite = edge.invited()
        finally:
            edge.signal(signal.SIGCONT)
        assert invite.header("X-Context-Ref") is None
        assert [invite.header(name) for name in LONG] == [None, None]
        edge.event("context not sent by reference", reason="the services process does not take it")
        edge.event("services ready")
        assert edge.redeem(first_token(edge)).status_code == 200
        assert edge.until("size_reference", 2)["size_reference_failed"] >= 1


def test_a_transfer_carries_the_token_inside_refer_to_until_it_is_over(tmp_path):
    with ReferringEdge(tmp_path, seconds=5, control=True, more=BLIND.format(network=NETWORK)) as edge:
        until(lambda: edge.ask("GET", "/health/ready").status_code == 200)
        edge.call()
        (call,) = until(lambda: [one for one in edge.ask("GET", "/v1/calls").json()["calls"] if one["state"] == "up"])
        variables = {"long": 450 * "\u00e4", "intent": "make a claim & more"}
        started = edge.ask("POST", f"/v1/calls/{call['id']}/transfer", action="blind", variables=variables)
        assert started.status_code == 202, started.text
        refer = edge.caller.wait("REFER")
        found = re.fullmatch(
            r"<sip:2002@[\d.]+\?X-Context-Ref=([\w-]{36})&X-Intent=([^&]*)>", refer.header("Refer-To") or "")
        assert found is not None
        answer = edge.redeem(found[1])
        assert answer.json()["headers"] == {
            "X-Intent": variables["intent"], "X-Other": variables["long"], "X-Long": variables["long"]}
        assert unquote(found[2]) == variables["intent"]
        edge.caller.answer(refer, 603)
        record = until(lambda: (one := edge.ask("GET", started.headers["location"]).json())["ended"] and one)
        assert [(one["name"], one["where"]) for one in record["headers"]] == [
            ("X-Context-Ref", "refer-to"), ("X-Intent", "refer-to"), ("X-Other", "reference"),
            ("X-Long", "reference")]
        gone = until(lambda: (one := edge.redeem(found[1])).status_code != 200 and one)
        assert (gone.status_code, gone.headers["content-type"]) == (410, "application/problem+json")
        assert found[1] not in str(record)


def test_check_says_what_is_missing_and_what_would_be_done(tmp_path):
    edge = ReferringEdge(tmp_path)
    try:
        assert "bytes with X-Edge-Call, X-Long, X-Mid; over budget: X-Mid, X-Long, X-Edge-Call by reference" in (
            edge.command("check"))
        (tmp_path / "keys").write_text("short\n")
        with pytest.raises(subprocess.CalledProcessError) as failed:
            edge.command("check")
        assert "reference.key_file: key 1 has 5 bytes, expected 32 at least" in failed.value.stderr
    finally:
        for phone in (edge.caller, edge.pbx):
            phone.socket.close()


