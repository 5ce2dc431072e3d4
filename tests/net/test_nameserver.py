"""Questions to name servers on the wire: a real one, one that is not there, and ones that lie."""
import asyncio
import socket
import time

import pytest
import uvloop

from sipcore.base.place import Place, Reached, Unresolved
from sipcore.net.endpoint import monotonic_ms
from sipcore.net.locate import MOST_RECORDS, SRV, A, Question, Reach
from sipcore.net.nameserver import NameServers
from sipcore.net.resolve import Bounds, Outcome, Resolver
from tests.net.nameservers import Unbound, liar, name_bytes, record, reply

ZONE = (
    'example.com. 60 IN NAPTR 10 50 "s" "SIPS+D2T" "" _sips._tcp.example.com.',
    'example.com. 60 IN NAPTR 20 50 "s" "SIP+D2U" "" _sip._udp.example.com.',
    "_sip._udp.example.com. 60 IN SRV 10 60 5060 one.example.com.",
    "_sip._udp.example.com. 60 IN SRV 10 40 5070 two.example.com.",
    "_sip._udp.example.com. 60 IN SRV 20 0 5060 three.example.com.",
    "one.example.com. 300 IN A 192.0.2.1", "two.example.com. 300 IN A 192.0.2.2",
    "three.example.com. 300 IN A 192.0.2.3", "three.example.com. 300 IN AAAA 2001:db8::3",
    *(f"_sip._udp.big.example.com. 60 IN SRV {n} 0 5060 a-rather-long-name-of-a-server-{n}.example.com."
      for n in range(200)),
    *(f"a-rather-long-name-of-a-server-{n}.example.com. 60 IN A 192.0.2.{n + 10}" for n in range(8)),
)
A_LOOPBACK = b"\x7f\0\0\1"


def resolved(server: str, *places: Place, seconds: float = 20, deadline: int = 60_000,
             reach: Reach | None = None) -> list[Outcome]:
    """The outcomes for some places, asked for at once over one loop."""
    async def run() -> list[Outcome]:
        loop = asyncio.get_running_loop()
        servers = NameServers(loop, [server], seconds)
        resolver = Resolver(servers, monotonic_ms, lambda ms, then: loop.call_later(ms / 1000, then),
                            reach or Reach(("udp",), ipv6=False), Bounds(deadline=deadline))
        waiting = []
        for place in places:
            future: asyncio.Future[Outcome] = loop.create_future()
            outcome = resolver.resolve(place, future.set_result)
            assert outcome is None
            waiting.append(future)
        outcomes = await asyncio.gather(*waiting)
        servers.close()
        await asyncio.sleep(0)
        return outcomes

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def reached(outcome: Outcome) -> tuple[Reached, ...]:
    assert not isinstance(outcome, Unresolved), outcome
    return outcome


def why(outcome: Outcome) -> str:
    assert isinstance(outcome, Unresolved)
    return f"{outcome.status} {outcome}"


@pytest.fixture(scope="module")
def unbound():
    with Unbound(*ZONE) as server:
        yield server


def test_a_real_server(unbound):
    found, alone, none = resolved(unbound.address, Place.of("example.com"), Place.of("one.example.com", 5080),
                                Place.of("nowhere.example.com"), reach=Reach(("udp",)))
    assert [(one.ip, one.port, one.level) for one in reached(found)] == [
        ("192.0.2.1", 5060, 0), ("192.0.2.2", 5070, 0), ("192.0.2.3", 5060, 2), ("2001:db8::3", 5060, 3)]
    assert [(one.ip, one.port) for one in reached(alone)] == [("192.0.2.1", 5080)]
    assert why(none) == "480 nowhere.example.com has no address"
    assert "_sips._tcp" not in unbound.log


def test_an_answer_too_long_for_a_datagram_comes_over_tcp(unbound):
    (found,) = resolved(unbound.address, Place.of("big.example.com", 0, "udp"))
    assert [one.ip for one in reached(found)] == [f"192.0.2.{n + 10}" for n in range(8)]


def test_names_are_taken_as_they_are(unbound):
    """No search list of the system is appended, whatever stands there."""
    (outcome,) = resolved(unbound.address, Place.of("one", 5060))
    assert why(outcome) == "480 one:5060 has no address"
    assert " one. A" in unbound.log


def test_a_server_that_is_not_there():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (outcome,) = resolved(f"127.0.0.1:{port}", Place.of("pbx.example.com", 5060))
    assert why(outcome) == "503 pbx.example.com:5060 does not resolve: no name server there"


def test_a_server_that_says_nothing_costs_the_deadline():
    start = time.monotonic()
    with liar(lambda query: []) as server:
        (outcome,) = resolved(server, Place.of("pbx.example.com", 5060), deadline=300, seconds=0.5)
    assert why(outcome) == "503 pbx.example.com:5060 does not resolve: no answer in time"
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(("answer", "outcome"), [
    (lambda q: [], "no answer"),
    (lambda q: [b"\0" * 12], "the answer makes no sense"),
    (lambda q: [q[:7]], "the answer makes no sense"),
    # A response to another question, and one with another number: not ours.
    (lambda q: [reply(q, record("pbx.example.com", A, A_LOOPBACK), question=name_bytes("x.y") + b"\0\1\0\1")],
     "no answer"),
    (lambda q: [bytes([q[0] ^ 1]) + reply(q, record("pbx.example.com", A, A_LOOPBACK))[1:]], "no answer"),
    (lambda q: [reply(q, flags=0x8182)], "the name server failed"),
    (lambda q: [reply(q, flags=0x8185)], "the name server refuses"),
], ids=["silence", "zeros", "cut", "other question", "other number", "failure", "refusal"])
def test_answers_that_are_none(answer, outcome):
    with liar(answer) as server:
        # Soon where no answer is to be waited for.
        seconds = 0.05 if outcome == "no answer" else 20
        (found,) = resolved(server, Place.of("pbx.example.com", 5060), seconds=seconds)
    assert why(found) == f"503 pbx.example.com:5060 does not resolve: {outcome}"


@pytest.mark.parametrize("answer", [
    lambda q: [reply(q, record("pbx.example.com", A, b"\x7f\0\0"))],
    lambda q: [reply(q, record("pbx.example.com", A, A_LOOPBACK), count=400)],
    lambda q: [reply(q, record("pbx.example.com", A, A_LOOPBACK)[:-2])],
], ids=["short address", "more records claimed", "cut record"])
def test_answers_that_do_not_parse(answer):
    with liar(answer) as server:
        (found,) = resolved(server, Place.of("pbx.example.com", 5060))
    assert isinstance(found, Unresolved)
    assert found.status == 503


@pytest.mark.parametrize("records", [
    [record("other.example.com", A, A_LOOPBACK)],
    [record("pbx.example.com", SRV, b"\0\0\0\0\x13\xc4" + name_bytes("pbx.example.com"))],
    [record("pbx.example.com", 5, name_bytes("pbx.example.com"))],
    [record(f"n{n}", 5, name_bytes(f"n{n + 1}")) for n in range(300)],
    [record("pbx.example.com", 5, name_bytes("n0")), record("n0", 5, name_bytes("pbx.example.com"))],
    [record("pbx.example.com", 5, name_bytes("n0")), *(record(f"n{n}", 5, name_bytes(f"n{n + 1}")) for n in range(20)),
     record("n20", A, A_LOOPBACK)],
], ids=["of another name", "of another type", "alias of itself", "aliases of others", "circle", "long chain"])
def test_records_that_say_nothing_about_the_question(records):
    with liar(lambda query: [reply(query, *records)]) as server:
        (found,) = resolved(server, Place.of("pbx.example.com", 5060))
    assert why(found) == "480 pbx.example.com:5060 has no address"


def test_a_short_chain_of_aliases_counts():
    chain = [record("n1", A, b"\xc0\0\2\7"), record("pbx.example.com", 5, name_bytes("N0")),
             record("n0", 5, name_bytes("n1"))]
    with liar(lambda query: [reply(query, *chain)]) as server:
        (found,) = resolved(server, Place.of("pbx.example.com", 5060))
    assert [one.ip for one in reached(found)] == ["192.0.2.7"]


def test_a_huge_answer_is_cut():
    many = [record("pbx.example.com", A, bytes([10, 0, n // 250, n % 250])) for n in range(1_000)]
    with liar(lambda query: [reply(query, *many)]) as server:
        answers = _ask(server, Question("pbx.example.com", A))
    assert len(answers.records) == MOST_RECORDS


def _ask(server, question):
    async def run():
        loop = asyncio.get_running_loop()
        servers = NameServers(loop, [server], 20)
        future = loop.create_future()
        servers.ask(question, future.set_result)
        answer = await future
        servers.close()
        return answer

    return asyncio.run(run())


def test_questions_under_way_are_answered_when_it_is_closed():
    async def run(server):
        loop = asyncio.get_running_loop()
        servers = NameServers(loop, [server], 30)
        future = loop.create_future()
        servers.ask(Question("pbx.example.com", A), future.set_result)
        servers.close()
        return await future

    with liar(lambda query: []) as server:
        assert asyncio.run(run(server)).fault
