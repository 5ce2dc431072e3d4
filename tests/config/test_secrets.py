"""Keys of context by reference: several, one a line, and no error names one."""
import pytest

from proxy.config import Reference, reference_keys

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
