"""Runs a fuzz target under libFuzzer: `make fuzz` starts each fuzz_*.py so, `make test` tries their seeds.

A target is a function of the input that fails on a broken promise; what the parsers refuse, it ignores.
"""
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import corpus

FUZZING = Path(sys.argv[0]).name.startswith("fuzz_")


def messages() -> list[bytes]:
    """The shared messages."""
    return [corpus.load(name) for name in corpus.NAMES]


def values(*names: bytes) -> list[bytes]:
    """The values of these headers in the shared messages, each once."""
    found = (line.partition(b": ") for message in messages() for line in message.split(b"\r\n"))
    return list(dict.fromkeys(value for name, colon, value in found if colon and name in names))


def instrumented(*packages: str) -> contextlib.AbstractContextManager[Any]:
    """While it is entered, Python modules of these packages are imported so that libFuzzer sees their branches."""
    if not FUZZING:
        return contextlib.nullcontext()
    import atheris

    return atheris.instrument_imports(include=list(packages))  # type: ignore[no-any-return]


def run(target: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
    """Fuzz from these seeds as the command line says. libFuzzer ends the process: 0 when the time is over."""
    import atheris

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for number, seed in enumerate(seeds):
            Path(folder, f"seed-{number}").write_bytes(seed)
        # It ends the process without leaving the block: the seeds, too, are read before.
        atheris.Setup([*sys.argv, "-timeout=60", folder], target)
        atheris.Fuzz()
