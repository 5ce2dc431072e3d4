"""House rules that no other tool checks: who may import whom, stubs that tell the truth, no residue.

Each rule is a function from a source tree to a list of complaints, empty where the rule is kept.
"""
import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GenericAlias, ModuleType, UnionType

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
    # The configuration's Structs are plain data, and decoding them needs nothing above.
    "proxy.config": ("sipcore.base", "sipcore.wire", "proxy.config"),
    "proxy.policy": (
        "sipcore.base", "sipcore.wire", "sipcore.stack.verdict", "sipcore.stack.outgoing", "proxy.config",
        "proxy.policy",
    ),
    "proxy.calls": (
        *BELOW_STACK, "sipcore.anchor", "sipcore.media", "proxy.config", "proxy.events", "proxy.policy",
        "proxy.calls",
    ),
    # What is said between processes is plain data too.
    "proxy.events": ("proxy.config",),
    "proxy": ("sipcore", "proxy"),
}
# Layers without sockets, clocks, logs or tasks: their callers have those. (Of libc.time, only what reads the clock.)
SANS_IO = ("sipcore.wire", "sipcore.stack", "sipcore.anchor", "proxy.policy", "proxy.calls")
IO_MODULES = {
    "asyncio", "datetime", "libc.time.clock", "libc.time.time", "logging", "posix", "select", "selectors", "signal",
    "socket", "ssl", "structlog", "subprocess", "threading", "time", "uvloop",
}

MAX_LINES = 450
LONG_REASON = "Long because"
TEXT_SUFFIXES = {
    "", ".c", ".cfg", ".h", ".html", ".in", ".js", ".json", ".md", ".pxd", ".py", ".pyi", ".pyx", ".sh", ".toml",
    ".txt", ".xml", ".yml",
}
# Folders of the tree that building and running make.
_MADE = {"build", "dist", "out", "sipedge.egg-info"}
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

_C_FUNCTION = re.compile(
    r"^[ \t]*cp?def[ \t]+(?:(?:inline|api|public)[ \t]+)*(?P<type>[\w.\[\], \t*&]*?)[ \t]*\b(?P<name>\w+)\(",
    re.MULTILINE,
)
_CLASS = re.compile(r"^[ \t]*(?:cdef[ \t]+)?class[ \t]+(\w+)", re.MULTILINE)
_BLOCKS = {"class", "enum", "extern", "packed", "struct", "union"}
_PYTHON_TYPES = {"object", "bytes", "bytearray", "dict", "frozenset", "list", "memoryview", "set", "str", "tuple"}


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


def exception_faults(root: Path) -> list[str]:
    """C functions whose signature leaves open what an exception does (noexcept, except, or a Python result)."""
    texts = {path: code_of(path.read_text()) for path in sources(root, ".pyx", ".pxd")}
    python_types = _PYTHON_TYPES.union(*(_CLASS.findall(text) for text in texts.values()))
    faults = []
    for path, text in texts.items():
        for match in _C_FUNCTION.finditer(text):
            result = match["type"].strip()
            if result in python_types or _BLOCKS & set(result.split()):
                continue
            depth, end = 1, match.end()
            while depth and end < len(text):
                depth += (text[end] == "(") - (text[end] == ")")
                end += 1
            if not re.match(r"[ \t]*(?:noexcept|except)\b", text[end:]):
                faults.append(f"{path.relative_to(root)}: {match['name']} says neither noexcept nor except")
    return faults


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
            and (isinstance(value, GenericAlias | UnionType) or getattr(value, "__module__", module) == module)
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
                generated = inner.suffix == ".c" and any(inner.with_suffix(name).exists() for name in (".pyx", ".py"))
                if inner.is_file() and inner.suffix in TEXT_SUFFIXES and not generated:
                    yield inner
        elif path.is_file() and path.suffix in TEXT_SUFFIXES and path.name != ".git":
            yield path
