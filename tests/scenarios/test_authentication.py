"""Passwords both ways with SIPp: the edge asks a caller, a trunk and a registrar ask the edge."""
import hashlib

import pytest

from tests.authorizing import answer, parameters
from tests.edge import EdgeProcess
from tests.scenarios.conftest import Stage
from tests.scenarios.sipp import Seen, Sipp

CONFIGURATION = """
[[listener]]
name = "edge"
bind = "udp:{net}.1:5060"

[[realm]]
name = "phones"
realm = "example.com"
users_file = "users"
algorithms = ["MD5"]

[[group]]
name = "callers"
addresses = ["{net}.2"]
auth = "phones"

[[group]]
name = "trunk"
addresses = ["{net}.3", "{net}.4"]

[[upstream]]
name = "trunk"
targets = [{{ address = "{net}.3:5070" }}]

[[upstream.credentials]]
realm = "trunk"
user = "edge"
secret_file = "secret"

[[route]]
groups = ["callers"]
to = "trunk"
control = true
"""
REGISTRATION = """
[[upstream]]
name = "registrar"
targets = [{{ address = "{net}.4:5070" }}]

[[upstream.credentials]]
realm = "trunk"
user = "edge"
secret_file = "secret"

[[registration]]
upstream = "registrar"
aor = "sip:line@trunk.example"
expires = 60
"""


@pytest.fixture
def stage(network, tmp_path):
    folder = tmp_path / "edge"
    folder.mkdir()
    (folder / "users").write_text(f"ann:example.com:{hashlib.md5(b'ann:example.com:secret').hexdigest()}\n")
    (folder / "secret").write_text("secret of the trunk\n")
    made: list[Stage] = []

    def start(more: str = "") -> Stage:
        edge = EdgeProcess(folder, (CONFIGURATION + more).format(net=network))
        made.append(Stage(network, edge, tmp_path))
        return made[-1]

    yield start
    for one in made:
        one.close()
        one.edge.stop()


def proven(message: Seen, body: bytes = b"") -> bool:
    """Whether a request of the edge's has the trunk's password in it."""
    [value] = message.values("Authorization") + message.values("Proxy-Authorization")
    found = parameters(value)
    made = answer({"algorithm": "MD5", **found}, "edge", "secret of the trunk", message.first_line.split()[0],
                  found["uri"], count=int(found["nc"], 16), cnonce=found["cnonce"], qop=found["qop"], body=body)
    return parameters(made)["response"] == found["response"]


def test_a_call_with_passwords_on_both_sides(stage):
    built = stage()
    trunk = built.callee("authenticated/trunk")
    caller = built.caller("authenticated/caller")
    asked = caller.received("SIP/2.0 401")[0].values("WWW-Authenticate")
    assert [parameters(one)["algorithm"] for one in asked] == ["MD5"]
    first, second = trunk.received("INVITE")
    assert not first.values("Proxy-Authorization")
    assert proven(second)
    # The first of the trunk's challenges whose algorithm the edge knows (RFC 8760 2.4).
    assert "algorithm=SHA-256" in second.values("Proxy-Authorization")[0]
    assert first.values("Call-ID") == second.values("Call-ID")
    assert "ann" not in "".join(second.values("Proxy-Authorization"))
    assert not second.values("Authorization")
    byes = trunk.received("BYE")
    assert proven(byes[1])
    assert parameters(byes[1].values("Authorization")[0])["qop"] == "auth-int"
    stats = built.edge.wait_stats(lambda found: found["challenges_answered"] == 2, "both challenges are counted")
    assert stats["auth_passed"] == 1


def test_the_edge_registers_and_leaves(stage, network, tmp_path):
    with Sipp("authenticated/registrar", (f"{network}.4", 5070), tmp_path) as registrar:
        built = stage(REGISTRATION)
        built.edge.wait_stats(lambda found: found["registrations_up"] == 1, "the edge is registered")
        built.edge.stop()
        registrar.finish()
    first, longer, proof, last = registrar.received("REGISTER")
    assert [one.values("Expires") for one in (first, longer, proof, last)] == [["60"], ["3600"], ["3600"], ["0"]]
    assert proven(proof)
    assert len({one.values("Contact")[0] for one in (first, last)}) == 1
    assert first.values("Contact") == [f"<sip:line@{network}.1:5060>"]
