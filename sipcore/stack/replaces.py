"""Replaces (RFC 3891): naming a dialog from outside of it, and finding the leg that it names.

A Refer-To may carry one; the tags are those of whoever receives the INVITE with it: to-tag its own, from-tag the far
end's.
"""
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipcore.base.errors import MalformedMessage
from sipcore.stack.leg import Leg

if TYPE_CHECKING:
    from sipcore.stack.useragent import UserAgent


@dataclass(frozen=True, slots=True)
class Replaces:
    """The value of the header."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    def render(self) -> str:
        """As a header value; in a URI header it is escaped like any other."""
        end = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{end}"

    def find(self, agent: "UserAgent") -> "Leg | None":
        """The leg of ours that it names, as the one who is asked to give it up; None for an unknown dialog, and for an
        early one of a call that came in, or where a confirmed one is excluded (3)."""
        dialog = agent.dialogs.get((self.call_id, self.to_tag, self.from_tag))
        leg = dialog.owner if dialog is not None else None
        if not isinstance(leg, Leg) or leg.state not in ("early", "up"):
            return None
        if leg.state == "early" and not leg.uac:
            return None
        return None if self.early_only and leg.state == "up" else leg


def parse(value: str) -> Replaces:
    """Read a Replaces value, unescaped. MalformedMessage where a tag is missing or given twice (6.1)."""
    call_id, *params = (part.strip() for part in value.split(";"))
    found: dict[str, str] = {}
    for param in params:
        name, _, text = param.partition("=")
        name = name.strip().lower()
        if name in found:
            raise MalformedMessage("a Replaces parameter is given twice")
        found[name] = text.strip()
    if not call_id or not found.get("to-tag") or not found.get("from-tag"):
        raise MalformedMessage("Replaces needs a Call-ID and both tags")
    return Replaces(call_id, found["to-tag"], found["from-tag"], "early-only" in found)


def toward(leg: "Leg", early_only: bool = False) -> Replaces:
    """What the far end of a leg knows the leg's dialog by: for a Refer-To or INVITE that goes there."""
    dialog = leg.dialog
    if dialog is None:
        raise ValueError("the leg has no dialog")
    return Replaces(dialog.call_id, dialog.remote_tag, dialog.local_tag, early_only)
