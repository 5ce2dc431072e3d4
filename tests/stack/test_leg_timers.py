"""Session timers on legs (RFC 4028), each side its own, on wire bytes."""
import pytest

from sipcore.stack.legowner import LegSettings
from tests.stack.legs import ANN, BOB, EVE, Scene, sdp

TIMED = LegSettings(session_expires=600)
NONE = LegSettings(session_expires=0)
KNOWS = [("Supported", "timer"), ("Allow", "INVITE, ACK, BYE, UPDATE")]


def calling(phone, scene, headers, settings_reply=(), body=None):
    """ann calls the phone, which answers so."""
    leg = scene.ann.call(EVE)
    scene.run()
    phone.respond(phone.last("INVITE"), 200, body=sdp(), headers=headers)
    scene.run()
    return leg


def called(phone, scene, headers):
    """The phone calls ann, who answers; the 200."""
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp(), headers=headers)
    scene.run()
    if not scene.ann.legs:
        return phone.got[-1]
    scene.ann.leg.answer(sdp())
    scene.run()
    answer = phone.got[-1]
    phone.request("ACK", "sip:192.0.2.1", call_id="in", cseq=1, to_tag=answer.to_tag)
    scene.run()
    return answer


def updates(phone):
    """How many have arrived, not counting those that were sent again."""
    return len({one.cseq for one in phone.got if one.is_request and one.method == "UPDATE"})


@pytest.fixture
def scene():
    return Scene(ann=TIMED, bob=TIMED)


def test_two_legs_keep_their_session_alive(scene):
    ours, theirs = scene.up()
    assert scene.sent(ANN, "INVITE")[0].header("Session-Expires") == "600"
    answer = scene.sent(BOB)[-1]
    assert (answer.header("Session-Expires"), answer.header("Require")) == ("600;refresher=uac", "timer")
    scene.run(3_000_000)
    updates = scene.sent(ANN, "UPDATE")
    assert len(updates) == 10
    assert updates[0].header("Session-Expires") == "600;refresher=uac"
    assert updates[0].body == b""
    assert scene.sent(BOB, "UPDATE") == []
    assert ours.state == theirs.state == "up"
    assert scene.ann.owner.names == ["answered"]
    ours.bye()
    scene.settle()


def test_without_session_timers_there_is_none():
    scene = Scene(ann=NONE, bob=NONE)
    ours, theirs = scene.up()
    assert scene.sent(ANN, "INVITE")[0].header("Session-Expires") is None
    assert "timer" not in scene.sent(ANN, "INVITE")[0].headers("Supported")
    scene.run(10_000_000)
    assert ours.state == theirs.state == "up"
    assert scene.methods(ANN) == ["INVITE", "ACK"]


def test_we_refresh_by_reinvite_where_update_is_not_allowed(scene, phone):
    leg = calling(phone, scene, [("Session-Expires", "600;refresher=uac"), ("Allow", "INVITE, ACK, BYE")])
    scene.run(300_000)
    refresh = phone.last("INVITE")
    assert (refresh.cseq[0], refresh.body, refresh.header("Session-Expires")) == (2, leg.local_sdp, "600;refresher=uac")
    phone.respond(refresh, 200, body=sdp(), headers=[("Session-Expires", "200;refresher=uac")])
    scene.run(99_000)
    assert phone.last("INVITE").cseq[0] == 2
    scene.run(2000)
    assert phone.last("INVITE").cseq[0] == 3
    assert scene.ann.owner.names == ["answered"]


def test_update_that_is_refused_is_followed_by_reinvite(scene, phone):
    leg = calling(phone, scene, [("Session-Expires", "600;refresher=uac"), ("Allow", "INVITE, UPDATE")])
    scene.run(300_000)
    phone.respond(phone.last("UPDATE"), 501)
    scene.run()
    assert phone.last("INVITE").cseq[0] == 3
    assert leg.peer_allows("UPDATE") is False


def test_a_refresh_that_fails_ends_in_bye(scene, phone):
    calling(phone, scene, [("Session-Expires", "600;refresher=uac"), *KNOWS])
    scene.run(300_000)
    phone.respond(phone.last("UPDATE"), 500)
    scene.run(133_000)
    assert updates(phone) == 1
    scene.run(1001)
    assert updates(phone) == 2, "once more, half way to the end"
    phone.respond(phone.last("UPDATE"), 500)
    scene.run(133_000)
    assert "BYE" not in phone.methods()
    scene.run(2000)
    assert phone.methods()[-1] == "BYE"
    assert scene.ann.owner.heard[-1] == ("ended", "session-timer", "session expired")


@pytest.mark.parametrize("refresher", ["uas", "uac"])
def test_a_far_end_that_stops_refreshing_is_hung_up(scene, phone, refresher):
    if refresher == "uas":
        calling(phone, scene, [("Session-Expires", "90;refresher=uas")])
    else:
        called(phone, scene, [("Session-Expires", "90;refresher=uac"), *KNOWS])
    scene.run(59_000)
    assert "BYE" not in phone.methods()
    scene.run(2000)
    assert phone.methods()[-1] == "BYE"
    assert scene.ann.owner.heard[-1] == ("ended", "session-timer", "session expired")


def test_a_far_end_that_refreshes_stays(scene, phone):
    answer = called(phone, scene, [("Session-Expires", "90;refresher=uac"), *KNOWS])
    assert answer.header("Session-Expires") == "90;refresher=uac"
    for number in range(10):
        scene.run(45_000)
        phone.request("UPDATE", "sip:192.0.2.1", call_id="in", cseq=2 + number, to_tag=answer.to_tag,
                      headers=[("Session-Expires", "90;refresher=uac"), *KNOWS])
        scene.run()
        assert phone.got[-1].header("Session-Expires") == "90;refresher=uac"
    assert scene.ann.leg.state == "up"


@pytest.mark.parametrize(("asked", "granted", "required"), [
    ([], None, None),                                                           # knows nothing of it
    ([("Supported", "timer")], "600;refresher=uac", "timer"),
    ([("Supported", "timer"), ("Session-Expires", "300")], "300;refresher=uac", "timer"),
    ([("k", "timer"), ("x", "300;refresher=uas")], "300;refresher=uas", None),
    ([("Supported", "timer"), ("Session-Expires", "3600")], "600;refresher=uac", "timer"),
    ([("Supported", "timer"), ("Session-Expires", "3600"), ("Min-SE", "1200")], "1200;refresher=uac", "timer"),
    ([("Session-Expires", "300")], "300;refresher=uas", None),                  # a proxy on the way asked
    ([("Session-Expires", "20")], None, None),
])
def test_what_is_granted(scene, phone, asked, granted, required):
    answer = called(phone, scene, asked)
    assert (answer.status, answer.header("Session-Expires"), answer.header("Require")) == (200, granted, required)


def test_we_refresh_where_the_far_end_cannot(scene, phone):
    called(phone, scene, [("Session-Expires", "300")])
    scene.run(150_000)
    assert phone.last("INVITE").header("Session-Expires") == "300;refresher=uac"


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_interval_that_is_too_small_is_422(scene, phone, method):
    refused = called(phone, scene, [("Supported", "timer"), ("Session-Expires", "60")])
    assert (refused.status, refused.header("Min-SE"), scene.ann.legs) == (422, "90", [])
    phone.request("INVITE", "sip:192.0.2.1", call_id="two", cseq=1, body=sdp(), headers=KNOWS)
    scene.run()
    scene.ann.leg.answer(sdp())
    scene.run()
    tag = phone.got[-1].to_tag
    phone.request("ACK", "sip:192.0.2.1", call_id="two", cseq=1, to_tag=tag)
    phone.request(method, "sip:192.0.2.1", call_id="two", cseq=2, to_tag=tag, body=sdp(),
                  headers=[*KNOWS, ("Session-Expires", "60")])
    scene.run()
    assert (phone.got[-1].status, phone.got[-1].header("Min-SE")) == (422, "90")
    assert scene.ann.owner.count("offer") == 0


def test_a_422_is_followed_by_a_longer_interval(scene, phone):
    leg = scene.ann.call(EVE)
    scene.run()
    first = phone.last("INVITE")
    phone.respond(first, 422, headers=[("Min-SE", "900")])
    scene.run()
    second = phone.last("INVITE")
    assert (second.call_id, second.from_tag, second.cseq[0]) == (first.call_id, first.from_tag, 2)
    assert (second.header("Session-Expires"), second.header("Min-SE")) == ("900", "900")
    phone.respond(second, 200, body=sdp(), headers=[("Session-Expires", "900;refresher=uac"), *KNOWS])
    scene.run(450_000)
    phone.respond(phone.last("UPDATE"), 422, headers=[("Min-SE", "1200")])
    scene.run(1000)
    again = phone.last("UPDATE")
    assert (again.header("Session-Expires"), again.header("Min-SE")) == ("1200;refresher=uac", "1200")
    assert leg.state == "up"


def test_a_422_that_names_nothing_new_is_a_refusal(scene, phone):
    scene.ann.call(EVE)
    scene.run()
    phone.respond(phone.last("INVITE"), 422)
    scene.run()
    assert scene.ann.owner.last("failed")[1] == 422


def test_nobody_can_make_us_refresh_all_the_time(scene, phone):
    calling(phone, scene, [("Session-Expires", "1;refresher=uac"), *KNOWS])
    scene.run(44_000)
    assert phone.methods() == ["INVITE", "ACK"]
    scene.run(2000)
    assert phone.methods()[-1] == "UPDATE"


def test_the_far_end_bob_hears_nothing_of_refreshes(scene):
    scene.up()
    scene.run(1_000_000)
    assert scene.bob.owner.names == ["established"]
    assert scene.methods(BOB) == []

def test_a_far_end_that_always_wants_a_longer_interval_is_not_asked_for_ever(scene, phone):
    scene.ann.call(EVE)
    scene.run()
    for asked in range(1, 5):
        invite = phone.last("INVITE")
        assert invite.cseq[0] == asked
        phone.respond(invite, 422, headers=[("Min-SE", str(1800 + asked))])
        scene.run()
    assert phone.last("INVITE").cseq[0] == 4
    assert scene.ann.owner.last("failed")[1] == 422


def test_an_interval_of_decades_is_one_like_any_other(scene, phone):
    answer = called(phone, scene, [("Session-Expires", "999999999;refresher=uac"), ("Min-SE", "999999999"), *KNOWS])
    assert answer.status == 200
    scene.run(3_600_000)
    assert scene.ann.leg.state == "up"


def test_a_refresh_that_failed_once_may_succeed_the_second_time(scene, phone):
    leg = calling(phone, scene, [("Session-Expires", "600;refresher=uac"), *KNOWS])
    scene.run(300_000)
    phone.respond(phone.last("UPDATE"), 503)
    scene.run(135_000)
    phone.respond(phone.last("UPDATE"), 200, headers=[("Session-Expires", "600;refresher=uac"), *KNOWS])
    scene.run(299_000)
    assert (updates(phone), leg.state) == (2, "up")
    scene.run(2000)
    assert updates(phone) == 3


def test_an_exchange_that_is_refused_is_no_refresh(scene, phone):
    """It was under way when the session had to be refreshed, so nothing else was sent; it came to nothing."""
    leg = calling(phone, scene, [("Session-Expires", "600;refresher=uac"), *KNOWS])
    scene.run(299_000)
    leg.reinvite(sdp(version=2))
    scene.run(2000)
    assert phone.methods()[-1] == "INVITE"
    phone.respond(phone.last("INVITE"), 488)
    scene.run(133_000)
    assert phone.methods()[-1] == "UPDATE"
    phone.respond(phone.last("UPDATE"), 200, headers=[("Session-Expires", "600;refresher=uac"), *KNOWS])
    scene.run(200_000)
    assert leg.state == "up"


def test_a_refresh_that_had_to_wait_says_what_holds_now(scene, phone):
    """Their re-INVITE was open when the session had to be refreshed: what its answer agreed stays (7.4)."""
    answer = called(phone, scene, [("Session-Expires", "300;refresher=uas"), ("Supported", "timer"),
                                   ("Allow", "INVITE, ACK, BYE")])
    scene.run(149_000)
    held = sdp("192.0.2.3", version=2).replace(b"m=audio", b"a=sendonly\r\nm=audio")
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=2, to_tag=answer.to_tag, body=held,
                  headers=[("Session-Expires", "300;refresher=uas"), ("Supported", "timer")])
    scene.run(2000)
    theirs = scene.ann.owner.last("offer")[1]
    assert scene.sent(ANN, "INVITE") == []
    theirs.accept(sdp(version=7))
    scene.run()
    phone.request("ACK", "sip:192.0.2.1", call_id="in", cseq=2, to_tag=answer.to_tag)
    scene.run()
    assert phone.last("INVITE").body == sdp(version=7)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_refresh_of_theirs_with_the_same_description_is_the_legs_own_business(scene, phone, method):
    answer = called(phone, scene, [("Session-Expires", "90;refresher=uac"), *KNOWS])
    scene.run(45_000)
    for number, (body, owned) in enumerate([(sdp(), False), (sdp(version=2), True)], 2):
        phone.request(method, "sip:192.0.2.1", call_id="in", cseq=number, to_tag=answer.to_tag, body=body,
                      headers=[("Session-Expires", "90;refresher=uac"), *KNOWS])
        scene.run()
        assert scene.ann.owner.count("offer") == owned
        if owned:
            scene.ann.owner.last("offer")[1].accept(sdp(version=2))
            scene.run()
        final = phone.got[-1]
        assert (final.status, final.header("Session-Expires")) == (200, "90;refresher=uac")
        assert final.body == sdp(version=2 if owned else 1)
        if method == "INVITE":
            phone.request("ACK", "sip:192.0.2.1", call_id="in", cseq=number, to_tag=answer.to_tag)
            scene.run()


def test_the_same_description_without_an_interval_is_no_refresh(scene, phone):
    answer = called(phone, scene, KNOWS)
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=2, to_tag=answer.to_tag, body=sdp(), headers=KNOWS)
    scene.run()
    assert scene.ann.owner.count("offer") == 1
