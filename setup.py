"""Builds one Cython extension for each .pyx under sipcore/ and benchmarks/, and for each .py that has a .pxd beside it:
Python whose classes are compiled with the types that the .pxd gives.

SIPCORE_DEBUG=1 adds index checks and live-object counters, SIPCORE_SANITIZE=1 AddressSanitizer and
UndefinedBehaviorSanitizer, SIPCORE_COVERAGE=1 line tracing for coverage. A built file does not know its switches:
give each combination a source tree of its own (`make debug-test` does). SIPCORE_BUILT=1 builds nothing: where the
modules stand in the tree already, pip would build them a second time to install the command.

The relay's program for the kernel needs a compiler of its own (bpf-gcc). Without one it is left out, and the relay does
without it.
"""
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG, SANITIZE, COVERAGE = (os.environ.get(f"SIPCORE_{name}") == "1" for name in ("DEBUG", "SANITIZE", "COVERAGE"))
BUILT = os.environ.get("SIPCORE_BUILT") == "1"
JOBS = os.cpu_count() or 1
DIRECTIVES = {
    "language_level": 3,
    "embedsignature": True,
    "boundscheck": True,
    "wraparound": False,
    "cdivision": True,
    "freethreading_compatible": False,
    "linetrace": COVERAGE,
}

# Flags stand behind the interpreter's own (-O2 or -O3, -DNDEBUG), and the last one wins.
if DEBUG:
    cflags, macros = ["-Og", "-UNDEBUG"], [("SIPCORE_CHECKED", "1")]
else:
    # Without stubs between modules a rare packet wakes fewer pages of code.
    cflags, macros = ["-O3", "-fno-semantic-interposition", "-fno-plt"], []
# Lines for profiles and the sanitizers' reports; what a debugger would need beside them costs a third of the build.
cflags += ["-g1"]
# Cython leaves code behind a return, and functions and names of inline code that a module does not call. It counts with
# an int where a range ends with an unsigned one, keeps constant text in plain pointers, and asks None what it is only
# after gcc has seen what would be read of it.
cflags += [f"-Wno-{name}" for name in ("unreachable-code", "unused-function", "unused-const-variable", "sign-compare",
                                       "discarded-qualifiers", "array-bounds")]
if SANITIZE:
    # Linked against no runtime: the process brings one (libasan and libubsan for tests, the fuzzer's for fuzzing).
    cflags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    cflags += ["-fsanitize-coverage=trace-pc,trace-cmp", "-include", "sipcore/base/coverage.h"]
if COVERAGE:
    macros.append(("CYTHON_TRACE", "1"))

# What a module is linked against, beside the C library.
LIBRARIES = {"sipcore.net.tls": ["ssl", "crypto"]}


def modules(paths: Iterable[Path], **directives: bool) -> list[Extension]:
    """One extension a file."""
    return cythonize([
        Extension(
            name := ".".join(path.with_suffix("").parts),
            [str(path)],
            libraries=LIBRARIES.get(name, []),
            include_dirs=["sipcore/base", "sipcore/net"],
            extra_compile_args=cflags,
            define_macros=macros,
            depends=[str(header) for header in Path("sipcore").rglob("*.h")],
        )
        for path in sorted(paths)
    ], compiler_directives=DIRECTIVES | directives, nthreads=JOBS)


def build_program(source: Path) -> None:
    """The instructions of a program for the kernel, beside its source."""
    built = source.with_suffix("")
    needed = max(path.stat().st_mtime for path in [source, *source.parent.glob("*.h")])
    if built.exists() and built.stat().st_mtime >= needed:
        return
    # One of other sources has another idea of what it shares with the thread.
    built.unlink(missing_ok=True)
    if shutil.which("bpf-gcc") is None:
        return
    made = Path("build") / source.with_suffix(".o").name
    made.parent.mkdir(exist_ok=True)
    # The kernel's headers are the system's, behind those of the compiler.
    headers = [option for folder in ("/usr/include", f"/usr/include/{os.uname().machine}-linux-gnu")
               for option in ("-idirafter", folder)]
    # Who has not all rights of root may write nothing where a pointer was kept on the stack.
    subprocess.run(["bpf-gcc", "-O2", "-fno-ira-share-spill-slots", "-mcpu=v3", "-ffreestanding", "-Wall", "-Werror",
                    *headers, "-c", str(source), "-o", str(made)], check=True)
    subprocess.run(["bpf-objcopy", "-O", "binary", "-j", ".text", str(made), str(built)], check=True)


# Of these, what Python says counts but for its types, which are for the type checker: negative indices, division, None.
typed = {path for pxd in Path("sipcore").rglob("[!_]*.pxd") if (path := pxd.with_suffix(".py")).exists()}
if not BUILT:
    build_program(Path("sipcore/media/offload.bpf.c"))
setup(
    ext_modules=[] if BUILT else [
        *modules([*Path("sipcore").rglob("*.pyx"), *Path("benchmarks").rglob("*.pyx")]),
        *modules(typed, annotation_typing=False, nonecheck=True, wraparound=True, cdivision=False)],
    options={"build_ext": {"parallel": JOBS}},
)
