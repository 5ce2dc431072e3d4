"""Transfer targets and the Refer-To that asks for one: resolved, or refused with a status; no line is ever broken."""
from proxy.config import Action, decode
from sipcore.wire.uri import URI
from tests.fuzz import harness

with harness.instrumented("proxy"):
    from proxy.policy.headers import Patterns
    from proxy.policy.placement import plan_headers
    from proxy.policy.refusals import Refused
    from proxy.policy.targets import Targets, referred
    from proxy.policy.validate import problems_of

CONFIG = decode("""\
[[listener]]
name = "lan"
bind = "udp:192.0.2.1:5060"
[[upstream]]
name = "pbx"
targets = [{address = "192.0.2.9"}]
refer_headers = ["header", "refer-to"]
[[upstream]]
name = "trunk"
targets = [{address = "192.0.2.10"}]
uri = "sip:{user}@{domain};user=phone"
strip = "+"
prefix = "00"
""", problems_of, file="edge.toml")
TARGETS = Targets(CONFIG)
ACTION = Action(name="a", mode="blind")


def target(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for upstream in ("", "pbx", "trunk"):
        for reach in (True, False):
            try:
                found = TARGETS.resolve(text, upstream=upstream, reach=reach)
            except Refused as refused:
                assert refused.status in (400, 404, 416, 482, 503)
                assert refused.note
                continue
            for uri in (found.uri, *(hop.uri for hop in found.hops)):
                assert URI(uri.encode("utf-8", "surrogateescape")).scheme in ("sip", "tel")
                assert not set(uri) & set("\r\n\0 <>\"")
            assert found.hops or not reach
            assert not any(TARGETS.is_own(hop.host, hop.port) for hop in found.hops)
    try:
        asked = referred([text])
    except Refused as refused:
        assert refused.status in (400, 416, 603)
        return
    plan = plan_headers(ACTION, {}, {}, CONFIG.upstreams[0], "REFER", internal=Patterns(()), carried=asked.headers)
    if asked.text.startswith("sip:"):
        again = referred([plan.refer_to(asked.text)])
        assert again.text == asked.text
        assert {name for name, _ in again.headers} == {name for name, _ in asked.headers}
        assert not again.replaces


SEEDS = [
    b"sip:user@domain.com", b"sip:user@192.0.2.7:5060", b"sips:user@192.0.2.7", b"sip:+1234567890@192.0.2.7",
    b"internal-ext-123", b"tel:+1-234-567890;phone-context=x", b"sip:2001@192.0.2.1", b"sip:a@[2001:db8::1]:5062",
    b"sip:a%40b;x=1@192.0.2.7;transport=udp;method=INVITE?X-A=b%20c&User-to-User=6869&Replaces=a%3Bto-tag%3D1",
    b"sip:a@[::ffff:192.0.2.1]", b"sip:a:b@192.0.2.7;maddr=192.0.2.1",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
