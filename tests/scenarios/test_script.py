"""Scripts against each other, without an edge: what is put together from steps is a scenario that SIPp can play."""
from tests.scenarios.script import Called, Calling
from tests.scenarios.sipp import Sipp


def play(network, folder, calling, called) -> tuple[Sipp, Sipp]:
    other = Sipp(called, (f"{network}.3", 5070), folder)
    one = Sipp(calling, (f"{network}.2", 5080), folder, remote=(f"{network}.3", 5070), user="called")
    try:
        for side in (one, other):
            side.finish()
    finally:
        for side in (one, other):
            side.kill()
    return one, other


def test_a_transfer(network, tmp_path):
    """Requests of both sides inside the dialog, and a reply that is sent after another message."""
    calling = Calling("calling", "one").invite("X-Odd: 1").established().expect("REFER", keep="refer")
    calling.notify(100).expect(200).reply(202, to="refer").notify(486).expect(200).hung_up()
    called = Called("called", "other").invited().established().request("REFER", "Refer-To: <sip:x@192.0.2.1>",
                                                                             repeat=False)
    called.answer("NOTIFY").expect(202).answer("NOTIFY").hang_up()
    one, other = play(network, tmp_path, calling, called)
    assert other.received("INVITE")[0].values("X-Odd") == ["1"]
    assert [note.text.split("\r\n")[-2] for note in other.received("NOTIFY")] == ["SIP/2.0 100 Trying",
                                                                                  "SIP/2.0 486 Busy Here"]
    refer, = one.received("REFER")
    assert refer.values("From")[0].partition(";tag=")[2] == one.received("SIP/2.0 200")[0].values("To")[0].partition(
        ";tag=")[2]


def test_refusals_have_their_ack(network, tmp_path):
    calling = Calling("calling", "one").invite().ringing().expect(486).ack(failed=True)
    one, other = play(network, tmp_path, calling, Called("called", "other").invited().ring().refuse(486))
    ack, = other.received("ACK")
    assert ack.values("Via") == one.seen()[0].values("Via")


def test_cancel_and_a_200_that_crosses_it(network, tmp_path):
    calling = Calling("calling", "one").invite().expect(180).cancel().expect(200)
    calling.expect(200, route=True).ack().hang_up()
    called = Called("called", "other").invited().ring().answer("CANCEL").accept().expect("ACK").hung_up()
    one, other = play(network, tmp_path, calling, called)
    assert other.received("CANCEL")[0].values("Via") == one.seen()[0].values("Via")
