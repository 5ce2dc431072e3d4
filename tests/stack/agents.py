"""Two user agents and the network between them, for tests: handlers that write down what they hear, and a clock."""
from typing import Any

from sipcore.stack.dialog import Dialog
from sipcore.stack.handler import Handler
from sipcore.stack.identity import Identity
from sipcore.stack.outgoing import Outgoing
from sipcore.stack.useragent import UserAgent
from sipcore.wire.message import Message

ANN, BOB = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


class Log(Handler):
    """Writes down what it hears; answers requests only when the test does."""

    def __init__(self):
        self.heard = []

    def on_request(self, tx):
        self.heard.append(("request", tx))

    def on_cancel(self, tx):
        self.heard.append(("cancel", tx))

    def on_ack(self, tx, ack):
        self.heard.append(("ack", tx, ack))

    def on_unacknowledged(self, tx):
        self.heard.append(("unacknowledged", tx))

    def on_response(self, tx, response):
        self.heard.append(("response", tx, response))

    def on_timeout(self, tx, unreachable):
        self.heard.append(("timeout", tx, unreachable))

    @property
    def kinds(self):
        return [event[2].status if event[0] == "response" else event[0] for event in self.heard]

    def last(self, kind):
        return next(event for event in reversed(self.heard) if event[0] == kind)


class Pair:
    """ann and bob, and the network between them."""

    def __init__(self):
        self.now = 1000
        self.logs = {ANN: Log(), BOB: Log()}
        self.agents = {}
        for number, where in enumerate((ANN, BOB)):
            self.agents[where] = UserAgent(Identity(b"secret of a test %d" % number), handler=self.logs[where],
                                           transactions=64)
            self.agents[where].add_listener(*where)
        self.ann, self.bob = self.agents[ANN], self.agents[BOB]
        self.heard, self.answered = self.logs[BOB], self.logs[ANN]
        self.lose = lambda data: False
        self.sent = []

    def carry(self):
        """Until the network is empty: what is lost is counted as sent."""
        moved = True
        while moved:
            moved = False
            for source, agent in self.agents.items():
                for _, host, port, data in agent.drain():
                    moved = True
                    self.sent.append((source, data))
                    if not self.lose(data) and (host, port) in self.agents:
                        self.agents[host, port].feed(data, source, self.now)
        for agent in self.agents.values():
            assert agent.take_troubles() == []

    def wait(self, ms):
        """Let time pass, deadline by deadline."""
        end = self.now + ms
        while True:
            due = [at for agent in self.agents.values() if (at := agent.deadline()) is not None and at <= end]
            self.now = max(self.now, min(due)) if due else end
            for agent in self.agents.values():
                agent.advance(self.now)
            self.carry()
            if not due:
                return

    def invite(self, **changes):
        fields: dict[str, Any] = {
            "method": "INVITE", "uri": "sip:bob@192.0.2.2", "call_id": self.ann.new_call_id(), "cseq": 1,
            "local": "<sip:ann@192.0.2.1>", "local_tag": self.ann.new_tag(), "remote": "<sip:bob@192.0.2.2>",
            "contact": self.ann.contact("ann"), "body": SDP}
        out = Outgoing(**(fields | changes))
        tx = self.ann.request(self.now, out, BOB)
        self.carry()
        return tx

    def answer(self, status=200, **more):
        tx = self.heard.last("request")[1]
        if 100 < status < 300:
            more["headers"] = [("Contact", self.bob.contact("bob"))]
        assert tx.respond(self.now, status, **more)
        self.carry()
        return tx

    def up(self):
        """A confirmed dialog on both sides: (ann's, bob's)."""
        client = self.invite()
        server = self.answer(body=SDP)
        theirs = Dialog.of_request(server.request, server.tag, self.bob.contact("bob"))
        theirs.accept()
        ours = Dialog.of_response(client.request, self.answered.last("response")[2])
        self.ann.add(ours, self.answered)
        self.bob.add(theirs, self.heard)
        client.ack(self.now, ours.ack(1), BOB, ours.remote_tag)
        self.carry()
        return ours, theirs

    def messages(self, source):
        return [Message(data) for where, data in self.sent if where == source]

    def statuses(self, source):
        return [message.status for message in self.messages(source) if not message.is_request]

    def methods(self, source):
        return [message.method for message in self.messages(source) if message.is_request]
