"""2xx to an INVITE of ours that nobody wants: of another fork or attempt, or one that crossed CANCEL (RFC 3261
13.2.2.4)."""
from typing import TYPE_CHECKING

from sipcore.base.errors import MalformedMessage, SipEdgeError
from sipcore.stack.dialog import Dialog
from sipcore.stack.handler import Handler
from sipcore.stack.outgoing import Outgoing
from sipcore.stack.route import way_to
from sipcore.stack.uac import CREDENTIALS
from sipcore.wire.message import Message

if TYPE_CHECKING:
    from sipcore.stack.uac import ClientTransaction

MOST_FORKS = 32

_SILENT = Handler()


class Late(Handler):
    """Ends the forks that answer after the leg has chosen one, when the leg may be long over."""

    __slots__ = ()

    def on_response(self, tx: "ClientTransaction", response: Message) -> None:
        end_fork(tx, response)


LATE = Late()


def credentials_of(invite: Outgoing) -> tuple[tuple[str, str], ...]:
    """What an ACK repeats of its INVITE (22.1); an INVITE that was challenged is never the first."""
    return tuple(one for one in invite.headers if one[0] in CREDENTIALS) if invite.cseq > 1 else ()


def end_fork(tx: "ClientTransaction", response: Message) -> None:
    """ACK, and BYE."""
    agent, out, far = tx.agent, tx.request, tx.target
    if tx.acknowledged > MOST_FORKS:
        return
    try:
        dialog = Dialog.of_response(out, response)
    except MalformedMessage:
        dialog = Dialog(call_id=out.call_id, local_tag=out.local_tag, remote_tag=response.to_tag, local=out.local,
                        remote=out.remote, target=out.uri, route=(), contact=out.contact, uac=True,
                        local_cseq=out.cseq)
    ack = dialog.ack(out.cseq, headers=credentials_of(out))
    try:
        to, listener = way_to(agent, ack.destination, far, tx.listener)
        tx.ack(agent.time, ack, to, response.to_tag, late=LATE, listener=listener)
        agent.request(agent.time, dialog.request("BYE"), to, _SILENT, listener=listener)
    except SipEdgeError:
        # All transactions are in use: the far end's session timer, or its user, has to end it.
        return
