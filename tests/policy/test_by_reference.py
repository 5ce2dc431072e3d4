"""The step `reference` (transfers.md section 4): one header with a token in place of others, its size exactly
known."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import ConfigError
from proxy.policy.engine import Policy
from proxy.policy.references import LENGTH
from sipcore.stack.verdict import Verdict

from .sample import AGENTS, REFERENCE, SDP, Shelf, header_set, policy, refer, request
from .test_fragmentation import BIG, SET, VALUES, edge, walk

LINE = len("X-Context-Ref: ") + LENGTH + 2
"""Bytes of the header."""
TCP = '[[listener]]\nname = "tcp"\nbind = "tcp:127.0.0.1:5060"\n'


def blind(mtu: int, more: str, last: str = "refuse") -> str:
    return (f'[[upstream]]\nname = "pbx"\ntargets = [{{address = "127.0.0.4"}}]\nmtu = {mtu}\n{more}'
            f'size_policy = ["reference", "{last}"]\n{SET}[[refer]]\nheaders = ["set"]\nupstream = "pbx"\n{REFERENCE}')


def names(verdict: Verdict) -> list[str]:
    return [line.split(b":")[0].decode() for line in verdict.insert.splitlines()]


@pytest.mark.parametrize(("over", "left"), [
    (1, ["X-High", "X-Mid"]), (109 - LINE, ["X-High", "X-Mid"]), (110 - LINE, ["X-High"]),
    (218 - LINE, ["X-High"]), (219 - LINE, []), (328 - LINE, [])])
def test_as_many_headers_as_it_takes_go_by_one_token(over, left):
    """They have 109 bytes, the highest 110."""
    shelf = Shelf()
    verdict, size, policy = walk('["reference", "refuse"]', request(), over=over, keeper=shelf)
    assert names(verdict) == ["X-Context-Ref", *left]
    assert size <= policy.peers["pbx"].budget.limit
    ((token, kept),) = shelf.kept.items()
    assert verdict.insert.splitlines()[0] == f"X-Context-Ref: {token}".encode()
    # All of them: what is asked for in one place needs no look at another.
    assert kept == VALUES
    assert policy.counters == {"size.over": 1, "size.reference": 1}
    assert f"{', '.join(['X-Low', 'X-Mid', 'X-High'][:3 - len(left)])} by reference; now {size:,}" in verdict.note
    assert token not in verdict.note


def test_what_fits_costs_nothing_and_keeps_nothing():
    shelf = Shelf()
    policy = edge('["compact", "reference", "refuse"]', 4000, 'uri = ""\n', keeper=shelf)
    plain = edge('["compact", "refuse"]', 4000, 'uri = ""\n')
    for call_id in ("a", "b"):
        verdict = policy.decide(request(call_id=call_id))
        without = plain.decide(request(call_id=call_id))
        assert (verdict.insert, verdict.remove) == (without.insert, without.remove)
    # The very same object for each call: nothing is computed for any of them.
    assert policy.decide(request()) is policy.decide(request())
    assert (shelf.made, policy.counters) == ([], {})


def test_steps_before_it_that_are_enough_leave_it_alone():
    shelf = Shelf()
    verdict, _, _ = walk('["compact", "reference", "refuse"]', request(), over=10, keeper=shelf)
    assert (verdict.compact, names(verdict), shelf.made) == (True, ["X-High", "X-Mid", "X-Low"], [])


def test_each_request_for_itself():
    shelf = Shelf()
    size = request().size_with(edge('["reference", "refuse"]', 4000).decide(request()))
    tight = edge('["reference", "refuse"]', size - 1, keeper=shelf)
    first, second = (tight.oversize(request(), tight.decide(request()), size) for _ in range(2))
    assert first.insert != second.insert
    assert len(shelf.kept) == 2
    assert names(tight.decide(request())) == ["X-High", "X-Mid", "X-Low"]


@pytest.mark.parametrize("steps", ['["drop", "reference", "refuse"]', '["reference", "drop", "refuse"]'])
def test_what_drop_has_taken_away_goes_by_reference_where_a_token_has_room(steps):
    shelf = Shelf()
    verdict, size, policy = walk(steps, request(), over=20, keeper=shelf)
    assert names(verdict) == ["X-Context-Ref", "X-High", "X-Mid"]
    assert size <= policy.peers["pbx"].budget.limit
    # What drop left has no room for a token: one more goes.
    verdict, size, policy = walk(steps, request(), over=100, keeper=shelf)
    assert names(verdict) == ["X-Context-Ref", "X-High"]
    assert size <= policy.peers["pbx"].budget.limit


def test_where_all_is_dropped_and_it_still_is_too_big_a_token_would_make_it_bigger():
    verdict, _, policy = walk('["drop", "reference", "fragment"]', request("INVITE", "sip:1@h", *BIG), over=900,
                              keeper=Shelf())
    assert names(verdict) == []
    assert "dropped X-Low, X-Mid, X-High, reference (it has no room), sent in fragments" in verdict.note
    assert policy.counters["size.reference_failed"] == 1


def test_where_it_is_not_enough_the_next_steps_go_on_from_there():
    shelf = Shelf()
    verdict, size, policy = walk('["reference", "codecs", "refuse"]', request(body=SDP), over=340 - LINE, keeper=shelf,
                                 more='codecs = ["PCMA"]\n')
    assert names(verdict) == ["X-Context-Ref"]
    assert verdict.body is not None
    assert size <= policy.peers["pbx"].budget.limit
    assert list(shelf.kept.values()) == [VALUES]


def test_headers_shorter_than_the_token_stay():
    short = header_set('name = "X-A", value = "a"')
    text = ('[[upstream]]\nname = "pbx"\ntargets = [{address = "127.0.0.4"}]\nmtu = %d\n'
            'size_policy = ["reference", "fragment"]\n[[route]]\nto = "pbx"\nheaders = ["set"]\n' + short + REFERENCE)
    size = request().size_with(policy(text % 4000).decide(request()))
    shelf = Shelf()
    tight = policy(text % (size + 199), keeper=shelf)
    verdict = tight.oversize(request(), tight.decide(request()), size)
    assert (names(verdict), shelf.kept) == (["X-A"], {})
    assert ": reference (it has no room), sent over budget, in one packet; now " in verdict.note


def test_a_request_without_set_headers_has_nothing_to_refer_to():
    shelf = Shelf()
    text = ('[[upstream]]\nname = "pbx"\ntargets = [{address = "127.0.0.4"}]\nmtu = 300\n'
            'size_policy = ["reference", "fragment"]\n[[route]]\nto = "pbx"\n' + REFERENCE)
    tight = policy(text, keeper=shelf)
    verdict = tight.oversize(request(), tight.decide(request()), 1000)
    assert (verdict.insert, shelf.made) == (b"", [])
    assert "reference" not in verdict.note


@pytest.mark.parametrize("full", ["the services process does not take it"])
def test_where_nothing_can_be_kept_no_token_is_sent_and_the_next_step_is_taken(full):
    shelf = Shelf(full)
    verdict, size, policy = walk('["reference", "drop", "refuse"]', request(), over=10, keeper=shelf)
    assert names(verdict) == ["X-High", "X-Mid"]
    assert f": reference ({full}), dropped X-Low; now {size:,}" in verdict.note
    assert policy.counters == {"size.over": 1, "size.reference_failed": 1, "size.drop": 1}


def test_without_anybody_to_keep_it_too():
    verdict, _, _ = walk('["reference", "drop", "refuse"]', request(), over=10)
    assert ": reference (nothing is kept here), dropped X-Low; now" in verdict.note


def test_by_tcp_all_that_was_dropped_before_goes_by_reference():
    shelf = Shelf()
    verdict, _, _ = walk('["drop", "tcp", "reference", "refuse"]', request("INVITE", "sip:1@h", *BIG), over=900,
                         more=TCP, keeper=shelf)
    assert verdict.tcp
    assert names(verdict) == ["X-Context-Ref"]
    assert verdict.fallback is not None
    assert verdict.fallback.status == 513
    verdict, _, _ = walk('["tcp", "reference", "refuse"]', request(), over=10, more=TCP, keeper=shelf)
    assert names(verdict) == ["X-High", "X-Mid", "X-Low"]
    assert verdict.fallback is not None
    assert names(verdict.fallback) == ["X-Context-Ref", "X-High", "X-Mid"]


def test_a_received_header_of_that_name_passes_unless_ours_takes_its_place():
    message = request("INVITE", "sip:1@h", "x-context-ref: of another edge")
    verdict, size, _ = walk('["reference", "refuse"]', message, over=10, keeper=Shelf())
    assert "X-Context-Ref" in verdict.remove
    assert "X-Context-Ref" not in edge('["reference", "refuse"]', 4000).decide(message).remove
    # The one that goes makes room, and counts.
    assert size == request("INVITE", "sip:1@h").size_with(verdict)


@pytest.mark.parametrize(("more", "places"), [
    ('refer_headers = ["header"]\n', {"header"}), ('refer_headers = ["refer-to"]\n', {"refer-to"}),
    ('refer_headers = ["header", "refer-to"]\n', {"header", "refer-to"})], ids=["header", "refer-to", "both"])
def test_on_a_refer_it_goes_where_the_headers_went(more, places):
    shelf, message = Shelf(), refer("<sip:2001@h>", group=AGENTS)
    roomy = policy(blind(4000, more))
    size = message.size_with(roomy.decide(message))
    tight = policy(blind(size + 190, more), keeper=shelf)
    verdict = tight.oversize(message, tight.decide(message), size)
    (token,) = shelf.kept
    value = verdict.replace[0][1].decode() if verdict.replace else ""
    assert (f"X-Context-Ref: {token}\r\n".encode() in verdict.insert) == ("header" in places)
    assert (f"?X-Context-Ref={token}&X-High=" in value) == ("refer-to" in places)
    assert b"X-Low" not in verdict.insert
    assert "X-Low" not in value
    assert message.size_with(verdict) <= size - 10


@pytest.mark.parametrize(("packing", "packed"), [
    ("pairs", "X-Context-Ref={}"), ("json", '{{"X-Context-Ref":"{}"'), ("value", "{}")],
    ids=["pairs", "json", "value"])
def test_packed_into_user_to_user_it_comes_first(packing, packed):
    shelf, message = Shelf(), refer("<sip:2001@h>", group=AGENTS)
    more = (f'refer_headers = ["user-to-user"]\nuser_to_user = {{where = ["header"], packing = "{packing}", '
            'limit = 330}\n')
    size = message.size_with(policy(blind(4000, more)).decide(message))
    tight = policy(blind(size + 90, more), keeper=shelf)
    verdict = tight.oversize(message, tight.decide(message), size)
    (token,) = shelf.kept
    value = verdict.insert.decode().removeprefix("User-to-User: ").partition(";")[0]
    assert bytes.fromhex(value).decode().startswith(packed.format(token))
    assert shelf.kept[token] == VALUES


def test_inside_refer_to_it_takes_the_place_of_a_received_one():
    shelf, message = Shelf(), refer("<sip:2001@h?X-Context-Ref=no&Subject=a&x%2Dcontext-ref=no>", group=AGENTS)
    tight = policy(blind(600, 'refer_headers = ["refer-to"]\n', "fragment"), keeper=shelf)
    assert tight.decide(message).replace[0][1].startswith(b"<sip:2001@h?X-Context-Ref=no&Subject=a&x%2Dcontext-ref=no&")
    ((_, value),) = tight.oversize(message, tight.decide(message), 1000).replace
    (token,) = shelf.kept
    assert value.decode() == f"<sip:2001@h?Subject=a&X-Context-Ref={token}>"


def test_a_refer_with_replaces_has_no_place_for_it():
    shelf, message = Shelf(), refer("<sip:2001@h?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>", group=AGENTS)
    tight = policy(blind(600, 'refer_headers = ["refer-to"]\n', "fragment"), keeper=shelf)
    verdict = tight.oversize(message, tight.decide(message), 1000)
    assert (verdict.insert, verdict.replace, shelf.kept) == (b"", (), {})
    assert "reference (it has no room)" in verdict.note


@given(st.lists(st.integers(0, 200), min_size=1, max_size=8), st.integers(1, 1200),
       st.sampled_from(['["reference", "fragment"]', '["drop", "reference", "fragment"]',
                        '["compact", "reference", "drop", "fragment"]']))
def test_it_never_makes_a_request_bigger_and_its_size_is_exact(lengths, over, steps):
    headers = header_set(*(f'name = "X-{index}", value = "{"v" * length}", priority = {index % 3}'
                           for index, length in enumerate(lengths)))
    text = ('[[upstream]]\nname = "pbx"\ntargets = [{address = "127.0.0.4"}]\nmtu = %d\n' f'size_policy = {steps}\n'
            + headers + '[[route]]\nto = "pbx"\nheaders = ["set"]\n' + REFERENCE)
    size = request().size_with(policy(text % 65535).decide(request()))
    over = min(over, size - 1)
    shelf = Shelf()
    tight: Policy = policy(text % (size - over + 200), keeper=shelf)
    verdict = tight.oversize(request(), tight.decide(request()), size)
    now = request().size_with(verdict)
    assert now <= size
    assert f"; now {now:,}" in verdict.note
    assert len(shelf.kept) == verdict.insert.count(b"X-Context-Ref: ") <= 1
    assert now <= size - over or verdict.warn


# --- what may be configured


def faults(text: str) -> list[str]:
    """The problems, without file and line."""
    with pytest.raises(ConfigError) as found:
        policy(text)
    return [line.partition(": ")[2].partition(": ")[0] for line in str(found.value).splitlines()]


PBX = '[[upstream]]\nname = "pbx"\ntargets = [{address = "127.0.0.4"}]\nsize_policy = ["reference", "refuse"]\n'
UUI = 'invite_headers = ["user-to-user"]\n'


@pytest.mark.parametrize(("text", "path"), [
    (PBX + '[api]\nbind = "127.0.0.1:1"\n', "upstream[0].size_policy[0]"),
    (PBX + '[reference]\nkey_file = "keys"\n', "upstream[0].size_policy[0]"),
    (PBX + 'reference_header = "Context"\n' + REFERENCE, "upstream[0].reference_header"),
    (PBX + 'reference_header = "X-Internal-Ref"\n' + REFERENCE, "upstream[0].reference_header"),
    (PBX + 'reference_header = "x-A"\n'.replace("x", "X") + header_set('name = "X-a", value = "1"') + REFERENCE,
     "upstream[0].reference_header"),
    (PBX + UUI + 'user_to_user = {names = ["X-A"]}\n' + REFERENCE, "upstream[0].user_to_user.names"),
    (PBX + UUI + "user_to_user = {limit = 49}\n" + REFERENCE, "upstream[0].user_to_user.limit"),
    ('[reference]\nkey_file = "a"\nkey_env = "B"\n', "reference.key_env"),
    ('[reference]\ntoken_file = "a"\n', "reference.token_file"),
    ('[reference]\nopen_to = ["::1"]\n', "reference.open_to"),
    ('[reference]\nopen_to = ["pbx.example"]\n[api]\ntoken_env = "T"\n', "reference.open_to[0]"),
])
def test_what_is_wrong_is_named(text, path):
    assert faults(text) == [path]


def test_what_a_transfer_action_may_not_set():
    action = ('[[route]]\nto = "pbx"\ncontrol = true\n[[transfer]]\nname = "b"\nmode = "blind"\n'
              'headers = [{name = "x-Context-Ref", value = "1"}]\n').replace("x-C", "X-C")
    assert faults(PBX + action + REFERENCE) == ["transfer[0].headers[0].name"]
    policy(PBX.replace('"reference", ', "") + action)


@pytest.mark.parametrize("more", ["", UUI + "user_to_user = {limit = 50}\n",
                                  UUI + 'user_to_user = {names = ["X-A", "x-context-ref"]}\n'.replace("x-c", "X-C")])
def test_what_is_good(more):
    policy(PBX + more + REFERENCE)
