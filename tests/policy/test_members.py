"""Which targets are tried in which order: priority, weight, consistent hash, load, and what health leaves of them."""
import zlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Health, Upstream, UpstreamTarget
from proxy.policy.members import FULL, SLOTS, Members

from .sample import policy, request

ROUTE = '[[route]]\nto = "pbx"\n'


def _call_ids() -> list[str]:
    """One Call-ID for each slot."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < SLOTS:
        found.setdefault(zlib.crc32(str(number).encode()) % SLOTS, str(number))
        number += 1
    return [found[slot] for slot in range(SLOTS)]


CALL_IDS = _call_ids()


def members(*targets: tuple[int, int], balance: Any = "weight", first: int = 0, **health) -> Members:
    """(priority, weight) of 192.0.2.0 and so on."""
    return Members(Upstream(name="u", balance=balance, health=Health(**health), targets=tuple(
        UpstreamTarget(address=f"192.0.2.{index}", priority=priority, weight=weight)
        for index, (priority, weight) in enumerate(targets, first))))


def orders(of: Members) -> list[tuple[int, ...]]:
    """The last number of each address, by slot."""
    return [tuple(int(address.host.rpartition(".")[2]) for address in of.order(call_id).addresses)
            for call_id in CALL_IDS]


def firsts(of: Members) -> Counter[int]:
    return Counter(order[0] for order in orders(of))


def test_lower_priority_first_in_every_order():
    for order in orders(members((2, 1), (1, 5), (1, 5), (0, 1))):
        assert order[0] == 3
        assert set(order[1:3]) == {1, 2}
        assert order[3] == 0


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (100, 50, 50), (1, 2, 3, 4), (7, 0, 7), (1000, 1)])
def test_weights_are_the_shares_of_the_calls(weights):
    of = members(*((0, weight) for weight in weights))
    counted = firsts(of)
    for index, weight in enumerate(weights):
        assert abs(counted[index] - SLOTS * weight / sum(weights)) <= 1
    assert all(sorted(order) == list(range(len(weights))) for order in orders(of))


def test_the_calls_of_a_failed_target_spread_by_weight():
    seconds = Counter(order[1] for order in orders(members((0, 60), (0, 30), (0, 10))) if order[0] == 0)
    assert 0.6 < seconds[1] / sum(seconds.values()) < 0.9


@pytest.mark.parametrize("balance", ["weight", "call-id"])
def test_weight_zero_comes_last(balance):
    assert all(order[-1] == 0 for order in orders(members((0, 0), (0, 1), (0, 5), balance=balance)))


@pytest.mark.parametrize("balance", ["weight", "call-id", "least-load"])
def test_a_target_without_a_share_is_skipped(balance):
    of = members((0, 1), (0, 1), (0, 1), (1, 1), balance=balance)
    of.follow([FULL, 0, FULL, FULL])
    assert {tuple(sorted(order[:2])) for order in orders(of)} == {(0, 2)}
    assert {order[2:] for order in orders(of)} == {(3,)}


def test_the_next_priority_takes_over_where_one_is_down_as_a_whole():
    of = members((0, 1), (0, 1), (1, 1))
    of.follow([0, 0, FULL])
    assert of.fixed is not None
    assert orders(of)[0] == (2,)


@pytest.mark.parametrize("balance", ["weight", "call-id", "least-load"])
def test_where_all_are_down_all_are_tried_but_those_that_drain(balance):
    of = members((0, 3), (0, 1), (1, 1), balance=balance)
    of.follow([0, 0, None])
    assert {tuple(sorted(order)) for order in orders(of)} == {(0, 1)}
    of.follow([None, None, None])
    assert set(orders(of)) == {()}


def test_or_none_where_that_is_configured():
    of = members((0, 1), (0, 1), all_down=False)
    of.follow([0, 0])
    assert set(orders(of)) == {()}


@pytest.mark.parametrize("balance", ["weight", "call-id"])
def test_a_smaller_share_is_a_smaller_weight(balance):
    of = members((0, 100), (0, 100), balance=balance)
    of.follow([FULL, 100])
    assert abs(firsts(of)[1] / SLOTS - 1 / 11) < 0.03


@given(weights=st.lists(st.integers(1, 5), min_size=2, max_size=8), gone=st.integers(0, 7))
def test_a_target_that_leaves_moves_its_own_calls_alone(weights, gone):
    gone %= len(weights)
    with_it = members(*((0, weight) for weight in weights), balance="call-id")
    before = orders(with_it)
    shares = [FULL] * len(weights)
    shares[gone] = 0
    with_it.follow(shares)
    after = orders(with_it)
    # Every order is what it was, without the one that left: the calls of the others stay where they are.
    assert after == [tuple(index for index in order if index != gone) for order in before]


def test_a_target_that_comes_takes_its_share_from_all_and_moves_nothing_else():
    before = firsts_by_slot(members(*[(0, 1)] * 4, balance="call-id", first=0))
    after = firsts_by_slot(members(*[(0, 1)] * 5, balance="call-id", first=0))
    moved = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert {other for _, other in moved} == {4}
    assert abs(len(moved) / SLOTS - 1 / 5) < 0.05


def firsts_by_slot(of: Members) -> list[int]:
    return [order[0] for order in orders(of)]


def test_by_weight_the_shares_are_exact_and_by_call_id_near():
    assert all(count == SLOTS // 4 for count in firsts(members(*[(0, 1)] * 4)).values())
    assert all(abs(count - SLOTS / 4) < 60 for count in firsts(members(*[(0, 1)] * 4, balance="call-id")).values())


def test_the_least_loaded_for_its_weight_comes_first():
    of = members((0, 100), (0, 200), (0, 100), (1, 1), (1, 1), balance="least-load")
    loads = [0, 0, 0, 5, 0]
    of.loads = lambda: loads
    assert set(firsts(of)) == {1}
    assert {order[3] for order in orders(of)} == {4}
    loads[1] = 2
    assert set(firsts(of)) == {0, 2}        # equals take turns
    loads[2] = 1
    assert set(firsts(of)) == {0}
    of.follow([FULL // 10, FULL, FULL, FULL, FULL])
    assert set(firsts(of)) == {1}


def test_loads_even_out():
    of = members((0, 100), (0, 300), balance="least-load")
    loads = [0, 0]
    of.loads = lambda: loads
    for call_id in CALL_IDS[:400]:
        loads[int(of.order(call_id).addresses[0].host[-1])] += 1
    assert abs(loads[1] - 3 * loads[0]) <= 4


def test_a_kept_uri_has_a_verdict_for_each_order_which_health_brings_back():
    edge = policy('[[upstream]]\nname = "pbx"\nuri = ""\ntargets = [{address = "192.0.2.1"}, {address = "192.0.2.2"}]\n'
                  + ROUTE)
    first = edge.decide(request(call_id="a"))
    assert edge.decide(request(call_id="a", uri="sip:other@h")) is first
    assert first.scope == 0
    assert first.targets[0].uri == b""
    found = edge.peers["pbx"].members
    found.follow([0, FULL])
    alone = edge.decide(request(call_id="a"))
    assert [target.host for target in alone.targets] == ["192.0.2.2"]
    assert alone.scope == 1                 # it stands for every call until health says otherwise
    found.follow([FULL, FULL])
    assert edge.decide(request(call_id="a")) is first


def test_no_target_that_may_be_tried_is_503():
    edge = policy('[[upstream]]\nname = "pbx"\ntargets = [{address = "192.0.2.1"}]\nhealth = {all_down = false}\n'
                  + ROUTE)
    edge.peers["pbx"].members.follow([0])
    verdict = edge.decide(request())
    assert (verdict.action, verdict.status) == (verdict.REJECT, 503)
    assert "no target is up" in verdict.note


@pytest.mark.parametrize("text", ['health = {alive = ["2xx"]}', 'health = {down_after = 0}', 'health = {slow = 1}',
                                  'balance = "random"', 'health = {degraded_weight = 1.5}'])
def test_what_is_no_such_setting_is_refused(text):
    with pytest.raises(Exception, match=r"upstream\[0\]"):
        policy(f'[[upstream]]\nname = "pbx"\ntargets = [{{address = "192.0.2.1"}}]\n{text}\n' + ROUTE)
