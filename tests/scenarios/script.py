"""SIPp scenarios put together from steps: for peers of which there are many, each wrong in a way of its own.

A Script is one side of one call: what it says and expects, in order. SIPp runs it as it does the scenario files.
"""
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sipcore.wire.tables import phrase

CODECS = (("0", "PCMU"), ("8", "PCMA"))
CUE = "CUE"
"""A request that no peer sends: the test's own."""
WAITING = "waiting for the cue"
SIPFRAG = "message/sipfrag;version=2.0"
_TRUE = '"true"'
_TAG = "[pid]b[call_number]"
_KEPT = (("via", "Via:"), ("from", "From:"), ("to", "To:"), ("cseq", "CSeq:"))


def description(version: int = 1, port: str = "40000", codecs: Sequence[tuple[str, str]] = CODECS,
                direction: str = "") -> str:
    """SDP of audio on this side's address; version: of o=."""
    numbers = " ".join(number for number, _ in codecs)
    lines = ["v=0", f"o=- 1 {version} IN IP[local_ip_type] [local_ip]", "s=-", "c=IN IP[local_ip_type] [local_ip]",
             "t=0 0", f"m=audio {port} RTP/AVP {numbers} 101",
             *(f"a=rtpmap:{number} {name}/8000" for number, name in codecs), "a=rtpmap:101 telephone-event/8000",
             *([f"a={direction}"] if direction else [])]
    return "\n".join(lines) + "\n"


class Script:
    """Steps of one side. name: of its files; who: its part of URIs. Each step returns the Script, for the next one."""

    _parties: tuple[str, ...]
    """From and To inside the dialog."""

    def __init__(self, name: str, who: str):
        self.name, self.who = name, who
        self._steps: list[str] = []
        self._variables: list[str] = []
        self._cseq = 0
        self._invited_step = self._invited_cseq = 0     # of the last INVITE
        self._invited_uri = "sip:[service]@[remote_ip]:[remote_port]"

    # --- what both sides can do

    def expect(self, what: int | str, *, keep: str = "", save: tuple[str, str] | None = None, optional: bool = False,
               within: int = 0, route: bool = False) -> Self:
        """A response by its status, or a request by its method.

        keep: a name under which its reply can be sent later; save: a variable, and the header whose value goes there;
        within: ms, after which the side has failed; route: requests of this side go where its Contact says.
        """
        kind = "response" if isinstance(what, int) else "request"
        taken = [(f"{keep}_{part}", header) for part, header in _KEPT] if keep else []
        if save is not None:
            taken.append(save)
        self._variables += [name for name, _ in taken]
        actions = "".join(f'<ereg regexp=".*" search_in="hdr" header="{header}" assign_to="{name}"/>'
                          for name, header in taken)
        flags = (f"{' rrs=' + _TRUE if route else ''}{' optional=' + _TRUE if optional else ''}"
                 + (f' timeout="{within}"' if within else ""))
        self._steps.append(f'<recv {kind}="{what}"{flags}>{actions and f"<action>{actions}</action>"}</recv>')
        return self

    def reply(self, status: int, *headers: str, reason: str = "", body: str = "", to: str = "", tag: str = "",
              once: bool = True) -> Self:
        """Answer the last request, or the one that was kept under `to`; once: SIPp does not repeat it."""
        kept = [f"Via:[${to}_via]", f"From:[${to}_from]", f"To:[${to}_to]{tag}", "[last_Call-ID:]",
                f"CSeq:[${to}_cseq]"]
        last = ["[last_Via:]", "[last_From:]", f"[last_To:]{tag}", "[last_Call-ID:]", "[last_CSeq:]"]
        return self._send(f"SIP/2.0 {status} {reason or phrase(status)}",
                          [*(kept if to else last), self._contact, *headers], body, repeat=not once)

    def request(self, method: str, *headers: str, body: str = "", kind: str = "application/sdp",
                repeat: bool = True) -> Self:
        """Send a request inside the dialog.

        repeat: SIPp repeats it until its answer comes, and takes no other message before that.
        """
        self._cseq += 1
        if method == "INVITE":
            self._invited_step, self._invited_cseq = len(self._steps), self._cseq
            self._invited_uri = "[next_url]"
        return self._send(f"{method} [next_url] SIP/2.0", [
            "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]", "[routes]", "Max-Forwards: 70", *self._parties,
            "Call-ID: [call_id]", f"CSeq: {self._cseq} {method}", self._contact, *headers], body, kind, repeat)

    def ack(self, body: str = "", failed: bool = False) -> Self:
        """ACK of the last INVITE; failed: to a refusal, which has its branch."""
        branch = f"[branch-{len(self._steps) - self._invited_step}]" if failed else "[branch]"
        to = [] if failed else ["[routes]"]
        parties = ["[last_From:]", "[last_To:]"] if failed else self._parties
        return self._send(f"ACK {self._invited_uri if failed else '[next_url]'} SIP/2.0", [
            f"Via: SIP/2.0/UDP [local_ip]:[local_port];branch={branch}", *to, "Max-Forwards: 70", *parties,
            "Call-ID: [call_id]", f"CSeq: {self._invited_cseq} ACK", self._contact], body)

    def answer(self, method: str) -> Self:
        """Expect a request and answer it with 200 at once."""
        return self.expect(method).reply(200)

    def notify(self, status: int, state: str = "", reason: str = "", repeat: bool = True) -> Self:
        """NOTIFY of a REFER's progress; a final status ends the subscription."""
        state = state or ("terminated;reason=noresource" if status >= 200 else "active;expires=60")
        return self.request("NOTIFY", "Event: refer", f"Subscription-State: {state}", kind=SIPFRAG, repeat=repeat,
                            body=f"SIP/2.0 {status} {reason or phrase(status)}\n")

    def hang_up(self) -> Self:
        return self.request("BYE").expect(200)

    def hung_up(self) -> Self:
        return self.answer("BYE")

    def pause(self, ms: int) -> Self:
        """Let the other sides have their turn: a peer that is slow."""
        self._steps.append(f'<pause milliseconds="{ms}"/>')
        return self

    def on_cue(self) -> Self:
        """Go on when the test says so (Stage.cue), as something has happened elsewhere."""
        self._steps.append(f'<nop><action><log message="{WAITING}"/></action></nop><recv request="{CUE}"/>')
        return self

    # --- how it is written

    @property
    def _contact(self) -> str:
        return f"Contact: <sip:{self.who}@[local_ip]:[local_port]>"

    def _send(self, first: str, headers: Sequence[str], body: str, kind: str = "application/sdp",
              repeat: bool = False) -> Self:
        lines = [first, *headers, *([f"Content-Type: {kind}"] if body else []), "Content-Length: [len]", "",
                 *(body.splitlines() if body else [""]), ""]
        text = "\n".join(lines)
        again = ' retrans="4000"' if repeat else ""
        self._steps.append(f"<send{again}><![CDATA[\n{text}\n]]></send>")
        return self

    def write(self, folder: Path) -> Path:
        """The scenario's file."""
        known = f'<Reference variables="{",".join(sorted(set(self._variables)))}"/>' if self._variables else ""
        path = folder / f"{self.name}.xml"
        path.write_text('<?xml version="1.0" encoding="UTF-8"?>\n' + f'<scenario name="{self.name}">\n'
                        + "\n".join(self._steps) + f"\n{known}\n</scenario>\n")
        return path


class Calling(Script):
    """The side that calls."""

    _parties = ("From: <sip:+491111@[local_ip]:[local_port]>;tag=[pid]a[call_number]",
                "To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]")

    def invite(self, *headers: str, body: str = "") -> Self:
        self._cseq += 1
        self._invited_step, self._invited_cseq = len(self._steps), self._cseq
        self._send("INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0", [
            "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]", "Max-Forwards: 70", self._parties[0],
            self._parties[1].removesuffix("[peer_tag_param]"), "Call-ID: [call_id]", f"CSeq: {self._cseq} INVITE",
            self._contact, *headers], body or description(), repeat=True)
        return self

    def cancel(self) -> Self:
        """CANCEL of the INVITE."""
        branch = f"[branch-{len(self._steps) - self._invited_step}]"
        self._send("CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0", [
            f"Via: SIP/2.0/UDP [local_ip]:[local_port];branch={branch}", "Max-Forwards: 70", self._parties[0],
            self._parties[1].removesuffix("[peer_tag_param]"), "Call-ID: [call_id]",
            f"CSeq: {self._invited_cseq} CANCEL"], "", repeat=True)
        return self

    def ringing(self) -> Self:
        """What may come before an answer."""
        for status in (100, 180, 183):
            self.expect(status, optional=True)
        return self

    def established(self) -> Self:
        """The 200, and its ACK."""
        self.ringing().expect(200, route=True).ack()
        return self


class Called(Script):
    """The side that is called."""

    _parties = (f"From:[$call_to];tag={_TAG}", "To:[$call_from]")

    def invited(self) -> Self:
        self.expect("INVITE", keep="call", route=True)
        return self

    def ring(self, status: int = 180, *headers: str, body: str = "", fork: str = "") -> Self:
        self.reply(status, *headers, body=body, to="call", tag=f";tag={_TAG}{fork}")
        return self

    def accept(self, *headers: str, body: str = "", fork: str = "", repeat: bool = True) -> Self:
        """200 with a description."""
        self.reply(200, *headers, body=body or description(), to="call", tag=f";tag={_TAG}{fork}", once=not repeat)
        return self

    def refuse(self, status: int, *headers: str, reason: str = "") -> Self:
        self.reply(status, *headers, reason=reason, to="call", tag=f";tag={_TAG}", once=False)
        self.expect("ACK")
        return self

    def established(self) -> Self:
        """Ring, answer, and have the ACK."""
        self.ring().accept().expect("ACK")
        return self
