"""The size policy's step `tcp` on forwarded requests (transfers.md section 7, row 12): on the wire."""
import pytest

from sipcore.stack.verdict import Target, Verdict
from sipcore.wire.message import Message
from tests.stack.test_transports import ALICE, BOB, TCP, UDP, VIA, Scene, request, response

CAROL = "127.0.0.4"
BIG = [("X-Big", "x" * 1500)]
FALLBACK = Verdict(compact=True, note="size: compact", budget=0)
T1 = 500


class Sizes:
    """A policy with a budget of 1,300 bytes, `tcp` and then what `fallback` says."""

    def __init__(self, fallback=FALLBACK, targets=()):
        self.targets = targets
        self.fallback = fallback
        self.asked = 0

    def decide(self, request):
        return Verdict(budget=1300, targets=self.targets)

    def oversize(self, request, verdict, size):
        self.asked += 1
        fallback = self.fallback if self.fallback.action == Verdict.REJECT else self.fallback.changed(
            targets=self.targets)
        return Verdict(tcp=True, targets=self.targets, fallback=fallback, note="size: by TCP")


class Sized(Scene):
    def __init__(self, sizes, **more):
        super().__init__(sizes.decide, oversize=sizes.oversize, **more)
        self.sizes = sizes


def scene_of(fallback=FALLBACK, targets=(), **more):
    sizes = Sizes(fallback, targets)
    return Sized(sizes, **more)


def sent(scene):
    found = [(listener, host, port, Message(data)) for listener, host, port, data in scene.proxy.drain()]
    scene.said = scene.proxy.take_troubles()
    return found


def requests(found):
    return [one for one in found if one[3].is_request]


def invite(scene, *, headers=BIG, uri=f"sip:bob@{BOB}", branch="b1", call_id="c1", method="INVITE"):
    scene.feed(request(method, uri, via=VIA[UDP], headers=headers, branch=branch, call_id=call_id,
                       contact="<sip:alice@127.0.0.2:5060>"), (ALICE, 5060), UDP)
    return requests(sent(scene))


@pytest.mark.parametrize("targets", [(), (Target(BOB),), (Target(BOB), Target(CAROL))])
def test_an_oversize_request_goes_by_tcp_with_a_tcp_via_and_others_do_not(targets):
    scene = scene_of(targets=targets)
    (listener, host, port, big), = invite(scene)
    assert (listener, host, port) == (TCP, BOB, 5060)
    assert big.headers("Via")[0].startswith("SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK")
    assert big.header("X-Big") == BIG[0][1]
    # What the dialog's other requests follow is as if it had gone by UDP.
    assert all("transport" not in value for value in big.headers("Record-Route"))
    assert len(big.headers("Record-Route")) == 1
    (listener, host, _, small), = invite(scene, headers=(), branch="b2", call_id="c2")
    assert (listener, host) == (UDP, BOB)
    assert small.headers("Via")[0].startswith("SIP/2.0/UDP ")


def test_ack_and_cancel_follow_their_invite():
    scene = scene_of()
    (*_, big), = invite(scene)
    scene.feed(response(big, 180), (BOB, 5060), TCP)
    scene.feed(request("CANCEL", f"sip:bob@{BOB}", via=VIA[UDP]), (ALICE, 5060), UDP)
    (listener, _, _, cancel), = requests(sent(scene))
    assert (listener, cancel.method) == (TCP, "CANCEL")
    assert cancel.headers("Via") == big.headers("Via")[:1]
    scene.feed(response(big, 487), (BOB, 5060), TCP)
    (listener, _, _, ack), = requests(sent(scene))
    assert (listener, ack.method) == (TCP, "ACK")
    assert ack.headers("Via") == big.headers("Via")[:1]


def test_what_follows_in_the_dialog_goes_by_udp():
    scene = scene_of()
    (*_, big), = invite(scene)
    scene.feed(response(big, 200, contact=f"<sip:bob@{BOB}:5060>"), (BOB, 5060), TCP)
    (*_, answer), = sent(scene)
    scene.feed(request("ACK", f"sip:bob@{BOB}:5060", via=VIA[UDP], to=answer.header("To"), branch="b2",
                       routes=answer.headers("Record-Route")[::-1]), (ALICE, 5060), UDP)
    (listener, _, _, ack), = sent(scene)
    assert listener == UDP
    assert ack.headers("Via")[0].startswith("SIP/2.0/UDP ")
    scene.feed(request("BYE", "sip:alice@127.0.0.2:5060", via=f"SIP/2.0/UDP {BOB}:5060", from_=answer.header("To"),
                       to=big.header("From"), routes=big.headers("Record-Route"), cseq=9, branch="b3"),
               (BOB, 5060), UDP)
    (listener, host, _, bye), = sent(scene)
    assert (listener, host, bye.method) == (UDP, ALICE, "BYE")


@pytest.mark.parametrize("targets", [(), (Target(BOB),), (Target(BOB), Target(CAROL))])
@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_without_a_connection_the_next_step_is_a_new_transaction(targets, method):
    scene = scene_of(targets=targets)
    (*_, big), = invite(scene, method=method)
    scene.proxy.unreachable(big.data, scene.now)
    (listener, host, port, again), = requests(sent(scene))
    assert (listener, host, port) == (UDP, BOB, 5060)
    assert scene.said == ["no connection by TCP; size: compact"]
    ours = again.headers("Via")[0]
    assert ours.startswith("SIP/2.0/UDP ")
    assert ours.partition("branch=")[2] != big.headers("Via")[0].partition("branch=")[2]
    assert b"\r\nv: SIP/2.0/UDP" in again.data
    scene.feed(response(again, 200), (BOB, 5060), UDP)
    assert [message.status for *_, message in sent(scene)] == [200]
    # A late word about the connection changes nothing.
    scene.proxy.unreachable(big.data, scene.now)
    assert sent(scene) == []


def test_where_the_policy_refuses_then_the_sender_hears_513():
    scene = scene_of(Verdict(action=Verdict.REJECT, status=513, reason="Message Too Large", note="size: refused"))
    (*_, big), = invite(scene)
    scene.proxy.unreachable(big.data, scene.now)
    (listener, host, _, answer), = sent(scene)
    assert (listener, host, answer.status, answer.reason) == (UDP, ALICE, 513, "Message Too Large")


def test_a_peer_that_was_connected_to_is_not_asked_again_by_udp():
    """It would see the same request twice (RFC 3261 8.2.2.2). The next one is judged by the request's own size."""
    for status in (503, 0):
        scene = scene_of(targets=(Target(BOB), Target(CAROL)))
        (*_, big), = invite(scene)
        if status:
            scene.feed(response(big, status), (BOB, 5060), TCP)
        else:
            scene.wait(2000)
        found = [one for one in requests(sent(scene)) if one[3].method == "INVITE"]
        assert [(listener, host) for listener, host, *_ in found] == [(TCP, CAROL)]


def test_a_silent_peer_is_waited_for_as_any_other():
    scene = scene_of(targets=(Target(BOB),))
    invite(scene)
    scene.wait(64 * T1 - 1)
    assert sent(scene) == []
    scene.wait(1)
    assert [message.status for *_, message in sent(scene)] == [408]


def test_nothing_is_checked_where_it_goes_by_a_stream_anyway():
    scene = scene_of(targets=(Target(BOB, 5061, transport="tls"),))
    (listener, *_, big), = invite(scene)
    assert (listener, scene.sizes.asked, big.header("X-Big")) == (2, 0, BIG[0][1])


def test_no_head_is_left_behind():
    scene = scene_of(targets=(Target(BOB),))
    (*_, big), = invite(scene)
    scene.proxy.unreachable(big.data, scene.now)
    (*_, again), = requests(sent(scene))
    scene.feed(response(again, 486), (BOB, 5060), UDP)
    scene.feed(request("ACK", f"sip:bob@{BOB}", via=VIA[UDP]), (ALICE, 5060), UDP)
    scene.wait(200_000)
    assert scene.proxy.live == 0
    assert scene.proxy.pool.live == (0, 0, 0)
