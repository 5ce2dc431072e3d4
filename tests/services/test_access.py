"""Who may use the API, and who hears the events."""
import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from proxy.events import Event

from .stage import WAIT, Stage, a_call

TOKENS = "first-token\n\nsecond-token\n"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tokens").write_text(TOKENS)
    bind = 'bind = "127.0.0.1:8080"'
    with Stage(folder, swap=((bind, f'{bind}\ntoken_file = "tokens"'),)) as stage:
        yield stage


@pytest.mark.parametrize(("header", "status"), [
    (None, 401), ("", 401), ("Bearer", 401), ("Bearer wrong", 401), ("Bearer first-toke", 401),
    ("Basic first-token", 401), ("Bearer first-token\tx", 401), ("Bearer first-token", 200),
    ("bearer second-token", 200)])
def test_a_token_is_asked_for(guarded, header, status):
    headers = {} if header is None else {"Authorization": header}
    answer = guarded.http.get("/v1/upstreams", headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["status"] == 401


def test_everything_but_health_wants_it(guarded):
    for path in ("/", "/schema/openapi.json", "/v1/calls", "/v1/nothing", "/health/other"):
        assert guarded.http.get(path).status_code == 401
    assert guarded.http.get("/health/live").status_code == 200
    with pytest.raises(InvalidStatus):
        connect(guarded.url.replace("http", "ws") + "/v1/events", proxy=None)


def test_tokens_are_read_again_with_the_configuration(tmp_path):
    (tmp_path / "tokens").write_text("one")
    bind = 'bind = "127.0.0.1:8080"'
    with Stage(tmp_path, swap=((bind, f'{bind}\ntoken_file = "tokens"'),)) as stage:
        (tmp_path / "tokens").write_text("two")
        assert stage.configure().error == ""
        status = [stage.http.get("/v1/upstreams", headers={"Authorization": f"Bearer {token}"}).status_code
                  for token in ("one", "two")]
        assert status == [401, 200]
        (tmp_path / "tokens").unlink()
        assert "tokens" in stage.configure().error
        assert stage.http.get("/v1/upstreams", headers={"Authorization": "Bearer two"}).status_code == 200


@pytest.mark.parametrize(("headers", "status"), [
    ({"Host": "evil.example"}, 403), ({"Host": "evil.example:80"}, 403), ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403), ({"Host": "localhost:1"}, 200), ({"Host": "[::1]:80"}, 200),
    ({"Host": "127.0.0.1:9", "Origin": "http://127.0.0.1:9"}, 200)])
def test_without_tokens_no_page_of_a_stranger_gets_in(stage, headers, status):
    assert stage.http.get("/v1/upstreams", headers=headers).status_code == status


def test_listeners_hear_what_they_asked_for(stage):
    url = stage.url.replace("http", "ws") + "/v1/events"
    one, other = a_call(), a_call()
    with connect(f"{url}?names=call.*,transfer.completed", proxy=None) as all_, \
            connect(f"{url}?call={other.id}", proxy=None) as some:
        stage.until(lambda: stage.link.wants("anything.else"))
        stage.emit(Event(name="call.started", at=1, call=one), Event(name="transfer.ringing", at=2, call=one),
                   Event(name="transfer.completed", at=3, call=one), Event(name="call.ended", at=4, call=other))
        found = [json.loads(all_.recv(WAIT)) for _ in range(3)]
        assert [event["event"] for event in found] == ["call.started", "transfer.completed", "call.ended"]
        assert json.loads(some.recv(WAIT))["call"]["id"] == other.id
        some.send("whatever")
    stage.until(lambda: not stage.link.wants("call.started"))


def test_a_listener_that_does_not_read_loses_its_own_events_and_is_told_how_many(stage):
    url = stage.url.replace("http", "ws") + "/v1/events?names=call.started"
    call = a_call(variables={"long": "x" * 12_000})
    many = 3000
    with connect(url, proxy=None, max_queue=1, compression=None) as slow, \
            connect(url, proxy=None, max_queue=None) as good:
        stage.until(lambda: stage.link.wants("call.started"))
        for first in range(0, many, 500):
            numbers = range(first, first + 500)
            stage.emit(*(Event(name="call.started", at=number, call=call) for number in numbers))
            # Who reads gets all of them, in order, whatever the other one does.
            assert [json.loads(good.recv(WAIT))["at"] for _ in numbers] == list(numbers)
        heard: list[int] = []
        dropped = 0
        while len(heard) + dropped < many:
            event = json.loads(slow.recv(WAIT))
            if event["event"] == "stream.dropped":
                dropped += event["count"]
            else:
                heard.append(event["at"])
        assert dropped > 0
        assert heard == sorted(heard)
        assert heard[-1] == many - 1


def test_a_pattern_that_is_too_long_is_refused(stage):
    with pytest.raises((ConnectionClosed, InvalidStatus)):
        connect(f"{stage.url.replace('http', 'ws')}/v1/events?names={'x' * 100}", proxy=None).recv(WAIT)
