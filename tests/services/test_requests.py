"""Requests to servers of the user's: signed, bounded, merged, and never later than their deadline."""
import asyncio
import gzip
import hashlib
import hmac
import json
import socket
import time
from typing import Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.config import Config, HttpRequest
from proxy.events import AskRequests, Call
from proxy.services.client import NoAnswer
from proxy.services.requests import DEPTH, RESULTS_BYTES, Requests, _members

from .server import answers, dribbling, endless, endless_head, raw, response, serving, silent, slow_head

pytestmark = pytest.mark.usefixtures("uvloop_only")

SLACK = 20.0
"""Seconds that a loaded machine may add to a deadline."""


def call(state: Literal["asking", "up"] = "up", **variables) -> Call:
    return Call(id="c1", state=state, began=1, caller="sip:+1@a.example", called="sip:2@b.example", variables=variables)


def ask(names: list[str], deadline: float = 5.0, of: Call | None = None) -> AskRequests:
    return AskRequests(ask=7, call=of or call(), names=names, deadline=deadline)


async def asked(folder, requests: list[HttpRequest], question: AskRequests):
    """The answer, and the seconds it took."""
    service = Requests(Config(requests=tuple(requests)), folder)
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        return await service.ask(question), loop.time() - began
    finally:
        await service.close()


def one(folder, behaviour, deadline: float = 5.0, path: str = "", **options):
    """The answer to one request to a server of this behaviour, the seconds it took, and the server."""

    async def run():
        async with serving(behaviour) as server:
            request = HttpRequest(name="crm", url=server.url + path, **options)
            return *await asked(folder, [request], ask(["crm"], deadline)), server

    return asyncio.run(run())


def test_the_call_is_sent_signed(tmp_path):
    (tmp_path / "key").write_text("a secret\n")

    async def run():
        async with serving(answers({"name": "Jo"})) as server:
            request = HttpRequest(name="crm", url=f"{server.url}/hook?a=1", secret_file="key")
            answer, _ = await asked(tmp_path, [request], ask(["crm"], of=call(plan="gold")))
            return answer, server.received

    before = int(time.time())
    answer, (received,) = asyncio.run(run())
    assert (answer.ask, answer.error) == (7, "")
    assert answer.values == {"results": {"data": {"name": "Jo"}, "crm": {"name": "Jo"}}}
    assert received.path == "/hook?a=1"
    assert received.json == {
        "request": "crm", "id": "c1", "from": "sip:+1@a.example", "to": "sip:2@b.example",
        "variables": {"plan": "gold"}}
    stamp = received.headers["x-sipedge-timestamp"]
    assert before <= int(stamp) <= time.time()
    expected = hmac.new(b"a secret", f"{stamp}.".encode() + received.body, hashlib.sha256).hexdigest()
    assert received.headers["x-sipedge-signature"] == f"v1={expected}"


def test_without_a_key_nothing_is_signed(tmp_path):
    _, _, server = one(tmp_path, answers({}))
    assert not [name for name in server.received[0].headers if name.startswith("x-sipedge")]


def test_a_pre_call_answer_stands_at_results_itself(tmp_path):
    async def run():
        async with serving(answers({"data": {"name": "Jo"}, "vip": True})) as server:
            return await asked(tmp_path, [HttpRequest(name="crm", url=server.url)], ask(["crm"], of=call("asking")))

    answer, _ = asyncio.run(run())
    assert answer.values == {"results": {"data": {"name": "Jo"}, "vip": True}}


def test_actions_stand_beside_what_the_pre_call_webhook_said_in_order(tmp_path):
    async def run():
        async with serving(answers({"data": {"price": 5}, "a": 1})) as first, serving(answers({"a": 2})) as second:
            requests = [HttpRequest(name="one", url=first.url), HttpRequest(name="two", url=second.url)]
            of = call(results={"name": "Jo", "data": "old"})
            return await asked(tmp_path, requests, ask(["one", "two", "one"], of=of))

    answer, _ = asyncio.run(run())
    assert answer.values == {"results": {
        "name": "Jo", "data": {"data": {"price": 5}, "a": 2}, "one": {"data": {"price": 5}, "a": 1}, "two": {"a": 2}}}


def test_requests_of_one_question_run_at_once(tmp_path):
    async def run():
        together = asyncio.Barrier(3)

        async def behave(request, writer):
            await together.wait()
            writer.write(response(b"{}"))

        async with serving(behave) as server:
            requests = [HttpRequest(name=name, url=server.url) for name in "abc"]
            return await asked(tmp_path, requests, ask(["a", "b", "c"], 20))

    answer, _ = asyncio.run(run())
    assert answer.error == ""
    assert set(answer.values["results"]) == {"data", "a", "b", "c"}


@pytest.mark.parametrize("behaviour", [silent, dribbling, slow_head])
def test_a_slow_server_is_given_up_before_the_deadline(tmp_path, behaviour):
    answer, took, _ = one(tmp_path, behaviour, 1.0, timeout=30, fallback='{"name":"unknown"}', body_limit=65536)
    assert answer.error == "crm: no answer in time, fallback taken"
    assert answer.values["results"]["crm"] == {"name": "unknown"}
    assert 0.8 < took < 1.0 + SLACK


def test_the_request_s_own_time_out_holds_too(tmp_path):
    answer, took, _ = one(tmp_path, silent, 30.0, timeout=0.3)
    assert answer.error == "crm: no answer in time, no fallback"
    assert answer.values == {"results": {}}
    assert 0.25 < took < 0.3 + SLACK


def test_a_deadline_that_is_over_asks_nobody(tmp_path):
    answer, took, server = one(tmp_path, answers({}), 0.0)
    assert answer.error == "crm: no answer in time, no fallback"
    assert took < SLACK
    assert server.received == []


@pytest.mark.parametrize("behaviour", [endless, endless_head])
def test_an_endless_answer_is_left(tmp_path, behaviour):
    answer, took, _ = one(tmp_path, behaviour, 20.0, timeout=20)
    assert answer.error in ("crm: the answer has more than 16384 bytes, no fallback",
                            "crm: the answer is not HTTP, or ends too early, no fallback")
    assert took < 18


def test_the_limit_is_the_last_byte_that_passes(tmp_path):
    body = b'{"a":"%s"}' % (b"x" * 92)
    assert len(body) == 100
    answer, *_ = one(tmp_path, answers(body), body_limit=100)
    assert answer.error == ""
    answer, *_ = one(tmp_path, answers(body), body_limit=99)
    assert answer.error == "crm: the answer has more than 99 bytes, no fallback"


@pytest.mark.parametrize(("behaviour", "why"), [
    (answers(b"<html>"), "not JSON"),
    (answers(b""), "not JSON"),
    (answers(b'{"a":1}{"b":2}'), "not JSON"),
    (answers(b'{"a":"\xff"}'), "not JSON"),
    (answers(b'{"a":"\\ud800"}'), "not JSON"),
    (answers(b'{"a":NaN}'), "not JSON"),
    (answers(b'{"a":1e999}'), "not JSON"),
    (answers(b"[" * 10_000), "not JSON"),
    (answers([1]), "not a JSON object"),
    (answers("text"), "not a JSON object"),
    (answers(None), "not a JSON object"),
    (answers(b'{"a":18446744073709551616}'), "an integer of more than 64 bits"),
    (answers(b'{"a":' * (DEPTH + 1) + b"1" + b"}" * (DEPTH + 1)), f"more than {DEPTH} levels"),
    (answers({"a": 1}, "500 Internal Server Error"), "status 500"),
    (answers({"a": 1}, "404 Not Found"), "status 404"),
    (answers(gzip.compress(b"{}"), "200 OK", "Content-Encoding: gzip"), "the answer is compressed"),
    (raw(b""), "the answer is not HTTP, or ends too early"),
    (raw(b"SSH-2.0-server\r\n"), "the answer is not HTTP, or ends too early"),
    (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"a":1}'), "the answer is not HTTP, or ends too early"),
    (raw(b'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{"a":1}'), "the answer is not HTTP, or ends too early"),
])
def test_a_wrong_answer_becomes_the_fallback(tmp_path, behaviour, why):
    answer, *_ = one(tmp_path, behaviour, fallback='{"b":2}')
    assert answer.error == f"crm: {why}, fallback taken"
    assert answer.values == {"results": {"data": {"b": 2}, "crm": {"b": 2}}}


def test_the_deepest_answer_that_is_taken_reaches_the_worker(tmp_path):
    answer, *_ = one(tmp_path, answers(b'{"a":' * DEPTH + b"18446744073709551615" + b"}" * DEPTH))
    assert answer.error == ""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(answer))["values"] == answer.values


json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=200) | json_texts)
@example(b'{"":1' + b"0" * 400 + b"}")
def test_whatever_is_taken_can_be_told_to_the_worker(text):
    try:
        found = _members(text)
    except NoAnswer:
        return
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found)) == found


def test_a_redirect_is_not_followed(tmp_path):
    async def run():
        async with serving(answers({"stolen": 1})) as elsewhere:
            moved = answers({}, "307 Temporary Redirect", f"Location: {elsewhere.url}/")
            async with serving(moved) as server:
                answer, _ = await asked(tmp_path, [HttpRequest(name="crm", url=server.url)], ask(["crm"]))
                return answer, elsewhere.received

    answer, elsewhere = asyncio.run(run())
    assert answer.error == "crm: status 307, no fallback"
    assert elsewhere == []


def test_proxies_of_the_environment_are_not_used(tmp_path, monkeypatch):
    async def run():
        async with serving(answers({"from": "proxy"})) as other, serving(answers({"from": "server"})) as server:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, other.url)
            answer, _ = await asked(tmp_path, [HttpRequest(name="crm", url=server.url)], ask(["crm"]))
            return answer, other.received

    answer, other = asyncio.run(run())
    assert answer.values["results"]["crm"] == {"from": "server"}
    assert other == []


def test_a_server_that_is_gone(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    request = HttpRequest(name="crm", url=f"http://user:pass@127.0.0.1:{port}/?token=abc")
    answer, _ = asyncio.run(asked(tmp_path, [request], ask(["crm"])))
    assert answer.error == "crm: no connection, no fallback"


def test_no_url_is_logged(tmp_path, caplog):
    caplog.set_level("DEBUG")
    answer, *_ = one(tmp_path, answers({}), path="/?token=abc")
    assert answer.error == ""
    assert "token" not in caplog.text


@pytest.mark.parametrize("behaviour", [silent, dribbling])
def test_closing_gives_the_fallback_to_who_is_waiting_and_to_who_comes_late(tmp_path, behaviour):
    async def run():
        asked = asyncio.Event()

        async def behave(request, writer):
            asked.set()
            await behaviour(request, writer)

        async with serving(behave) as server:
            request = HttpRequest(name="crm", url=server.url, timeout=3, fallback="{}")
            service = Requests(Config(requests=(request,)), tmp_path)
            waiting = asyncio.create_task(service.ask(ask(["crm"])))
            await asked.wait()
            await service.close()
            return await waiting, await service.ask(ask(["crm"]))

    waiting, late = asyncio.run(run())
    assert waiting.error.endswith(", fallback taken")
    assert late.error == "crm: the edge stops or has a new configuration, fallback taken"


def test_a_name_that_is_not_configured(tmp_path):
    answer, _ = asyncio.run(asked(tmp_path, [], ask(["crm"])))
    assert (answer.error, answer.values) == ("crm: no such request", {"results": {}})


def test_one_slow_server_holds_nobody_else_up(tmp_path):
    async def run():
        full = asyncio.Event()

        async def behave(request, writer):
            if slow.most == 64:
                full.set()
            await silent(request, writer)

        async with serving(behave) as slow, serving(answers({"a": 1})) as fast:
            service = Requests(Config(requests=(
                HttpRequest(name="slow", url=slow.url, timeout=60), HttpRequest(name="fast", url=fast.url))), tmp_path)
            waiting = [asyncio.create_task(service.ask(ask(["slow"], 60))) for _ in range(150)]
            async with asyncio.timeout(60):
                await full.wait()
            answer = await service.ask(ask(["fast"], 10))
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            most = slow.most
            await service.close()
            return answer, most

    answer, most = asyncio.run(run())
    assert answer.error == ""
    assert most == 64


def test_connections_given_up_are_free_again(tmp_path):
    async def run():
        quick = False

        async def behave(request, writer):
            if not quick:
                await silent(request, writer)
            writer.write(response(b'{"a":1}'))

        async with serving(behave) as server:
            service = Requests(Config(requests=(HttpRequest(name="crm", url=server.url),)), tmp_path)
            late = await asyncio.gather(*(service.ask(ask(["crm"], 0.5)) for _ in range(100)))
            quick = True
            answer = await service.ask(ask(["crm"], 20))
            await service.close()
            return late, answer

    late, answer = asyncio.run(run())
    assert {one.error for one in late} == {"crm: no answer in time, no fallback"}
    assert answer.error == ""


def test_results_of_a_call_stay_within_one_message(tmp_path):
    async def run():
        async with serving(answers({"x": "y" * 60_000})) as server:
            names = list("abc")
            requests = [HttpRequest(name=name, url=server.url, body_limit=65_536) for name in names]
            return await asked(tmp_path, requests, ask(names))

    answer, _ = asyncio.run(run())
    assert set(answer.values["results"]) == {"data", "a"}
    assert answer.error.count(f"the results of the call have more than {RESULTS_BYTES} bytes, left out") == 2
    assert len(json.dumps(answer.values)) < RESULTS_BYTES + 100


@pytest.mark.parametrize(("options", "fault"), [
    ({"secret_file": "missing"}, "request crm: cannot read missing: No such file or directory"),
    ({"secret_env": "SIPEDGE_NOT_SET"}, "request crm: the environment has no variable SIPEDGE_NOT_SET"),
    ({"fallback": "[1]"}, "the fallback of request crm: not a JSON object"),
])
def test_what_cannot_be_used_is_said_at_once(tmp_path, options, fault):
    with pytest.raises(ValueError, match=f"^{fault}$".replace("[", r"\[")):
        Requests(Config(requests=(HttpRequest(name="crm", url="http://127.0.0.1:1", **options),)), tmp_path)
