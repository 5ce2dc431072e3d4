"""The size of what leaves, for the target that it leaves for (transfers.md 4)."""
import pytest

from sipcore.net.loopback import Link
from sipcore.stack.pathlimits import PathLimits
from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import SDP, Bench

HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
SHORT, LONG = b"sip:7@127.0.0.11", b"sip:7@127.0.0.12;and=" + 100 * b"x"
REFUSAL = Verdict(action=Verdict.REJECT, status=513, reason="Message Too Large")
EXTRA = b"X-Extra: " + 200 * b"e" + b"\r\n"


class Sized(Bench):
    """A bench with one phone for each URI of a target, and what the size policy was asked."""

    def __init__(self, *uris, smaller=REFUSAL, budget=500, hosts=HOSTS, **more):
        self.sizes: list[tuple[str, int, int, bytes]] = []

        def oversize(request, verdict, size):
            self.sizes.append((request.towards.host, size, request.size_with(verdict), verdict.insert))
            return smaller(verdict) if callable(smaller) else smaller

        targets = tuple(Target(host, 5060, uri=uri) for host, uri in zip(hosts, uris, strict=False))
        super().__init__(Verdict(targets=targets, budget=budget, insert=EXTRA), oversize=oversize, **more)
        self.alice = self.phone("alice", "127.0.0.2")
        self.pbxs = [self.phone(f"pbx{i}", host) for i, host in enumerate(hosts[:len(uris)])]

    def invite(self, **more):
        return self.alice.request("INVITE", "sip:7@example.com", **more)


def size_at_first(*uris):
    bench = Sized(*uris, budget=5000)
    bench.invite()
    bench.run()
    return len(bench.pbxs[0].take("INVITE").data)


class TestFurtherTargets:
    def test_one_that_is_too_big_for_the_next_target_is_refused(self):
        size = size_at_first(SHORT)
        bench = Sized(SHORT, LONG, budget=size)
        bench.invite()
        bench.run()
        one, two = bench.pbxs
        invite = one.take("INVITE")
        assert (len(invite.data), bench.sizes) == (size, [])
        one.answer(invite, 503)
        bench.run()
        longer = size + len(LONG) - len(SHORT)
        assert bench.sizes == [(HOSTS[1], longer, longer, EXTRA)]
        assert two.names() == []
        final = bench.alice.take("100", "513")
        assert final.message.reason == "Message Too Large"
        assert bench.count("oversize_refused") == 1
        bench.empty()

    @pytest.mark.parametrize("how", ["silence", "unreachable"])
    def test_it_is_refused_however_the_first_one_failed(self, how):
        bench = Sized(SHORT, LONG, budget=size_at_first(SHORT), link=Link(unreachable=True))
        if how == "unreachable":
            bench.link.close(bench.pbxs[0].port)
        bench.invite()
        bench.run(40_000)
        assert bench.pbxs[1].names() == []
        assert bench.alice.received()[-1].name == "513"
        bench.empty()

    def test_while_the_first_one_may_still_answer_nothing_is_refused(self):
        bench = Sized(SHORT, LONG, budget=size_at_first(SHORT))
        bench.invite()
        bench.run(2_500)
        invite = bench.pbxs[0].received()[0]
        bench.pbxs[0].answer(invite, 200)
        bench.run()
        assert bench.alice.names() == ["100", "200"]

    def test_it_is_made_smaller_for_the_next_target_alone(self):
        bench = Sized(SHORT, LONG, SHORT, budget=size_at_first(SHORT),
                      smaller=lambda verdict: verdict.changed(insert=b"", budget=0))
        bench.invite()
        bench.run()
        headers = []
        for pbx in bench.pbxs:
            invite = pbx.take("INVITE")
            headers.append(invite.header("X-Extra"))
            pbx.answer(invite, 503)
            bench.run()
        assert headers == [200 * "e", None, 200 * "e"]
        assert bench.count("oversize") == 1

    def test_what_the_first_one_lost_is_not_lost_for_the_next(self):
        bench = Sized(LONG, SHORT, budget=size_at_first(SHORT),
                      smaller=lambda verdict: verdict.changed(insert=b"", budget=0))
        bench.invite()
        bench.run()
        one, two = bench.pbxs
        first = one.take("INVITE")
        one.answer(first, 503)
        bench.run()
        assert (first.header("X-Extra"), two.take("INVITE").header("X-Extra")) == (None, 200 * "e")

    def test_a_warning_counts_once_for_each_target(self):
        bench = Sized(LONG, LONG, budget=size_at_first(SHORT),
                      smaller=lambda verdict: verdict.changed(warn="over", budget=0))
        bench.invite()
        bench.run()
        for pbx in bench.pbxs:
            pbx.answer(pbx.take("INVITE"), 503)
            bench.run()
        assert (bench.count("fragmented"), bench.proxy.take_troubles()) == (2, ["over", "over"])
        assert bench.alice.names() == ["100", "500"]

    def test_the_other_family_is_measured_with_its_own_via(self):
        bench = Sized(b"", b"", b"", budget=size_at_first(b"") + 3, hosts=(HOSTS[0], "fd00::12"),
                      listeners=[("127.0.0.1", 5060), ("fd00::1234:5678:9abc:def0", 5060)])
        bench.invite()
        bench.run()
        one = bench.pbxs[0]
        one.answer(one.take("INVITE"), 503)
        bench.run()
        assert [host for host, *_ in bench.sizes] == ["fd00::12"]


class TestAck:
    def acked(self, budget, decide=None, headers=(("Supported", 300 * "s"),)):
        """What becomes of an ACK, and the bench."""
        bench = Bench(decide=decide)
        alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
        dialog, _ = bench.call(alice, bob)
        bench.proxy.configure(bench.proxy.admission, decide or (lambda request: Verdict()), dialog_budget=budget)
        dialog.send("ACK", headers=headers, body=SDP)
        bench.run()
        return bench, bob.take("ACK").data

    def test_one_that_fits_goes_as_it_is(self):
        bench, data = self.acked(5000)
        assert b"\r\nSupported: " in data
        assert (bench.count("oversize"), bench.proxy.take_troubles()) == (0, [])
        size = len(data)
        assert self.acked(size)[1] == data
        bench, data = self.acked(size - 1)
        assert b"\r\nk: sss" in data
        assert data.endswith(SDP)
        assert bench.proxy.take_troubles() == [
            f"size {size:,} of {size - 1:,} bytes (ACK): compact header names; now {len(data):,}"]
        assert (bench.count("oversize"), bench.count("fragmented")) == (1, 0)

    def test_one_that_is_still_too_big_is_sent_with_a_warning(self):
        bench, data = self.acked(400)
        (text,) = bench.proxy.take_troubles()
        assert text.endswith(f" of 400 bytes (ACK): compact header names, sent over budget; now {len(data):,}")
        assert (bench.count("oversize"), bench.count("fragmented")) == (1, 1)

    def test_the_budget_of_the_peer_counts_where_it_is_known(self):
        bench, data = self.acked(400, lambda request: Verdict(budget=2000))
        assert b"\r\nSupported: " in data
        assert (bench.count("oversize"), bench.proxy.take_troubles()) == (0, [])


class Kernel:
    """What the kernel is asked for, and how many bytes it knows of."""

    def __init__(self, known: int = 800):
        self.known = known
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> int:
        self.asked.append(host)
        return self.known


class TestPathLimits:
    def test_the_kernel_is_asked_once_a_minute_for_each_host(self):
        kernel = Kernel()
        limits = PathLimits(kernel)
        assert [limits.of("192.0.2.1", 5060, now) for now in (0, 1, 59_999)] == [800] * 3
        assert limits.of("192.0.2.1", 5070, 59_999) == 800
        assert kernel.asked == ["192.0.2.1"]
        limits.of("2001:db8::1", 5060, 59_999)
        limits.of("192.0.2.1", 5060, 60_000)
        assert kernel.asked == ["192.0.2.1", "2001:db8::1", "192.0.2.1"]

    def test_what_is_not_known_limits_nothing(self):
        assert PathLimits(lambda host, port: 0).of("192.0.2.1", 5060, 0) > 65535

    def test_no_more_than_five_hundred_are_asked_for_in_a_second(self):
        kernel = Kernel()
        limits = PathLimits(kernel)
        for i in range(600):
            limits.of(f"192.0.{i // 250}.{i % 250}", 5060, 10)
        assert len(kernel.asked) == 500
        limits.of("192.0.2.255", 5060, 1010)
        assert len(kernel.asked) == 501

    def test_a_narrow_way_is_what_the_policy_is_asked_for(self):
        size = size_at_first(SHORT)
        for known, asked in ((size, 0), (size - 1, 1)):
            bench = Sized(SHORT, budget=5000, smaller=lambda verdict: verdict.changed(budget=0, insert=b""))
            bench.proxy.paths = PathLimits(Kernel(known))
            bench.invite()
            bench.run()
            bench.pbxs[0].take("INVITE")
            assert len(bench.sizes) == asked

    def test_a_narrow_way_inside_a_dialog(self):
        sizes: list[int] = []

        def oversize(request, verdict, size):
            sizes.append(size)
            return verdict.changed(compact=True)

        bench = Bench(Verdict(budget=5000))
        bench.proxy.configure(bench.proxy.admission, lambda request: Verdict(budget=5000), oversize, dialog_budget=5000)
        alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
        dialog, _ = bench.call(alice, bob)
        bench.proxy.paths = PathLimits(lambda host, port: 500)
        for method, asked in (("INFO", 1), ("ACK", 1), ("UPDATE", 2)):
            dialog.send(method, headers=[("Supported", 300 * "s")])
            bench.run()
            assert b"\r\nk: sss" in bob.take(method).data
            assert len(sizes) == asked
