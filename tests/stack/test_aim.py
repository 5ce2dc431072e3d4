"""Aims that are names: all asked for at once, answered once, in the order of the aims."""
from sipcore.base.place import Place, Unresolved
from sipcore.stack.aim import Aim, seek
from tests.endpoints import Bench
from tests.stack.names import Book, nowhere, reached

ONE, TWO = Place("one.example.com"), Place("two.example.com")


def seeking(*aims, **known):
    bench = Bench()
    bench.proxy.advance(bench.link.now)
    book = bench.proxy.naming = Book(**known)
    heard: list[list[Aim] | Unresolved] = []
    return bench, book, heard, seek(bench.proxy, aims, "c1", heard.append)


def hosts(aims):
    return [aim.host for aim in aims]


def test_addresses_and_known_names_are_told_at_once():
    _, book, heard, _ = seeking(
        Aim("sip:1@a", "192.0.2.9", 5060), Aim("sip:1@b", place=ONE), one_example_com=reached("192.0.2.1", "192.0.2.2"))
    assert hosts(heard[0]) == ["192.0.2.9", "192.0.2.1", "192.0.2.2"]
    assert [aim.uri for aim in heard[0]] == ["sip:1@a", "sip:1@b", "sip:1@b"]
    assert book.asked == []


def test_all_names_are_asked_for_at_once_and_keep_their_order():
    bench, book, heard, _ = seeking(Aim("u", place=ONE), Aim("u", place=TWO))
    assert book.names == ["one.example.com", "two.example.com"]
    book.tell(reached("192.0.2.2"), bench.link.now, at=1)
    assert heard == []
    book.tell(reached("192.0.2.1"), bench.link.now)
    assert hosts(heard[0]) == ["192.0.2.1", "192.0.2.2"]
    assert len(heard) == 1


def test_what_does_not_resolve_is_left_out():
    bench, book, heard, _ = seeking(Aim("u", place=ONE), Aim("u", place=TWO))
    book.tell(480, bench.link.now)
    book.tell(reached("192.0.2.2"), bench.link.now)
    assert hosts(heard[0]) == ["192.0.2.2"]


def test_nothing_resolves():
    bench, book, heard, _ = seeking(Aim("u", place=ONE), Aim("u", place=TWO), two_example_com=nowhere(TWO))
    book.tell(503, bench.link.now)
    assert isinstance(heard[0], Unresolved)
    assert (heard[0].status, str(heard[0])) == (503, "one.example.com does not resolve: no answer")


def test_in_time_with_what_is_there_by_then():
    bench, book, heard, _ = seeking(Aim("u", place=ONE), Aim("u", place=TWO))
    bench.proxy.pending.configure(10, 4_000)
    book.tell(reached("192.0.2.1"), bench.link.now)
    bench.run(10_000)
    assert hosts(heard[0]) == ["192.0.2.1"]
    book.tell(reached("192.0.2.2"), bench.link.now)
    assert len(heard) == 1


def test_one_that_was_cancelled_hears_nothing():
    bench, book, heard, seeker = seeking(Aim("u", place=ONE))
    seeker.cancel()
    book.tell(reached("192.0.2.1"), bench.link.now)
    bench.run(60_000)
    assert heard == []


def test_the_name_of_a_certificate_is_what_was_asked_for():
    *_, heard, _ = seeking(
        Aim("u", place=ONE), Aim("u", place=TWO, name="sip.example.net"), Aim("u", place=Place("three.example.com")),
        one_example_com=reached("192.0.2.1", transport="tls", name="one.example.com"),
        two_example_com=reached("192.0.2.2", transport="tls", name="two.example.com"),
        three_example_com=reached("192.0.2.3", name="three.example.com"))
    assert [(aim.transport, aim.name) for aim in heard[0]] == [
        ("tls", "one.example.com"), ("tls", "sip.example.net"), ("udp", "")]
