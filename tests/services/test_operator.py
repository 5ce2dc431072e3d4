"""Bans and draining through the API: what is asked of the supervisor, and what comes of the workers' answers."""
import pytest

from proxy.messages import Operate

from .stage import Stage


def test_a_ban_from_its_beginning_to_its_end(stage):
    made = stage.http.post("/v1/bans", json={"address": "192.0.2.7", "seconds": 60})
    assert (made.status_code, made.headers["location"]) == (201, "/v1/bans/192.0.2.7")
    assert made.json() == {"address": "192.0.2.7", "until": 5, "seconds": 60, "count": 0}
    assert stage.operated[0] == Operate("ban", "192.0.2.7", 60)
    assert stage.http.get("/v1/bans").json() == {"bans": [made.json()]}
    assert stage.http.get(made.headers["location"]).json() == made.json()
    assert stage.http.delete(made.headers["location"]).status_code == 204
    assert [stage.http.request(how, made.headers["location"]).status_code for how in ("GET", "DELETE")] == [404, 404]
    assert stage.http.get("/v1/bans").json() == {"bans": []}


def test_a_ban_of_ipv6_is_one_of_its_network(stage):
    made = stage.http.post("/v1/bans", json={"address": "2001:db8:0:1:2:3:4:5", "seconds": 60})
    assert made.json()["address"] == "2001:db8:0:1::"
    assert stage.http.delete("/v1/bans/2001:db8:0:1::9").status_code == 204


@pytest.mark.parametrize(("body", "field"), [
    ({"address": "phone.example"}, "address"), ({"address": "192.0.2.0/24"}, "address"),
    ({"address": "fe80::1%eth0"}, "address"), ({"seconds": 0}, "seconds"), ({"seconds": 86_401}, "seconds"),
    ({"for": 1}, "for")])
def test_what_is_no_ban_names_its_field(stage, body, field):
    answer = stage.http.post("/v1/bans", json={"address": "192.0.2.7", "seconds": 60} | body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert stage.operated == []


def test_a_target_and_the_edge_are_drained_and_resumed(stage):
    for what in ("drain", "resume"):
        answer = stage.http.post(f"/v1/targets/127.0.0.3/{what}")
        assert answer.json() == {"address": "127.0.0.3:5060", "known": True}
        assert stage.http.post(f"/v1/targets/192.0.2.1:5070/{what}").json()["known"] is False
        assert stage.http.post(f"/v1/edge/{what}").status_code == 204
        assert stage.http.post(f"/v1/targets/pbx.example/{what}").status_code == 404
    assert [(one.what, one.address) for one in stage.operated] == [
        (what, address) for what in ("drain", "resume") for address in ("127.0.0.3:5060", "192.0.2.1:5070", "")]


def test_a_worker_that_does_not_answer(tmp_path):
    with Stage(tmp_path, swap=(("reply_timeout = 60", "reply_timeout = 0.5"),)) as stage:
        stage.silent = True
        answer = stage.http.get("/v1/bans")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
