"""The HTTP API: every route, and every way that it refuses."""
import json
import socket

import msgspec
import pytest

from proxy.config import Action
from proxy.events import CancelTransfer, HangUp, Record, StartTransfer, new_id

from .stage import WAIT, Stage, a_call, a_transfer

ACTION = {"name": "claims", "mode": "blind", "targets": ["sip:2002@127.0.0.3"]}


def add_call(stage: Stage, **more):
    call = a_call(**more)
    stage.stand_in.calls[call.id] = call
    return call


def refused(response, status: int, field: str | None = None) -> dict:
    """The problem (RFC 9457) that an answer is."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict = response.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]]
    return problem


def test_calls_are_listed_page_by_page(stage):
    calls = [add_call(stage, began=number) for number in range(5)]
    found, after = [], ""
    for _ in range(3):
        page = stage.http.get("/v1/calls", params={"limit": 2, "after": after}).json()
        found += [call["id"] for call in page["calls"]]
        after = page["next"]
    assert found == [call.id for call in calls]
    assert after == ""
    refused(stage.http.get("/v1/calls", params={"after": "x"}), 400, "after")
    refused(stage.http.get("/v1/calls", params={"limit": 0}), 400, "limit")
    refused(stage.http.get("/v1/calls", params={"lmit": 5}), 400, "lmit")


def test_a_call_is_shown_with_its_transfers(stage):
    call = add_call(stage)
    transfer = a_transfer(call.id)
    stage.stand_in.transfers[transfer.id] = transfer
    found = stage.http.get(f"/v1/calls/{call.id}").json()
    assert found["call"]["legs"][0]["sip_call_id"] == "abc"
    assert [one["id"] for one in found["transfers"]] == [transfer.id]


@pytest.mark.parametrize("identifier", ["x", new_id(0), new_id(9), "00" + "z" * 24, "%00", "..%2F"],
                         ids=["short", "own worker", "no such worker", "no hexadecimal", "NUL", "path"])
def test_a_call_that_is_not_there(stage, identifier):
    refused(stage.http.get(f"/v1/calls/{identifier}"), 404)
    refused(stage.http.delete(f"/v1/calls/{identifier}"), 404)
    refused(stage.http.post(f"/v1/calls/{identifier}/transfer", json={"action": "desk"}), 404)


def test_a_call_is_hung_up(stage):
    call = add_call(stage)
    assert stage.http.delete(f"/v1/calls/{call.id}").status_code == 202
    assert isinstance(stage.stand_in.told[-1], HangUp)
    assert stage.stand_in.calls == {}


def test_variables_are_set_and_taken_away(stage):
    call = add_call(stage, variables={"old": "1", "results": {"a": 1}})
    answer = stage.http.patch(f"/v1/calls/{call.id}/variables", json={"name": "Ann", "old": None})
    assert answer.json() == {"variables": {"name": "Ann", "results": {"a": 1}}}
    refused(stage.http.patch(f"/v1/calls/{call.id}/variables", json={"name": 1}), 422)
    refused(stage.http.patch(f"/v1/calls/{call.id}/variables", json=[]), 422)


def test_the_conversation_is_added_to(stage):
    call = add_call(stage)
    path = f"/v1/calls/{call.id}/transcript"
    turns = [{"role": "caller", "text": "I want to cancel"}, {"role": "agent", "text": "Why?", "at": 5}]
    assert stage.http.post(path, json={"turns": turns}).status_code == 204
    refused(stage.http.post(path, json={"turns": [{"role": "cat", "text": "a"}]}), 422, "turns[0].role")
    refused(stage.http.post(path, json={"turns": [{"role": "agent", "text": ""}]}), 422, "turns[0].text")
    refused(stage.http.post(path, json={"turns": []}), 422, "turns")
    refused(stage.http.post(path, json={"turn": []}), 422)
    refused(stage.http.post(f"/v1/calls/{new_id(0)}/transcript", json={"turns": turns}), 404)


def test_a_transfer_is_started_watched_and_cancelled(stage):
    call = add_call(stage)
    answer = stage.http.post(f"/v1/calls/{call.id}/transfer", json={
        "action": "desk", "target": "sip:2003@127.0.0.3", "variables": {"name": "Ann"}})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/transfers/{answer.json()['id']}"
    started = stage.stand_in.told[-1]
    assert isinstance(started, StartTransfer)
    assert (started.target, started.variables) == ("sip:2003@127.0.0.3", {"name": "Ann"})
    assert json.loads(stage.http.get(answer.headers["location"]).text)["state"] == "preparing"
    assert stage.http.delete(answer.headers["location"]).status_code == 202
    assert isinstance(stage.stand_in.told[-1], CancelTransfer)
    refused(stage.http.post(f"/v1/calls/{call.id}/transfer", json={"action": "desk"}), 409)


def test_a_transfer_by_a_whole_action(stage):
    call = add_call(stage)
    assert stage.http.post(f"/v1/calls/{call.id}/transfer", json={"action": ACTION}).status_code == 202
    call = add_call(stage)
    path = f"/v1/calls/{call.id}/transfer"
    bad = ACTION | {"targets": ["sips:2002@127.0.0.3"], "headers": [{"name": "From", "value": "x"}]}
    problem = refused(stage.http.post(path, json={"action": bad}), 422, "action.headers[0].name")
    assert "action.targets[0]" in [error["field"] for error in problem["errors"]]
    refused(stage.http.post(path, json={"action": "nobody"}), 422, "action")
    refused(stage.http.post(path, json={"action": ACTION | {"mode": "cold"}}), 422, "action.mode")
    refused(stage.http.post(path, json={"action": "desk", "variables": {"bad": "x"}}), 422, "variables.bad")
    assert call.transfer == ""


def test_a_finished_transfer_is_found_in_the_records(stage):
    transfer = a_transfer(new_id(0), state="failed", status=486, reason="Busy Here", verdict="It was busy.")
    stage.emit(Record(at=1, transfer=transfer))
    stage.until(lambda: stage.http.get(f"/v1/transfers/{transfer.id}").status_code == 200)
    found = stage.http.get(f"/v1/transfers/{transfer.id}").json()
    assert (found["status"], found["reason"], found["verdict"]) == (486, "Busy Here", "It was busy.")
    refused(stage.http.get(f"/v1/transfers/{new_id(0)}"), 404)


def test_actions_are_saved_changed_and_deleted(stage):
    created = stage.http.post("/v1/actions", json=ACTION)
    assert (created.status_code, created.headers["location"]) == (201, "/v1/actions/claims")
    refused(stage.http.post("/v1/actions", json=ACTION), 409, "name")
    changed = ACTION | {"ring_timeout": 12}
    assert stage.http.put("/v1/actions/claims", json=changed).json()["action"]["ring_timeout"] == 12
    assert stage.http.get("/v1/actions/claims").json()["source"] == "saved"
    found = {one["action"]["name"]: one["source"] for one in stage.http.get("/v1/actions").json()["actions"]}
    assert found == {"claims": "saved", "desk": "configuration"}
    saved = stage.until(lambda: stage.stand_in.saved)
    assert [msgspec.msgpack.decode(one, type=Action).name for one in saved] == ["claims"]
    refused(stage.http.put("/v1/actions/claims", json=changed | {"name": "other"}), 422, "name")
    refused(stage.http.put("/v1/actions/nobody", json=changed | {"name": "nobody"}), 404)
    assert stage.http.delete("/v1/actions/claims").status_code == 204
    refused(stage.http.delete("/v1/actions/claims"), 404)
    stage.until(lambda: not stage.stand_in.saved)


def test_actions_of_the_configuration_are_changed_there(stage):
    refused(stage.http.post("/v1/actions", json=ACTION | {"name": "desk"}), 422, "name")
    refused(stage.http.put("/v1/actions/desk", json=ACTION | {"name": "desk"}), 409)
    refused(stage.http.delete("/v1/actions/desk"), 409)


@pytest.mark.parametrize(("change", "field"), [
    ({"name": "a/b"}, "name"), ({"name": "preview"}, "name"), ({"name": ""}, "name"), ({"mode": "cold"}, "mode"),
    ({"targets": ["tel:x"]}, "targets[0]"), ({"colour": 1}, "colour"), ({"keep_agent": True}, "keep_agent"),
    ({"headers": [{"name": "X-A", "value": "a\r\nVia: b"}]}, "headers[0].value"),
    ({"ring_timeout": "5"}, "ring_timeout"), ({"targets": 5}, "targets")])
def test_an_action_that_cannot_work_is_refused_with_its_field(stage, change, field):
    refused(stage.http.post("/v1/actions", json=ACTION | change), 422, field)


def test_an_action_is_previewed(stage):
    header = {"name": "X-Name", "value": "{name}"}
    found = stage.http.post("/v1/actions/preview", json={
        "action": ACTION | {"headers": [header]}, "variables": {"name": "Ann"}}).json()
    (request,) = found["requests"]
    assert (request["method"], request["headers"], found["problems"]) == ("REFER", ["X-Name"], [])
    assert "bytes" in request["budget"]
    found = stage.http.post("/v1/actions/preview", json={"action": ACTION | {"targets": ["x y"]}}).json()
    assert (found["requests"], found["problems"][0]["field"]) == ([], "targets[0]")


def test_upstreams_are_listed_with_their_calls(stage):
    add_call(stage)
    [registration] = stage.http.get("/v1/registrations").json()["registrations"]
    assert (registration["aor"], registration["state"]) == ("sip:edge@trunk.example", "registered")
    assert stage.http.get("/v1/upstreams").json()["upstreams"] == [
        {"name": "pbx", "targets": ["127.0.0.3:5060"], "calls": 1, "max_calls": 0, "states": [
            {"upstream": "pbx", "address": "127.0.0.3:5060", "state": "degraded", "since": 5, "share": 0.5, "calls": 1,
             "failures": 2, "last_failure": "no answer"}]}]


def test_the_access_list_is_shown(stage):
    assert stage.http.get("/v1/access").json()["groups"] == [
        {"name": "phones", "action": "allow", "listeners": [], "addresses": ["127.0.0.0/8"], "trusted": False}]


def test_a_configuration_is_checked_and_what_runs_is_not_touched(stage):
    found = stage.http.post("/v1/configuration/check", content=b"[[listener]]\nname = 1\n").json()
    assert not found["good"]
    assert (found["problems"][0]["field"], found["problems"][0]["line"]) == ("listener[0].name", 2)
    good = b'[[listener]]\nname = "a"\nbind = "udp:127.0.0.1:5060"\n'
    assert stage.http.post("/v1/configuration/check", content=good).json() == {"good": True, "problems": []}
    refused(stage.http.post("/v1/configuration/check", content=b"\xff"), 400)
    assert stage.http.post("/v1/configuration/check", content=b"a = [" * 5000).json()["good"] is False


def test_the_configuration_is_read_again(stage):
    assert stage.http.post("/v1/configuration/reload").json() == {"epoch": 7}
    stage.reload_error = "edge.toml:3: no"
    assert refused(stage.http.post("/v1/configuration/reload"), 409)["detail"] == "edge.toml:3: no"
    stage.reload_error = ""


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/", 404), ("GET", "/v1", 404), ("GET", "/v1/nothing", 404), ("PUT", "/v1/calls", 405),
    ("DELETE", "/v1/upstreams", 405), ("PATCH", "/health/live", 405), ("TRACE", "/v1/calls", 405),
    ("NOTHING", "/v1/calls", 400)])
def test_what_is_not_there_is_a_problem_too(stage, method, path, status):
    refused(stage.http.request(method, path), status)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_bodies_that_are_no_json(stage, body):
    answer = stage.http.post("/v1/actions", content=body)
    refused(answer, 422 if body[:1] in b"n[" and body else 400)


def test_bodies_are_bounded(stage):
    large = b"x" * 262_145
    refused(stage.http.post("/v1/actions", content=large), 413)
    refused(stage.http.post("/v1/configuration/check", content=large), 413)

    def chunks():
        for _ in range(300):
            yield b"x" * 1024

    refused(stage.http.post("/v1/actions", content=chunks()), 413)


@pytest.mark.parametrize("head", [b"GET /health/live HTTP/1.1\r\nX: ", b"GET /"])
def test_a_head_without_an_end_is_not_taken_in(stage, head):
    with socket.create_connection(stage.listener.getsockname(), WAIT) as client:
        client.sendall(head)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.sendall(b"x" * 16_777_216)
    assert stage.ready()


def test_a_worker_that_does_not_answer(stage):
    call = add_call(stage)
    stage.stand_in.hung = True
    stage.swap = (("reply_timeout = 60", "reply_timeout = 0.5"),)
    assert stage.configure().error == ""
    try:
        answer = stage.http.get(f"/v1/calls/{call.id}")
        refused(answer, 503)
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["detail"] == "worker 0 did not reply within 0.5 s"
        assert 0.4 < answer.elapsed.total_seconds() < 20
        assert stage.http.get("/health/live").status_code == 200
    finally:
        stage.swap = ()
        assert stage.configure().error == ""


def test_health_needs_no_worker_and_readiness_does(stage):
    assert stage.http.get("/health/live").json() == {"status": "ok"}
    assert stage.http.get("/health/ready").json()["workers"] == [0]


def test_a_broken_request_is_answered(stage):
    with socket.create_connection(("127.0.0.1", int(stage.url.rpartition(":")[2]))) as raw:
        raw.sendall(b"GARBAGE\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert stage.http.get("/health/live").status_code == 200
