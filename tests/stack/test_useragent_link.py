"""Two user agents and the edge between them, on a network that loses, delays, repeats and reorders."""
import random
from typing import Any

import pytest

from sipcore.base.trie import Trie
from sipcore.net.loopback import Conditions, Link
from sipcore.stack.admission import Admission
from sipcore.stack.dialog import Dialog, State
from sipcore.stack.handler import Handler
from sipcore.stack.identity import Identity
from sipcore.stack.outgoing import Outgoing
from sipcore.stack.proxy import Proxy
from sipcore.stack.referral import Subscription, read_notify, refer
from sipcore.stack.useragent import UserAgent
from sipcore.stack.verdict import Target, Verdict
from sipcore.wire.message import Message

ANN, BOB, EDGE = ("192.0.2.1", 5060), ("192.0.2.2", 5060), ("192.0.2.9", 5060)


class End(Handler):
    """An endpoint that answers what comes and writes it down, every message through the edge."""

    def __init__(self, link, address):
        self.agent = UserAgent(Identity(b"one of the ends %d" % address[1] + address[0].encode()), handler=self,
                               transactions=256)
        link.attach(self.agent, [address])
        self.dialog: Any = None
        self.heard = []
        self.subscription: Any = None

    def invite(self, now, to):
        self.out = Outgoing(method="INVITE", uri=to, call_id=self.agent.new_call_id(), cseq=1,
                            local="<sip:ann@192.0.2.1>", local_tag=self.agent.new_tag(), remote=f"<{to}>",
                            contact=self.agent.contact("ann"))
        return self.agent.request(now, self.out, EDGE)

    def send(self, now, out):
        self.agent.request(now, out, EDGE)

    def on_request(self, tx):
        now, method = tx.agent.time, tx.request.method
        self.heard.append(method)
        if method == "INVITE":
            self.dialog = Dialog.of_request(tx.request, tx.tag, self.agent.contact("bob"))
            self.dialog.accept()
            self.agent.add(self.dialog, self)
            tx.respond(now, 180, headers=[("Contact", self.agent.contact("bob"))])
            tx.respond(now, 200, headers=[("Contact", self.agent.contact("bob"))])
        elif method == "REFER":
            tx.respond(now, 202)
            self.subscription = Subscription(self.dialog, tx.request)
            self.send(now, self.subscription.notify(100))
        else:
            if progress := read_notify(tx.request):
                self.heard[-1] = f"NOTIFY {progress.status}"
            tx.respond(now, 200)

    def on_response(self, tx, response):
        now = tx.agent.time
        method, status = response.cseq[1], response.status
        if status < 200:
            return
        self.heard.append(f"{method} {status}")
        if method == "INVITE" and status < 300:
            self.dialog = Dialog.of_response(tx.request, response)
            self.agent.add(self.dialog, self)
            tx.ack(now, self.dialog.ack(1), EDGE, response.to_tag)
        elif self.dialog is not None:
            self.dialog.answered(response)

    def on_ack(self, tx, ack):
        self.heard.append("ACK")

    def on_timeout(self, tx, unreachable):
        self.heard.append(f"{tx.request.method} timeout")


def edge(link):
    verdict = Verdict(targets=(Target(*BOB),))
    admission = Admission([Trie([("192.0.2.0/24", 0)])])
    admission.add_group("allow", ["INVITE"])
    proxy = Proxy(Identity(b"the edge in between"), admission=admission,
                  decide=lambda request: Verdict() if request.in_dialog else verdict, transactions=512, dialogs=64)
    link.attach(proxy, [EDGE])
    return proxy


@pytest.mark.parametrize("seed", range(15))
def test_a_transfer_survives_a_bad_network(seed):
    link = Link(seed, Conditions(delay=20, jitter=60, loss=0.15, duplicate=0.1))
    proxy = edge(link)
    ann, bob = End(link, ANN), End(link, BOB)
    ann.invite(link.now, "sip:bob@192.0.2.9")
    link.run(32_000)
    assert "INVITE 200" in ann.heard
    assert bob.heard.count("INVITE") == bob.heard.count("ACK") == 1
    bob.send(link.now, refer(bob.dialog, "sip:2001@192.0.2.4"))
    link.run(32_000)
    assert ann.heard.count("REFER") == bob.heard.count("REFER 202") == 1
    assert bob.heard.count("NOTIFY 100") == 1
    ann.send(link.now, ann.subscription.notify(486))
    link.run(32_000)
    assert bob.heard.count("NOTIFY 486") == 1
    ann.send(link.now, ann.dialog.request("BYE"))
    link.run(32_000)
    assert bob.heard.count("BYE") == ann.heard.count("BYE 200") == 1
    assert ann.dialog.state is bob.dialog.state is State.ENDED
    link.run(80_000)
    assert [core.live for core in (ann.agent, bob.agent, proxy)] == [0, 0, 0]
    for core in (ann.agent, bob.agent, proxy):
        assert core.take_troubles() == []


@pytest.mark.parametrize("seed", range(10))
def test_hostile_bytes_break_nothing_and_leave_nothing(seed):
    dice = random.Random(seed)
    link = Link(seed)
    edge(link)
    ann, bob = End(link, ANN), End(link, BOB)
    ann.invite(link.now, "sip:bob@192.0.2.9")
    link.run(100)
    bob.send(link.now, refer(bob.dialog, "sip:2001@192.0.2.4"))
    link.run(100)
    seen = [packet.data for packet in link.sent]
    for _ in range(1500):
        data = bytearray(dice.choice(seen))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data))
            kind = dice.random()
            if kind < 0.4:
                data[at] = dice.randrange(256)
            elif kind < 0.7:
                del data[at:at + dice.randint(1, 30)]
            else:
                data[at:at] = dice.choice((b"\r\n", b"\0", b",", b";tag=x", b"<", b"99999999999", bytes(data[:50])))
            if not data:
                break
        for end, where in ((ann, ANN), (bob, BOB)):
            end.agent.feed(bytes(data), EDGE, link.now)
            for _, host, port, out in end.agent.drain():
                # A 400 repeats what it refuses.
                assert out.startswith(b"SIP/2.0 400 ") or Message(out).call_id
                assert (host, port) != where
    for end in (ann, bob):
        troubles = end.agent.take_troubles()
        assert not [text for text in troubles if not text.startswith("on_")], troubles
    link.run(300_000)
    assert ann.agent.live == bob.agent.live == 0
