"""The load generator over TCP and TLS: against itself, against peers written here, and through a real edge."""
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import certificate, load, subjects
from benchmarks.load import messages
from tests.benchmarks.seats import patient
from tests.benchmarks.test_load import respond
from tests.certificates import Authority

HOST = "127.0.0.4"
LISTEN = "127.0.0.8:5060"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return certificate.make(tmp_path_factory.mktemp("load"), "127.0.0.3", LISTEN.partition(":")[0])


def plan(transport: str, pair: tuple[str, str] = ("", ""), **options: object) -> load.Plan:
    chain, key = pair if transport == "tls" else ("", "")
    base = {"caller": "127.0.0.2:0", "callee": "127.0.0.3:0", "transport": transport, "certificate": chain, "key": key,
            "ca": chain}  # fmt: skip
    return load.Plan(**base | options)  # type: ignore[arg-type]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as sock:
        sock.settimeout(60)
        yield sock


def address(sock: socket.socket) -> str:
    return f"{HOST}:{sock.getsockname()[1]}"


def serve(listener: socket.socket, talk: Callable[[socket.socket], None]) -> threading.Thread:
    """Take one connection and have `talk` speak on it until the peer ends it."""

    def run() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(60)
            talk(sock)
            while sock.recv(4096):
                pass

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def next_request(sock: socket.socket, before: bytes = b"") -> tuple[bytes, bytes]:
    """One request off a stream, and what came behind it."""
    while b"\r\n\r\n" not in before:
        before += sock.recv(4096)
    head, _, rest = before.partition(b"\r\n\r\n")
    found = re.search(rb"Content-Length: (\d+)", head)
    assert found is not None
    while len(rest) < int(found[1]):
        rest += sock.recv(4096)
    return head + b"\r\n\r\n" + rest[: int(found[1])], rest[int(found[1]) :]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_two_thousand_calls_without_a_proxy(transport: str, pair: tuple[str, str]) -> None:
    report = load.run(plan(transport, pair, window=64, calls=2000, t1=10.0))
    assert report.uac is not None
    assert report.uas is not None
    assert (report.uac.started, report.uac.ok, report.uac.failed, report.uac.timeouts) == (2000, 2000, {}, 0)
    assert (report.uas.answered, report.uas.confirmed, report.uas.ended) == (2000, 2000, 2000)
    assert report.retransmissions == report.errors == report.broken == report.oversized == 0
    assert report.uac.malformed == report.uac.strays == report.uac.repeated_finals == 0
    assert report.uas.malformed == report.uas.strays == report.uas.misrouted == report.uas.repeated_requests == 0
    assert report.sent == report.received == 6 * 2000


def test_refusal_over_a_connection() -> None:
    report = load.run(plan("tcp", window=16, calls=200, answer=486, connections=1, t1=10.0))
    assert report.uac is not None
    assert report.uas is not None
    assert (report.uac.failed, report.uas.confirmed, report.retransmissions) == ({486: 200}, 200, 0)


def test_messages_in_pieces_and_several_at_once(listener: socket.socket) -> None:
    seen: list[bytes] = []

    def talk(sock: socket.socket) -> None:
        contact = b"Contact: <sip:there@%b;transport=tcp>" % address(listener).encode()
        invite, rest = next_request(sock)
        text = b"\r\n\r\n" + respond(invite, b"180 Ringing") + b"\r\n" + respond(invite, b"200 OK", contact)
        for at in range(0, len(text), 7):
            sock.sendall(text[at : at + 7])
        ack, rest = next_request(sock, rest)
        bye, rest = next_request(sock, rest)
        sock.sendall(respond(bye, b"200 OK").replace(b"Content-Length: 0", b"l:  0"))
        seen.extend((invite, ack, bye, rest))

    thread = serve(listener, talk)
    report = load.run(plan("tcp", role="uac", callee=address(listener), window=1, calls=1, connections=1))
    thread.join()
    assert report.uac is not None
    assert (report.uac.ok, report.received, report.broken) == (1, 3, 0)
    invite, ack, bye, rest = seen
    assert rest == b""
    uri = messages.contact(messages.CALLEE, address(listener), "tcp").encode()
    assert invite.startswith(b"INVITE %b SIP/2.0\r\n" % uri)
    assert b"\r\nVia: SIP/2.0/TCP 127.0.0.2:" in invite
    assert ack.startswith(b"ACK sip:there@")
    assert bye.startswith(b"BYE sip:there@")


def test_nothing_is_sent_again(listener: socket.socket) -> None:
    thread = serve(listener, lambda sock: None)
    report = load.run(plan("tcp", role="uac", callee=address(listener), window=1, calls=1, connections=1, t1=0.005))
    thread.join()
    assert report.uac is not None
    assert (report.uac.timeouts, report.uac.retransmitted_invites, report.sent) == (1, 0, 1)  # 17.1.1.2
    assert report.uac.seconds >= 64 * 0.005


@pytest.mark.parametrize("text", [b"", b"SIP/2.0 200 OK\r\nVia: x\r\n\r\n", b"nonsense\r\n" * 2000],
                         ids=["end", "no length", "no end of headers"])  # fmt: skip
def test_connection_that_ends_or_cannot_be_read(listener: socket.socket, text: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        next_request(sock)
        sock.sendall(text)
        sock.shutdown(socket.SHUT_WR)

    thread = serve(listener, talk)
    report = load.run(plan("tcp", role="uac", callee=address(listener), window=1, calls=1, connections=1, t1=0.005))
    thread.join()
    assert report.uac is not None
    assert (report.uac.ok, report.uac.timeouts, report.broken) == (0, 1, 1)


def test_certificate_of_another_authority_carries_no_call(tmp_path: Path, pair: tuple[str, str]) -> None:
    other = str(Authority(tmp_path).certificate)
    report = load.run(plan("tls", pair, ca=other, window=1, calls=1, t1=0.005))
    assert report.uac is not None
    assert (report.uac.ok, report.uac.timeouts) == (0, 1)
    assert report.broken >= 4


def test_nobody_listens() -> None:
    with socket.create_server((HOST, 0)) as sock:
        free = address(sock)
    with pytest.raises(ConnectionRefusedError):
        load.run(plan("tcp", role="uac", callee=free, window=1, calls=1))


@pytest.mark.parametrize(
    ("transport", "options", "reason"),
    [
        ("tcp", {"loss": 0.1}, "loses nothing"),
        ("tcp", {"connections": 0}, "1 to 16"),
        ("tcp", {"connections": 17}, "1 to 16"),
        ("tls", {"certificate": "c", "key": "k"}, "authority"),
        ("tls", {"ca": "c"}, "a certificate and its key"),
    ],
    ids=["loss", "none", "many", "ca", "certificate"],
)
def test_impossible_plan_is_refused(transport: str, options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load.run(plan(transport, ("", ""), **{"window": 1, "calls": 1} | options))


def through(transport: str, command: str, pair: tuple[str, str]) -> load.Report:
    """Calls through a real proxy, few at a time: a full machine is no fault of theirs."""
    small = plan(transport, pair, target=LISTEN, window=4, calls=200)
    with subjects.running(subjects.Subject("proxy", command), subjects.cores()[0], LISTEN, small):
        return load.run(small)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_calls_through_the_edge(transport: str, pair: tuple[str, str], tmp_path: Path,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    command = subjects.EDGES[transport].replace("sipedge", f"{sys.executable} -m proxy", 1)
    if transport == "tls":  # which makes a seat of its own of this one
        monkeypatch.setattr(subjects, "SEAT", patient(subjects.SEAT, tmp_path))
    else:
        command = patient(command, tmp_path)
    report = through(transport, command, pair)
    assert report.uac is not None
    assert report.uas is not None
    assert (report.uac.ok, report.uas.ended, report.uas.misrouted) == (200, 200, 0)
    assert report.broken == report.errors == 0


@pytest.mark.skipif(subjects.Subject("kamailio", subjects.KAMAILIO).program is None, reason="kamailio is not installed")
@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_calls_through_the_peer(transport: str, pair: tuple[str, str]) -> None:
    if transport == "tls" and not any(Path("/usr/lib").glob("*/kamailio/modules/tls.so")):
        pytest.skip("kamailio-tls-modules is not installed")
    report = through(transport, subjects.PEERS[transport], pair)
    assert report.uac is not None
    assert report.uac.ok == 200
