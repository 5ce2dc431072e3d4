"""The house rules hold in this tree, and each of them notices a tree that breaks it."""
import importlib
from pathlib import Path
from types import ModuleType

import pytest

from .house_rules import (
    LAYERS,
    LONG_REASON,
    MAX_LINES,
    exception_faults,
    import_faults,
    include_faults,
    length_faults,
    module_of,
    residue_faults,
    stub_faults,
)

ROOT = Path(__file__).resolve().parents[1]


def test_imports_go_down_only() -> None:
    assert import_faults(ROOT) == []


def test_no_textual_include() -> None:
    assert include_faults(ROOT) == []


def test_c_functions_say_what_an_exception_does() -> None:
    assert exception_faults(ROOT) == []


def test_stubs_match_the_built_modules() -> None:
    assert stub_faults(ROOT, importlib.import_module) == []


def test_files_stay_short() -> None:
    assert length_faults(ROOT) == []


def test_no_residue() -> None:
    assert residue_faults(ROOT) == []


def test_every_layer_is_checked() -> None:
    for folder in [*(ROOT / "sipcore").glob("*/"), ROOT / "proxy" / "policy"]:
        if folder.is_dir() and folder.name != "__pycache__":
            assert module_of(ROOT, folder / "__init__.py") in LAYERS


def plant(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("name", "text", "targets"),
    [
        ("sipcore/base/a.pyx", "from ..wire cimport message\n", "sipcore.wire.message"),
        ("sipcore/base/__init__.pxd", "from ..wire cimport message\n", "sipcore.wire.message"),
        ("sipcore/wire/a.pxd", "from sipcore.stack cimport layer, build\n", "sipcore.stack.layer sipcore.stack.build"),
        ("sipcore/wire/a.pyx", "cdef int f() except -1:\n    cimport sipcore.net.udp as udp\n", "sipcore.net.udp"),
        ("sipcore/wire/a.pyx", "import re, socket\n", "socket"),
        ("sipcore/wire/a.pyx", "from libc.time cimport time_t, time\n", "libc.time.time"),
        ("sipcore/stack/a.py", "from time import monotonic\n", "time.monotonic"),
        ("sipcore/stack/a.pyx", "from ..net cimport (\n    udp,\n    stream)\n", "sipcore.net.udp sipcore.net.stream"),
        ("sipcore/stack/a.py", "import proxy.config\n", "proxy.config"),
        ("sipcore/net/a.py", "from sipcore import anchor\n", "sipcore.anchor"),
        ("sipcore/net/a.py", "from . import udp\nfrom proxy.cli import main\n", "proxy.cli.main"),
        ("sipcore/media/a.pyx", "from ..base \\\n    cimport slice\nfrom ..wire cimport sdp\n", "sipcore.wire.sdp"),
        ("proxy/policy/a.py", "from sipcore.stack import layer\n", "sipcore.stack.layer"),
        ("proxy/policy/a.py", "def f():\n    import asyncio\n", "asyncio"),
        ("proxy/config/a.py", "from ..policy import acl\n", "proxy.policy.acl"),
        ("proxy/cli.py", "from tests.conftest import corpora\n", "tests.conftest.corpora"),
    ],
)
def test_forbidden_import_is_found(tmp_path: Path, name: str, text: str, targets: str) -> None:
    faults = import_faults(plant(tmp_path, name, text))
    assert [fault.split(",")[0].split()[-1] for fault in faults] == targets.split()


def test_allowed_imports_pass(tmp_path: Path) -> None:
    plant(tmp_path, "sipcore/stack/a.pyx", "from ..base.slice cimport Slice\nfrom . cimport b\nimport cython\n")
    plant(tmp_path, "sipcore/wire/a.pyx", '"""\nimport socket\n"""\n# import time\nX = "\\\nimport asyncio"\n')
    plant(tmp_path, "proxy/policy/a.py", "from sipcore.stack.verdict import Verdict\nfrom .acl import Access\n")
    plant(tmp_path, "proxy/cli.py", "import asyncio\nfrom . import policy\nfrom sipcore.net.udp import Udp\n")
    assert import_faults(tmp_path) == []


def test_textual_include_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "sipcore/wire/a.pyx", 'include "tables.pxi"\n')
    plant(tmp_path, "sipcore/wire/b.pyx", '# include "tables.pxi"\ncdef extern from "a.h":\n    pass\n')
    assert include_faults(tmp_path) == ["sipcore.wire.a includes another file's text: cimport it"]


def test_silent_exception_is_found(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "sipcore/wire/a.pyx",
        """
cdef class Uri:
    cdef int port
    cdef int silent_method(self): return 0
    cdef str text(self): return ""
cdef struct Slice:
    int n
cdef untyped(): pass
cdef Slice of_struct(bytes text, (int, int) pair): return Slice(len(text))
cdef Uri of_class(): return Uri()
cdef inline int said(int a,
                     int (*each)(int) noexcept) except -1: return a
cdef void quiet() noexcept nogil: pass
cpdef const char* pointer(Uri u): return NULL
cpdef enum Kind:
    ONE = 1
cdef int n = len("x")
""",
    )
    assert [fault.split()[1] for fault in exception_faults(tmp_path)] == [
        "silent_method", "untyped", "of_struct", "pointer",
    ]


def test_missing_stub_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "sipcore/wire/a.pyx", "def parse(data):\n    return data\n")
    plant(tmp_path, "sipcore/wire/b.pyx", "cdef int f() except -1:\n    return 0\n")
    faults = stub_faults(tmp_path, importlib.import_module)
    assert faults == ["sipcore.wire.a has no stub, and Python sees parse"]


def test_stub_that_lies_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "sipcore/wire/a.pyx", "def parse(data):\n    return data\n")
    plant(
        tmp_path,
        "sipcore/wire/a.pyi",
        "LIMIT: int\nclass Uri:\n    host: str\n    def text(self, short: bool) -> str: ...\n"
        "def parse(text: bytes) -> Uri: ...\n",
    )
    built = ModuleType("sipcore.wire.a")
    methods = "class Uri:\n    def text(self, short): ...\n    def port(self): ...\n"
    exec(methods + "def parse(data): ...\ndef render(): ...\n", vars(built))
    assert sorted(stub_faults(tmp_path, lambda name: built)) == [
        "sipcore.wire.a.Uri: the module has port, the stub has not",
        "sipcore.wire.a.Uri: the stub has host, the module has not",
        "sipcore.wire.a.parse: the stub says (text), the module (data)",
        "sipcore.wire.a: the module has render, the stub has not",
        "sipcore.wire.a: the stub has LIMIT, the module has not",
    ]


def test_long_file_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "sipcore/wire/a.pyx", "x = 1\n" * (MAX_LINES + 1))
    plant(tmp_path, "sipcore/wire/b.pyx", f'"""A table. {LONG_REASON} it is one table."""\n' + "x = 1\n" * MAX_LINES)
    plant(tmp_path, "sipcore/wire/c.pyx", "x = 1\n" * MAX_LINES)
    faults = length_faults(tmp_path)
    assert len(faults) == 1
    assert faults[0].startswith(f"sipcore/wire/a.pyx has {MAX_LINES + 1} lines")


@pytest.mark.parametrize(
    "text", ["# TO" + "DO: later", "XX" + "X", "see /wor" + "k/notes", "'/roo" + "t/.venv'", "../share" + "d/other"]
)
@pytest.mark.parametrize("name", ["proxy/a.py", "Makefile", ".ci/run", "docs/a.md", "tests/scenarios/a.xml"])
def test_residue_is_found(tmp_path: Path, name: str, text: str) -> None:
    faults = residue_faults(plant(tmp_path, name, f"\n{text}\n"))
    assert len(faults) == 1
    assert faults[0].startswith(f"{name}:2: ")


def test_generated_files_are_not_searched(tmp_path: Path) -> None:
    residue = "TO" + "DO"
    for name in (".venv/lib/a.py", "build/a.py", ".git/config", "sipcore/wire/a.c"):
        plant(tmp_path, name, residue)
    plant(tmp_path, "sipcore/wire/a.pyx", "")
    plant(tmp_path, "docs/a.md", "XXXX, ../shared/corpora, https://example.com/root/ and net/work/")
    assert residue_faults(tmp_path) == []
