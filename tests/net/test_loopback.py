"""The link in memory: what it promises to the tests that stand on it."""
import pytest

from sipcore.net.loopback import Conditions, Link
from sipcore.stack.layer import Layer

A, B = ("127.0.0.2", 5060), ("127.0.0.3", 5060)


def arrivals(seed, conditions, count=200):
    link = Link(seed, conditions)
    port, other = link.open(*A), link.open(*B)
    seen = []
    other.on_packet = lambda packet: seen.append((link.now, packet.data))
    for number in range(count):
        port.send(b"%d" % number, B)
        link.run(1)
    link.run(100)
    return seen


def test_a_plain_link_delivers_at_once_and_in_order():
    seen = arrivals(1, Conditions())
    assert [data for _, data in seen] == [b"%d" % number for number in range(200)]
    assert [at for at, _ in seen] == list(range(1_000_000, 1_000_200))


def test_loss_duplication_and_reordering_come_from_the_seed():
    rough = Conditions(delay=5, jitter=10, loss=0.2, duplicate=0.2)
    seen = arrivals(7, rough)
    assert seen == arrivals(7, rough)
    assert seen != arrivals(8, rough)
    numbers = [int(data) for _, data in seen]
    assert numbers != sorted(numbers)
    assert 20 < 200 - len(set(numbers)) < 60
    assert 15 < len(numbers) - len(set(numbers)) < 50
    assert all(5 <= at - 1_000_000 - int(data) <= 15 for at, data in seen)


def test_a_path_may_have_conditions_of_its_own():
    link = Link()
    port, other = link.open(*A), link.open(*B)
    link.paths[A, B] = Conditions(delay=40)
    port.send(b"there", B)
    other.send(b"back", A)
    link.run(39)
    assert [packet.data for packet in port.inbox] == [b"back"]
    assert other.inbox == []
    link.run(1)
    assert [packet.data for packet in other.inbox] == [b"there"]


def test_accept_loses_what_a_test_names_and_keeps_it_in_sent():
    link = Link()
    port, other = link.open(*A), link.open(*B)
    link.accept = lambda packet: packet.data != b"lost"
    for data in (b"lost", b"found"):
        port.send(data, B)
    link.run()
    assert [packet.data for packet in other.inbox] == [b"found"]
    assert [packet.data for packet in link.sent] == [b"lost", b"found"]


def test_actions_run_at_their_time():
    link = Link()
    done = []
    link.call_at(link.now + 30, lambda: done.append(link.now))
    link.call_at(link.now - 5, lambda: done.append(link.now))
    link.run(100)
    assert done == [1_000_000, 1_000_030]


def test_a_core_answers_and_hears_of_closed_ports():
    request = (b"OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKa\r\n"
               b"From: <sip:a@b>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n\r\n")
    link = Link(unreachable=True)
    layer = Layer(transactions=16)
    link.attach(layer, [("127.0.0.1", 5060)])
    port = link.open(*A)
    port.send(request, ("127.0.0.1", 5060))
    link.run()
    assert port.inbox[0].data.startswith(b"SIP/2.0 501 ")
    link.close(port)
    link.send(A, ("127.0.0.1", 5060), request)
    link.run()
    assert layer.statistics()["transport_errors"] == 1


def test_packets_in_a_circle_are_noticed():
    link = Link()
    port, other = link.open(*A), link.open(*B)
    port.on_packet = lambda packet: port.send(packet.data, B)
    other.on_packet = lambda packet: other.send(packet.data, A)
    port.send(b"x", B)
    with pytest.raises(RuntimeError, match="without time passing"):
        link.run()
