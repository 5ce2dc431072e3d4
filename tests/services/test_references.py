"""Context by reference in the services process: who may redeem it, what comes back, and what outlives what."""
import time
from pathlib import Path

import pytest

from proxy.events import Context
from proxy.policy.references import Token, Tokens
from proxy.services.references import ARRIVAL_SECONDS

from .stage import Stage

KEY, OLD = b"a key of the tests, which is long", b"an old key of the tests, as long."
HEADERS = {"X-Name": "J\u00fcrgen \"J\" M\u00fcller", "X-Empty": "", "X-Intent": "billing question"}
BIND = 'bind = "127.0.0.1:8080"\n'
TABLE = '\n[reference]\nkey_file = "keys"\n'


def a_stage(folder: Path, more: str = "", api: str = "", table: str = "") -> Stage:
    (folder / "keys").write_bytes(KEY + b"\n" + OLD + b"\n")
    (folder / "tokens").write_text("operator")
    (folder / "narrow").write_text("pbx-1\npbx-2\n")
    return Stage(folder, TABLE + table + more, swap=((BIND, BIND + api),) if api else ())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    with a_stage(tmp_path_factory.mktemp("references")) as stage:
        yield stage


def a_token(seconds: int = 600, key: bytes = KEY) -> tuple[str, Token]:
    return Tokens([key]).make(int(time.time()) + seconds)


def put(stage: Stage, token: Token, headers: dict[str, str] | None = None) -> None:
    context = Context(name=token.name, expires=token.expires, headers=HEADERS if headers is None else headers)
    # The process may be ready a moment before it has said so to the worker.
    stage.until(lambda: stage.on_loop(lambda: stage.link.keep(context)))


def status(stage: Stage, text: str, **headers: str) -> int:
    return stage.http.get(f"/v1/context/{text}", headers=headers).status_code


def test_the_headers_come_back_as_they_were_set_as_often_as_asked_for(kept):
    text, token = a_token()
    put(kept, token)
    for _ in range(3):
        answer = kept.http.get(f"/v1/context/{text}")
        assert answer.status_code == 200
        assert answer.json() == {"headers": HEADERS, "expires": 1000 * token.expires}
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("key", [KEY, OLD], ids=["new", "old"])
def test_both_keys_are_accepted(kept, key):
    text, token = a_token(key=key)
    put(kept, token)
    assert status(kept, text) == 200


def test_what_is_no_token_of_ours_is_404(kept):
    text, token = a_token()
    put(kept, token)
    other, _ = Tokens([b"x" * 32]).make(token.expires)
    changed = text[:-1] + ("A" if text[-1] != "A" else "B")
    for wrong in (other, changed, text[:-1], "x", token.name, f"{text}%00", "%F0%9F%98%80", 4000 * "A"):
        answer = kept.http.get(f"/v1/context/{wrong}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == "no context is kept for this token"


def test_a_token_that_is_over_is_410_whatever_is_kept(kept):
    for known in (True, False):
        text, token = a_token(seconds=-1)
        if known:
            put(kept, token)
        answer = kept.http.get(f"/v1/context/{text}")
        assert answer.status_code == 410
        assert answer.json()["title"] == "Gone"


def test_a_good_token_that_nothing_is_kept_for_is_404_after_a_while(kept):
    text, token = a_token()
    assert status(kept, text) == 404
    put(kept, token)
    assert status(kept, text) == 200


def test_whoever_asks_too_early_gets_it_when_it_comes(kept):
    """The peer may ask when the request has only just arrived there, and this process has much to read."""
    def is_had() -> bool:
        """Or it came too late, as the machine stood still."""
        text, token = a_token()
        kept.loop.call_soon_threadsafe(lambda: kept.loop.call_later(0.3, kept.link.keep, Context(
            name=token.name, expires=token.expires, headers=HEADERS)))
        answer = kept.http.get(f"/v1/context/{text}")
        if answer.status_code == 404:
            assert answer.elapsed.total_seconds() >= ARRIVAL_SECONDS
            return False
        assert answer.elapsed.total_seconds() > 0.2
        assert answer.json()["headers"] == HEADERS
        return True

    kept.until(is_had)


def test_it_outlives_this_process_and_the_worker(tmp_path):
    with a_stage(tmp_path) as stage:
        texts = []
        for number in range(700):
            text, token = a_token()
            texts.append(text)
            put(stage, token, {"X-Number": str(number)})
        stage.attach()
        assert status(stage, texts[0]) == 200
        stage.stop()
        stage.start()
        for number in (0, 350, 699):
            assert stage.http.get(f"/v1/context/{texts[number]}").json()["headers"] == {"X-Number": str(number)}
        stage.kill()
        stage.start()
        assert stage.http.get(f"/v1/context/{texts[5]}").json()["headers"] == {"X-Number": "5"}


def test_memory_is_bounded_and_the_database_has_what_has_left_it(tmp_path):
    with a_stage(tmp_path, table="most = 10\n") as stage:
        made = [a_token() for _ in range(10)]
        for _, token in made:
            put(stage, token)
        stage.until(lambda: stage.page.read()["contexts"] == 10)
        # Once the first ten are in the database, they may go.
        stage.until(lambda: b"\0" in _database(tmp_path) and all(token.name.encode() in _database(tmp_path)
                                                                   for _, token in made))
        more, token = a_token()
        put(stage, token)
        assert [status(stage, text) for text, _ in [*made, (more, token)]] == [200] * 11
        page = stage.until(lambda: (found := stage.page.read())["contexts_redeemed"] == 11 and found)
        assert (page["contexts"], page["contexts_lost"]) == (10, 0)
        for _ in range(30):
            put(stage, a_token()[1])
        stage.until(lambda: stage.page.read()["contexts_lost"] > 0)
        assert stage.page.read()["contexts"] == 10


def _database(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("*.db*"))


def test_without_a_database_it_is_had_from_memory(tmp_path):
    with a_stage(tmp_path, '[database]\nurl = "sqlite+aiosqlite:///not-there/edge.db"\n') as stage:
        (text, token), (other, _) = a_token(), a_token()
        put(stage, token)
        assert status(stage, text) == 200
        answer = stage.http.get(f"/v1/context/{other}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        stage.logged("contexts are in memory alone: the database cannot be used")
        # When it comes, it gets what has waited.
        (tmp_path / "not-there").mkdir()
        stage.until(lambda: token.name.encode() in _database(tmp_path / "not-there"))
        assert status(stage, other) == 404


def test_what_is_over_is_deleted(tmp_path):
    with a_stage(tmp_path) as stage:
        _, token = a_token(seconds=5)
        put(stage, token)
        stage.until(lambda: stage.page.read()["contexts"] == 1)
        stage.stop()
        stage.until(lambda: time.time() > token.expires)
        stage.start()
        stage.until(lambda: stage.page.read()["contexts"] == 0)
        text, later = a_token()
        put(stage, later)
        assert status(stage, text) == 200


@pytest.mark.parametrize(("table", "header", "found"), [
    ("", "", 401), ("", "Bearer operator", 200), ("", "Bearer pbx-1", 401),
    ('token_file = "narrow"\n', "", 401), ('token_file = "narrow"\n', "Bearer pbx-2", 200),
    ('token_file = "narrow"\n', "Bearer operator", 200), ('token_file = "narrow"\n', "Bearer pbx", 401),
    ('open_to = ["192.0.2.0/24", "::1"]\n', "", 401), ('open_to = ["127.0.0.0/8"]\n', "", 200),
    ('open_to = ["127.0.0.1"]\n', "Bearer wrong", 200)])
def test_who_may_redeem_it(guarded, table, header, found):
    guarded.more = TABLE + table
    assert guarded.configure().error == ""
    text, token = a_token()
    put(guarded, token)
    headers = {"Authorization": header} if header else {}
    assert status(guarded, text, **headers) == found
    # Nothing else of the API is open to whom that is open to.
    if header != "Bearer operator":
        for path in ("/v1/calls", "/v1/context", "/v1/context/", f"/v1/context/{text}/x", "/v1/context/%2e%2e/calls",
                     "/v1/context/..%2Fcalls", "/schema/openapi.json", f"/v1//context/{text}"):
            assert guarded.http.get(path, headers=headers).status_code in (401, 404)
            if path == "/v1/calls":
                assert guarded.http.get(path, headers=headers).status_code == 401
        assert guarded.http.post(f"/v1/context/{text}", headers=headers).status_code == 401
        assert guarded.http.delete(f"/v1/context/{text}", headers=headers).status_code == 401


def test_an_address_is_where_a_connection_is_from_whatever_a_header_says(guarded):
    guarded.more = TABLE + 'open_to = ["192.0.2.0/24"]\n'
    assert guarded.configure().error == ""
    text, token = a_token()
    put(guarded, token)
    for said in ("192.0.2.7", "nonsense"):
        assert status(guarded, text, **{"X-Forwarded-For": said}) == 401


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with a_stage(tmp_path_factory.mktemp("guarded"), api='token_file = "tokens"\n') as stage:
        yield stage


def test_keys_are_read_again_with_the_configuration(tmp_path):
    with a_stage(tmp_path) as stage:
        made = {key: a_token(key=key) for key in (KEY, OLD, b"n" * 32)}
        for _, token in made.values():
            put(stage, token)
        assert [status(stage, text) for text, _ in made.values()] == [200, 200, 404]
        (tmp_path / "keys").write_bytes(b"n" * 32 + b"\n" + KEY)
        assert stage.configure().error == ""
        assert [status(stage, text) for text, _ in made.values()] == [200, 404, 200]
        (tmp_path / "keys").write_bytes(b"too short")
        assert "key 1 has 9 bytes" in stage.configure().error
        assert [status(stage, text) for text, _ in made.values()] == [200, 404, 200]


def test_the_log_shows_no_token_and_no_key(tmp_path):
    with a_stage(tmp_path) as stage:
        text, token = a_token()
        put(stage, token)
        assert status(stage, text) == 200
        assert status(stage, text[:-1]) == 404
        (tmp_path / "keys").write_bytes(b"too short")
        assert stage.configure().error
        stage.stop()
        said = str(stage.log)
        assert not any(part in said for part in (text, token.name, text[:-1], KEY.decode(), "too short"))
