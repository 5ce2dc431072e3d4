"""The texts of the generator's messages, about as long and with the same headers as the shared corpus.

MARK stands where the call's identifier goes. ACK and BYE are templates without request URI, Route and To, which
the dialog gives; a response's text is what follows the headers copied from the request.
"""
MARK = b"@" * 16

USER_AGENT = "VoiceAgent/3.2"
SERVER = "PBX/18.4"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO, UPDATE, PRACK"
CALLEE = "+12025550188"
_CALLER = '"Front Desk" <sip:+12025550143@agents.example.com>'


def contact(user: str, address: str, transport: str = "udp") -> str:
    """Return the URI under which one side is reached; `address` is host:port."""
    return f"sip:{user}@{address}" + ("" if transport == "udp" else f";transport={transport}")


def _sdp(owner: str, host: str, *formats: int) -> str:
    names = {0: "PCMU/8000", 8: "PCMA/8000", 96: "telephone-event/8000"}
    return (
        f"v=0\r\no={owner} 3941187203 3941187203 IN IP4 {host}\r\ns=call\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio 31842 RTP/AVP {' '.join(map(str, formats))}\r\n"
        + "".join(f"a=rtpmap:{number} {names[number]}\r\n" for number in formats)
        + "a=fmtp:96 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    )


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def requests(caller: str, callee: str, transport: str = "udp") -> tuple[bytes, bytes, bytes]:
    """Return the templates of INVITE, ACK and BYE between two addresses (host:port)."""
    mark = MARK.decode()
    uri = contact(CALLEE, callee, transport)
    call_id = f"Call-ID: {mark}@{_host(caller)}\r\n"
    sender = f"From: {_CALLER};tag={mark}\r\n"

    def via(letter: str) -> str:
        return f"Via: SIP/2.0/{transport.upper()} {caller};branch=z9hG4bK{letter}{mark};rport\r\n"

    offer = _sdp("voiceagent", _host(caller), 0, 8, 96)
    invite = (
        f"INVITE {uri} SIP/2.0\r\n{via('i')}Max-Forwards: 70\r\n{sender}To: <{uri}>\r\n{call_id}CSeq: 101 INVITE\r\n"
        f"Contact: <{contact('voiceagent', caller, transport)}>\r\nAllow: {ALLOW}\r\nSupported: replaces, timer\r\n"
        f"P-Asserted-Identity: <sip:+12025550143@agents.example.com>\r\nUser-Agent: {USER_AGENT}\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(offer)}\r\n\r\n{offer}"
    )
    ack, bye = (
        f"{method}  SIP/2.0\r\n{via(letter)}Max-Forwards: 70\r\n{sender}{call_id}CSeq: {number} {method}\r\n"
        f"User-Agent: {USER_AGENT}\r\n"
        for method, letter, number in (("ACK", "a", 101), ("BYE", "b", 102))
    )
    return invite.encode(), ack.encode(), bye.encode()


def responses(callee: str, transport: str = "udp") -> tuple[bytes, bytes]:
    """Return the ends of a 180 and of a 200 to INVITE: from Contact on."""
    uri = contact(CALLEE, callee, transport)
    answer = _sdp("pbx", _host(callee), 0, 96)
    ringing = f"Contact: <{uri}>\r\nServer: {SERVER}\r\nContent-Length: 0\r\n\r\n"
    answered = (
        f"Contact: <{uri}>\r\nAllow: {ALLOW}\r\nSupported: replaces, timer\r\nServer: {SERVER}\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(answer)}\r\n\r\n{answer}"
    )
    return ringing.encode(), answered.encode()
