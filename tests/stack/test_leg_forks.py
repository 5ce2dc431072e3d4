"""Several early dialogs, and what was under way in those that the 2xx has ended (RFC 3261 12.3, 13.2.2.4)."""
from tests.stack.legs import ANN, EVE, Phone, sdp

RELIABLE = [("Require", "100rel"), ("RSeq", "1")]
ONE, TWO = sdp("192.0.2.51"), sdp("192.0.2.52")
NEW, OTHER = sdp("192.0.2.1", 2), sdp("192.0.2.1", 3)


def done(owner):
    return [event[1:3] for event in owner.heard if event[0] == "reoffer_done"]


class TestCalling:
    """Our INVITE, and two who answer it."""

    def early(self, scene, phone):
        """Fork one has answered reliably; the leg and the INVITE."""
        leg = scene.ann.call(EVE)
        scene.run()
        invite = phone.last("INVITE")
        phone.respond(invite, 183, tag="one", headers=RELIABLE, body=ONE)
        scene.run()
        phone.respond(phone.last("PRACK"), 200)
        scene.run()
        assert (leg.local_sdp, leg.remote_sdp) == (sdp(), ONE)
        return leg, invite

    def answered(self, scene, phone, leg, invite):
        phone.respond(invite, 200, tag="two", body=TWO)
        scene.run()
        assert (leg.state, leg.dialog.remote_tag) == ("up", "two")
        assert (leg.local_sdp, leg.remote_sdp) == (sdp(), TWO)
        assert phone.last("ACK").to_tag == "two"
        # What is asked for now is asked for there.
        token = leg.update(OTHER)
        scene.run()
        assert (phone.last("UPDATE").to_tag, phone.last("UPDATE").body) == ("two", OTHER)
        phone.respond(phone.last("UPDATE"), 200, body=TWO)
        scene.run()
        assert done(scene.ann.owner)[-1] == (token, 200)

    def test_an_offer_of_theirs_and_one_of_ours_that_waits(self, scene, phone):
        leg, invite = self.early(scene, phone)
        phone.inside(invite, "UPDATE", 1, tag="one", body=NEW)
        scene.run()
        exchange = scene.ann.owner.last("offer")[1]
        token = leg.update(NEW)
        scene.run()
        assert "UPDATE" not in phone.methods()
        self.answered(scene, phone, leg, invite)
        assert phone.statuses("UPDATE") == [487]
        assert done(scene.ann.owner)[:2] == [(exchange, 487), (token, 487)]
        assert not exchange.accept(OTHER)
        assert leg.local_sdp == OTHER

    def test_an_offer_of_ours_on_its_way(self, scene, phone):
        leg, invite = self.early(scene, phone)
        token = leg.update(NEW)
        scene.run()
        update = phone.last("UPDATE")
        assert update.to_tag == "one"
        self.answered(scene, phone, leg, invite)
        assert done(scene.ann.owner)[0] == (token, 487)
        phone.respond(update, 200, body=ONE)
        scene.run()
        assert leg.remote_sdp == TWO
        assert len(done(scene.ann.owner)) == 2

    def test_what_was_agreed_with_the_other_one(self, scene, phone):
        leg, invite = self.early(scene, phone)
        leg.update(NEW)
        scene.run()
        phone.respond(phone.last("UPDATE"), 200, body=ONE)
        scene.run()
        assert leg.local_sdp == NEW
        self.answered(scene, phone, leg, invite)


    def test_the_next_address_knows_nothing_of_it(self, scene, phone):
        """What was under way with one that then refused the call."""
        other = Phone(scene.link, ("192.0.2.4", 5060))
        leg = scene.ann.call(EVE, targets=(other.address,))
        scene.run()
        invite = phone.last("INVITE")
        phone.respond(invite, 183, tag="one", headers=RELIABLE, body=ONE)
        scene.run()
        phone.respond(phone.last("PRACK"), 200)
        phone.inside(invite, "UPDATE", 1, tag="one", body=NEW)
        scene.run()
        exchange = scene.ann.owner.last("offer")[1]
        token = leg.update(NEW)
        phone.respond(invite, 503, tag="one")
        scene.run()
        assert phone.statuses("UPDATE") == [487]
        assert done(scene.ann.owner) == [(exchange, 487), (token, 487)]
        other.respond(other.last("INVITE"), 200, body=TWO)
        scene.run()
        assert (leg.state, leg.local_sdp, leg.remote_sdp) == ("up", sdp(), TWO)
        leg.update(NEW)
        scene.run()
        assert other.last("UPDATE").body == NEW


class TestCalled:
    """Their INVITE, which goes on to two."""

    def early(self, scene, phone, body=NEW):
        """Both forks have said something reliably; the leg, and the tags that they have."""
        phone.request("INVITE", "sip:ann@192.0.2.1", call_id="call", cseq=1, body=body,
                      headers=[("Supported", "100rel")])
        scene.run()
        leg = scene.ann.leg
        tags = {}
        for fork, said in (("one", ONE), ("two", TWO)):
            if not body and fork == "two":
                continue
            leg.ring(183, said, fork=fork)
            scene.run()
            tags[fork] = phone.got[-1].to_tag
            self.inside(phone, "PRACK", 2, tags[fork], headers=[("RAck", "1 1 INVITE")], body=b"" if body else NEW)
            scene.run()
        assert phone.statuses("PRACK") == [200] * len(tags)
        return leg, tags

    def inside(self, phone, method, cseq, to_tag, headers=(), body=b""):
        phone.request(method, "sip:ann@192.0.2.1", call_id="call", cseq=cseq, to_tag=to_tag, headers=headers, body=body)

    def test_an_offer_of_theirs_and_one_of_ours_that_waits(self, scene, phone):
        leg, tags = self.early(scene, phone)
        self.inside(phone, "UPDATE", 3, tags["one"], body=OTHER)
        scene.run()
        exchange = scene.ann.owner.last("offer")[1]
        token = leg.update(ONE)
        assert leg.answer(fork="two")
        scene.run()
        assert phone.statuses("UPDATE") == [487]
        assert done(scene.ann.owner) == [(exchange, 487), (token, 487)]
        assert not exchange.accept(ONE)
        self.inside(phone, "ACK", 1, tags["two"])
        scene.run()
        assert (leg.dialog.local_tag, leg.local_sdp, leg.remote_sdp) == (tags["two"], TWO, NEW)
        assert "UPDATE" not in phone.methods()
        leg.update(ONE)
        scene.run()
        assert phone.last("UPDATE").from_tag == tags["two"]

    def test_what_was_agreed_with_the_other_one(self, scene, phone):
        leg, tags = self.early(scene, phone)
        self.inside(phone, "UPDATE", 3, tags["one"], body=OTHER)
        scene.run()
        scene.ann.owner.last("offer")[1].accept(ONE)
        scene.run()
        assert leg.remote_sdp == OTHER
        leg.answer(fork="two")
        scene.run()
        assert (leg.local_sdp, leg.remote_sdp) == (TWO, NEW)
        assert done(scene.ann.owner) == []

    def test_the_first_one_has_offered_and_the_second_does_now(self, scene, phone):
        leg, tags = self.early(scene, phone, b"")
        assert leg.remote_sdp == NEW
        leg.answer(TWO, fork="two")
        scene.run()
        answered = phone.got[-1]
        assert (answered.status, answered.body) == (200, TWO)
        assert answered.to_tag != tags["one"]
        self.inside(phone, "ACK", 1, answered.to_tag, body=OTHER)
        scene.run()
        assert (leg.local_sdp, leg.remote_sdp) == (TWO, OTHER)

    def test_one_that_was_ended_by_bye_does_not_answer(self, scene, phone):
        leg, tags = self.early(scene, phone)
        self.inside(phone, "BYE", 3, tags["one"])
        scene.run()
        assert not leg.answer(fork="one")
        assert leg.answer(fork="two")
        scene.run()
        assert [m.to_tag for m in phone.got if m.status == 200 and m.method == "INVITE"] == [tags["two"]]

    def test_one_too_many_has_a_dialog_of_its_own_when_it_answers(self, scene, phone):
        leg, _ = self.early(scene, phone)
        for number in range(2, 40):
            leg.ring(180, fork=f"fork{number}")
        assert leg.answer(OTHER, fork="fork39")
        scene.run()
        answered = phone.got[-1]
        assert (answered.status, answered.body) == (200, OTHER)
        others = {m.to_tag for m in phone.got if m.status in (180, 183)}
        assert (len(others), answered.to_tag in others) == (32, False)
        assert {key[1] for key in scene.ann.agent.dialogs} == {answered.to_tag}


def test_nothing_is_left(scene, phone):
    TestCalling().test_an_offer_of_ours_on_its_way(scene, phone)
    assert scene.ann.leg.bye()
    scene.run()
    phone.respond(phone.last("BYE"), 200, to=ANN)
    scene.settle()
