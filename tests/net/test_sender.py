"""Sender: what leaves as one send, what keeps its order, and what a kernel or a peer that refuses costs."""
import socket

import pytest

from sipcore.base.outbox import Outbox
from sipcore.net.sender import Sender
from sipcore.net.udp import bind_udp

UDP_GRO = 104       # Linux 5.0: a train comes as one message with its piece length, where the socket asks for it


class Peer:
    """A bound socket that takes a train whole, and says how it was made up."""

    def __init__(self, host="127.0.0.2"):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.setblocking(False)
        self.address = self.sock.getsockname()

    def trains(self):
        """The datagrams of each send that has arrived."""
        found: list[list[bytes]] = []
        while True:
            try:
                data, control, _, _ = self.sock.recvmsg(1 << 17, 64)
            except BlockingIOError:
                return found
            size = int.from_bytes(control[0][2][:2], "little") if control else len(data)
            found.append([data[at:at + size] for at in range(0, len(data), size)])


@pytest.fixture
def peers():
    made = [Peer(), Peer("127.0.0.3")]
    yield made
    for peer in made:
        peer.sock.close()


@pytest.fixture
def outbox():
    return Outbox()


@pytest.fixture
def sender(outbox):
    sock = bind_udp("127.0.0.1", 0)
    yield Sender(outbox, [sock.fileno()])
    sock.close()


def send(sender, outbox, *datagrams):
    for peer, data in datagrams:
        assert outbox.put(*peer.address, data)
    assert sender.send() == 0


def test_datagrams_of_one_length_leave_together_and_the_last_one_may_be_shorter(sender, outbox, peers):
    one, _ = peers
    sizes = [400, 400, 400, 300, 300, 500, 200, 500, 200, 600]
    datagrams = [bytes([65 + i]) * size for i, size in enumerate(sizes)]
    send(sender, outbox, *((one, data) for data in datagrams))
    trains = one.trains()
    assert [[len(data) for data in train] for train in trains] == [
        [400, 400, 400, 300], [300], [500, 200], [500, 200], [600]]
    assert [data for train in trains for data in train] == datagrams
    assert (sender.sent, sender.errors) == (10, 0)


def test_flows_are_told_apart_and_each_keeps_its_order(sender, outbox, peers):
    datagrams = [(peers[i % 2], bytes([65 + i]) * (300 if i % 5 else 350)) for i in range(26)]
    send(sender, outbox, *datagrams)
    for peer in peers:
        trains = peer.trains()
        assert [data for train in trains for data in train] == [data for to, data in datagrams if to is peer]
        assert len(trains) < 7


def test_a_train_stays_below_what_one_send_can_hold(sender, outbox, peers):
    """60 datagrams of 1,200 bytes would be 72,000: a send holds 65,507."""
    one, _ = peers
    send(sender, outbox, *((one, bytes([i]) * 1200) for i in range(200)))
    trains = one.trains()
    assert [len(train) for train in trains] == [54, 54, 54, 38]
    assert [train[0][0] for train in trains] == [0, 54, 108, 162]
    assert sender.segmenting


def test_what_might_be_fragmented_leaves_by_itself(sender, outbox, peers):
    one, _ = peers
    send(sender, outbox, *((one, bytes([i]) * 1233) for i in range(3)))
    assert [len(train) for train in one.trains()] == [1, 1, 1]


def test_a_datagram_that_no_send_can_take_is_left_out_alone(sender, outbox, peers):
    """65,508 bytes are more than UDP carries."""
    one, two = peers
    send(sender, outbox, (one, b"a" * 300), (two, b"b" * 65_508), (one, b"c" * 300), (two, b"d" * 300))
    assert one.trains() == [[b"a" * 300, b"c" * 300]]
    assert two.trains() == [[b"d" * 300]]
    assert (sender.sent, sender.errors, sender.segmenting) == (3, 1, True)


def test_more_sockets_than_there_is_room_for_are_refused(outbox):
    with pytest.raises(ValueError, match="more than 32 sockets"):
        Sender(outbox, range(33))
