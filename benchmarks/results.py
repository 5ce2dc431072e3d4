"""What a run found, kept as JSON beside its plots."""
from pathlib import Path
from typing import Any

import msgspec


def keep(folder: Path, name: str, found: Any) -> None:
    """Write it to `name`.json in a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
