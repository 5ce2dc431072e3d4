"""Requests whose next hop is a name: what is known goes on at once, what is not waits, bounded, and alone."""
import pytest

from sipcore.base.place import Place
from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import SDP, Bench
from tests.stack.names import Book, nowhere, reached

ONE, TWO, THREE = "127.0.0.11", "127.0.0.12", "127.0.0.13"
NAME = "sip:7@pbx.example.com"


def bench_of(verdict=None, book=None, **options):
    bench = Bench(verdict, **options)
    bench.proxy.naming = book = book if book is not None else Book()
    alice = bench.phone("alice", "127.0.0.2")
    return bench, book, alice, *(bench.phone(f"pbx{n}", host) for n, host in enumerate((ONE, TWO, THREE)))


def tell(bench, book, outcome, at=0):
    book.tell(outcome, bench.link.now, at)
    bench.run()


def test_a_known_name_waits_for_nothing():
    bench, book, alice, one, *_ = bench_of(book=Book(pbx_example_com=reached(ONE, TWO)))
    alice.request("INVITE", NAME)
    bench.run()
    assert alice.names() == ["100"]
    invite = one.take("INVITE")
    assert invite.message.uri == NAME
    assert book.asked == []
    one.answer(invite, 200)
    bench.run()
    dialog = alice.caller_dialog(alice.take("200"))
    dialog.send("ACK")
    dialog.send("BYE")
    bench.run()
    one.answer(one.take("ACK", "BYE"), 200)
    bench.run()
    bench.empty()


def test_the_order_of_addresses_is_a_function_of_the_call():
    firsts = set()
    for call in range(20):
        many = tuple(one._replace(level=0) for one in reached(ONE, TWO, THREE))
        bench, _, alice, *phones = bench_of(book=Book(pbx_example_com=many))
        for _ in range(2):
            alice.request("OPTIONS", NAME, call_id=f"c{call}")
        bench.run()
        counts = [len(phone.names()) for phone in phones]
        assert sorted(counts) == [0, 0, 2]
        firsts.add(counts.index(2))
    assert firsts == {0, 1, 2}


def test_addresses_of_a_name_are_tried_one_after_the_other():
    bench, _, alice, one, two, _ = bench_of(book=Book(pbx_example_com=reached(ONE, TWO)))
    alice.request("INVITE", NAME)
    bench.run()
    one.answer(one.take("INVITE"), 503)
    bench.run()
    one.take("ACK")
    two.answer(two.take("INVITE"), 486)
    bench.run()
    assert alice.names() == ["100", "486"]
    assert bench.count("failovers") == 1
    bench.empty()


def test_an_unknown_name_is_waited_for():
    bench, book, alice, one, *_ = bench_of()
    alice.request("INVITE", NAME, body=SDP)
    bench.run(200)
    assert alice.names() == ["100"]
    assert book.names == ["pbx.example.com"]
    assert len(bench.proxy.pending) == 1
    tell(bench, book, reached(ONE))
    invite = one.take("INVITE")
    assert invite.message.body == SDP
    assert len(invite.headers("Record-Route")) == 1
    one.answer(invite, 200)
    bench.run()
    answered = alice.take("200")
    dialog = alice.caller_dialog(answered)
    dialog.send("ACK")
    bench.run()
    one.take("ACK")
    assert (bench.count("forwarded"), bench.count("failovers"), bench.count("calls")) == (2, 0, 1)
    one.callee_dialog(invite).send("BYE")
    bench.run()
    alice.answer(alice.take("BYE"), 200)
    bench.run()
    bench.empty()
    assert b'"callee":"127.0.0.11' in bench.proxy.records.journal.take()


def test_copies_of_a_waiting_request_are_absorbed():
    bench, book, alice, one, *_ = bench_of()
    invite = alice.request("INVITE", NAME)
    message = alice.request("MESSAGE", NAME, call_id="c2")
    bench.run(100)
    for data in (invite, message, invite, message):
        alice.send(data)
    bench.run()
    assert alice.names() == ["100", "100", "100"]
    assert len(book.asked) == 2
    tell(bench, book, reached(ONE))
    tell(bench, book, reached(ONE))
    assert one.names() == ["INVITE", "MESSAGE"]


def test_cancel_while_it_waits():
    bench, book, alice, one, *_ = bench_of()
    invite = alice.request("INVITE", NAME)
    bench.run()
    alice.cancel(invite)
    bench.run()
    responses = alice.received()
    assert [response.name for response in responses] == ["100", "200", "487"]
    alice.ack(invite, responses[-1])
    assert len(bench.proxy.pending) == 0
    tell(bench, book, reached(ONE))
    assert one.names() == []
    assert bench.count("cancelled") == 1
    bench.empty()


@pytest.mark.parametrize(("status", "answer"), [
    (480, ("480", "Temporarily Unavailable - pbx.example.com has no address")),
    (503, ("503", "Service Unavailable - pbx.example.com does not resolve: no answer")),
])
@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_a_name_that_leads_nowhere(status, answer, method):
    bench, book, alice, *_ = bench_of()
    alice.request(method, NAME)
    bench.run()
    tell(bench, book, status)
    response = alice.received()[-1]
    assert (response.name, response.message.reason) == answer
    if method == "INVITE":
        assert f'"status":{status}'.encode() in bench.proxy.records.journal.take()
    # Known by now: the next one is answered at once.
    book.known_places[Place.of("pbx.example.com")] = nowhere(Place.of("pbx.example.com"), status)
    alice.request(method, NAME, call_id="c2")
    bench.run()
    response = alice.take(answer[0])
    assert response.message.reason == answer[1]
    assert bench.count("unroutable") == 2
    bench.empty()


def test_nobody_answers_in_time():
    bench, book, alice, one, *_ = bench_of()
    bench.proxy.pending.configure(10, 4_000)
    start = bench.link.now
    alice.request("INVITE", NAME)
    bench.run(10_000)
    final = alice.received()[1]
    assert (final.name, final.at - start) == ("503", 4_000)
    assert final.message.reason == "Service Unavailable - pbx.example.com does not resolve: no answer in time"
    tell(bench, book, reached(ONE))
    assert one.names() == []
    bench.empty()


def test_a_flood_of_names_is_bounded():
    bench, book, alice, *_ = bench_of()
    bench.proxy.pending.configure(8, 4_000)
    for n in range(20):
        alice.request("INVITE", f"sip:7@n{n}.example.com", call_id=f"c{n}")
    bench.run(1_000)
    # One address gets a quarter of the room.
    assert len(book.asked) == 2
    others = [bench.phone(f"p{n}", f"127.0.0.{n}") for n in range(20, 40)]
    for n, phone in enumerate(others):
        phone.request("INVITE", f"sip:7@m{n}.example.com", call_id=f"d{n}")
    bench.run(1_000)
    assert len(book.asked) == len(bench.proxy.pending) == 8
    assert alice.names().count("503") == 18
    assert [phone.names() for phone in others] == 6 * [["100"]] + 14 * [["503"]]
    bench.empty()
    assert len(bench.proxy.pending) == 0


def test_nothing_waits_behind_a_name_that_is_slow():
    bench, book, alice, one, two, _ = bench_of()
    alice.request("INVITE", "sip:7@slow.example.com", call_id="c1")
    alice.request("INVITE", NAME, call_id="c2")
    alice.request("INVITE", f"sip:7@{TWO}", call_id="c3")
    bench.run()
    assert two.take("INVITE").message.call_id == "c3"
    tell(bench, book, reached(ONE), at=1)
    assert one.take("INVITE").message.call_id == "c2"
    assert book.names == ["slow.example.com"]


def test_an_upstream_by_name_is_asked_for_and_keeps_its_uri():
    verdict = Verdict(targets=(Target("pbx.example.com", 0, -1, b"sip:9@pbx.example.com", ""), Target(THREE, 5060)),
                      try_timeout=1_000)
    bench, book, alice, one, two, three = bench_of(verdict)
    alice.request("INVITE", "sip:7@example.net")
    bench.run()
    assert [place for place, _ in book.asked] == [Place("pbx.example.com")]
    tell(bench, book, reached(ONE, TWO))
    assert one.take("INVITE").message.uri == "sip:9@pbx.example.com"
    bench.run(1_000)
    assert two.take("INVITE").message.uri == "sip:9@pbx.example.com"
    bench.run(1_000)
    assert three.take("INVITE").message.uri == "sip:7@example.net"
    bench.run(60_000)
    assert set(alice.names()) == {"100", "408"}
    bench.empty()


@pytest.mark.parametrize("known", [True, False])
def test_a_target_that_does_not_resolve_is_passed_over(known):
    verdict = Verdict(targets=(Target("pbx.example.com", 5060), Target(TWO, 5060)))
    book = Book()
    place = Place("pbx.example.com", 5060, "udp")
    if known:
        book.known_places[place] = nowhere(place)
    bench, book, alice, _, two, _ = bench_of(verdict, book)
    alice.request("INVITE", "sip:7@example.net")
    bench.run()
    if not known:
        tell(bench, book, 503)
    two.answer(two.take("INVITE"), 404)
    bench.run()
    assert alice.names() == ["100", "404"]
    bench.empty()


def test_a_further_target_that_is_a_name():
    verdict = Verdict(targets=(Target(ONE, 5060), Target("two.example.com", 5060)))
    bench, book, alice, one, two, _ = bench_of(verdict)
    alice.request("INVITE", "sip:7@example.net")
    bench.run()
    assert book.asked == []
    one.answer(one.take("INVITE"), 503)
    bench.run()
    one.take("ACK")
    assert book.names == ["two.example.com:5060"]
    assert alice.names() == ["100"]
    tell(bench, book, reached(TWO))
    two.answer(two.take("INVITE"), 486)
    bench.run()
    assert alice.names() == ["486"]
    assert bench.count("failovers") == 1
    bench.empty()


def test_a_further_target_that_leads_nowhere_leaves_the_last_answer():
    verdict = Verdict(targets=(Target(ONE, 5060), Target("two.example.com", 5060)))
    bench, book, alice, one, *_ = bench_of(verdict)
    alice.request("INVITE", "sip:7@example.net")
    bench.run()
    one.answer(one.take("INVITE"), 503)
    bench.run()
    tell(bench, book, 480)
    assert alice.names() == ["100", "500"]
    bench.empty()


def test_an_answer_that_comes_while_the_next_target_is_looked_up():
    verdict = Verdict(targets=(Target(ONE, 5060), Target("two.example.com", 5060)), try_timeout=1_000)
    bench, book, alice, one, two, _ = bench_of(verdict)
    alice.request("INVITE", "sip:7@example.net")
    bench.run(1_100)
    invite = one.received()[0]
    assert book.names == ["two.example.com:5060"]
    one.answer(invite, 200)
    bench.run()
    assert alice.names() == ["100", "200"]
    tell(bench, book, reached(TWO))
    assert two.names() == []


def test_cancel_while_the_next_target_is_looked_up():
    verdict = Verdict(targets=(Target(ONE, 5060), Target("two.example.com", 5060)), try_timeout=1_000)
    bench, book, alice, one, two, _ = bench_of(verdict)
    invite = alice.request("INVITE", "sip:7@example.net")
    bench.run(1_100)
    first = one.received()[0]
    alice.cancel(invite)
    bench.run()
    # The first one may still answer, and is cancelled when it does.
    one.answer(first, 180)
    bench.run()
    one.answer(first, 487)
    tell(bench, book, reached(TWO))
    bench.run()
    assert alice.names()[-1] == "487"
    assert two.names() == []
    bench.empty()


def test_in_a_dialog_route_and_contact_may_be_names():
    book = Book(phone_example_com=reached("127.0.0.2"))
    bench, book, alice, one, *_ = bench_of(book=book)
    alice.contact = "<sip:alice@phone.example.com>"
    one.contact = "<sip:pbx@bob.example.com>"
    mine, theirs = None, None
    alice.request("INVITE", f"sip:7@{ONE}")
    bench.run()
    invite = one.take("INVITE")
    one.answer(invite, 200)
    bench.run()
    mine, theirs = alice.caller_dialog(alice.take("100", "200")), one.callee_dialog(invite)
    # The ACK is not kept, but it has the name looked up; the far end's next 2xx brings it again.
    mine.send("ACK")
    bench.run()
    assert one.names() == []
    assert book.names == ["bob.example.com"]
    book.known_places[Place.of("bob.example.com")] = reached(ONE)
    tell(bench, book, reached(ONE))
    mine.send("ACK")
    bench.run()
    one.take("ACK")
    theirs.send("INVITE", body=SDP)
    bench.run()
    alice.take("INVITE")
    del book.known_places[Place.of("bob.example.com")]
    mine.send("BYE")
    bench.run()
    assert book.names == ["bob.example.com"]
    tell(bench, book, reached(ONE))
    one.answer(one.received()[-1], 200)
    bench.run()
    assert alice.names()[-1] == "200"
    bench.empty()


def test_a_bye_to_a_name_that_leads_nowhere_ends_the_call_for_the_edge():
    bench, book, alice, one, *_ = bench_of()
    one.contact = "<sip:pbx@bob.example.com>"
    alice.request("INVITE", f"sip:7@{ONE}")
    bench.run()
    one.answer(one.take("INVITE"), 200)
    bench.run()
    dialog = alice.caller_dialog(alice.take("100", "200"))
    dialog.send("BYE")
    bench.run()
    tell(bench, book, 480)
    assert alice.names() == ["480"]
    assert bench.count("calls_ended") == 1
    bench.empty()


def test_an_unlisted_peer_gets_no_further_by_a_name():
    bench, book, alice, one, *_ = bench_of()
    alice.request("INVITE", f"sip:7@{ONE}")
    bench.run()
    one.answer(one.take("INVITE"), 200)
    bench.run()
    dialog = alice.caller_dialog(alice.take("100", "200"))
    dialog.send("ACK")
    mallory = bench.phone("mallory", "192.0.2.66")
    dialog.phone = mallory
    dialog.target = NAME
    dialog.send("INFO")
    bench.run()
    assert book.names == ["pbx.example.com"], mallory.names()
    tell(bench, book, reached("192.0.2.77"))
    assert mallory.names() == ["403"]


def test_an_oversize_request_that_waited_is_made_to_fit():
    sizes = []

    def oversize(request, verdict, size):
        sizes.append(size)
        return verdict.changed(insert=b"", budget=0)

    verdict = Verdict(insert=b"X-Long: " + 200 * b"x" + b"\r\n", budget=500)
    bench, book, alice, one, *_ = bench_of(verdict, oversize=oversize)
    alice.request("INVITE", NAME)
    bench.run()
    tell(bench, book, reached(ONE))
    assert one.take("INVITE").header("X-Long") is None
    assert len(sizes) == 1
    assert sizes[0] > 600


def test_an_oversize_request_that_waited_may_be_refused():
    verdict = Verdict(insert=b"X-Long: " + 200 * b"x" + b"\r\n", budget=500)
    bench, book, alice, one, *_ = bench_of(
        verdict, oversize=lambda *_: Verdict(action=Verdict.REJECT, status=513, reason="Message Too Large"))
    alice.request("INVITE", NAME)
    bench.run()
    tell(bench, book, reached(ONE))
    final = alice.take("100", "513")
    assert final.message.reason == "Message Too Large"
    assert one.names() == []
    bench.empty()


def test_a_name_without_any_naming():
    bench = Bench()
    alice = bench.phone("alice", "127.0.0.2")
    alice.request("OPTIONS", NAME)
    bench.run()
    assert alice.take("503").message.reason == (
        "Service Unavailable - pbx.example.com is a name, and nobody looks names up here")


def test_a_naming_that_fails_costs_its_call_alone():
    class Broken(Book):
        def resolve(self, place, told):
            raise OSError("no sockets left")

    bench, _, alice, *_ = bench_of(book=Broken())
    alice.request("INVITE", NAME)
    bench.run()
    assert alice.names() == ["503"]
    assert bench.proxy.take_troubles() == ["pbx.example.com not looked up: OSError: no sockets left"]
    bench.empty()


def test_whom_nobody_asked_for_is_not_heard():
    bench, book, alice, one, *_ = bench_of()
    alice.request("INVITE", NAME)
    bench.run()
    _, told = book.asked[0]
    told(reached(ONE), bench.link.now)
    told(reached(TWO), bench.link.now)
    bench.proxy.resolved(12345, reached(TWO), bench.link.now)
    bench.run()
    assert one.names() == ["INVITE"]


def test_the_room_of_a_call_is_taken_while_it_waits():
    bench, book, alice, *_ = bench_of(Verdict(max_calls=1, upstream=0))
    alice.request("INVITE", NAME, call_id="c1")
    alice.request("INVITE", NAME, call_id="c2")
    bench.run()
    assert sorted(alice.names()) == ["100", "503"]
    tell(bench, book, 480)
    alice.request("INVITE", NAME, call_id="c3")
    bench.run()
    assert len(book.asked) == 1
