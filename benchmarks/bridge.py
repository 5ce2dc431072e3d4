"""The least that joins two legs on an edge: what the stack costs a controlled call, with next to nothing on top.

Every response of the callee goes to the caller as it came, every request inside one dialog into the other one. It is no
part of the product: there is no media, no failover, no transfer.
"""
from sipcore.stack.dialog import Dialog
from sipcore.stack.handler import Handler
from sipcore.stack.outgoing import Outgoing, address_of
from sipcore.stack.uac import ClientTransaction
from sipcore.stack.uas import ServerTransaction
from sipcore.wire.message import Message


class Bridge(Handler):
    """Gets the INVITEs. target: (host, port) that all calls go to."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.calls: set[Call] = set()

    def on_request(self, tx: ServerTransaction) -> None:
        self.calls.add(Call(self, tx))


class Call(Handler):
    """Two legs, back to back."""

    __slots__ = ("bridge", "callee", "caller", "contact", "invite", "record", "waiting")

    def __init__(self, bridge: Bridge, invite: ServerTransaction) -> None:
        self.bridge = bridge
        self.invite = invite
        self.record = invite.record
        self.caller: Dialog | None = None
        self.callee: Dialog | None = None
        self.waiting: dict[ClientTransaction, ServerTransaction] = {}
        agent, request = invite.agent, invite.request
        invite.handler = self
        self.contact = agent.contact(listener=invite.listener)
        out = Outgoing(method="INVITE", uri=request.uri, call_id=agent.new_call_id(), cseq=1,
                       local=address_of(request.header("From") or ""), local_tag=agent.new_tag(),
                       remote=f"<{request.uri}>", contact=agent.contact(listener=invite.listener), body=request.body)
        self.waiting[agent.request(agent.time, out, bridge.target, self, listener=invite.listener)] = invite

    def on_response(self, tx: ClientTransaction, response: Message) -> None:
        server = self.waiting[tx]
        agent = tx.agent
        status = response.status
        if status >= 200:
            del self.waiting[tx]
        if server is not self.invite:
            if self.callee is not None and response.method != "BYE":
                dialog = self.callee if self.caller is server.dialog else self.caller
                assert dialog is not None
                dialog.answered(response)
                if response.method == "INVITE" and 200 <= status < 300:
                    tx.ack(agent.time, dialog.ack(response.cseq[0]), self.bridge.target, dialog.remote_tag)
            if status > 100:
                server.respond(agent.time, status, response.reason, body=response.body)
            return
        if 200 <= status < 300:
            self.callee = Dialog.of_response(tx.request, response)
            agent.add(self.callee, self)
            tx.ack(agent.time, self.callee.ack(1), self.bridge.target, self.callee.remote_tag)
            self.caller = Dialog.of_request(server.request, server.tag, self.contact)
            self.caller.accept()
            agent.add(self.caller, self)
            server.respond(agent.time, status, response.reason, headers=[("Contact", self.contact)],
                           body=response.body)
        elif status > 100:
            server.respond(agent.time, status, response.reason, body=response.body)
            if status >= 300:
                self.bridge.calls.discard(self)

    def on_timeout(self, tx: ClientTransaction, unreachable: bool) -> None:
        server = self.waiting.pop(tx)
        server.respond(tx.agent.time, 503 if unreachable else 408)
        if server is self.invite:
            self.bridge.calls.discard(self)

    def on_request(self, tx: ServerTransaction) -> None:
        agent, request = tx.agent, tx.request
        assert self.caller is not None
        assert self.callee is not None
        by_caller = tx.dialog is self.caller
        other, to = (self.callee, self.bridge.target) if by_caller else (self.caller, self.invite.source)
        if request.method == "BYE":
            agent.remove(self.caller)
            agent.remove(self.callee)
            if self.record is not None:
                self.record.end(agent.time, "caller" if by_caller else "callee")
            self.bridge.calls.discard(self)
        content_type = request.header("Content-Type") or ""
        out = other.request(request.method, body=request.body, content_type=content_type)
        self.waiting[agent.request(agent.time, out, to, self, listener=tx.listener)] = tx

    def on_cancel(self, tx: ServerTransaction) -> None:
        for client, server in self.waiting.items():
            if server is tx:
                client.cancel(tx.agent.time)
