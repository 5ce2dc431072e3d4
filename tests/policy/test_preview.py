"""transfers.md section 4: the budget in use, as the user sees it when an action is saved and by `sipedge check`."""
import msgspec
import pytest

from proxy.config import Action
from proxy.policy.outline import outline
from proxy.policy.placement import Sent
from proxy.policy.preview import Preview, budget_preview
from proxy.policy.refusals import Refused

from .sample import PBX, REFERENCE, policy

MEDIA = '[[media]]\nname = "m"\nbind = "127.0.0.1"\nports = "16384-16483"\n'
ROUTE = '[[route]]\nto = "pbx"\ncontrol = true\nmedia = "anchor"\n'
HEADERS = [{"name": "X-A", "value": "{results.data.name}"}, {"name": "X-B", "value": "b", "priority": 5}]
WARM = {"name": "w", "mode": "warm", "upstream": "pbx"}


def edge(more: str = "", after: str = ""):
    return policy(PBX + more + MEDIA + ROUTE + after).config


def previews(base: dict, config=None, variables: dict | None = None, **more) -> list[Preview]:
    return budget_preview(config or edge(), msgspec.convert({**base, **more}, Action), variables)


def preview(base: dict, config=None, variables: dict | None = None, **more) -> Preview:
    (one,) = previews(base, config, variables, **more)
    return one


def test_the_line_that_the_user_sees():
    one = preview(WARM, headers=HEADERS)
    assert one.line == f"{one.size:,} of 1,300 bytes"
    assert (one.method, one.headers, one.fits, one.steps) == ("INVITE", ("X-B", "X-A"), True, ())
    assert one.sent == (Sent("X-B", "header"), Sent("X-A", "header"))


def test_sample_variables_count_with_their_length():
    long = preview(WARM, variables={"results": {"data": {"name": "x" * 100}}}, headers=HEADERS)
    short = preview(WARM, variables={"results": {"data": {"name": "x"}}}, headers=HEADERS)
    assert long.size - short.size == 99


def test_what_a_model_answers_counts_with_the_most_that_it_may_be():
    def size(**extractor) -> int:
        return preview(WARM, extractors=[{"header": "X-I", "prompt": "p", **extractor}]).size
    assert size(limit=50) - size(limit=20) == 30
    assert size(allowed=["one", "seven77"]) - size(allowed=["one"]) == 4
    one = preview(WARM, extractors=[{"header": "X-I", "prompt": "p", "limit": 50}])
    assert "X-I counted with all 50 bytes" in one.remarks


def test_over_budget_it_says_what_the_size_policy_would_do():
    tight = edge("mtu = 1400\n")
    one = preview(WARM, tight, headers=[*HEADERS, {"name": "X-C", "value": "c" * 400, "priority": 1}])
    assert not one.fits
    assert one.steps[0] == "compact header names"
    assert one.steps[1].startswith("dropped X-A, X-C")
    assert one.steps[-1].startswith("then ")
    assert Sent("X-C", "left out", "dropped for the size") in one.sent
    refused = preview(WARM, edge('mtu = 600\nsize_policy = ["refuse"]\n'))
    assert (refused.refused, refused.steps) == (True, ("refused",))


def test_blind_is_a_refer_and_its_fallback_an_invite():
    config = edge('refer_headers = ["refer-to"]\n')
    refer, invite = previews({**WARM, "mode": "blind"}, config, headers=HEADERS, on_failure="bridge",
                             targets=["sip:2001@127.0.0.4:5070"])
    assert (refer.method, invite.method) == ("REFER", "INVITE")
    assert refer.sent == (Sent("X-B", "refer-to"), Sent("X-A", "refer-to"))
    assert refer.size < invite.size


def test_a_tel_target_carries_no_headers_inside():
    refer, _ = previews({**WARM, "mode": "blind"}, edge('uri = "tel:{user}"\nrefer_headers = ["refer-to"]\n'),
                        headers=HEADERS, on_failure="bridge", targets=["tel:+1234567890"])
    assert {(one.where, one.why) for one in refer.sent} == {("left out", "a tel: URI has no headers")}


@pytest.mark.parametrize("target", ["sip:2001@127.0.0.4:5070", "internal-1", "tel:+1234567890", "sip:a@domain.com"])
def test_every_kind_of_target(target):
    assert preview(WARM, targets=[target]).target == target


def test_a_sample_value_that_the_action_cannot_send():
    with pytest.raises(Refused):
        preview(WARM, variables={"v": "a\nb"}, headers=[{"name": "X-A", "value": "{v}", "missing": "fail"}])


def test_steps_that_do_nothing_are_named():
    assert preview(WARM, edge('size_policy = ["codecs", "refuse"]\n')).remarks == (
        "codecs: no list, the step does nothing",)


def test_what_would_go_by_reference():
    tight = edge('mtu = 1400\nsize_policy = ["reference", "refuse"]\n', REFERENCE)
    headers = [*HEADERS, {"name": "X-C", "value": "c" * 400, "priority": 1}]
    one = preview(WARM, tight, headers=headers)
    assert one.steps[0] == "X-A, X-C by reference"
    assert one.sent == (Sent("X-Context-Ref", "header"), Sent("X-B", "header"),
                        Sent("X-C", "reference", "by the token in X-Context-Ref"),
                        Sent("X-A", "reference", "by the token in X-Context-Ref"))
    (more,) = one.steps[1:]
    with_token = preview(WARM, edge("mtu = 4000\n"), headers=[
        HEADERS[1], {"name": "X-Context-Ref", "value": "x" * 36}]).size
    assert more == f"then {with_token:,} bytes"


def test_sipedge_check_shows_each_action():
    config = edge(after='[[transfer]]\nname = "w"\nmode = "warm"\nheaders = [{name = "X-A", value = "{call_id}"}]\n'
                        '[[transfer]]\nname = "b"\nmode = "blind"\non_failure = "bridge"\n')
    shown = [str(line) for line in outline(config)]
    assert shown[1].startswith('transfer[0] INVITE of warm "w": ')
    assert " of 1,300 bytes with X-A" in shown[1]
    assert [line.partition(":")[0] for line in shown[2:]] == ['transfer[1] REFER of blind "b"',
                                                              'transfer[1] INVITE of blind "b"']
