"""Who hears what happens to the transactions of a user agent."""
from typing import TYPE_CHECKING

from sipcore.wire.message import Message

if TYPE_CHECKING:
    from sipcore.stack.uac import ClientTransaction
    from sipcore.stack.uas import ServerTransaction


class Handler:
    """Called synchronously, inside `feed` and `advance`. What a subclass leaves as it is here is what RFC 3261 asks for
    at least: a method that nobody handles is answered 501 (21.5.2)."""

    __slots__ = ()

    def on_request(self, tx: "ServerTransaction") -> None:
        """A request to answer (never ACK or CANCEL). tx.dialog is the Dialog that it belongs to, or None."""
        tx.respond(tx.agent.time, 501)

    def on_cancel(self, tx: "ServerTransaction") -> None:
        """An INVITE was cancelled; the core has answered it 487."""

    def on_ack(self, tx: "ServerTransaction", ack: Message) -> None:
        """The ACK to the 2xx of an INVITE came, once."""

    def on_unacknowledged(self, tx: "ServerTransaction") -> None:
        """No ACK to the 2xx came within 64*T1: the session should be ended by BYE (13.3.1.4)."""

    def on_response(self, tx: "ClientTransaction", response: Message) -> None:
        """A response to a request of ours. A 2xx to INVITE comes until `tx.ack` was called for its To tag."""

    def on_timeout(self, tx: "ClientTransaction", unreachable: bool) -> None:
        """No final answer came, or the network said that there is no way: as if it were 408 or 503 (8.1.3.1)."""
