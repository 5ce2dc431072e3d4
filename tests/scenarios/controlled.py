"""The stage of controlled calls: caller .2, agent .3 and .6, and .4 and .5, who are in no group, for targets."""
import re
import wave
from pathlib import Path

from tests.edge import SLOW_TIMERS
from tests.scenarios.script import Called, Calling
from tests.scenarios.sipp import Seen, Sipp

CONFIGURATION = """
[[listener]]
name = "edge"
bind = "udp:{net}.1:5060"

[[media]]
name = "audio"
bind = "{net}.1"
ports = "20000-20199"

[relay]
quarantine_seconds = 0

{timers}
# Longer than a busy machine makes a far end late to tell.
refer_outcome = 6

[api]
bind = "{net}.1:8080"

[[group]]
name = "callers"
addresses = ["{net}.2"]
rate = 1000

[[group]]
name = "agents"
addresses = ["{net}.3", "{net}.6"]
rate = 1000

[[upstream]]
name = "agents"
targets = [{{ address = "{net}.3:5070" }}]
# An agent that says 503 in one test is not spared in the next one.
health = {{ longest_pause = 0 }}

[[upstream]]
name = "callers"
targets = [{{ address = "{net}.2:5080" }}]
refer_headers = ["header", "refer-to"]

[[upstream]]
name = "pbx"
targets = [{{ address = "{net}.4:5070" }}]
uri = ""

[[upstream]]
name = "narrow"
targets = [{{ address = "{net}.4:5070" }}]
uri = ""
refer_headers = ["refer-to"]
size_policy = ["drop", "reference", "refuse"]

[reference]
key_file = "context.key"

[[route]]
users = ["agent"]
to = "agents"
control = true

[[route]]
users = ["anchored"]
to = "agents"
control = true
media = "anchor"

[[route]]
users = ["consulted"]
groups = ["agents"]
to = "pbx"
control = true
media = "anchor"

[[transfer]]
name = "blind"
mode = "blind"
headers = [
    {{ name = "X-Customer-Intent", value = "billing question" }},
    {{ name = "X-Call", value = "{{call_id}}" }},
]

[[transfer]]
name = "return"
mode = "blind"
on_failure = "return"

[[transfer]]
name = "bridge"
mode = "blind"
on_failure = "bridge"

[[transfer]]
name = "warm"
mode = "warm"
headers = [
    {{ name = "X-Customer-Intent", value = "billing question" }},
    {{ name = "X-Account", value = "{{X-Account}}" }},
]

[[transfer]]
name = "brief"
mode = "warm"
ring_timeout = 3

[[transfer]]
name = "list"
mode = "warm"
on_failure = "next"
targets = ["sip:first@{net}.4:5070", "sip:second@{net}.5:5070"]

[[transfer]]
name = "whisper"
mode = "warm"
whisper = {{ file = "{whisper}" }}

[[transfer]]
name = "big"
mode = "warm"
upstream = "narrow"
headers = [
    {{ name = "X-Summary", value = "{long}" }},
    {{ name = "X-Customer-Intent", value = "billing question", priority = 9 }},
]

[[transfer]]
name = "bigblind"
mode = "blind"
upstream = "narrow"
headers = [
    {{ name = "X-Summary", value = "{long}" }},
    {{ name = "X-Customer-Intent", value = "billing question", priority = 9 }},
]
"""
RULE = """
[[refer]]
groups = ["agents"]
users = ["{name}"]
action = "run"
transfer = "{name}"
"""
PASSED = """
[[refer]]
groups = ["agents"]
users = ["passed"]
headers = ["passed"]
upstream = "callers"

[[headers]]
name = "passed"
on = ["REFER"]
add = [{ name = "X-Customer-Intent", value = "billing question" }]
"""
ACTIONS = ("blind", "return", "bridge", "warm", "brief", "list", "whisper", "big", "bigblind")
SUMMARY = " ".join(["The caller moved, pays twice & wants 50% back."] * 20)
"""More than an INVITE has room for beside the rest."""
WHISPER_SECONDS = 4


def configuration(net: str, folder: Path) -> str:
    """A REFER to `sip:<action>@...` starts the action of that name. A whisper of silence and a key are written to the
    folder."""
    whisper = folder / "whisper.wav"
    with wave.open(str(whisper), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8000 * WHISPER_SECONDS))
    (folder / "context.key").write_text("a key of the scenarios, for tokens\n")
    rules = "".join(RULE.format(name=name) for name in ACTIONS)
    return CONFIGURATION.format(net=net, timers=SLOW_TIMERS, whisper=whisper, long=SUMMARY) + rules + PASSED


def caller(*headers: str, body: str = "") -> Calling:
    """A caller whose call is answered."""
    return Calling("caller", "caller").invite(*headers, body=body).established()


def agent() -> Called:
    """An agent who has answered."""
    return Called("agent", "agent").invited().established()


def refer_to(action: str, net: str, host: int = 4, query: str = "") -> str:
    """The header that starts an action's transfer to a host of the stage."""
    return f"Refer-To: <sip:{action}@{net}.{host}:5070{query}>"


def referring(action: str, net: str, *headers: str, host: int = 4) -> Called:
    """An agent whose REFER to that action was accepted, and who has had the first NOTIFY."""
    return agent().request("REFER", refer_to(action, net, host), *headers).expect(202).answer("NOTIFY")


def target(name: str = "target") -> Called:
    """Somebody who is called and has said nothing yet."""
    return Called(name, name).invited()


def fragments(side: Sipp) -> list[str]:
    """What the NOTIFYs that came in said, in their order: `486 Busy Here`. Repetitions stand once."""
    found = {message.values("CSeq")[0]: re.findall(r"^SIP/2\.0 (.*?)\r?$", message.text, re.MULTILINE)
             for message in side.received("NOTIFY")}
    return [line for lines in found.values() for line in lines]


def identity(invite: Seen) -> tuple[str, str]:
    """Call-ID and From tag."""
    return invite.values("Call-ID")[0], invite.values("From")[0].partition(";tag=")[2]
