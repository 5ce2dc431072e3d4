"""transfers.md section 4: the budget, and each step of the size policy."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.engine import Policy
from proxy.policy.fragmentation import Budget
from proxy.policy.references import NOBODY, Keeper
from sipcore.stack.verdict import Request, Verdict
from sipcore.wire.sdp import Sdp

from .sample import AGENTS, REFERENCE, SDP, Shelf, header_set, policy, refer, request

SET = header_set('name = "X-Low", value = "' + "l" * 100 + '"', 'name = "X-High", value = "' + "h" * 100
                 + '", priority = 9', 'name = "X-Mid", value = "' + "m" * 100 + '", priority = 5')
VALUES = {"X-High": 100 * "h", "X-Mid": 100 * "m", "X-Low": 100 * "l"}
PADDING = "User-Agent: " + "u" * 200
BIG = tuple(f"Extra-{number}: {'e' * 90}" for number in range(12))


def edge(steps: str, budget: int, more: str = "", keeper: Keeper = NOBODY) -> Policy:
    return policy(f'[[upstream]]\nname = "pbx"\ntargets = [{{address = "127.0.0.4:5070"}}]\nmtu = {budget + 200}\n'
                  f'size_policy = {steps}\n{more}' + SET + '[[route]]\nto = "pbx"\nheaders = ["set"]\n' + REFERENCE,
                  keeper=keeper)


def walk(steps: str, message: Request, *, over: int, more: str = "",
         keeper: Keeper = NOBODY) -> tuple[Verdict, int, Policy]:
    """The verdict for a request that is so many bytes over the budget, its size, and the policy."""
    size = _size(edge(steps, 4000, more), message)
    tight = edge(steps, size - over, more, keeper)
    verdict = tight.oversize(message, tight.decide(message), size)
    return verdict, message.size_with(verdict) if verdict.action == Verdict.FORWARD else 0, tight


def _size(policy: Policy, message: Request) -> int:
    return message.size_with(policy.decide(message))


class TestBudget:
    @pytest.mark.parametrize(("mtu", "path", "limit"), [
        (0, 0, 1300), (1500, 0, 1300), (1400, 0, 1200), (9000, 0, 8800), (1500, 1400, 1200), (1400, 1500, 1200),
        (0, 1280, 1080),
    ])
    def test_200_below_the_lower_mtu_and_1300_where_none_is_known(self, mtu, path, limit):
        assert Budget(mtu, path).limit == limit

    @pytest.mark.parametrize(("mtu", "ipv6", "last_whole"), [(1500, False, 1472), (1500, True, 1452), (0, False, 1472),
                                                             (1280, False, 1252), (1280, True, 1232)])
    def test_packets_fragment_above_the_mtu_less_ip_and_udp_headers(self, mtu, ipv6, last_whole):
        assert not Budget(mtu).fragments(last_whole, ipv6)
        assert Budget(mtu).fragments(last_whole + 1, ipv6)

    def test_the_line_that_users_see(self):
        assert Budget(0).line(1342) == "1,342 of 1,300 bytes"

    def test_it_stands_in_every_verdict(self):
        assert edge('["refuse"]', 1234).decide(request()).budget == 1234


def test_compact_alone_is_enough():
    verdict, size, policy = walk('["compact", "drop", "refuse"]', request(), over=10)
    assert verdict.compact
    assert verdict.insert.count(b"\r\n") == 3
    assert verdict.note.startswith(f"size {policy.peers['pbx'].budget.limit + 10:,} of ")
    assert verdict.note.endswith(f"bytes (pbx): compact header names; now {size:,}")
    assert (verdict.warn, dict(policy.counters)) == ("", {"size.over": 1, "size.compact": 1})


@pytest.mark.parametrize(("over", "left"), [(1, [b"X-High", b"X-Mid"]), (100, [b"X-High", b"X-Mid"]),
                                            (150, [b"X-High"]), (300, [])])
def test_drop_takes_the_lowest_priority_first(over, left):
    verdict, size, policy = walk('["drop", "refuse"]', request(), over=over)
    assert [line.split(b":")[0] for line in verdict.insert.splitlines()] == left
    assert size <= policy.peers["pbx"].budget.limit
    assert policy.counters["size.drop"] == 3 - len(left)
    assert "dropped X-Low" in verdict.note


def test_dropped_headers_are_named_in_the_order_they_went():
    verdict, _, _ = walk('["drop", "refuse"]', request(), over=150)
    assert ": dropped X-Low, X-Mid; now" in verdict.note


def test_a_received_header_of_a_dropped_one_s_name_does_not_come_back():
    verdict, _, _ = walk('["drop", "refuse"]', request("INVITE", "sip:1@h", "X-Low: forged"), over=1)
    assert "X-Low" in verdict.remove


def test_codecs_keeps_the_listed_ones_and_telephone_events():
    verdict, size, policy = walk('["codecs", "refuse"]', request(body=SDP), over=20, more='codecs = ["pcma"]\n')
    assert verdict.body is not None
    (media,) = Sdp(verdict.body).media
    assert media.formats == ("8", "101")
    assert b"opus" not in verdict.body
    assert size <= policy.peers["pbx"].budget.limit
    assert ": kept only codecs pcma; now" in verdict.note
    assert policy.counters["size.codecs"] == 1


@pytest.mark.parametrize("message", [
    request(), request("INVITE", "sip:1@h", "Content-Encoding: gzip", body=SDP), request(body="no SDP at all\n"),
    request(body=SDP.replace("AVP 0 8 96 101", "AVP 0").partition("a=")[0]),
])
def test_codecs_leaves_what_it_cannot_shorten(message):
    verdict, _, _ = walk('["codecs", "fragment"]', message, over=20, more='codecs = ["PCMU"]\n')
    assert verdict.body is None
    assert "codecs" not in verdict.note


def test_by_tcp_where_a_listener_is_and_what_follows_where_no_connection_comes_about():
    listener = '[[listener]]\nname = "tcp"\nbind = "tcp:127.0.0.1:5060"\n'
    verdict, _, _ = walk('["tcp", "compact", "refuse"]', request(), over=10, more=listener)
    assert verdict.tcp
    assert not verdict.compact
    assert ": by TCP; now" in verdict.note
    assert verdict.fallback is not None
    assert verdict.fallback.compact
    assert not verdict.fallback.tcp
    assert ": tcp (the connection failed), compact header names; now" in verdict.fallback.note
    verdict, _, _ = walk('["tcp", "compact", "refuse"]', request(), over=10)
    assert not verdict.tcp
    assert ": tcp (no listener is bound to tcp), compact header names; now" in verdict.note


def test_refuse_is_513():
    verdict, _, policy = walk('["compact", "drop", "refuse"]', request("INVITE", "sip:1@h", *BIG), over=900)
    assert (verdict.action, verdict.status, verdict.reason) == (Verdict.REJECT, 513, "Message Too Large")
    assert "compact header names, dropped X-Low, X-Mid, X-High, refused" in verdict.note
    assert policy.counters["size.refuse"] == 1


def test_fragment_sends_with_a_warning():
    verdict, size, policy = walk('["fragment"]', request("INVITE", "sip:1@h", *BIG), over=500)
    assert verdict.action == Verdict.FORWARD
    assert verdict.warn == (f"size {size:,} of {size - 500:,} bytes (pbx): sent in fragments; now {size:,}")
    assert policy.counters["size.fragment"] == 1


def test_fragment_within_one_packet_says_so():
    """Over the budget of M - 200, but under M - 28."""
    verdict, _, policy = walk('["fragment"]', request(), over=100)
    assert "sent over budget, in one packet" in verdict.warn
    assert (policy.counters["size.fragment"], policy.counters["size.sent_over"]) == (0, 1)


def test_the_steps_run_in_the_order_given():
    first, _, _ = walk('["drop", "compact", "refuse"]', request(), over=10)
    assert not first.compact
    assert first.insert.count(b"\r\n") == 2


def test_a_verdict_that_fits_is_not_asked_about_again():
    verdict, size, _ = walk('["drop", "refuse"]', request(), over=10)
    assert size <= verdict.budget
    sent, _, _ = walk('["fragment"]', request(), over=10)
    assert sent.budget == 0


def test_room_for_a_digest_answer_stays_reserved():
    message = request()
    size = _size(edge('["drop", "refuse"]', 4000), message)
    tight = edge('["drop", "refuse"]', size)
    verdict = tight.oversize(message, tight.decide(message), size + 150)
    assert verdict.insert.count(b"\r\n") == 1
    assert message.size_with(verdict) + 150 <= size


def test_a_lower_path_mtu_counts():
    message = request()
    wide = edge('["drop", "refuse"]', 4000)
    size = _size(wide, message)
    verdict = wide.oversize(message, wide.decide(message), size, path_mtu=size + 190)
    assert verdict.insert.count(b"\r\n") == 2


def test_a_refer_loses_its_headers_everywhere_at_once():
    text = ('[[upstream]]\nname = "pbx"\ntargets = [{address = "127.0.0.4"}]\nmtu = 1500\n'
            'refer_headers = ["header", "refer-to"]\nsize_policy = ["drop", "refuse"]\n' + SET
            + '[[refer]]\nheaders = ["set"]\nupstream = "pbx"\n')
    roomy, message = policy(text), refer("<sip:2001@h>", group=AGENTS)
    size = _size(roomy, message)
    tight = policy(text.replace("mtu = 1500", f"mtu = {size + 190}"))
    verdict = tight.oversize(message, tight.decide(message), size)
    assert b"X-Low" not in verdict.insert
    assert b"X-Low" not in verdict.replace[0][1]
    assert b"X-Mid" in verdict.replace[0][1]


def test_a_request_inside_a_dialog_is_checked_too():
    text = ('[[upstream]]\nname = "request-uri"\nmtu = 700\ncodecs = ["PCMA"]\nsize_policy = ["codecs", "refuse"]\n'
            '[[route]]\nto = "request-uri"\n')
    edge, message = policy(text), request("INVITE", "sip:ann@192.0.2.1", in_dialog=True, body=SDP)
    verdict = edge.decide(message)
    assert verdict.budget == 500
    fitted = edge.oversize(message, verdict, message.size_with(verdict))
    assert fitted.status == 513 or fitted.body is not None


@given(st.permutations(["compact", "drop", "codecs", "tcp", "reference"]), st.integers(1, 500), st.booleans(),
       st.booleans())
def test_whatever_the_policy_the_result_fits_or_says_why_not(steps, over, refuse, kept):
    steps = [*steps, "refuse" if refuse else "fragment"]
    message = request("INVITE", "sip:1@h", PADDING, body=SDP)
    shelf = Shelf("" if kept else "full")
    verdict, size, policy = walk(str(steps).replace("'", '"'), message, over=over, more='codecs = ["PCMA"]\n',
                                 keeper=shelf)
    assert verdict.note
    if verdict.action == Verdict.REJECT:
        assert refuse
        assert verdict.status == 513
    elif size > policy.peers["pbx"].budget.limit:
        assert not refuse
        assert verdict.warn
    if verdict.action == Verdict.FORWARD:
        tokens = [line.partition(b": ")[2].decode() for line in verdict.insert.splitlines() if line[:9] == b"X-Context"]
        assert tokens == list(shelf.kept)
        lost = {name: text for name, text in VALUES.items() if f"{name}: ".encode() not in verdict.insert}
        # Where `reference` is in the policy, nothing is dropped for good unless a token does not fit either.
        assert not lost or tokens or "reference (" in verdict.note


def test_inside_a_dialog_the_budget_is_that_of_the_upstream_that_the_uri_names():
    text = ('[[upstream]]\nname = "narrow"\ntargets = [{address = "127.0.0.4:5070"}]\nmtu = 900\n'
            'size_policy = ["refuse"]\n[[upstream]]\nname = "wide"\ntargets = [{address = "127.0.0.5"}]\nmtu = 4000\n')
    edge = policy(text)
    assert edge.dialog_budget == 700
    found = {}
    for uri in ("sip:bob@127.0.0.4:5070", "sip:bob@127.0.0.5", "sip:ann@192.0.2.1"):
        message = request("INVITE", uri, in_dialog=True, body=SDP)
        verdict = edge.decide(message)
        assert verdict.action == Verdict.FORWARD
        found[uri] = (verdict.budget, edge.oversize(message, verdict, 5000).status)
    assert found == {"sip:bob@127.0.0.4:5070": (700, 513), "sip:bob@127.0.0.5": (3800, 0),
                     "sip:ann@192.0.2.1": (1300, 0)}
