"""What crosses a controlled call beside the descriptions themselves: bodies of other kinds, reasons, Replaces, who a
party is. On wire bytes."""
from typing import Any

import pytest

from .scene import AGENT, CALLER, CONFIG, Scene, sdp
from .stage import Stage

MULTIPART = [("Content-Type", "multipart/mixed;boundary=x")]
REASON = 'Q.850;cause=16;text="Normal call clearing"'


def parts(description: bytes) -> bytes:
    return (b"--x\r\nContent-Type: application/sdp\r\n\r\n" + description +
            b"\r\n--x\r\nContent-Type: text/plain\r\n\r\nsomething else\r\n--x--\r\n")


class TestBodies:
    def test_an_answer_among_other_parts_is_a_description_at_the_caller(self):
        scene = Scene()
        invite = scene.invite()
        scene.agent.answer(invite, 183, body=parts(sdp(AGENT)), headers=MULTIPART)
        scene.agent.answer(invite, 200, body=parts(sdp(AGENT)), headers=MULTIPART)
        scene.run()
        _, early, final = scene.caller.received()
        for answer in (early, final):
            assert answer.header("Content-Type") == "application/sdp"
            assert answer.message.body.strip() == sdp(AGENT).strip()
        one = scene.caller.caller_dialog(final)
        one.send("ACK")
        one.send("BYE")
        scene.over()

    def test_an_offer_among_other_parts_passes_whole(self):
        scene = Scene()
        scene.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="c", headers=MULTIPART, body=parts(sdp(CALLER)))
        scene.run()
        invite = scene.agent.take("INVITE")
        assert (invite.header("Content-Type"), invite.message.body) == (MULTIPART[0][1], parts(sdp(CALLER)))
        scene.agent.answer(invite, 486)
        scene.run()
        scene.over()

    @pytest.mark.parametrize("anchored", [False, True])
    def test_a_body_that_describes_no_session_is_no_offer(self, anchored):
        with Stage() if anchored else _plain() as scene:
            scene.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="c", headers=[("Content-Type", "text/plain")],
                                 body=b"hello")
            scene.run()
            invite = scene.agent.take("INVITE")
            assert invite.message.body == b""
            # So the agent offers, and the caller answers in its ACK.
            scene.agent.answer(invite, 200, body=sdp(AGENT), headers=[("Content-Type", "application/sdp")])
            scene.run()
            one = scene.caller.caller_dialog(scene.caller.take("100", "200"))
            one.send("ACK", body=sdp(CALLER), headers=[("Content-Type", "application/sdp")])
            scene.run()
            assert b"m=audio" in scene.agent.take("ACK").message.body
            one.send("BYE")
            scene.run()
            scene.agent.answer(scene.agent.take("BYE"), 200)


class _plain(Scene):
    def __enter__(self):
        return self

    def __exit__(self, *error):
        if error[0] is None:
            self.over()


class TestTheReasonOfABye:
    @pytest.mark.parametrize("who", ["caller", "agent"])
    def test_it_crosses(self, who):
        scene = Scene()
        dialogs = dict(zip(("caller", "agent"), scene.up(), strict=True))
        dialogs.pop(who).send("BYE", headers=[("Reason", REASON), ("Reason", "SIP;cause=200")])
        scene.run()
        (other,) = dialogs
        assert getattr(scene, other).take("BYE").header("Reason") == f"{REASON}, SIP;cause=200"
        scene.over()

    @pytest.mark.parametrize("reason", [None, "", "no protocol", "busy"])
    def test_what_is_none_does_not(self, reason):
        scene = Scene()
        one, _ = scene.up()
        one.send("BYE", headers=[("Reason", reason)] if reason is not None else [])
        scene.run()
        assert scene.agent.take("BYE").header("Reason") is None
        scene.over()


class TestTheReasonOfACancel:
    """RFC 3326, as of a BYE."""

    @pytest.mark.parametrize("heard", [180, 0])
    def test_it_crosses(self, heard):
        """Also where the agent has not answered at all yet, and its CANCEL has to wait for that."""
        scene = Scene()
        invite = scene.invite()
        if heard:
            scene.agent.answer(invite, heard)
            scene.run()
        scene.caller.cancel(scene.invited, ("Reason", REASON), ("Reason", "SIP;cause=200"))
        scene.run()
        if not heard:
            assert "CANCEL" not in scene.agent.names()
            scene.agent.answer(invite, 180)
            scene.run()
        cancel = next(one for one in scene.agent.received() if one.name == "CANCEL")
        assert cancel.header("Reason") == f"{REASON}, SIP;cause=200"
        scene.agent.answer(cancel, 200)
        scene.agent.answer(invite, 487)
        scene.run()
        scene.over()

    @pytest.mark.parametrize("reason", [None, "", "no protocol", "busy"])
    def test_what_is_none_does_not(self, reason):
        scene = Scene()
        invite = scene.invite()
        scene.agent.answer(invite, 180)
        scene.run()
        scene.caller.cancel(scene.invited, *([("Reason", reason)] if reason is not None else []))
        scene.run()
        cancel = scene.agent.take("CANCEL")
        assert cancel.header("Reason") is None
        scene.agent.answer(cancel, 200)
        scene.agent.answer(invite, 487)
        scene.run()
        scene.over()


class TestReplacesOnAnInvite:
    """RFC 3891: somebody takes over a call of the agent's, whose dialogs with the edge are all that he knows."""

    def at_the_agent(self, scene: Scene, known: Any, *more: tuple[str, str], end: str = "") -> Any:
        """The INVITE that the agent gets of one that names a dialog, as its far end knows that."""
        value = f"{known.call_id};to-tag={known.local_tag};from-tag={known.remote_tag}{end}"
        scene.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="another", headers=[
            ("Replaces", value), *more, ("Content-Type", "application/sdp")], body=sdp(CALLER))
        scene.run()
        return next(one for one in scene.agent.received() if one.name == "INVITE")

    @pytest.mark.parametrize("require", [False, True])
    def test_it_names_the_call_as_the_other_end_knows_it(self, require):
        scene = Scene()
        scene.up()
        known, theirs = scene.call.caller.dialog, scene.call.peer.dialog
        invite = self.at_the_agent(scene, known, *[("Require", "replaces")] * require)
        assert invite.header("Replaces") == (
            f"{theirs.call_id};to-tag={theirs.remote_tag};from-tag={theirs.local_tag}")
        # Whoever does not insist is not refused by a peer that does not know it.
        assert invite.header("Require") == ("replaces" if require else None)

    def test_one_that_is_to_be_taken_over_while_it_rings_stays_so(self):
        scene = Scene()
        scene.agent.answer(scene.invite(), 180)
        scene.run()
        known, theirs = scene.call.peer.dialog, scene.call.caller.dialog
        invite = self.at_the_agent(scene, known, end=";early-only")
        assert invite.header("Replaces") == (
            f"{theirs.call_id};to-tag={theirs.remote_tag};from-tag={theirs.local_tag};early-only")

    def test_an_unknown_dialog_stays_as_it_came(self):
        scene = Scene()
        scene.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="x", headers=[
            ("Replaces", "a@b;to-tag=1;from-tag=2;early-only"), ("Content-Type", "application/sdp")], body=sdp(CALLER))
        scene.run()
        assert scene.agent.take("INVITE").header("Replaces") == "a@b;to-tag=1;from-tag=2;early-only"


class TestWhoSomebodyIs:
    def warm(self, *, trusted: bool) -> Any:
        listed = 'addresses = ["127.0.0.2"]\n'
        base = CONFIG.replace(listed, f"{listed}trusted = true\n") if trusted else CONFIG
        with Stage(base=base) as stage:
            one, _ = stage.up(headers=[("P-Asserted-Identity", "<sip:+4930999@example.com>"), ("Privacy", "id")])
            stage.start(stage.warm(caller_id="caller"))
            invite = stage.target.take("INVITE")
            stage.target.answer(invite, 486)
            stage.run()
            stage.hang_up(one, stage.agent)
        return invite

    def test_a_trusted_target_learns_it_with_the_wish_to_withhold_it(self):
        invite = self.warm(trusted=True)
        assert invite.header("P-Asserted-Identity") == "<sip:+4930999@example.com>"
        assert invite.header("Privacy") == "id"

    def test_what_an_untrusted_caller_asserts_is_not_passed_on(self):
        invite = self.warm(trusted=False)
        assert (invite.header("P-Asserted-Identity"), invite.header("Privacy")) == (None, None)

