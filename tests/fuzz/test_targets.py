"""Every fuzz target takes its own seeds, and a few broken ones: what `make fuzz` then starts from."""
import importlib
import random
from pathlib import Path

import pytest

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("fuzz_*.py"))
ODD = [b"", b"\0", b"\r\n", b'"', b";", b"\xff", b"%", b"<"]


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name):
    module = importlib.import_module(f"tests.fuzz.{name}")
    assert module.SEEDS
    for seed in module.SEEDS:
        module.target(seed)


@pytest.mark.parametrize("name", NAMES)
def test_broken_seeds(name):
    module = importlib.import_module(f"tests.fuzz.{name}")
    chance = random.Random(name)
    for _ in range(60):
        data = bytearray(chance.choice(module.SEEDS))
        for _ in range(chance.randint(1, 4)):
            place = chance.randint(0, len(data))
            data[place:place + chance.randint(0, 3)] = chance.choice(ODD)
        module.target(bytes(data))
