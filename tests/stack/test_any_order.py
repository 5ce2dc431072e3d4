"""Any messages in any order: nothing crashes, the counters add up, and after the linger time nothing is left."""
import re

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sipcore.base.errors import MalformedMessage
from sipcore.net.loopback import Conditions, Link
from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import Bench, Received, sibling

METHODS = ("INVITE", "INVITE", "OPTIONS", "BYE", "REFER", "NOTIFY", "INFO", "ACK", "CANCEL", "MESSAGE")
TARGETS = (Target("127.0.0.3"), Target("127.0.0.4"), Target("127.0.0.5"))


class Network(RuleBasedStateMachine):
    """Three callees, one caller, one stranger; everybody says anything, again, late, or with bytes changed."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

        def decide(request):
            count = request.user.count("t")
            return Verdict(targets=TARGETS[:count], upstream=count, max_duration=900, try_timeout=1_500)

        self.bench = Bench(decide=decide, link=Link(3, Conditions(duplicate=0.05, jitter=30), unreachable=True),
                           transactions=64, dialogs=16, outcome_ms=20_000)
        self.alice = self.bench.phone("alice", "127.0.0.2")
        self.callees = [self.bench.phone(f"bob{i}", f"127.0.0.{i}") for i in (3, 4)]    # nobody is at 127.0.0.5
        self.stranger = self.bench.phone("stranger", "192.0.2.1")
        self.requests: list[Received] = []
        self.sent: list[tuple[object, bytes]] = []
        self.answers: list[Received] = []

    def collect(self):
        for phone in (self.alice, *self.callees, self.stranger):
            packets, phone.port.inbox = phone.port.inbox, []
            for packet in packets:
                try:
                    one = Received(packet)
                except MalformedMessage:
                    # What was malformed comes back in its answer, and nowhere else.
                    assert packet.data.startswith((b"SIP/2.0 400 ", b"SIP/2.0 505 "))
                    continue
                (self.requests if one.message.is_request else self.answers).append(one)

    def pick(self, data, things):
        return data.draw(st.sampled_from(things[-12:])) if things else None

    @rule(method=st.sampled_from(METHODS), count=st.integers(0, 3), forwards=st.sampled_from((70, 70, 1, 0)))
    def begin(self, method, count, forwards):
        self.number += 1
        sent = self.alice.request(method, f"sip:u{'t' * count}@127.0.0.3", call_id=f"c{self.number}",
                                  max_forwards=forwards)
        self.sent.append((self.alice, sent))

    @rule(data=st.data(), ms=st.sampled_from((0, 10, 400, 2_000, 10_000, 33_000, 200_000)))
    def wait(self, data, ms):
        self.bench.run(ms)
        self.collect()

    @rule(data=st.data(), status=st.sampled_from((100, 180, 183, 200, 202, 302, 401, 408, 486, 487, 500, 503, 603)),
          tag=st.sampled_from(("", "fork")))
    def answer(self, data, status, tag):
        request = self.pick(data, [one for one in self.requests if one.message.method != "ACK"])
        if request is not None:
            phone = next(phone for phone in (*self.callees, self.alice) if phone.host == request.packet.to[0])
            self.sent.append((phone, phone.answer(request, status, tag=tag)))

    @rule(data=st.data(), method=st.sampled_from(METHODS), by_caller=st.booleans())
    def inside(self, data, method, by_caller):
        if by_caller:
            ok = self.pick(data, [one for one in self.answers if one.name in ("180", "200") and one.headers("Contact")])
            if ok is not None:
                self.sent.append((self.alice, self.alice.caller_dialog(ok).send(method)))
        else:
            invite = self.pick(data, [one for one in self.requests if one.name == "INVITE" and one.headers("Contact")])
            if invite is not None and invite.packet.to[0] != "127.0.0.2":
                phone = next(phone for phone in self.callees if phone.host == invite.packet.to[0])
                body = b"SIP/2.0 200 OK\r\n" if method == "NOTIFY" else b""
                headers = [("Event", "refer")] if method == "NOTIFY" else []
                dialog = phone.callee_dialog(invite)
                self.sent.append((phone, dialog.send(method, headers=headers, body=body)))

    @rule(data=st.data(), method=st.sampled_from(("ACK", "CANCEL")))
    def sibling(self, data, method):
        invites = [sent for phone, sent in self.sent if phone is self.alice and sent.startswith(b"INVITE")]
        invite = self.pick(data, invites)
        if invite is not None:
            self.sent.append((self.alice, self.alice.send(sibling(invite, method))))

    @rule(data=st.data(), by_stranger=st.booleans())
    def again(self, data, by_stranger):
        one = self.pick(data, self.sent)
        if one is not None:
            (self.stranger if by_stranger else one[0]).send(one[1])

    @rule(data=st.data())
    def changed(self, data):
        one = self.pick(data, self.sent)
        if one is not None:
            place = data.draw(st.integers(0, len(one[1]) - 1))
            byte = data.draw(st.binary(max_size=3))
            one[0].send(one[1][:place] + byte + one[1][place + 1:])

    @rule(data=st.data())
    def forged(self, data):
        one = self.pick(data, self.sent)
        if one is not None:
            letter = data.draw(st.sampled_from(b"0v")).to_bytes(1, "big")
            one[0].send(re.sub(rb"(z9hG4bK[0-9a-v]{5}|;t=[0-9a-v]{5})[0-9a-v]", rb"\g<1>" + letter, one[1]))

    @rule(data=st.data())
    def undeliverable(self, data):
        request = self.pick(data, self.requests)
        if request is not None:
            cut = data.draw(st.integers(0, len(request.data)))
            self.bench.proxy.unreachable(request.data[:cut], self.bench.link.now)

    @rule(garbage=st.binary(max_size=60))
    def garbage(self, garbage):
        self.alice.send(garbage)

    @invariant()
    def limits_hold(self):
        found = self.bench.proxy.statistics()
        assert found["transactions"] <= 64
        assert found["dialogs"] <= 16
        taken = found["keepalives"] + found["requests_in"] + found["responses_in"]
        taken += found["stun_answered"] + found["stun_malformed"]
        assert taken + found["rate_limited"] + found["denied"] >= found["datagrams_in"]
        ended = found["calls_ended"] + found["calls_failed"] + found["calls_expired"]
        assert found["calls"] == ended + found["calls_up"]
        assert found["calls_answered"] <= found["calls"]
        outcomes = sum(found[f"refers_{name}"] for name in ("completed", "failed", "refused", "unknown"))
        assert outcomes <= found["refers"]
        assert found["decide_errors"] == 0
        assert self.bench.proxy.take_troubles() == []

    def teardown(self):
        self.bench.run(1_000_000)
        self.bench.empty(300_000)
        assert all(self.bench.proxy.calls(upstream) == 0 for upstream in range(4))


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
