"""Who may send: groups, unlisted sources, tokens and branches, rate limits."""
import pytest

from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.verdict import Target
from tests.endpoints import METHODS, Bench, build


@pytest.fixture
def guarded():
    """127.0.0.0/24 may do all, 127.0.1.0/24 is denied, 127.0.2.0/24 forbidden, the rest unlisted."""
    admission = Admission([Trie([("127.0.0.0/24", 0), ("127.0.1.0/24", 1), ("127.0.2.0/24", 2)])])
    admission.add_group("allow", METHODS)
    admission.add_group("deny")
    admission.add_group("forbid")
    return Bench(admission=admission)


def test_denied_forbidden_and_unlisted_sources(guarded):
    bob = guarded.phone("bob", "127.0.0.3")
    for host, answers in (("127.0.1.2", []), ("127.0.2.2", ["403"]), ("127.0.9.2", [])):
        phone = guarded.phone("x", host)
        phone.request("INVITE", bob.uri)
        phone.send(b"garbage\r\n\r\n")
        phone.send(phone.build("ACK", bob.uri))
        phone.cancel(phone.build("INVITE", bob.uri))
        phone.send(build("SIP/2.0 200 OK", [("Via", "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx")]))
        guarded.run()
        assert phone.names()[: len(answers)] == answers
        assert len(phone.names()) == 0
    assert bob.names() == []
    assert guarded.asked == []
    assert {name: guarded.count(name) for name in ("denied", "forbidden")} == {"denied": 5, "forbidden": 5}


def test_addresses_that_are_alike_are_told_apart_however_they_come_in_turn():
    """What was found last is remembered, by the fourth byte of the address: each of these has a 7 there."""
    tries = [Trie([("127.0.0.7/32", 0), ("127.0.1.7/32", 1), ("7f00:7::/32", 2)]), Trie([("127.0.0.7/32", 3)])]
    admission = Admission(tries)
    wanted = {("127.0.0.7", 0): 0, ("127.0.1.7", 0): 1, ("7f00:7::", 0): 2, ("7f00:7::1", 0): 2, ("127.0.0.7", 1): 3,
              ("127.0.1.7", 1): -1, ("7f00:7::", 1): -1, ("127.0.0.7", 2): -1}
    for groups in range(5):
        # What a trie names counts from when there is such a group.
        for _ in range(2):
            assert [admission.group(*at) for at in wanted] == [n if n < groups else -1 for n in wanted.values()]
        admission.add_group("allow", METHODS)


def test_unlisted_sources_get_a_limited_403_where_configured():
    admission = Admission([Trie([("127.0.0.0/24", 0)])], unlisted="forbid", unlisted_rate=1, unlisted_burst=5)
    admission.add_group("allow", METHODS)
    bench = Bench(admission=admission)
    stranger = bench.phone("x", "127.0.9.2")
    for number in range(20):
        stranger.request("INVITE", "sip:x@127.0.0.3", call_id=f"s{number}")
    bench.run()
    assert stranger.names() == ["403"] * 5
    assert bench.count("rate_limited") == 15
    bench.run(2_000)
    for number in range(20):
        stranger.request("INVITE", "sip:x@127.0.0.3", call_id=f"t{number}")
    bench.run()
    assert stranger.names() == ["403"] * 2


def test_a_target_is_heard_however_often_it_is_called_and_may_begin_nothing():
    admission = Admission([Trie([("127.0.0.0/24", 0)])], unlisted_rate=1, unlisted_burst=5)
    admission.add_group("allow", METHODS)
    bench = Bench(admission=admission)
    alice, pbx = bench.phone("alice", "127.0.0.2"), bench.phone("pbx", "127.0.9.9")
    bench.proxy.targets.use([Target("127.0.9.9", 5060)])
    for number in range(20):
        bench.call(alice, pbx, call_id=f"c{number}")
    assert bench.count("rate_limited") == 0
    pbx.request("INVITE", alice.uri, call_id="own")
    bench.run()
    assert (alice.names(), pbx.names(), bench.count("unlisted_dropped")) == ([], [], 1)


def test_answers_that_are_waited_for_are_not_held_to_the_rate_of_strangers():
    """A callee along the request URI is in no group: as many calls as it likes, and no more of anything else."""
    admission = Admission([Trie([("127.0.0.0/24", 0)])], unlisted_rate=1, unlisted_burst=5)
    admission.add_group("allow", METHODS)
    bench = Bench(admission=admission)
    alice, out = bench.phone("alice", "127.0.0.2"), bench.phone("out", "127.0.9.9")
    answered = []
    for number in range(20):
        alice.request("INVITE", out.uri, call_id=f"c{number}")
        bench.run()
        answered.append(out.take("INVITE"))
        out.answer(answered[-1], 180)
        out.answer(answered[-1], 486)
        bench.run()
        assert (alice.names(), out.names()) == (["100", "180", "486"], ["ACK"])
    assert bench.count("rate_limited") == 0
    # Repetitions move nothing on.
    for one in answered:
        out.answer(one, 486)
    bench.run()
    assert bench.count("rate_limited") == len(answered) - 5


def test_an_unlisted_peer_passes_by_branch_and_token_and_by_nothing_else(guarded):
    alice, out = guarded.phone("alice", "127.0.0.2"), guarded.phone("out", "127.0.9.9")
    one, other = guarded.call(alice, out)       # its 200 passed by our branch
    other.send("INFO")
    other.send("REFER", headers=[("Refer-To", "<sip:x@127.0.0.5>")])
    guarded.run()
    assert alice.names() == ["INFO", "REFER"]   # the REFER by a decision
    assert guarded.asked[1:] == [("REFER", alice.uri)]
    assert guarded.count("unlisted_passed") == 2
    good = other.routes[:]
    for forged in (good[0].replace(";t=", ";t=0"), good[0][:-3] + "zz>", "<sip:127.0.0.1;lr>"):
        other.routes = [forged]
        other.send("INFO")
    other.routes = good
    other.call_id = "another"                   # the token is bound to its Call-ID
    other.send("INFO")
    other.call_id = "c1"
    data = other.request("INVITE").replace(b"To: " + other.remote.encode(), b"To: <sip:alice@127.0.0.2>")
    out.send(data)                              # no To tag: it begins something
    guarded.run()
    assert alice.names() == []
    assert out.names() == []
    other.target = "sip:elsewhere@192.0.2.1"    # the token opens no way to where nobody is listed
    other.send("INFO")
    guarded.run()
    assert out.names() == ["403"]
    one.send("BYE")
    guarded.run()
    out.answer(out.take("BYE"), 200)
    guarded.run()
    assert "200" in alice.names()


def test_forged_branches_find_nothing(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    alice.take("100")
    sent = bob.answer(invite, 200)
    bench.link.sent.clear()
    bench = Bench()
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    alice.request("INVITE", bob.uri)
    bench.run()
    alice.take("100")
    branch = bob.take("INVITE").message.branch
    for place in range(7, len(branch)):
        forged = branch[:place] + ("1" if branch[place] != "1" else "2") + branch[place + 1:]
        bob.send(sent.replace(invite.message.branch.encode(), forged.encode()))
    for forged in (branch[:-1], branch + "0", "z9hG4bK", "", branch.upper()):
        bob.send(sent.replace(invite.message.branch.encode(), forged.encode()))
    bench.run()
    assert alice.names() == []
    assert bench.count("forwarded_responses") == 0
    bob.send(sent.replace(invite.message.branch.encode(), branch.encode()).replace(b"1 INVITE", b"1 BYE"))
    bench.run()
    assert alice.names() == []


def test_rate_limits_of_a_source_and_of_a_group():
    for limits in ({"rate": 2, "burst": 3}, {"group_rate": 2, "group_burst": 3}):
        bench = Bench(group=limits)
        alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
        for number in range(5):
            alice.request("OPTIONS", bob.uri, call_id=f"o{number}")
        bench.run()
        assert bob.names() == ["OPTIONS"] * 3
        assert alice.names() == ["503", "503"]
        assert bench.count("rate_limited") == 2
        bench.run(1_000)
        for number in range(5):
            alice.request("OPTIONS", bob.uri, call_id=f"p{number}")
        bench.run()
        assert len([name for name in alice.names() if name == "503"]) == 3


def test_a_call_goes_on_while_its_source_is_limited():
    bench = Bench(group={"rate": 1, "burst": 1})
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    one, _ = bench.call(alice, bob)
    for _ in range(20):
        one.send("INFO")
    bench.run()
    assert bob.names() == ["INFO"] * 20
