"""Real phones over TLS: signalling is encrypted on both sides of the edge, and each hears the other."""
from pathlib import Path

import pytest

from tests.certificates import TLS, Authority
from tests.clients.phone import Phone
from tests.clients.test_baresip import TONES
from tests.edge import StartEdge

CONFIGURATION = """
[[listener]]
name = "udp"
bind = "udp:{net}.1:5060"

[[group]]
name = "phones"
addresses = ["127.0.0.1"]

[[upstream]]
name = "bob"
targets = [{{ address = "127.0.0.1:{port}", transport = "tls" }}]

[[route]]
to = "bob"
""" + TLS
PROVEN, WRONG = "IP:127.0.0.1", "DNS:bob.example.com"


def phone(clients: Path, folder: Path, user: str, authority: Authority, name: str, srtp: str = "") -> Phone:
    """A baresip with a certificate of its own; it listens by TLS at the port behind that of UDP."""
    pem = authority.folder / f"{user}.both"
    pem.write_text("".join(Path(file).read_text() for file in authority.give(user, name)))
    return Phone(clients, folder / user, user, TONES[user],
                 f"sip_certificate {pem}\nsip_cafile {authority.certificate}\n", srtp=srtp)


@pytest.mark.parametrize("name", [PROVEN, WRONG], ids=["proven", "of somebody else"])
def test_a_call_by_tls_on_both_sides(clients: Path, network: str, start_edge: StartEdge, tmp_path: Path,
                                     name: str) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.give("edge", f"IP:{network}.1", f"DNS:{network}.1")
    alice = phone(clients, tmp_path, "alice", authority, "IP:127.0.0.1")
    try:
        bob = phone(clients, tmp_path, "bob", authority, name)
        try:
            edge = start_edge(CONFIGURATION.format(net=network, certificate=certificate, key=key,
                                                   ca=authority.certificate, port=bob.address[1] + 1))
            alice.do("dial", f"sip:bob@{network}.1:5061;transport=tls")
            if name == WRONG:
                closed = alice.expect("CALL_CLOSED")
                assert "503" in closed["param"]
                failed = edge.wait_log_line(event="target failed")
                assert failed["reason"] == "certificate is for bob.example.com, not for 127.0.0.1"
                return
            alice.expect("CALL_ESTABLISHED")
            bob.expect("CALL_ESTABLISHED")
            alice.hears(TONES["bob"], (TONES["alice"],))
            bob.hears(TONES["alice"], (TONES["bob"],))
            # The one who was called hangs up, by the connection that the edge has opened.
            bob.do("hangup")
            alice.expect("CALL_CLOSED")
            line = edge.wait_call_line(event="call", to="bob")
            assert (line["status"], line["ended"]) == (200, "callee")
            stats = edge.wait_stats(lambda found: found["stream_messages_out"] >= 6, "100, INVITE, 200, ACK, BYE, 200")
            assert (stats["connections_opened"], stats["handshakes_failed"], stats["retransmissions_out"]) == (1, 0, 0)
            assert stats["datagrams_out"] == 0
        finally:
            bob.close()
    finally:
        alice.close()


def test_a_phone_that_takes_srtp_alone_is_offered_it_next(clients: Path, network: str, start_edge: StartEdge,
                                                          tmp_path: Path) -> None:
    """It refuses keys beside plain RTP. Over a connection its first transaction is over with the ACK (RFC 3261 17.2.1,
    Timer I), so that a forwarded INVITE that comes again is no merged one."""
    authority = Authority(tmp_path)
    certificate, key = authority.give("edge", f"IP:{network}.1", f"DNS:{network}.1")
    text = CONFIGURATION.replace('to = "bob"', 'to = "bob"\nmedia = "anchor"').replace(
        'name = "bob"\n', 'name = "bob"\nsrtp = "offer"\n') + """
[[media]]
name = "here"
bind = "{net}.1"
ports = "20000-20099"
"""
    alice = phone(clients, tmp_path, "alice", authority, "IP:127.0.0.1")
    try:
        bob = phone(clients, tmp_path, "bob", authority, PROVEN, "srtp-mand")
        try:
            edge = start_edge(text.format(net=network, certificate=certificate, key=key, ca=authority.certificate,
                                          port=bob.address[1] + 1))
            alice.do("dial", f"sip:bob@{network}.1:5061;transport=tls")
            alice.expect("CALL_ESTABLISHED")
            bob.expect("CALL_ESTABLISHED")
            alice.hears(TONES["bob"], (TONES["alice"],))
            bob.hears(TONES["alice"], (TONES["bob"],))
            edge.wait_stats(lambda found: found["srtp_retold"] == 1, "it is counted")
            bob.do("hangup")
            alice.expect("CALL_CLOSED")
        finally:
            bob.close()
    finally:
        alice.close()
