"""Entries of the access list through the API: what is taken, what is refused, and what the supervisor is told."""
import time

import pytest

from .stage import Stage

HOUR_MS = 3_600_000
BANNED = """
[[group]]
name = "banned"
addresses = ["10.9.9.9"]
action = "deny"
"""


def entries(stage: Stage) -> list[dict]:
    found: list[dict] = stage.http.get("/v1/access").json()["entries"]
    return found


def test_an_entry_from_its_beginning_to_its_end(tmp_path):
    with Stage(tmp_path) as stage:
        expires = time.time_ns() // 1_000_000 + HOUR_MS
        body = {"group": "phones", "prefix": "192.0.2.7", "note": "ticket 17", "expires": expires}
        made = stage.http.post("/v1/access", json=body)
        assert made.status_code == 201
        entry = made.json()
        assert entry["prefix"] == "192.0.2.7/32"
        assert (entry["note"], entry["expires"], entry["problem"]) == ("ticket 17", expires, "")
        assert stage.http.get(made.headers["location"]).json() == entry
        assert [(one.group, one.prefix) for one in stage.entries] == [("phones", "192.0.2.7/32")]

        stage.stop()
        stage.entries = []
        stage.start()
        stage.until(lambda: stage.entries)
        assert entries(stage) == [entry]

        assert stage.http.delete(f"/v1/access/{entry['id']}").status_code == 204
        assert stage.entries == []
        for method in ("GET", "DELETE"):
            assert stage.http.request(method, f"/v1/access/{entry['id']}").status_code == 404


@pytest.mark.parametrize(("change", "status", "field"), [
    ({"group": "nobody"}, 422, "group"), ({"prefix": "192.0.2.1/24"}, 422, "prefix"),
    ({"prefix": "phone.example"}, 422, "prefix"), ({"expires": 1}, 422, "expires"), ({"expires": -1}, 422, "expires"),
    ({"note": "x" * 201}, 422, "note"), ({"more": 1}, 422, "more"), ({"prefix": None}, 422, "prefix")])
def test_what_is_refused_names_its_field(stage, change, status, field):
    answer = stage.http.post("/v1/access", json={"group": "phones", "prefix": "192.0.2.0/24"} | change)
    assert answer.status_code == status
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert entries(stage) == []


def test_a_prefix_has_one_group_and_one_entry(tmp_path):
    with Stage(tmp_path, more=BANNED) as stage:
        body = {"group": "phones", "prefix": "192.0.2.0/24"}
        assert stage.http.post("/v1/access", json=body).status_code == 201
        assert stage.http.post("/v1/access", json=body).status_code == 409
        answer = stage.http.post("/v1/access", json=body | {"group": "banned"})
        assert answer.status_code == 422
        assert 'is in group "phones" already' in answer.json()["errors"][0]["detail"]
        assert stage.http.post("/v1/access", json=body | {"prefix": "10.9.9.9"}).status_code == 422

        stage.more = BANNED.replace("10.9.9.9", "192.0.2.0/24")
        assert stage.configure().error == ""
        assert 'is in group "banned" already' in entries(stage)[0]["problem"]


def test_an_entry_that_is_over_is_gone(tmp_path):
    with Stage(tmp_path) as stage:
        expires = time.time_ns() // 1_000_000 + 3000
        made = stage.http.post("/v1/access", json={"group": "phones", "prefix": "192.0.2.7", "expires": expires})
        assert made.status_code == 201
        stage.until(lambda: entries(stage) == [])
        assert time.time_ns() // 1_000_000 >= expires
        assert stage.http.get(made.headers["location"]).status_code == 404
        assert stage.http.post("/v1/access", json={"group": "phones", "prefix": "192.0.2.7"}).status_code == 201
