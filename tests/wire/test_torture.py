"""RFC 4475 and RFC 5118: the verdict that the RFC gives, for every message, from the parser and on the wire.

A message goes through a Proxy in memory. Request URIs name hosts that only DNS could find, so the policy here sends
all sip: and sips: requests to one target; the one Route of a foreign host name becomes that target's address.
"""
import csv
from pathlib import Path

import pytest

from sipcore.base.errors import MalformedMessage
from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.verdict import Target, Verdict
from sipcore.wire.message import Message
from tests.endpoints import METHODS, Bench

OWN = Path(__file__).resolve().parents[1] / "torture"
SOURCE = ("192.0.2.99", 5099)
TARGET = ("192.0.2.200", 5060)

# What the proxy answers where it does not forward; None: nothing. From the RFC's text at each section; where the
# RFC leaves several answers open, the one that the edge gives stands here, within the RFC's choice.
RFC4475 = {
    "wsinv": "forward", "intmeth": "forward", "esc01": "forward", "escnull": "forward", "esc02": "forward",
    "lwsdisp": "forward", "longreq": "forward", "dblreq": "forward", "semiuri": "forward", "transports": "forward",
    "mpart01": "forward", "unreason": None, "noreason": None,
    "badinv01": 400, "clerr": 400, "ncl": 400, "scalar02": 400, "scalarlg": None, "quotbal": 400, "ltgtruri": 400,
    "lwsruri": 400, "lwsstart": 400, "trws": 400, "escruri": 400, "baddate": "forward", "regbadct": "forward",
    "badaspec": "forward", "baddn": 400, "badvers": 505, "mismatch01": 400, "mismatch02": 400, "bigcode": None,
    "badbranch": "forward", "insuf": 400, "unkscm": 416, "novelsc": 416, "unksm2": "forward", "bext01": 420,
    "invut": "forward", "regaut01": "forward", "multi01": 400, "mcl01": 400, "bcast": None, "zeromf": 483,
    "cparam01": "forward", "cparam02": "forward", "regescrt": "forward", "sdp01": "forward", "inv2543": "forward",
    "test": None,       # no Via: nobody could be answered
}
# The words of the manifest's column for proxies that each verdict of ours must be found in.
MEANS = {
    "forward": ("forward", "same"), None: ("drop", "discard", "forward", "-"), 400: ("400", "error", "reject"),
    416: ("416",), 420: ("420",), 483: ("483",), 505: ("505",),
}
RFC5118 = {
    "ipv6-good": "forward", "ipv6-bad": 400, "port-ambiguous": "forward", "port-unambiguous": "forward",
    "via-received-param-with-delim": "forward", "via-received-param-no-delim": "forward", "ipv6-in-sdp": "forward",
    "mult-ip-in-header": "forward", "mult-ip-in-sdp": "forward", "ipv4-mapped-ipv6": "forward",
    "ipv6-bug-abnf-3-colons": "forward", "ipv6-correct-abnf-2-colons": "forward",
}
# Messages whose archive differs from what the RFC prints, and what has to be put right before they are judged.
WRONG_LENGTH = {"ipv6-in-sdp", "mult-ip-in-sdp", "ipv4-mapped-ipv6"}


def manifest(folder):
    with (folder / "MANIFEST.tsv").open(newline="") as table:
        return {row["file"].removesuffix(".dat"): row for row in csv.DictReader(table, delimiter="\t")}


def decide(request):
    if request.scheme not in ("sip", "sips"):
        return Verdict()
    return Verdict(targets=(Target(*TARGET),))


def verdict_of(data):
    """(status that was answered, or "forward", or None; what arrived at the target, what at the sender)."""
    admission = Admission([Trie([("0.0.0.0/0", 0)])])
    admission.add_group("allow", (*METHODS, "BYE", "NEWMETHOD"))
    bench = Bench(admission=admission, decide=decide)
    bench.link.send(SOURCE, ("127.0.0.1", 5060), data)
    bench.run()
    sent = [packet.data for packet in bench.link.sent[1:]]
    final = [one for one in sent if one.startswith(b"SIP/2.0 ") and one[8:11] != b"100"]
    forwarded = [one for one in sent if not one.startswith(b"SIP/2.0 ")]
    assert len(final) + len(forwarded) <= 1
    if forwarded:
        return "forward", forwarded[0], b""
    return (int(final[0][8:11]) if final else None), b"", final[0] if final else b""


def rfc4475(corpora, name):
    data = (corpora / "rfc4475" / "messages" / f"{name}.dat").read_bytes()
    assert data.count(b"<sip:services.example.com;lr") == (name == "wsinv")
    return data.replace(b"<sip:services.example.com;lr", b"<sip:192.0.2.200;lr")


def rfc5118(corpora, name):
    data = (corpora / "rfc5118" / f"{name}.dat").read_bytes()
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or len(body))
    assert (length != len(body)) == (name in WRONG_LENGTH)
    lines = [line for line in head.rstrip(b"\r\n").split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def test_the_tables_name_every_message(corpora):
    assert manifest(corpora / "rfc4475").keys() == RFC4475.keys()
    assert manifest(corpora / "rfc5118").keys() == RFC5118.keys()
    assert {path.stem for path in (corpora / "rfc4475" / "messages").glob("*.dat")} == RFC4475.keys()


@pytest.mark.parametrize("name", RFC4475)
def test_rfc_4475(corpora, name):
    row = manifest(corpora / "rfc4475")[name]
    data = rfc4475(corpora, name)
    assert any(word in row["expected at proxy (RFC text)"].lower() for word in MEANS[RFC4475[name]])
    verdict, forwarded, answer = verdict_of(data)
    assert verdict == RFC4475[name]
    if verdict == 400 or verdict == 505 or row["verdict"] in ("invalid (response)", "unreferenced"):
        with pytest.raises(MalformedMessage) as caught:
            Message(data)
        assert caught.value.status == (verdict or 400)
    elif name not in ("baddate", "regbadct"):
        Message(data)
    if answer:
        # The sender finds its transaction by these, as far as its request had them.
        for header in (b"Via", b"Call-ID", b"CSeq"):
            if header.lower() + b":" in data.lower():
                assert b"\r\n" + header.lower() + b":" in answer.lower()
    if forwarded:
        Message(forwarded)


@pytest.mark.parametrize("name", RFC5118)
def test_rfc_5118(corpora, name):
    data = rfc5118(corpora, name)
    verdict, forwarded, _ = verdict_of(data)
    assert verdict == RFC5118[name]
    accepted = "accept" in manifest(corpora / "rfc5118")[name]["expected"]
    assert accepted == (verdict == "forward")
    if forwarded:
        assert Message(forwarded).body == Message(data).body


def test_what_the_rfc_says_beyond_a_verdict(corpora):
    names = [name for name, verdict in RFC4475.items() if verdict == "forward"]
    forwarded = {name: verdict_of(rfc4475(corpora, name))[1] for name in names}
    assert b"INVITE" not in forwarded["dblreq"]                         # the second message of the datagram
    assert forwarded["esc02"].startswith(b"RE%47IST%45R ")              # is not REGISTER
    assert b"sip:null-%00-null@example.com" in forwarded["escnull"]
    assert forwarded["semiuri"].startswith(b"OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\r\n")
    assert Message(forwarded["mpart01"]).body == Message(rfc4475(corpora, "mpart01")).body
    assert b"\0" in Message(forwarded["mpart01"]).body
    assert Message(forwarded["wsinv"]).header("NewFangledHeader") == "newfangled value continued newfangled value"
    assert b"\r\n " not in forwarded["wsinv"]
    assert Message(forwarded["regaut01"]).header("Authorization") == Message(rfc4475(corpora, "regaut01")).header(
        "Authorization")
    assert b"?Route=%3Csip:sip.example.com%3E" in forwarded["regescrt"]
    assert Message(forwarded["longreq"]).items()[-3:] == Message(rfc4475(corpora, "longreq")).items()[-3:]


def test_unsupported_names_what_the_proxy_does_not_know(corpora):
    answer = Message(verdict_of(rfc4475(corpora, "bext01"))[2])
    assert answer.headers("Unsupported") == ["noProxiesSupportThis", "norDoAnyProxiesSupportThis"]


def test_responses_that_belong_to_us_pass_and_a_broadcast_never(corpora):
    for name, passed in (("unreason", 1), ("noreason", 0), ("scalarlg", 0), ("bigcode", 0), ("bcast", 0)):
        bench = Bench()
        alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
        alice.request("INVITE", bob.uri)
        bench.run()
        invite = bob.take("INVITE")
        alice.take("100")
        ours = f"SIP/2.0/UDP 127.0.0.1:5060;branch={invite.message.branch}"
        start, _, rest = rfc4475(corpora, name).partition(b"\r\n")
        if name == "bcast":
            # As it stands: its topmost Via is the broadcast address, and no branch of ours.
            bob.send(start + b"\r\n" + rest)
        else:
            bob.send(start + f"\r\nVia: {ours}\r\n".encode() + rest)
        sent = len(bench.link.sent)
        bench.run()
        assert len(bench.link.sent) - sent == passed        # noreason is a 100, which is for us alone
        assert bench.count("malformed_responses") == (name in ("scalarlg", "bigcode"))
        assert bench.count("stray_responses") == (name == "bcast")
        assert all(packet.to[0] in ("127.0.0.1", "127.0.0.2", "127.0.0.3") for packet in bench.link.sent)


def own_cases():
    """tests/torture/*.sip: CRLF is written as it is, and the first word of the name is the verdict."""
    return sorted(OWN.glob("*.sip"))


@pytest.mark.parametrize("path", own_cases(), ids=lambda path: path.stem)
def test_own_cases(path):
    wanted = path.stem.split("-")[0]
    verdict, forwarded, _ = verdict_of(path.read_bytes())
    assert str(verdict).lower() == wanted
    if forwarded:
        # No two readings: no folds, no space before a colon, one length.
        head = forwarded.partition(b"\r\n\r\n")[0]
        assert b"\r\n " not in head
        assert b"\r\n\t" not in head
        assert not any(line.partition(b":")[0].endswith((b" ", b"\t")) for line in head.split(b"\r\n")[1:])
