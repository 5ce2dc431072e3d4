"""A Scene whose calls are anchored on a real relay, with a target that answers."""
import select
import time
from typing import Any

from proxy.config import Action
from sipcore.media.relay import PLAYED
from tests.anchor.bridges import Table
from tests.endpoints import Dialog, Phone, Received
from tests.media.stage import PATIENCE

from .scene import AGENT, CALLER, CONFIG, TARGET, Scene, sdp

ANCHOR = ('[[media]]\nname = "lan"\nbind = "127.0.0.1"\nports = "20000-20399"\n'
          '[[route]]\nto = "agent"\ncontrol = true\nmedia = "anchor"\n')
TO = "sip:2001@127.0.0.4:5060"
OTHER = "sip:2002@127.0.0.5:5060"
TYPE = [("Content-Type", "application/sdp")]


class Stage(Scene):
    """Used as a context: at the end all ports are back."""

    def __init__(self, text: str = "", base: str = CONFIG, table: Table | None = None, **more: Any):
        self.table = table or Table()
        super().__init__(ANCHOR + text, base=base, media=self.table.bridges, audio=self.table.anchor, **more)

    def __enter__(self) -> "Stage":
        self.table.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self.over()
                self.table.await_ports(0)
        finally:
            self.table.__exit__(*error)

    def warm(self, **fields: Any) -> Action:
        return Action(**{"name": "given", "mode": "warm", "targets": (TO,), **fields})

    def begin(self, action: Action | None = None, **variables: str) -> tuple[Dialog, Dialog, Received]:
        """A call, and a warm transfer of it by the API: the dialogs, and the INVITE at the target."""
        one, other = self.up()
        reply = self.start(action or self.warm(), **variables)
        assert (reply.status, reply.error) == (202, "")
        return one, other, self.target.take("INVITE")

    def pick_up(self, invite: Received, body: bytes | None = None, phone: Phone | None = None,
                host: str = TARGET) -> Dialog:
        phone = phone or self.target
        phone.answer(invite, 200, body=sdp(host) if body is None else body, headers=TYPE)
        self.run()
        return phone.callee_dialog(invite)

    def await_played(self) -> None:
        """Until the relay has said that a sound has ended; its clock is a real one."""
        until = time.monotonic() + PATIENCE
        while not self.take_audio():
            assert time.monotonic() < until, "nothing was played to its end"
            select.select([self.table.relay.fileno()], [], [], 0.1)
        self.run()

    def take_audio(self) -> bool:
        """Tell calls what the relay has said; whether a sound has ended."""
        ended = False
        for kind, session, _, side, value, address in self.table.relay.take_events():
            self.proxy.advance(self.link.now)
            self.table.bridges.take(kind, session, side, value, address)
            ended |= kind == PLAYED
        return ended

    def hang_up(self, dialog: Dialog, *others: Any) -> None:
        """End a call by the BYE of one; the others answer theirs."""
        dialog.send("BYE")
        self.run()
        for phone in others:
            for received in phone.received():
                if received.name == "BYE":
                    phone.answer(received, 200)
        self.run()


__all__ = ["AGENT", "CALLER", "OTHER", "TARGET", "TO", "TYPE", "Stage", "sdp"]
