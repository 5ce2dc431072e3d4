"""The key of the tokens, and those of context by reference: several, one a line, and no error names one."""
import os

import pytest

from proxy.config import Reference, Secrets, reference_keys, token_key

KEY, OTHER = "k" * 32, "secret" * 6


def test_one_a_line_the_one_that_signs_first(tmp_path):
    (tmp_path / "keys").write_text(f"\n{OTHER}  \n\n{KEY}\r\n")
    assert reference_keys(Reference(key_file="keys"), tmp_path) == [OTHER.encode(), KEY.encode()]


def test_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTEXT_KEYS", f"{KEY}\n{OTHER}")
    assert reference_keys(Reference(key_env="CONTEXT_KEYS"), tmp_path) == [KEY.encode(), OTHER.encode()]


def test_none_where_none_is_named(tmp_path):
    assert reference_keys(Reference(), tmp_path) == []


@pytest.mark.parametrize(("text", "why"), [
    ("", "is empty"), (" \n", "is empty"), (f"{KEY}\nsecret", "key 2 has 6 bytes, expected 32 at least"),
    ("\n".join([OTHER] * 9), "has 9 keys, expected 8 at most")], ids=["nothing", "blank", "short", "many"])
def test_what_is_wrong_is_said_without_a_key(tmp_path, text, why):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ValueError, match=why) as caught:
        reference_keys(Reference(key_file="keys"), tmp_path)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot read keys: No such file"):
        reference_keys(Reference(key_file="keys"), tmp_path)


@pytest.mark.parametrize(("text", "key"), [
    (b"k" * 32, b"k" * 32), (b"k" * 32 + b"\n", b"k" * 32), (b"k" * 32 + b"\r\n", b"k" * 32),
    (b" " + b"k" * 31 + b"\n", b" " + b"k" * 31), (bytes(range(1, 32)) + b"\n", bytes(range(1, 32)) + b"\n"),
    (b"\t" + b"k" * 30 + b" ", b"\t" + b"k" * 30 + b" "), (b"\xff" * 31 + b"\n", b"\xff" * 31 + b"\n")],
    ids=["as it is", "line", "line of Windows", "blank at the start", "bytes", "blanks", "no text"])
@pytest.mark.parametrize("where", ["file", "env"])
def test_the_key_of_the_tokens_loses_a_line_end_and_no_byte_more(tmp_path, monkeypatch, where, text, key):
    (tmp_path / "key").write_bytes(text)
    monkeypatch.setenv("TOKEN_KEY", os.fsdecode(text))
    secrets = Secrets(token_key_file="key") if where == "file" else Secrets(token_key_env="TOKEN_KEY")
    assert token_key(secrets, tmp_path) == key


@pytest.mark.parametrize(("text", "why"), [
    ("", "is empty"), ("k" * 31 + "\n", "has 31 bytes"), (" " * 40, "is empty"),
    (" " * 31 + "\n", "is empty"), ("secret" * 5 + "\n", "has 30 bytes")])
@pytest.mark.parametrize("where", ["file", "env"])
def test_a_key_of_the_tokens_that_is_none(tmp_path, monkeypatch, where, text, why):
    (tmp_path / "key").write_text(text)
    monkeypatch.setenv("TOKEN_KEY", text)
    secrets = Secrets(token_key_file="key") if where == "file" else Secrets(token_key_env="TOKEN_KEY")
    with pytest.raises(ValueError, match=why) as caught:
        token_key(secrets, tmp_path)
    assert "secret" not in str(caught.value)


def test_no_key_of_the_tokens_where_none_is_named(tmp_path):
    assert token_key(Secrets(), tmp_path) == b""
