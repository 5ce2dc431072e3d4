"""Challenges of several realms (RFC 3261 22.3), in one response or one after the other, on controlled calls."""
import pytest

from tests.authorizing import answer, parameters
from tests.endpoints import Received

from .challenging import challenge, refuse, same_dialog
from .scene import CONFIG, Scene


class TestSeveralRealms:
    """RFC 3261 22.3: a response may ask for several realms, and each is answered by what is configured for it."""

    TWO = ('credentials = [{realm = "trunk", user = "edge", secret_env = "TEST_SECRET"}, '
           '{realm = "far", user = "other", secret_env = "OTHER_SECRET"}]\n')
    BASE = CONFIG.replace('name = "agent"\ntargets', f'name = "agent"\n{TWO}targets')

    @pytest.fixture(autouse=True)
    def _secrets(self, monkeypatch):
        monkeypatch.setenv("TEST_SECRET", "secret")
        monkeypatch.setenv("OTHER_SECRET", "hidden")

    @staticmethod
    def given(request: Received) -> list[tuple[str, str, str, str]]:
        """(header, realm, user, nonce) of the right credentials in a request; a wrong one fails."""
        found = []
        for name in ("Authorization", "Proxy-Authorization"):
            for value in request.headers(name):
                one = parameters(value)
                password = {"trunk": "secret", "far": "hidden"}[one["realm"]]
                again = answer(one, one["username"], password, request.message.method, request.message.uri,
                               count=int(one["nc"], 16), cnonce=one["cnonce"])
                assert parameters(again)["response"] == one["response"]
                found.append((name, one["realm"], one["username"], one["nonce"]))
        return found

    def again(self, edge: Scene, request: Received, status: int, headers: list[tuple[str, str]]) -> Received:
        [again] = refuse(edge, request, headers, status)
        assert same_dialog(request, again)
        return again

    @pytest.mark.parametrize("status", [401, 407])
    def test_two_in_one_response_whatever_its_status(self, status):
        """16.7 step 7: a proxy that forked hands on the challenges of all branches with the status of one."""
        edge = Scene(base=self.BASE)
        again = self.again(edge, edge.invite(), status, [
            *challenge("p", status=407), *challenge("w", status=401, realm="far"),
            *challenge("e", status=401, realm="else")])
        assert sorted(self.given(again)) == [("Authorization", "far", "other", "w"),
                                             ("Proxy-Authorization", "trunk", "edge", "p")]
        assert edge.calls.counters["challenges_answered"] == 1

    def test_two_in_one_header(self):
        edge = Scene(base=self.BASE)
        both = [*challenge("one"), *challenge("two", realm="far")]
        again = self.again(edge, edge.invite(), 407, both)
        assert sorted(self.given(again)) == [("Proxy-Authorization", "far", "other", "two"),
                                             ("Proxy-Authorization", "trunk", "edge", "one")]

    def test_one_behind_the_other(self):
        """Two proxies on the way, each with a realm, and a far end that had waited until its nonce was stale."""
        edge = Scene(base=self.BASE)
        second = self.again(edge, edge.invite(), 407, challenge("one"))
        third = self.again(edge, second, 407, challenge("two", realm="far"))
        assert sorted(self.given(third)) == [("Proxy-Authorization", "far", "other", "two"),
                                             ("Proxy-Authorization", "trunk", "edge", "one")]
        assert parameters(next(one for one in third.headers("Proxy-Authorization") if '"trunk"' in one))[
            "nc"] == "00000002"
        fourth = self.again(edge, third, 407, challenge("new", realm="far", stale=True))
        assert sorted(self.given(fourth)) == [("Proxy-Authorization", "far", "other", "new"),
                                              ("Proxy-Authorization", "trunk", "edge", "one")]
        last = refuse(edge, fourth, challenge("n3", realm="far", stale=True))
        while last:
            # A nonce that is always stale: there is an end.
            assert last[0].message.cseq[0] < 6
            last = refuse(edge, last[0], challenge(f"n{last[0].message.cseq[0]}", realm="far", stale=True))
        assert edge.caller.names() == ["100", "407"]

    def test_one_that_was_wrong_is_not_sent_with_the_other(self):
        edge = Scene(base=self.BASE)
        second = self.again(edge, edge.invite(), 407, challenge("one"))
        third = self.again(edge, second, 407, [*challenge("again"), *challenge("two", realm="far")])
        assert self.given(third) == [("Proxy-Authorization", "far", "other", "two")]

    def test_a_bye(self):
        edge = Scene(base=self.BASE)
        one, _ = edge.up()
        one.send("BYE")
        edge.run()
        both = [*challenge("p"), *challenge("w", status=401, realm="far")]
        again = self.again(edge, edge.agent.take("BYE"), 407, both)
        assert len(self.given(again)) == 2

    def test_the_realm_of_another_upstream(self):
        """Each realm is configured for one trunk, and both trunks hear no more than their own."""
        one, two = (f"credentials = [{part}]\n" for part in self.TWO[len("credentials = ["):-2].split(", {", 1))
        base = CONFIG.replace('name = "agent"\ntargets', f'name = "agent"\n{one}targets').replace(
            'name = "pbx"\n', 'name = "pbx"\n' + two.replace("[realm", "[{realm"))
        edge = Scene(base=base)
        again = self.again(edge, edge.invite(), 407, [*challenge("two", realm="far"), *challenge("one")])
        assert self.given(again) == [("Proxy-Authorization", "trunk", "edge", "one")]

    def test_more_than_anybody_needs(self):
        """Of a response that asks for everything a bounded part is read (attacks.md, Framing and parsing)."""
        edge = Scene(base=self.BASE)
        flood = [one for number in range(40) for one in challenge(realm=f"r{number}")]
        edge.agent.answer(edge.invite(), 407, headers=[*challenge("one"), *flood, *challenge("two", realm="far")])
        edge.run()
        again = edge.agent.take("ACK", "INVITE")
        assert self.given(again) == [("Proxy-Authorization", "trunk", "edge", "one")]
