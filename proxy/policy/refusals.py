"""Answers that refuse a request. Reason phrases are texts of ours: nothing of the request stands in them."""
from sipcore.stack.verdict import Verdict


class Refused(Exception):
    """A request is refused; args: status, reason phrase, note for the log line."""

    def __init__(self, status: int, reason: str, note: str = ""):
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.note = note

    @property
    def verdict(self) -> Verdict:
        return refuse(self.status, self.reason, self.note)


def refuse(status: int, reason: str, note: str = "", scope: int = 0) -> Verdict:
    return Verdict(action=Verdict.REJECT, status=status, reason=reason, note=note, scope=scope)


def forbidden() -> Verdict:
    """403, without a word on why."""
    return refuse(403, "Forbidden", "acl: forbidden", scope=1)


def silent() -> Verdict:
    """No answer at all."""
    return Verdict(action=Verdict.DROP, scope=1, note="acl: silent")


def not_allowed(methods: tuple[str, ...], scope: int = 0) -> Verdict:
    """405 with the methods that are open (RFC 3261 8.2.1)."""
    return Verdict(action=Verdict.REJECT, status=405, reason="Method Not Allowed", scope=scope,
                   headers=f"Allow: {', '.join(methods)}\r\n".encode(), note="acl: method closed")
