"""An edge with a bridge, alice who calls and bob whom the bridge calls, for tests of controlled calls."""
from benchmarks.bridge import Bridge
from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.handler import Handler
from sipcore.stack.verdict import Verdict
from tests.endpoints import METHODS, SDP, Bench

ALICE, BOB, OUT = "127.0.0.2", "127.0.0.3", "127.0.9.9"


def decide(request):
    """Users that begin with a digit are controlled, the others forwarded along the request URI."""
    return Verdict(control=True, upstream=0, max_calls=2, note="by rule") if request.user[:1].isdigit() else Verdict()


def guarded(**more) -> Admission:
    """127.0.0.0/24 is listed, the rest is not."""
    admission = Admission([Trie([("127.0.0.0/24", 0)])], **more)
    admission.add_group("allow", METHODS)
    return admission


class Calls:
    """An edge with a bridge, alice who calls and bob whom the bridge calls."""

    def __init__(self, bob: str = BOB, handler: Handler | None = None, **options):
        self.bridge = Bridge((bob, 5060))
        self.bench = Bench(decide=decide, handler=handler or self.bridge, admission=guarded(), **options)
        self.proxy = self.bench.proxy
        self.alice = self.bench.phone("alice", ALICE)
        self.bob = self.bench.phone("100", bob)
        self.run = self.bench.run

    def up(self, call_id="c1"):
        """An answered call through the bridge: alice's dialog and bob's."""
        self.alice.request("INVITE", "sip:100@127.0.0.1", call_id=call_id, body=SDP)
        self.run()
        invite = self.bob.take("INVITE")
        self.bob.answer(invite, 180)
        self.bob.answer(invite, 200, body=SDP)
        self.run()
        answered = self.alice.take("100", "180", "200")
        one, other = self.alice.caller_dialog(answered), self.bob.callee_dialog(invite)
        one.send("ACK")
        self.run()
        self.bob.take("ACK")
        return one, other

    def end(self, ender, other):
        ender.send("BYE")
        self.run()
        other.phone.answer(other.phone.take("BYE"), 200)
        self.run()
        assert ender.phone.names() == ["200"]

    def done(self):
        """Nothing is left of any call."""
        assert self.proxy.take_troubles() == []
        self.bench.empty()
        assert self.bridge.calls == set()
        assert self.proxy.dialogs == {}
        assert self.proxy.statistics()["calls_up"] == 0
