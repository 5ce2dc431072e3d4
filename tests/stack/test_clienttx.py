"""The client machines through the link: Timers A to F, K, M with their times, each transition of the table."""
import pytest

from sipcore.net.loopback import Conditions, Link
from tests.endpoints import Bench, Received


def times(phone, start, name=""):
    """When messages arrived, in ms since start."""
    return [one.at - start for one in phone.received() if name in ("", one.name)]


def test_timer_a_doubles_and_timer_b_ends_it(bench, alice, bob):
    start = bench.link.now
    alice.request("INVITE", bob.uri)
    bench.run(40_000)
    sent = bob.received()
    assert [one.at - start for one in sent] == [0, 500, 1500, 3500, 7500, 15500, 31500]
    assert len({one.data for one in sent}) == 1
    first, timeout = alice.received()[:2]
    assert (first.name, timeout.name, timeout.at - start) == ("100", "408", 32_000)
    assert bench.count("timeouts") == 1


def test_a_provisional_response_stops_timer_a_and_starts_timer_c(bench, alice, bob):
    start = bench.link.now
    alice.request("INVITE", bob.uri)
    bench.run(700)
    invite = bob.take("INVITE", "INVITE")
    bob.answer(invite, 100)
    bench.run(100_000)
    assert bob.names() == []
    bob.answer(invite, 180)     # Timer C begins anew (RFC 3261 16.7 step 2)
    bench.run(179_999)
    assert bob.names() == []
    assert alice.names() == ["100", "180"]
    bench.run(1)
    cancel = bob.take("CANCEL")
    assert cancel.at - start == 700 + 100_000 + 180_000
    bob.answer(cancel, 200)
    bob.answer(invite, 487)
    bench.run()
    assert bob.names() == ["ACK"]
    assert alice.take("408").message.to_tag


def test_100_does_not_start_timer_c_anew(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    bob.answer(invite, 180)
    bench.run(100_000)
    bob.answer(invite, 100)
    bench.run(80_000)
    assert bob.names() == ["CANCEL"]


def test_timer_c_without_any_answer_to_the_cancel(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 180)
    bench.run(180_000)
    start = bench.link.now
    bench.run(33_000)
    assert times(bob, start, "CANCEL") == [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]
    final = alice.received()[2]
    assert (final.name, final.at - start) == ("408", 32_000)
    bench.empty()


@pytest.mark.parametrize("status", [302, 404, 486, 500, 603])
def test_a_failure_is_acknowledged_hop_by_hop_each_time(bench, alice, bob, status):
    invite = alice.request("INVITE", bob.uri, headers=[("X-Kept", "1")])
    bench.run()
    received = bob.take("INVITE")
    data = bob.answer(received, status)
    bench.run()
    ack = bob.take("ACK")
    assert ack.message.branch == received.message.branch
    assert ack.header("To") == Received(bench.link.sent[-2]).header("To")
    assert (ack.message.uri, ack.message.cseq, ack.message.body) == (received.message.uri, (1, "ACK"), b"")
    assert len(ack.headers("Via")) == 1
    final = alice.take("100", str(status))
    alice.ack(invite, final)
    bench.run(31_000)
    bob.send(data)              # Timer D runs: the ACK is sent again, the response is not passed again
    bench.run()
    assert bob.names() == ["ACK"]
    assert alice.names() == []
    bench.run(1_001)
    bob.send(data)
    bench.run()
    assert bob.names() == []
    assert bench.count("stray_responses") == 1
    bench.empty(0)


def test_timer_m_each_2xx_passes_until_it_ends(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    data = bob.answer(invite, 200)
    for _ in range(3):
        bench.run(10_000)
        bob.send(data)
    bench.run()
    assert alice.names() == ["100", "200", "200", "200", "200"]
    bob.answer(invite, 200, tag="fork")
    bob.answer(invite, 486)     # neither a failure nor a provisional response may follow a 2xx
    bob.answer(invite, 180)
    bench.run()
    assert alice.take("200").message.to_tag == "fork"
    bench.run(2_000)
    bob.send(data)
    bench.run()
    assert alice.names() == []
    assert bench.count("stray_responses") == 1


def test_timer_e_doubles_up_to_t2_and_timer_f_ends_it_without_an_answer(bench, alice, bob):
    start = bench.link.now
    alice.request("OPTIONS", bob.uri)
    bench.run(40_000)
    assert times(bob, start) == [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]
    # RFC 4320 4.1, 4.2: 100 when Timer E has reached T2, and no 408.
    trying = alice.take("100")
    assert trying.at - start == 3_500
    assert bench.count("timeouts") == 1
    bench.empty()


def test_timer_e_runs_at_t2_after_a_provisional_response(bench, alice, bob):
    start = bench.link.now
    alice.request("OPTIONS", bob.uri)
    bench.run(600)
    bob.answer(bob.take("OPTIONS", "OPTIONS"), 100)
    bench.run(40_000)
    assert times(bob, start) == [4600, 8600, 12600, 16600, 20600, 24600, 28600]
    # The 100 of the next hop stays there; ours comes when Timer E first reaches T2.
    assert times(alice, start) == [4600]
    bench.empty()


def test_timer_k_absorbs_repeated_answers(bench, alice, bob):
    alice.request("OPTIONS", bob.uri)
    bench.run()
    options = bob.take("OPTIONS")
    data = bob.answer(options, 200)
    bench.run(5_000)
    bob.send(data)
    bob.answer(options, 404)
    bench.run()
    assert alice.names() == ["200"]
    assert bench.count("stray_responses") == 0
    bench.empty()


def test_408_of_the_next_hop_stays_there_for_a_request_that_is_no_invite(bench, alice, bob):
    alice.request("OPTIONS", bob.uri)
    bench.run()
    bob.answer(bob.take("OPTIONS"), 408)
    bench.run()
    assert alice.names() == []
    bench.empty()


def test_408_to_an_invite_passes(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 408)
    bench.run()
    alice.ack(invite, alice.take("100", "408"))
    bench.empty()


def test_other_timer_values():
    bench = Bench(t1=100, t2=400, timer_c=60_000)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    start = bench.link.now
    alice.request("OPTIONS", bob.uri)
    bench.run(10_000)
    assert times(bob, start)[:6] == [0, 100, 300, 700, 1100, 1500]
    bench.empty(10_000)


@pytest.mark.parametrize("seed", range(6))
def test_a_call_over_a_bad_network(seed):
    bench = Bench(link=Link(seed, Conditions(delay=20, jitter=60, loss=0.25, duplicate=0.1)))
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    finals: list[Received] = []
    acked: list[Received] = []

    def on_bob(packet):
        one = Received(packet)
        if one.name == "INVITE":
            for again in range(0, 16_000, 1_000):
                bench.link.call_at(bench.link.now + 100 + again, lambda: acked or bob.answer(one, 200))
        elif one.name == "ACK":
            acked.append(one)

    def on_alice(packet):
        one = Received(packet)
        if one.name == "200":
            finals.append(one)
            alice.caller_dialog(one).send("ACK", branch="z9hG4bK-ack")

    bob.port.on_packet, alice.port.on_packet = on_bob, on_alice
    invite = alice.build("INVITE", bob.uri)
    for again in (0, 500, 1500, 3500, 7500):
        bench.link.call_at(bench.link.now + again, lambda: finals or alice.send(invite))
    bench.run(20_000)
    assert finals
    assert acked
    assert {one.message.branch for one in acked} == {acked[0].message.branch}
    assert bench.count("calls") == bench.count("calls_answered") == 1
    bench.run(60_000)
    assert bench.proxy.live == 0
    assert bench.proxy.pool.live == (0, 0, 0)
