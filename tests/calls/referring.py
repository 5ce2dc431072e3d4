"""What tests of blind transfers have in common: REFERs and their reports, by hand."""
from typing import Any

from proxy.config import Action

from .scene import BLIND, ROUTE, RUN_BLIND, Scene, notify

TO = "sip:2001@192.0.2.30"
BY_REFER = ROUTE + BLIND + RUN_BLIND


def blind(**fields: Any) -> Action:
    return Action(**{"name": "given", "mode": "blind", "targets": (TO,), **fields})


def referred(scene):
    """The REFER that reached the caller, answered 202."""
    refer = scene.caller.take("REFER")
    scene.caller.answer(refer, 202)
    scene.run()
    return refer


def started(action=None, text=ROUTE):
    """A call that is being transferred by the API: the scene, both dialogs, the REFER."""
    scene = Scene(text)
    one, other = scene.up()
    reply = scene.start(action or blind())
    assert (reply.status, reply.error) == (202, "")
    return scene, one, other, referred(scene)


def agent_refers(scene, other, target=f"<{TO}>", **more):
    other.send("REFER", headers=[("Refer-To", target), *more.get("headers", ())])
    scene.run()


def sipfrag_of(received):
    return received.message.body.split(b"\r\n")[0].decode()


def passed_on(scene, one, status, reason):
    """The caller reports how the transfer stands; the agent hears the same, and answers."""
    notify(one, status, reason)
    scene.run()
    heard = scene.agent.take("NOTIFY")
    assert sipfrag_of(heard) == f"SIP/2.0 {status} {reason}"
    scene.agent.answer(heard, 200)
    scene.run()


def both_end(scene):
    """The BYEs to caller and agent, answered."""
    for phone in (scene.caller, scene.agent):
        byes = [one for one in phone.received() if one.name == "BYE"]
        assert len(byes) == 1
        phone.answer(byes[0], 200)
    scene.run()
