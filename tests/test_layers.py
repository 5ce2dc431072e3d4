"""House rules that no other tool checks: who may import whom, stubs that tell the truth, no residue.

Each rule is a function from a source tree to a list of complaints (empty where the rule is kept), so that the rules
themselves are tested on bad trees at the end.
"""
import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A layer, then what of the project it may import. The longest matching prefix is the layer of a module.
BELOW_STACK = ("sipcore.base", "sipcore.wire", "sipcore.stack")
LAYERS = {
    "sipcore": (),
    "sipcore.base": ("sipcore.base",),
    "sipcore.wire": ("sipcore.base", "sipcore.wire"),
    "sipcore.stack": BELOW_STACK,
    "sipcore.media": ("sipcore.base", "sipcore.media"),
    "sipcore.anchor": (*BELOW_STACK, "sipcore.media", "sipcore.anchor"),
    "sipcore.net": (*BELOW_STACK, "sipcore.net"),
    "proxy.policy": ("sipcore.base", "sipcore.wire", "sipcore.stack.verdict", "proxy.policy"),
    "proxy.calls": (*BELOW_STACK, "sipcore.anchor", "sipcore.media", "proxy.policy", "proxy.calls"),
    "proxy": ("sipcore", "proxy"),
}
# Layers without sockets, clocks, logs or tasks: their callers have those.
SANS_IO = ("sipcore.wire", "sipcore.stack", "sipcore.anchor", "proxy.policy")
IO_MODULES = {
    "asyncio", "datetime", "libc.time", "logging", "posix", "select", "selectors", "signal", "socket", "ssl",
    "structlog", "subprocess", "threading", "time", "uvloop",
}  # fmt: skip

MAX_LINES = 450
LONG_REASON = "Long because"
TEXT_SUFFIXES = {
    "", ".c", ".cfg", ".h", ".html", ".in", ".js", ".json", ".md", ".pxd", ".py", ".pyi", ".pyx", ".sh", ".toml",
    ".txt", ".xml", ".yml",
}  # fmt: skip
# Written so that this file does not match itself.
RESIDUE = {
    r"\b(?:TO[D]O|FIX[M]E|XX[X])\b": "unfinished work",
    r"(?<![\w.])/(?:wor[k]|roo[t]|hom[e]/\w+)/": "a path of one machine",
    r"\.\./share[d]/(?!corpora|clients)": "a folder that is not part of the project",
}

_STRING_OR_COMMENT = re.compile(
    r'(?:"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')|\#[^\n]*'
)
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<base>[.\w]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n;]+)"
    r"|c?import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)
_PYTHON_API = re.compile(r"^(?:cdef class|class|async def|def|cpdef\b[^(\n]*?) ?(?P<name>\w+)[(:]", re.MULTILINE)


def sources(root: Path, *suffixes: str) -> Iterator[Path]:
    """Files below sipcore/ and proxy/ with these suffixes."""
    for top in ("sipcore", "proxy"):
        yield from sorted(path for path in (root / top).rglob("*") if path.suffix in suffixes)


def module_of(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def code_of(text: str) -> str:
    """The text with strings emptied and comments removed; line numbers stay."""

    def blank(match: re.Match[str]) -> str:
        return ("" if match[0][0] == "#" else '""') + "\n" * match[0].count("\n")

    return _STRING_OR_COMMENT.sub(blank, text).replace("\\\n", " ")


def imports_of(root: Path, path: Path) -> Iterator[str]:
    """Absolute dotted names that a .py, .pyi, .pyx or .pxd file imports or cimports.

    `from a import b` yields a.b, because b may be a module.
    """
    package = path.relative_to(root).parent.parts
    for match in _IMPORT.finditer(code_of(path.read_text())):
        listed = (match["names"] or match["modules"]).strip("() \t").replace("\n", " ")
        names = [words[0] for words in (entry.split() for entry in listed.split(",")) if words]
        if (base := match["base"]) is None:
            yield from names
            continue
        dots = len(base) - len(base.lstrip("."))
        if dots:
            base = ".".join([*package[: len(package) - dots + 1], *filter(None, [base.lstrip(".")])])
        yield from (base if name == "*" else f"{base}.{name}" for name in names)


def import_faults(root: Path) -> list[str]:
    faults = []
    for path in sources(root, ".py", ".pyi", ".pyx", ".pxd"):
        module = module_of(root, path)
        layer = max((name for name in LAYERS if within(module, name)), key=len)
        for target in imports_of(root, path):
            top = target.split(".")[0]
            if top in ("sipcore", "proxy"):
                if not any(within(target, allowed) for allowed in LAYERS[layer]):
                    faults.append(f"{module} imports {target}, which {layer} may not see")
            elif top in ("tests", "benchmarks"):
                faults.append(f"{module} imports {target}, which is not part of the product")
            elif layer in SANS_IO and any(within(target, name) for name in IO_MODULES):
                faults.append(f"{module} imports {target}, and {layer} does no I/O and reads no clock")
    return faults


def include_faults(root: Path) -> list[str]:
    return [
        f"{module_of(root, path)} includes another file's text: cimport it"
        for path in sources(root, ".pyx", ".pxd")
        if re.search(r'^[ \t]*include[ \t]+""', code_of(path.read_text()), re.MULTILINE)
    ]


def stub_faults(root: Path, load: Callable[[str], object]) -> list[str]:
    """Compares each .pyi with the module that load gives for its name: names, members, parameters."""
    faults = []
    for path in sources(root, ".pyx"):
        module, stub = module_of(root, path), path.with_suffix(".pyi")
        public = [name for name in _PYTHON_API.findall(code_of(path.read_text())) if not name.startswith("_")]
        if not stub.exists():
            if public:
                faults.append(f"{module} has no stub, and Python sees {', '.join(public)}")
            continue
        imported = {name.rpartition(".")[2] for name in imports_of(root, path)}
        built = {
            name: value
            for name, value in vars(load(module)).items()
            if not name.startswith("_")
            and name not in imported
            and not isinstance(value, ModuleType)
            and getattr(value, "__module__", module) == module
        }
        faults += _stub_differences(module, ast.parse(stub.read_text()).body, built)
    return faults


def _stub_differences(where: str, body: list[ast.stmt], built: dict[str, object]) -> Iterator[str]:
    declared: dict[str, list[ast.stmt]] = {}
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                declared.setdefault(name, []).append(node)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                declared.setdefault(name, []).append(node)
    declared = {name: nodes for name, nodes in declared.items() if not name.startswith("_")}
    yield from (f"{where}: the stub has {name}, the module has not" for name in sorted(declared.keys() - built.keys()))
    yield from (f"{where}: the module has {name}, the stub has not" for name in sorted(built.keys() - declared.keys()))
    for name in declared.keys() & built.keys():
        match declared[name], built[name]:
            case [ast.ClassDef() as node], type() as cls:
                members = {key: value for key, value in vars(cls).items() if not key.startswith("_")}
                yield from _stub_differences(f"{where}.{name}", node.body, members)
            case [ast.FunctionDef() as node], value if callable(value):
                try:
                    actual = list(inspect.signature(value).parameters)
                except ValueError:  # a C-level slot without a text signature
                    continue
                arguments = node.args
                stated = [arg.arg for arg in arguments.posonlyargs + arguments.args]
                stated += [arguments.vararg.arg] if arguments.vararg else []
                stated += [arg.arg for arg in arguments.kwonlyargs]
                stated += [arguments.kwarg.arg] if arguments.kwarg else []
                if actual != stated:
                    yield f"{where}.{name}: the stub says ({', '.join(stated)}), the module ({', '.join(actual)})"


def length_faults(root: Path) -> list[str]:
    faults = []
    for top in ("sipcore", "proxy", "benchmarks", "tests"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in {".py", ".pyx", ".pxd", ".h"}:
                lines = path.read_text().splitlines()
                if len(lines) > MAX_LINES and LONG_REASON not in "\n".join(lines[:30]):
                    faults.append(
                        f"{path.relative_to(root)} has {len(lines)} lines: give its second noun a file of its own, "
                        f"or say in the header '{LONG_REASON} ...'"
                    )
    return faults


def residue_faults(root: Path) -> list[str]:
    faults = []
    for path in sorted(_project_files(root)):
        text = path.read_text()
        for pattern, what in RESIDUE.items():
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                faults.append(f"{path.relative_to(root)}:{line}: {match[0]!r} is {what}")
    return faults


def _project_files(root: Path) -> Iterator[Path]:
    """Text files of the project: neither generated ones nor those of an environment or a cache."""
    for path in root.iterdir():
        if path.name == ".ci" or (path.is_dir() and not path.name.startswith(".") and path.name not in _MADE):
            for inner in path.rglob("*"):
                generated = inner.suffix == ".c" and inner.with_suffix(".pyx").exists()
                if inner.is_file() and inner.suffix in TEXT_SUFFIXES and not generated:
                    yield inner
        elif path.is_file() and path.suffix in TEXT_SUFFIXES and path.name != ".git":
            yield path


_MADE = {"build", "dist", "out", "sipedge.egg-info"}


def test_imports_go_down_only() -> None:
    assert import_faults(ROOT) == []


def test_no_textual_include() -> None:
    assert include_faults(ROOT) == []


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
        ("sipcore/wire/a.pyx", "from libc.time cimport time_t\n", "libc.time.time_t"),
        ("sipcore/stack/a.py", "from time import monotonic\n", "time.monotonic"),
        ("sipcore/stack/a.pyx", "from ..net cimport (\n    udp,\n    stream)\n", "sipcore.net.udp sipcore.net.stream"),
        ("sipcore/stack/a.py", "import proxy.config\n", "proxy.config"),
        ("sipcore/net/a.py", "from sipcore import anchor\n", "sipcore.anchor"),
        ("sipcore/net/a.py", "from . import udp\nfrom proxy.cli import main\n", "proxy.cli.main"),
        ("sipcore/media/a.pyx", "from ..base \\\n    cimport slice\nfrom ..wire cimport sdp\n", "sipcore.wire.sdp"),
        ("proxy/policy/a.py", "from sipcore.stack import layer\n", "sipcore.stack.layer"),
        ("proxy/policy/a.py", "def f():\n    import asyncio\n", "asyncio"),
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
