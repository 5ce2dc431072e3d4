"""What a call of a usual size looks like: for sizes that are shown before there is a call."""

SAMPLE_VALUE = "sample value of a header"
SAMPLE_HOST = "198.51.100.5:5060"

SAMPLE_SDP = """\
v=0
o=sample 3941187203 3941187203 IN IP4 192.0.2.10
s=call
c=IN IP4 192.0.2.10
t=0 0
m=audio 31842 RTP/AVP 96 9 8 0 101
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:9 G722/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=sendrecv
"""

SAMPLE_REQUEST = """\
{method} sip:+12025550188@198.51.100.5:5060 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK87f2ac0913d1a77c;rport
Max-Forwards: 70
From: "Sample Caller" <sip:+12025550143@agents.example.com>;tag=a73kszlfl9
To: <sip:+12025550188@pbx.example.net>{to_tag}
Call-ID: 3c26700857a87f8421d04b9c7e55@192.0.2.10
CSeq: 101 {method}
Contact: <sip:sample@192.0.2.10:5060;transport=udp>
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO, UPDATE, PRACK
Supported: replaces, timer
P-Asserted-Identity: <sip:+12025550143@agents.example.com>
User-Agent: SampleAgent/1.0
{more}Content-Length: {length}

"""

SAMPLE_AGENT = '"Sample Agent" <sip:+12025550199@agents.example.com>'
SAMPLE_CALLER = '"Sample Caller" <sip:+12025550143@agents.example.com>'

OWN_HEADERS = (
    ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO, UPDATE, PRACK"),
    ("Supported", "100rel, replaces, timer"), ("Session-Expires", "1800;refresher=uac"), ("Min-SE", "90"),
)
"""What an INVITE of the edge's own says besides."""
