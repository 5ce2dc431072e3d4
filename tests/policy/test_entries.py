"""Entries of the access list beside the file: which hold, and what the list is with them."""
from proxy.config import decode
from proxy.policy.acl import group_of, prefixes
from proxy.policy.entries import Entry, with_entries
from proxy.policy.validate import problems_of

CONFIG = decode("""
[[listener]]
name = "inside"
bind = "udp:127.0.0.1:5060"
[[listener]]
name = "outside"
bind = "udp:127.0.0.1:5062"
[[group]]
name = "phones"
addresses = ["127.0.0.0/24"]
listeners = ["inside"]
[[group]]
name = "trunks"
addresses = ["2001:db8::/32"]
listeners = ["outside"]
[[group]]
name = "banned"
addresses = ["127.0.9.9"]
action = "deny"
""", lambda _: [], file="edge.toml")


def entry(number: int, group: str, prefix: str, **more) -> Entry:
    return Entry(id=str(number), group=group, prefix=prefix, **more)


def test_entries_stand_beside_the_file():
    config, wrong = with_entries(CONFIG, [
        entry(1, "phones", "127.0.1.0/24"), entry(2, "banned", "127.0.1.7"), entry(3, "trunks", "2001:db9::1")])
    assert wrong == {}
    inside, outside = prefixes(config, 0), prefixes(config, 1)
    assert [group_of(inside, f"127.0.1.{last}") for last in (6, 7)] == [0, 2]
    assert [group_of(outside, host) for host in ("127.0.1.6", "127.0.1.7", "2001:db9::1")] == [-1, 2, 1]
    assert [problem for problem in problems_of(config) if "addresses" in problem.path] == []


def test_a_prefix_is_in_one_group_of_a_listener():
    _, wrong = with_entries(CONFIG, [
        entry(1, "banned", "127.0.0.0/24"), entry(2, "trunks", "127.0.0.0/24"), entry(3, "phones", "127.0.0.0/24"),
        entry(4, "phones", "127.0.2.1"), entry(5, "banned", "127.0.2.1/32")])
    assert wrong == {"1": ("prefix", '127.0.0.0/24 is in group "phones" already; expected each prefix in one group'),
                     "5": ("prefix", '127.0.2.1/32 is in group "phones" already; expected each prefix in one group')}


def test_a_prefix_that_the_group_has_is_not_there_twice():
    config, wrong = with_entries(CONFIG, [entry(1, "banned", "127.0.9.9/32"), entry(2, "banned", "::ffff:127.0.9.9")])
    assert wrong == {}
    assert config.groups[2].addresses == ("127.0.9.9/32",)


def test_what_makes_no_sense_is_left_out():
    config, wrong = with_entries(CONFIG, [entry(1, "nobody", "127.0.3.1"), entry(2, "phones", "127.0.3.1/8"),
                                          entry(3, "phones", "phone.example"), entry(4, "phones", "127.0.0.0/24")])
    assert {number: field for number, (field, _) in wrong.items()} == {"1": "group", "2": "prefix", "3": "prefix"}
    assert config == CONFIG


def test_the_end_of_an_entry():
    assert not entry(1, "phones", "127.0.3.1").over(2**60)
    assert [entry(1, "phones", "127.0.3.1", expires=5).over(now) for now in (4, 5)] == [False, True]
