"""Each key of a TOML file is found where it stands."""
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from proxy.config.lines import line_of, locate

DOCUMENT = '''\
# a comment with = and [brackets]
title = "a # no comment"  # a comment
"quoted key" = 1
a.b.c = [1, [2,
  3], {x = "]", y = """
two
lines \\""" """}]
[table.inner]
text = \'\'\'
[not.a.table]
\'\'\'
date = 2024-01-01T00:00:00Z
[[list]]
name = 'one'
[[list.sub]]
key = "1"
[[list]]
[[list.sub]]
[[list.sub]]
key = "2"
[list.plain]
key = {a = {b = [
  true,
]}}
'''


def test_every_kind_of_key():
    lines = locate(DOCUMENT)
    assert {path: lines[path] for path in (
        ("title",), ("quoted key",), ("a", "b", "c", 0), ("a", "b", "c", 1, 1), ("a", "b", "c", 2, "y"),
        ("table", "inner", "text"), ("table", "inner", "date"), ("list", 0, "name"), ("list", 0, "sub", 0, "key"),
        ("list", 1, "sub", 1, "key"), ("list", 1, "plain", "key", "a", "b", 0))
    } == {
        ("title",): 2, ("quoted key",): 3, ("a", "b", "c", 0): 4, ("a", "b", "c", 1, 1): 5,
        ("a", "b", "c", 2, "y"): 5, ("table", "inner", "text"): 9, ("table", "inner", "date"): 12,
        ("list", 0, "name"): 14, ("list", 0, "sub", 0, "key"): 16, ("list", 1, "sub", 1, "key"): 20,
        ("list", 1, "plain", "key", "a", "b", 0): 23}


def test_what_is_missing_is_told_at_the_table_around_it():
    assert line_of(locate(DOCUMENT), ("list", 1, "sub", 1, "absent", 4)) == 19


def paths(value, path=()):
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from paths(inner, (*path, key))


KEYS = st.text("abcz-_09", min_size=1, max_size=4)
VALUES = st.recursive(
    st.integers() | st.booleans() | st.text("a#=[]{},.'\"\\ é", max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


def written(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ",\n".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {written(inner)}" for key, inner in value.items()) + "}"
    return str(value)


@given(st.dictionaries(KEYS, VALUES, max_size=3), st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3))
def test_every_path_of_any_document_has_a_line(plain, tables):
    text = "".join(f"{key} = {written(value)}\n" for key, value in plain.items())
    for table in tables:
        text += "[[tables]]\n" + "".join(f"{key} = {written(value)} # [x]\n" for key, value in table.items())
    document = tomllib.loads(text)
    lines = locate(text)
    assert set(paths(document)) <= set(lines)
    assert max(lines.values()) <= text.count("\n") + 1
