"""A trunk that asks for a password, in the calls of a Scene."""
from typing import Any

from tests.authorizing import answer, parameters
from tests.endpoints import Received

from .scene import CONFIG, Scene

ACCOUNT = 'credentials = [{realm = "trunk", user = "edge", secret_env = "TEST_SECRET"}]\n'
TRUNK = CONFIG.replace('name = "agent"\ntargets', f'name = "agent"\n{ACCOUNT}targets')
DIGEST = 'Digest realm="trunk", nonce="{nonce}", algorithm={algorithm}, qop="{qop}"'


def challenge(nonce: str = "n1", *, status: int = 407, algorithm: str = "SHA-256", qop: str = "auth",
              realm: str = "trunk", stale: bool = False) -> list[tuple[str, str]]:
    value = DIGEST.format(nonce=nonce, algorithm=algorithm, qop=qop).replace('"trunk"', f'"{realm}"')
    return [("Proxy-Authenticate" if status == 407 else "WWW-Authenticate", value + (", stale=true" if stale else ""))]


def right(request: Received, *, status: int = 407, password: str = "secret", body: bytes = b"") -> bool:
    """Whether a request has the credentials that the user `edge` has to have."""
    value = request.header("Proxy-Authorization" if status == 407 else "Authorization")
    if value is None:
        return False
    found = parameters(value)
    again = answer(found, "edge", password, request.message.method, request.message.uri, count=int(found["nc"], 16),
                   body=body, cnonce=found["cnonce"], qop=found["qop"])
    return found["username"] == "edge" and parameters(again)["response"] == found["response"]


def same_dialog(one: Received, other: Received) -> bool:
    return ((one.message.call_id, one.message.from_tag, one.header("To")) == (
        other.message.call_id, other.message.from_tag, other.header("To"))
        and other.message.cseq[0] == one.message.cseq[0] + 1 and one.message.branch != other.message.branch)


def refuse(edge: Scene, request: Received, headers: list[tuple[str, str]], status: int = 407,
           **parts: Any) -> list[Received]:
    """The agent refuses a request; what it receives then, without the ACK of an INVITE."""
    edge.agent.answer(request, status, headers=headers, **parts)
    edge.run()
    found = edge.agent.received()
    if request.name == "INVITE":
        assert found[0].name == "ACK"
        found = found[1:]
    return found
