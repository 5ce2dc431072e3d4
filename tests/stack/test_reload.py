"""Another configuration while calls are in progress: what they have of groups and upstreams is known by its name."""
import json

import pytest

from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.targettable import TargetTable
from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import METHODS, Bench
from tests.stack.names import Book, reached

HOSTS = {"a": "127.0.0.11", "b": "127.0.0.12"}
BOTH = Verdict(targets=(Target(HOSTS["a"]), Target(HOSTS["b"])), upstream=0)
KEY = [("X-Internal-Key", "s")]


class Edge:
    """An edge whose calls go to the upstream of their user's first letter, or by the verdict. alice is in the group
    with her name, whoever answers in "far"."""

    def __init__(self, verdict: Verdict | None = None, trusted: str = ""):
        self.verdict, self.trusted = verdict, trusted
        self.bench = Bench()
        self.proxy = self.bench.proxy
        self.alice = self.bench.phone("alice", "127.0.0.2")
        self.phones = {name: self.bench.phone(name, host) for name, host in HOSTS.items()}
        self.reload(["alice", "far"], ["a", "b"])

    def decide(self, request):
        name = request.user[:1]
        return self.verdict or Verdict(targets=(Target(HOSTS[name]),), upstream=self.upstreams.index(name), max_calls=1)

    def reload(self, groups, upstreams, oversize=None):
        self.upstreams = upstreams
        places = {"alice": "127.0.0.2/32", "far": "127.0.0.8/29"}
        admission = Admission([Trie([(places[name], number) for number, name in enumerate(groups) if name in places])])
        for name in groups:
            admission.add_group("allow", METHODS, trusted=name == self.trusted)
        self.proxy.configure(admission, self.decide, oversize, internal=["X-Internal-*"], groups=groups,
                             upstreams=upstreams)

    def invite(self, user, call_id):
        """What the caller hears of an INVITE that its upstream answers."""
        self.alice.request("INVITE", f"sip:{user}@127.0.0.1", call_id=call_id)
        self.bench.run()
        for one in self.phones[user[:1]].received():
            self.phones[user[:1]].answer(one, 200)
        self.bench.run()
        return self.alice.received()[-1]

    def call(self, user, call_id):
        answered = self.invite(user, call_id)
        assert answered.name == "200"
        dialog = self.alice.caller_dialog(answered)
        dialog.send("ACK")
        self.bench.run()
        self.phones[user[:1]].take("ACK")
        return dialog

    def end(self, dialog, user):
        dialog.send("BYE")
        self.bench.run()
        self.phones[user[:1]].answer(self.phones[user[:1]].take("BYE"), 200)
        self.bench.run()
        self.alice.take("200")
        (line,) = map(json.loads, self.proxy.records.journal.take().splitlines())
        return line.get("group"), line.get("upstream")

    @property
    def counts(self):
        return [self.proxy.calls(index) for index in range(len(self.upstreams))]


@pytest.mark.parametrize("groups", [["far", "alice"], ["alice"], ["new", "far", "alice"]])
@pytest.mark.parametrize("upstreams", [["b", "a"], ["new", "a", "b"], ["a", "b"]])
def test_calls_in_progress_count_for_their_upstream_and_keep_their_names(groups, upstreams):
    edge = Edge()
    dialog = edge.call("a1", "c1")
    edge.reload(groups, upstreams)
    assert edge.counts == [name == "a" for name in upstreams]
    assert edge.invite("a2", "c2").name == "503"
    other = edge.call("b1", "c3")
    assert edge.counts == [name != "new" for name in upstreams]
    assert edge.end(dialog, "a1") == ("alice", "a")
    assert edge.counts == [name == "b" for name in upstreams]
    edge.end(other, "b1")
    edge.bench.empty()


def test_what_is_gone_keeps_its_name_for_the_line_and_comes_back_by_it():
    edge = Edge()
    one, two = edge.call("a1", "c1"), edge.call("b1", "c2")
    edge.reload(["far"], ["b"])
    assert edge.counts == [1]
    edge.reload(["far", "more"], ["b", "more"])
    assert edge.counts == [1, 0]
    assert edge.end(two, "b1") == ("alice", "b")
    edge.reload(["far", "alice"], ["more", "b", "a"])
    assert edge.counts == [0, 0, 1]
    edge.reload(["far"], ["more"])
    assert edge.end(one, "a1") == ("alice", "a")
    assert edge.counts == [0]
    edge.bench.empty()


@pytest.mark.parametrize("answer", [486, 200])
def test_a_call_that_rings_is_still_counted_once(answer):
    edge = Edge()
    edge.alice.request("INVITE", "sip:a1@127.0.0.1")
    edge.bench.run()
    invite = edge.phones["a"].take("INVITE")
    edge.phones["a"].answer(invite, 180)
    edge.bench.run()
    edge.reload(["alice"], ["b", "a"])
    assert edge.counts == [0, 1]
    edge.phones["a"].answer(invite, answer)
    edge.bench.run()
    assert edge.counts == [0, answer == 200]


def test_a_search_spends_the_retries_of_its_own_upstream():
    edge = Edge(BOTH)
    edge.alice.request("INVITE", "sip:a1@127.0.0.1")
    edge.bench.run()
    invite = edge.phones["a"].take("INVITE")
    edge.reload(["alice"], ["b", "a"])
    edge.proxy.targets.limit_retries(0, 1000, 0, 0)
    edge.proxy.targets.limit_retries(1, 0, 0, 0)
    edge.phones["a"].answer(invite, 503)
    edge.bench.run()
    assert edge.phones["b"].names() == []
    assert edge.bench.count("retries_refused") == 1


@pytest.mark.parametrize(("sender", "receiver"), [("alice", "far"), ("far", "alice")])
def test_a_search_passes_on_internal_headers_by_the_groups_of_who_sent_them(sender, receiver):
    edge = Edge(BOTH, trusted=receiver)
    edge.alice.request("INVITE", "sip:a1@127.0.0.1", headers=KEY)
    edge.bench.run()
    invite = edge.phones["a"].take("INVITE")
    if sender == "alice":
        edge.reload(["far", "alice"], ["a", "b"])
    edge.phones["a"].answer(invite, 503, headers=KEY)
    edge.bench.run()
    again = edge.phones["b"].take("INVITE")
    if sender == "far":
        edge.reload(["far", "alice"], ["a", "b"])
    edge.phones["b"].answer(again, 503)
    edge.bench.run()
    assert again.header("X-Internal-Key") is None
    assert edge.alice.take("100", "500").header("X-Internal-Key") is None


def test_retry_budgets_move_along():
    table = TargetTable()
    table.limit_retries(0, 0, 0, 3)
    table.limit_retries(1, 0, 0, 5)
    table.renumber([2, -1])
    assert sum(table.allow_retry(2, 0) for _ in range(10)) == 3
    assert all(table.allow_retry(index, 0) for index in (0, 1) for _ in range(10))


@pytest.mark.parametrize(("groups", "index"), [(["far", "alice"], 1), (["far"], -1), (["alice", "far"], 0)])
def test_a_request_that_waits_for_a_name_is_decided_for_its_own_group(groups, index):
    asked = []

    def oversize(request, verdict, size):
        asked.append(request.group)
        return verdict.changed(budget=0)

    edge = Edge(Verdict(budget=1))
    edge.proxy.naming = book = Book()
    edge.alice.request("INVITE", "sip:7@pbx.example.com")
    edge.bench.run()
    edge.reload(groups, ["a", "b"], oversize)
    book.tell(reached(HOSTS["b"]), edge.bench.link.now)
    edge.bench.run()
    assert asked == [index]
    edge.phones["b"].take("INVITE")
