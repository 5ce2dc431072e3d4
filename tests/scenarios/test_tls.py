"""SIPp over TLS through a real edge. Debian's SIPp has no TLS: each side speaks through a tunnel of its own."""
import contextlib
import selectors
import socket
import ssl
import threading
from pathlib import Path

from tests.certificates import TLS, Authority
from tests.edge import SLOW_TIMERS, StartEdge
from tests.scenarios.sipp import FOLDER, Sipp

CALLS = 50
CONFIGURATION = TLS + SLOW_TIMERS + """
[[group]]
name = "peers"
addresses = ["{net}.2", "{net}.3"]
rate = 1000

[[upstream]]
name = "phones"
targets = [{{ address = "{net}.3:{port}", transport = "tls" }}]

[[route]]
to = "phones"
"""


class Tunnel:
    """Takes connections at an address, by TLS where it is the server, and opens one to `to` for each, by TLS where it
    is the client; what comes by one goes out by the other."""

    def __init__(self, address: tuple[str, int], to: tuple[str, int], context: ssl.SSLContext, *, server: bool):
        self._to, self._context, self._server = to, context, server
        self._source = address[0]
        self.versions: list[str | None] = []
        self._listening = socket.create_server(address)
        self.port: int = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                came, _ = self._listening.accept()
                self._threads.append(threading.Thread(target=self._carry, args=(came,)))
                self._threads[-1].start()

    def _carry(self, came: socket.socket) -> None:
        with contextlib.suppress(OSError), came, socket.create_connection(
                self._to, 60, source_address=(self._source, 0)) as went:
            secure = (self._context.wrap_socket(came, server_side=True) if self._server
                      else self._context.wrap_socket(went, server_hostname=self._to[0]))
            self.versions.append(secure.version())
            plain = went if self._server else came
            with secure, selectors.DefaultSelector() as selector:
                for one in (secure, plain):
                    selector.register(one, selectors.EVENT_READ)
                while True:
                    for key, _ in selector.select():
                        source, other = (secure, plain) if key.fileobj is secure else (plain, secure)
                        data = source.recv(65536)
                        while key.fileobj is secure and secure.pending():
                            data += secure.recv(65536)
                        if not data:
                            return
                        other.sendall(data)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


def scenario(side: str, contact: str, work: Path) -> str:
    """A side of a load run, as it is written over TLS."""
    text = (FOLDER / "load" / f"{side}.xml").read_text().replace("SIP/2.0/UDP", "SIP/2.0/TLS")
    file = work / f"{side}.xml"
    file.write_text(text.replace("@[local_ip]:[local_port]>\n", f"@{contact};transport=tls>\n"))
    return str(file.with_suffix(""))


def test_calls_over_tls_on_both_sides(network: str, start_edge: StartEdge, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.give("edge", f"IP:{network}.1")
    ours = ssl.create_default_context(cafile=str(authority.certificate))
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(*authority.give("phones", f"IP:{network}.3"))
    with contextlib.ExitStack() as stack:
        inner = stack.enter_context(contextlib.closing(
            Tunnel((f"{network}.3", 0), (f"{network}.3", 5070), theirs, server=True)))
        outer = stack.enter_context(contextlib.closing(
            Tunnel((f"{network}.2", 0), (f"{network}.1", 5061), ours, server=False)))
        edge = start_edge(CONFIGURATION.format(net=network, certificate=certificate, key=key, ca=authority.certificate,
                                               port=inner.port))
        callee = stack.enter_context(Sipp(
            scenario("callee", f"{network}.3:{inner.port}", tmp_path), (f"{network}.3", 5070), tmp_path, calls=CALLS,
            transport="t1"))
        caller = stack.enter_context(Sipp(
            scenario("caller", f"{network}.2:{outer.port}", tmp_path), (f"{network}.2", 5080), tmp_path, calls=CALLS,
            rate=50, remote=(f"{network}.2", outer.port), transport="t1"))
        caller.finish()
        callee.finish()
        found = edge.wait_stats(lambda stats: stats["calls_ended"] >= CALLS, "all calls have ended")
        edge.stop()
    invites = callee.received("INVITE")
    assert len(invites) == len(callee.received("BYE")) == CALLS
    assert invites[0].values("Via")[0].startswith(f"SIP/2.0/TLS {network}.1:5061;alias;")
    assert [value.count(";transport=tls") for value in invites[0].values("Record-Route")] == [1]
    assert inner.versions == outer.versions == ["TLSv1.3"]
    assert (found["connections_accepted"], found["connections_opened"], found["calls_answered"]) == (1, 1, CALLS)
    assert (found["retransmissions_out"], found["handshakes_failed"], found["framing_faults"]) == (0, 0, 0)
