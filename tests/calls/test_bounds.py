"""Everything ends in a bounded time, and a transfer can be called off while that means anything."""
import pytest

from proxy.config import Whisper
from proxy.events import AskRequests, CancelTransfer
from sipcore.base.errors import LimitExceeded

from .referring import blind, referred
from .scene import CALLER, CONFIG, ROUTE, TARGET, Scene, sdp
from .stage import TYPE, Stage

REQUEST = '[[request]]\nname = "crm"\nurl = "http://127.0.0.1:9/"\ntimeout = 2.0\n'


def cancel(scene):
    scene.proxy.advance(scene.link.now)
    reply = scene.calls.obey(CancelTransfer(ask=1, transfer=scene.transfer.id))
    scene.run()
    return reply


class TestBounds:
    def test_an_agent_that_rings_for_ever(self):
        scene = Scene()
        scene.agent.answer(scene.invite(), 180)
        scene.run(200_000)
        assert scene.caller.names()[-1] == "408"
        assert "CANCEL" in scene.agent.names()
        scene.over()

    def test_a_pre_call_webhook_that_never_answers(self):
        scene = Scene(f'{ROUTE}precall = "crm"\n{REQUEST}')
        scene.caller.request("INVITE", "sip:bot@127.0.0.1")
        scene.run(2100)
        assert scene.agent.names() == ["INVITE"]
        assert isinstance(scene.services.asked[0][0], AskRequests)
        scene.over()

    def test_a_webhook_is_not_asked_where_nothing_could_end_the_wait(self):
        scene = Scene(f'{ROUTE}precall = "crm"\n{REQUEST}')
        alarms = [scene.proxy.call_at(10_000_000, lambda: None) for _ in range(1 << 16)]
        with pytest.raises(LimitExceeded):
            scene.proxy.call_at(10_000_000, lambda: None)
        scene.caller.request("INVITE", "sip:bot@127.0.0.1")
        scene.run()
        assert scene.agent.names() == ["INVITE"]
        assert scene.services.asked == []
        for alarm in alarms:
            alarm.cancel()
        scene.over()

    def test_a_caller_that_gives_up_while_the_webhook_is_asked(self):
        scene = Scene(f'{ROUTE}precall = "crm"\n{REQUEST}')
        invite = scene.caller.request("INVITE", "sip:bot@127.0.0.1")
        scene.run()
        scene.caller.cancel(invite)
        scene.run()
        assert sorted(scene.caller.names()) == ["100", "200", "487"]
        scene.services.answer(AskRequests, values={})
        scene.run()
        assert scene.agent.names() == []
        scene.over()

    def test_a_call_that_lasts_too_long_gets_byes(self):
        scene = Scene(base=CONFIG.replace('name = "agent"\n', 'name = "agent"\nmax_duration = 60\n'))
        scene.up()
        scene.run(59_000)
        assert (scene.caller.names(), scene.agent.names()) == ([], [])
        scene.run(1500)
        for phone in (scene.caller, scene.agent):
            byes = [message for message in phone.received() if message.name == "BYE"]
            phone.answer(byes[0], 200)
        scene.run()
        assert scene.services.call().ended_by == "edge"
        scene.over()


class TestCancel:
    def test_while_it_is_prepared(self):
        scene = Scene(ROUTE + REQUEST)
        one, _ = scene.up()
        scene.start(blind(before=("crm",)))
        assert cancel(scene).status == 200
        assert scene.services.transfer().state == "cancelled"
        assert scene.caller.names() == []
        one.send("BYE")
        scene.over()

    @pytest.mark.parametrize("accepted", [False, True])
    def test_a_refer_cannot_be_called_back(self, accepted):
        scene = Scene()
        one, _ = scene.up()
        scene.start(blind())
        if accepted:
            referred(scene)
        reply = cancel(scene)
        assert reply.status == 409
        assert "called back" in reply.error
        assert scene.transfer.status.state == ("accepted" if accepted else "referring")
        one.send("BYE")
        scene.over()

    @pytest.mark.parametrize("status", [100, 180])
    def test_while_the_target_is_called(self, status):
        with Stage() as stage:
            one, _, invite = stage.begin()
            stage.target.answer(invite, status)
            stage.run()
            assert cancel(stage).status == 200
            stage.target.take("CANCEL")
            stage.target.answer(invite, 487)
            stage.run()
            assert stage.services.transfer().state == "cancelled"
            assert (stage.caller.names(), stage.agent.names(), stage.call.state) == ([], [], "up")
            stage.hang_up(one, stage.agent)

    def test_while_the_target_hears_the_whisper(self):
        with Stage() as stage:
            one, _, invite = stage.begin(stage.warm(whisper=Whisper(text="hello")))
            stage.pick_up(invite)
            stage.target.take("ACK")
            assert stage.transfer.status.state == "whispering"
            assert cancel(stage).status == 200
            stage.target.answer(stage.target.take("BYE"), 200)
            stage.run()
            assert stage.services.transfer().state == "cancelled"
            assert stage.call.state == "up"
            stage.hang_up(one, stage.agent)

    def test_not_while_two_are_joined_nor_afterwards(self):
        with Stage() as stage:
            one, _ = stage.up(answer=sdp("127.0.0.3", payloads="8 101"))
            stage.start(stage.warm())
            stage.pick_up(stage.target.take("INVITE"), sdp(TARGET, payloads="0 101"))
            assert stage.transfer.status.state == "bridging"
            transfer = stage.transfer
            assert cancel(stage).status == 409
            asked = [(phone, message) for phone in (stage.caller, stage.target) for message in phone.received()
                     if message.name == "INVITE"]
            for phone, message in asked:
                chosen = "0 101" if b"RTP/AVP 0" in message.message.body else "8 101"
                phone.answer(message, 200, body=sdp(CALLER if phone is stage.caller else TARGET, payloads=chosen,
                                                    version=2), headers=TYPE)
            stage.run()
            assert stage.services.transfer().state == "completed"
            late = stage.calls.obey(CancelTransfer(ask=1, transfer=transfer.id))
            assert (late.status, late.error) == (409, "the transfer is completed already")
            stage.hang_up(one, stage.agent, stage.target)
