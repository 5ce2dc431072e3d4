"""What the stack counts and tells of configured targets, and the retry budget of their upstreams."""
import pytest

from sipcore.stack.targettable import TargetTable
from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import Bench

HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")


class Scene:
    def __init__(self, count=2, **fields):
        targets = tuple(Target(host, 5060) for host in HOSTS[:count])
        self.bench = Bench(Verdict(targets=targets, upstream=0, **fields))
        self.table = self.bench.proxy.targets
        self.numbers = self.table.use(targets)
        self.told: list[tuple[int, int]] = []
        self.table.told = lambda *what: self.told.append(what[:2])
        self.alice = self.bench.phone("alice", "127.0.0.2")
        self.pbx = [self.bench.phone(f"pbx{i}", host) for i, host in enumerate(HOSTS[:count])]

    def invite(self):
        self.alice.request("INVITE", "sip:7@example.com")
        self.bench.run()

    def calls(self):
        return [self.table.calls(number) for number in self.numbers]


def test_a_call_counts_at_its_target_until_it_ends():
    scene = Scene(count=1)
    invite = scene.alice.request("INVITE", "sip:7@example.com")
    scene.bench.run()
    assert (scene.calls(), scene.table.begun(scene.numbers[0])) == ([1], 1)
    scene.pbx[0].answer(scene.pbx[0].take("INVITE"), 486)
    scene.bench.run()
    scene.alice.ack(invite, scene.alice.take("100", "486"))
    assert scene.calls() == [0]
    scene.bench.empty()


def test_it_moves_along_with_failover_and_back_with_a_late_answer():
    scene = Scene(try_timeout=1_000)
    scene.invite()
    assert scene.calls() == [1, 0]
    scene.bench.run(1_000)
    assert scene.calls() == [0, 1]
    scene.pbx[0].answer(scene.pbx[0].received()[0], 200)
    scene.bench.run()
    assert scene.calls() == [1, 0]


def test_failures_are_told_and_answers_of_good_targets_are_not():
    scene = Scene(try_timeout=1_000)
    one, two = scene.numbers
    scene.invite()
    scene.pbx[0].answer(scene.pbx[0].take("INVITE"), 100)
    scene.bench.run()
    assert scene.told == []
    scene.invite()
    scene.bench.run(1_000)
    assert scene.told == [(one, 0)]
    scene.pbx[1].answer(scene.pbx[1].received()[0], 503)
    scene.bench.run()
    assert scene.told == [(one, 0), (two, 503)]


def test_answers_of_suspect_ones_are_told_once_for_each_request():
    scene = Scene(count=1)
    (one,) = scene.numbers
    scene.table.suspect(one, True)
    assert scene.table.suspects == 1
    scene.invite()
    invite = scene.pbx[0].take("INVITE")
    for status in (100, 180, 486):
        scene.pbx[0].answer(invite, status)
        scene.bench.run()
    assert scene.told == [(one, 100)]
    scene.table.suspect(one, False)
    scene.invite()
    scene.pbx[0].answer(scene.pbx[0].received()[-1], 486)
    scene.bench.run()
    assert len(scene.told) == 1


def test_an_unreachable_target_is_told_as_one():
    scene = Scene()
    scene.invite()
    first = scene.pbx[0].take("INVITE")
    scene.bench.proxy.unreachable(first.data, scene.bench.link.now)
    scene.bench.run()
    assert scene.told == [(scene.numbers[0], -1)]
    assert scene.pbx[1].names() == ["INVITE"]


def test_what_comes_of_requests_inside_a_dialog_says_nothing():
    scene = Scene(count=1)
    scene.alice.request("INVITE", "sip:7@example.com")
    scene.bench.run()
    scene.pbx[0].answer(scene.pbx[0].take("INVITE"), 200)
    scene.bench.run()
    dialog = scene.alice.caller_dialog(scene.alice.take("100", "200"))
    scene.alice.send(dialog.request("BYE"))
    scene.bench.run(40_000)
    assert scene.bench.count("timeouts") == 1
    assert scene.told == []


def test_a_number_stays_while_there_are_calls():
    scene = Scene()
    scene.invite()
    one = scene.numbers[0]
    (other,) = scene.table.use([Target("192.0.2.9")])
    assert other != one
    assert scene.table.calls(one) == 1
    assert scene.table.use([Target(HOSTS[0])]) == [one]
    scene.bench.proxy.finish(scene.bench.link.now)
    assert scene.table.calls(one) == 0
    assert scene.table.use([Target("192.0.2.8")]) != [0]


def test_numbers_end_somewhere_and_come_back():
    table = TargetTable()
    many = [Target(f"10.0.{i >> 8}.{i & 255}") for i in range(1100)]
    numbers = table.use(many)
    assert len(set(numbers)) == 1025
    assert numbers[1024:] == [0] * 76
    assert 0 not in table.use([Target(f"10.1.{i >> 8}.{i & 255}", 5061) for i in range(1024)])
    same = [Target("192.0.2.1"), Target("192.0.2.1", 5061), Target("192.0.2.1")]
    first, second, third = table.use(same)
    assert first == third != second


def spent(table, now):
    return sum(table.allow_retry(0, now) for _ in range(10_000))


def test_a_retry_budget_is_a_share_of_the_calls():
    scene = Scene(try_timeout=1_000)
    scene.table.limit_retries(0, 200, 0, 3)
    assert spent(scene.table, 0) == 3
    for _ in range(10):
        scene.invite()
        scene.pbx[0].answer(next(one for one in scene.pbx[0].received() if one.name == "INVITE"), 503)
        scene.bench.run()
    assert scene.bench.count("failovers") == 2
    assert scene.bench.count("retries_refused") == 8
    # What may not go on ends with what it was answered: no 503, as that would end the next proxy's search (16.7).
    assert [one.name for one in scene.alice.received() if one.name != "100"] == ["500"] * 8


def test_a_few_a_second_are_always_allowed():
    table = TargetTable()
    table.limit_retries(0, 0, 10, 5)
    assert spent(table, 1_000) == 5
    assert spent(table, 1_100) == 1
    assert spent(table, 1_150) == 0
    assert spent(table, 9_000) == 5


def test_without_a_limit_every_call_may_go_on():
    table = TargetTable()
    assert spent(table, 0) == 10_000
    table.limit_retries(0, 1000, 0, 0)
    assert spent(table, 0) == 10_000
    assert table.allow_retry(-1, 0)
    with pytest.raises(ValueError, match="no upstream has the number 256"):
        table.limit_retries(256, 0, 0, 0)
