"""transfers.md section 7, row 15: 401 and 407 on INVITE, re-INVITE, REFER and BYE are answered, with the same dialog
identity; and nothing is answered that is not the trunk's own (attacks.md, Trust)."""
import pytest

from proxy.config import Action
from tests.authorizing import HASHES, parameters
from tests.endpoints import Dialog, Received

from .challenging import ACCOUNT, TRUNK, challenge, refuse, right, same_dialog
from .scene import AGENT, CALLER, CONFIG, ROUTE, Scene, notify, sdp

TYPE = ("Content-Type", "application/sdp")


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv("TEST_SECRET", "secret")


def confirmed(edge: Scene) -> Dialog:
    """The caller's dialog: it has acknowledged the 200."""
    dialog = edge.caller.caller_dialog(edge.caller.take("100", "200"))
    dialog.send("ACK")
    edge.run()
    return dialog


@pytest.mark.parametrize("status", [401, 407])
class TestRow15:
    def repeated(self, edge: Scene, request: Received, status: int) -> Received:
        [again] = refuse(edge, request, challenge(status=status), status)
        assert again.name == request.name
        assert again.data.partition(b"\r\n\r\n")[2] == request.data.partition(b"\r\n\r\n")[2]
        assert same_dialog(request, again)
        assert right(again, status=status)
        return again

    def up(self) -> tuple[Scene, Dialog]:
        """A call with an agent that takes UPDATE."""
        edge = Scene(base=TRUNK)
        edge.agent.answer(edge.invite(), 200, body=sdp(AGENT), headers=[TYPE, ("Allow", "INVITE, ACK, BYE, UPDATE")])
        edge.run()
        edge.agent.take("ACK")
        return edge, confirmed(edge)

    def test_invite(self, status):
        edge = Scene(base=TRUNK)
        first = edge.invite()
        assert first.header("Authorization") is None
        again = self.repeated(edge, first, status)
        edge.agent.answer(again, 200, body=sdp(AGENT), headers=[TYPE])
        edge.run()
        ack = edge.agent.take("ACK")
        assert right(ack, status=status) or ack.header("Authorization" if status == 401 else "Proxy-Authorization")
        # The caller never heard of it.
        confirmed(edge).send("BYE")
        edge.run()
        bye = self.repeated(edge, edge.agent.take("BYE"), status)
        edge.agent.answer(bye, 200)
        edge.run()
        assert edge.calls.counters["challenges_answered"] == 2
        edge.over()

    def test_reinvite(self, status):
        edge, one = self.up()
        one.send("INVITE", headers=[TYPE], body=sdp(CALLER, version=2))
        edge.run()
        again = self.repeated(edge, edge.agent.take("INVITE"), status)
        edge.agent.answer(again, 200, body=sdp(AGENT, version=2), headers=[TYPE])
        edge.run()
        edge.agent.take("ACK")
        assert edge.caller.names() == ["100", "200"]

    def test_update(self, status):
        edge, one = self.up()
        one.send("UPDATE", headers=[TYPE], body=sdp(CALLER, version=2))
        edge.run()
        again = self.repeated(edge, edge.agent.take("UPDATE"), status)
        edge.agent.answer(again, 200, body=sdp(AGENT, version=2), headers=[TYPE])
        edge.run()
        assert edge.caller.names() == ["200"]

    def test_bye(self, status):
        edge, one = self.up()
        one.send("BYE")
        edge.run()
        again = self.repeated(edge, edge.agent.take("BYE"), status)
        edge.agent.answer(again, 200)
        edge.run()
        edge.caller.take("200")
        edge.over()

    def test_refer(self, status):
        """Asked of the far end that has the caller: here the upstream with the account is the caller's server."""
        base = TRUNK.replace("127.0.0.3:5060", "127.0.0.2:5060")
        edge = Scene(ROUTE.replace('"agent"', '"pbx"'), base=base.replace("127.0.0.4:5060", "127.0.0.3:5060"))
        one, _ = edge.up()
        edge.start(Action(name="blind", mode="blind", targets=("sip:2001@127.0.0.4",)))
        refer = edge.caller.take("REFER")
        edge.caller.answer(refer, status, headers=challenge(status=status))
        edge.run()
        again = edge.caller.take("REFER")
        assert same_dialog(refer, again)
        assert right(again, status=status)
        assert again.header("Refer-To") == refer.header("Refer-To")
        edge.caller.answer(again, 202)
        notify(one, 200)
        edge.run()
        assert edge.services.transfer().state == "completed"


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_a_proxy_and_the_far_end_may_both_ask(method):
    """RFC 3261 22.3: 407 on the way and then 401 at the end; the last one has both answers."""
    edge = Scene(base=TRUNK)
    if method == "BYE":
        one, _ = edge.up()
        one.send("BYE")
        edge.run()
        first = edge.agent.take("BYE")
    else:
        first = edge.invite()
    second = refuse(edge, first, challenge("proxy"))[-1]
    third = refuse(edge, second, challenge("end", status=401), 401)[-1]
    assert right(third, status=401)
    assert right(third, status=407)
    told = [parameters(message.header("Proxy-Authorization") or "") for message in (second, third)]
    assert [one["nonce"] for one in told] == ["proxy", "proxy"]
    assert [one["nc"] for one in told] == ["00000001", "00000002"], "RFC 7616 3.4: each count once"
    assert same_dialog(second, third)


class TestWhoGetsNothing:
    """FreeSWITCH CVE-2021-41158: credentials go to the trunk alone."""

    def refused(self, edge: Scene, request: Received, headers: list[tuple[str, str]]) -> None:
        assert refuse(edge, request, headers) == []
        assert edge.calls.counters["challenges_answered"] == 0
        assert edge.calls.counters["challenges_refused"] == 1

    def test_another_realm(self):
        edge = Scene(base=TRUNK)
        self.refused(edge, edge.invite(), challenge(realm="Trunk"))
        assert edge.caller.names() == ["100", "407"]

    def test_another_upstream_in_the_trunk_s_realm(self):
        edge = Scene(base=CONFIG.replace('name = "pbx"\n', f'name = "pbx"\n{ACCOUNT}'))
        self.refused(edge, edge.invite(), challenge())

    @pytest.mark.parametrize("method", ["BYE", "INVITE"])
    def test_a_contact_elsewhere(self, method):
        """The far end moves its contact away from the trunk, and asks for the password there."""
        edge = Scene(base=TRUNK)
        invite = edge.invite()
        edge.agent.contact = "<sip:thief@127.0.0.5>"
        edge.agent.answer(invite, 200, body=sdp(AGENT), headers=[TYPE])
        edge.run()
        confirmed(edge).send(method, headers=[TYPE], body=sdp(CALLER, version=2))
        edge.run()
        taken = next(request for request in edge.second.received() if request.name == method)
        edge.second.answer(taken, 407, headers=challenge())
        edge.run()
        assert method not in edge.second.names()
        assert edge.calls.counters["challenges_answered"] == 0

    def test_the_caller(self):
        """Who called us is no trunk, even with the trunk's realm."""
        edge = Scene(base=TRUNK)
        _, other = edge.up()
        other.send("BYE")
        edge.run()
        edge.caller.answer(edge.caller.take("BYE"), 407, headers=challenge())
        edge.run()
        assert edge.caller.names() == []

    def test_an_algorithm_that_is_unknown(self):
        edge = Scene(base=TRUNK)
        self.refused(edge, edge.invite(), challenge(algorithm="SHA-512-256"))


class TestNonces:
    def test_a_password_that_is_refused_is_not_sent_again(self):
        edge = Scene(base=TRUNK)
        [again] = refuse(edge, edge.invite(), challenge("n1"))
        assert refuse(edge, again, challenge("n2")) == []
        assert edge.caller.names() == ["100", "407"]

    @pytest.mark.parametrize(("nonce", "answered"), [("n2", True), ("n1", False)])
    def test_a_stale_nonce_is_taken_anew_once(self, nonce, answered):
        edge = Scene(base=TRUNK)
        [again] = refuse(edge, edge.invite(), challenge("n1"))
        found = refuse(edge, again, challenge(nonce, stale=True))
        assert [right(one) for one in found] == [True] * answered
        for number in range(3, 6):
            if found:
                found = refuse(edge, found[0], challenge(f"n{number}", stale=True))
        assert found == []

    def test_the_first_of_several_challenges_that_can_be_answered(self):
        """RFC 8760 2.4."""
        edge = Scene(base=TRUNK)
        [again] = refuse(edge, edge.invite(), [
            ("Proxy-Authenticate", 'Digest realm="trunk'), *challenge("new", algorithm="SHA-512-256"),
            *challenge("other", realm="else"), *challenge("strong"), *challenge("weak", algorithm="MD5")])
        assert right(again)
        assert parameters(again.header("Proxy-Authorization") or "")["nonce"] == "strong"

    def test_the_body_is_hashed_where_nothing_less_is_wanted(self):
        edge = Scene(base=TRUNK)
        [again] = refuse(edge, edge.invite(), challenge(qop="auth-int"))
        assert right(again, body=again.data.partition(b"\r\n\r\n")[2])

    def test_hashes_in_the_place_of_a_password(self, monkeypatch):
        monkeypatch.setenv("TEST_SECRET", HASHES["MD5"](b"edge:trunk:secret").hexdigest())
        edge = Scene(base=TRUNK.replace('"TEST_SECRET"', '"TEST_SECRET", hashed = true'))
        [again] = refuse(edge, edge.invite(), [*challenge("strong"), *challenge("weak", algorithm="MD5")])
        assert right(again)
        assert parameters(again.header("Proxy-Authorization") or "")["algorithm"] == "MD5"


def test_what_asked_before_gets_room_for_its_answer():
    """transfers.md section 4: the first INVITE of the next call fits with the credentials that will be asked for."""
    low = '[[headers]]\nname = "set"\non = ["INVITE"]\nadd = [{name = "X-Low", value = "' + "x" * 500 + '"}]\n'

    def invite(edge: Scene) -> Received:
        first = edge.invite()
        [again] = refuse(edge, first, challenge())
        assert refuse(edge, again, [], 486) == []
        edge.caller.received()
        return first

    text = low + ROUTE + 'headers = ["set"]\n'
    size = len(Scene(text, base=TRUNK).invite().data)
    narrow = f'mtu = {size + 220}\nsize_policy = ["drop", "refuse"]\n'
    edge = Scene(text, base=TRUNK.replace(ACCOUNT, ACCOUNT + narrow))
    assert invite(edge).header("X-Low") is not None
    again = invite(edge)
    assert again.header("X-Low") is None
    assert len(again.data) < size


def test_forwarded_challenges_pass_to_the_caller():
    edge = Scene(ROUTE.replace("control = true\n", ""), base=TRUNK)
    first = edge.invite()
    edge.agent.answer(first, 407, headers=challenge())
    edge.run()
    assert edge.caller.take("100", "407").header("Proxy-Authenticate") == challenge()[0][1]


class TestFailover:
    """The upstream `pbx` has two addresses, and asks for a password at both."""

    BASE = CONFIG.replace('name = "pbx"\n', f'name = "pbx"\n{ACCOUNT}').replace(
        '[{address = "127.0.0.4:5060"}]', '[{address = "127.0.0.4:5060", priority = 1}, '
                                          '{address = "127.0.0.5:5060", priority = 2}]')

    def begun(self) -> tuple[Scene, Received]:
        """A call whose first address has asked, and got its answer."""
        edge = Scene(ROUTE.replace('"agent"', '"pbx"'), base=self.BASE)
        edge.invited = edge.caller.request("INVITE", "sip:bot@127.0.0.1", headers=[TYPE], body=sdp(CALLER))
        edge.run()
        first = edge.target.take("INVITE")
        edge.target.answer(first, 407, headers=challenge("first"))
        edge.run()
        again = edge.target.take("ACK", "INVITE")
        assert right(again)
        return edge, again

    @pytest.mark.parametrize("how", ["503", "silence"])
    def test_the_next_address_asks_anew(self, how):
        edge, again = self.begun()
        if how == "503":
            edge.target.answer(again, 503)
        edge.run(0 if how == "503" else 6000)
        other = next(one for one in edge.second.received() if one.name == "INVITE")
        # What the first one was told is no answer for another server's nonce, and none of its business.
        assert other.header("Proxy-Authorization") is None
        edge.second.answer(other, 401, headers=challenge("second", status=401))
        edge.run()
        answered = edge.second.take("ACK", "INVITE")
        assert right(answered, status=401)
        assert parameters(answered.header("Authorization") or "")["nonce"] == "second"
        assert answered.header("Proxy-Authorization") is None
        assert same_dialog(other, answered)
        edge.second.answer(answered, 200, body=sdp("127.0.0.5"), headers=[TYPE])
        edge.run()
        edge.second.take("ACK")
        confirmed(edge).send("BYE")
        edge.run()
        bye = edge.second.take("BYE")
        edge.second.answer(bye, 407, headers=challenge("third"))
        edge.run()
        ended = edge.second.take("BYE")
        assert right(ended)
        edge.second.answer(ended, 200)
        edge.run()
        edge.caller.take("200")
        assert edge.calls.counters["challenges_answered"] == 3
        edge.over()

    def test_the_caller_gives_up_between_challenge_and_answer(self):
        edge, again = self.begun()
        edge.target.answer(again, 180)
        edge.run()
        edge.caller.cancel(edge.invited)
        edge.run()
        cancel = edge.target.take("CANCEL")
        assert cancel.message.branch == again.message.branch
        edge.target.answer(cancel, 200)
        edge.target.answer(again, 487)
        edge.run()
        edge.target.take("ACK")
        assert edge.second.names() == []
        assert edge.caller.names()[-2:] == ["200", "487"]
        edge.over()


def test_a_call_that_the_trunk_forks_after_its_challenge():
    """Two phones ring, each with a dialog of its own; one answers, and both INVITEs had one identity."""
    edge = Scene(base=TRUNK)
    first = edge.invite()
    [again] = refuse(edge, first, challenge(), tag="proxy")
    assert again.header("To") == first.header("To")
    for tag in ("one", "two"):
        edge.agent.answer(again, 180, tag=tag)
    edge.agent.answer(again, 200, tag="two", body=sdp(AGENT), headers=[TYPE])
    edge.run()
    ack = edge.agent.take("ACK")
    assert ack.message.to_tag == "two"
    one = edge.caller.caller_dialog([one for one in edge.caller.received() if one.name == "200"][-1])
    one.send("ACK")
    one.send("BYE")
    edge.run()
    bye = edge.agent.take("BYE")
    assert bye.message.to_tag == "two"
    edge.agent.answer(bye, 407, headers=challenge("late"))
    edge.run()
    assert right(edge.agent.take("BYE"))


@pytest.mark.parametrize("status", [401, 407])
def test_forwarded_failover_takes_a_challenge_for_an_answer(status):
    """RFC 3261 16.7: a challenge is no reason to try elsewhere; the caller answers, and the search begins again."""
    base = CONFIG.replace('[{address = "127.0.0.4:5060"}]', '[{address = "127.0.0.4:5060", priority = 1}, '
                                                            '{address = "127.0.0.5:5060", priority = 2}]')
    edge = Scene('[[route]]\nto = "pbx"\n', base=base)
    first = edge.caller.request("INVITE", "sip:bot@127.0.0.1", headers=[TYPE], body=sdp(CALLER))
    edge.run()
    edge.target.answer(edge.target.take("INVITE"), status, headers=challenge(status=status))
    edge.run()
    asked = edge.caller.take("100", str(status))
    assert asked.headers("Proxy-Authenticate" if status == 407 else "WWW-Authenticate") == [
        challenge(status=status)[0][1]]
    assert edge.second.names() == []
    edge.caller.ack(first, asked)
    name = "Proxy-Authorization" if status == 407 else "Authorization"
    edge.caller.request("INVITE", "sip:bot@127.0.0.1", cseq=2, body=sdp(CALLER),
                        headers=[TYPE, (name, 'Digest username="ann", realm="trunk", response="0"')])
    edge.run()
    again = edge.target.take("ACK", "INVITE")
    assert again.headers(name) == ['Digest username="ann", realm="trunk", response="0"']
    edge.target.answer(again, 503)
    edge.run()
    # The same request, to another address of the same upstream: with what the caller has put into it.
    assert edge.second.take("INVITE").headers(name) == again.headers(name)
