"""The reference of the configuration says what the Structs say."""
from pathlib import Path

import msgspec

from proxy.config import Config, tables
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


def test_every_table_inside_of_another_has_one_too():
    text, (seen, *_) = render(), msgspec.inspect.multi_type_info([Config])
    waiting, found = [seen], set()
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType) and info.cls not in found:
            found.add(info.cls)
            waiting += [field.type for field in info.fields]
        waiting += [getattr(info, name) for name in ("type", "item_type") if hasattr(info, name)]
        waiting += getattr(info, "types", ())
    assert len(found) > len(tables())
    for struct in found - {Config}:
        assert f"\n\n{' '.join((struct.__doc__ or '').split())}\n\n| key |" in text


def test_no_value_is_none():
    assert "None" not in [cell.strip(" `") for line in render().splitlines() for cell in line.split("|")]
