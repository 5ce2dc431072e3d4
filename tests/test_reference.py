"""The reference of the configuration says what the Structs say."""
from pathlib import Path

from proxy.config import tables
from proxy.reference import render

FILE = Path(__file__).parents[1] / "docs" / "configuration.md"


def test_it_is_up_to_date():
    assert FILE.read_text() == render(), "run: python -m proxy.reference > docs/configuration.md"


def test_every_field_is_described():
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert all(len(line.rstrip("| ").rpartition("|")[2].strip()) > 10 for line in rows)


def test_every_table_has_a_section():
    for field in tables():
        many = isinstance(field.default, tuple)
        assert f"\n## `{f'[[{field.encode_name}]]' if many else f'[{field.encode_name}]'}`\n" in render()
