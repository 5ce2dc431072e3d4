"""Builds one Cython extension for each .pyx under sipcore/ and benchmarks/.

SIPCORE_DEBUG=1 adds index checks and live-object counters, SIPCORE_SANITIZE=1 AddressSanitizer and
UndefinedBehaviorSanitizer, SIPCORE_COVERAGE=1 line tracing for coverage. A built file does not know its switches:
give each combination a source tree of its own (`make debug-test` does).
"""
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG, SANITIZE, COVERAGE = (os.environ.get(f"SIPCORE_{name}") == "1" for name in ("DEBUG", "SANITIZE", "COVERAGE"))
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
    cflags, macros = ["-O1", "-g", "-UNDEBUG"], [("SIPCORE_CHECKED", "1")]
else:
    cflags, macros = ["-O3", "-fno-semantic-interposition"], []
# Cython leaves code behind a return, and functions and names of inline code that a module does not call.
cflags += ["-Wno-unreachable-code", "-Wno-unused-function", "-Wno-unused-const-variable"]
if SANITIZE:
    # Linked against no runtime: the process brings one (libasan and libubsan for tests, the fuzzer's for fuzzing).
    cflags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g"]
    cflags += ["-fsanitize-coverage=trace-pc,trace-cmp", "-include", "sipcore/base/coverage.h"]
if COVERAGE:
    macros.append(("CYTHON_TRACE", "1"))

extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        include_dirs=["sipcore/base", "sipcore/net"],
        extra_compile_args=cflags,
        define_macros=macros,
        depends=[str(header) for header in Path("sipcore").rglob("*.h")],
    )
    for path in sorted([*Path("sipcore").rglob("*.pyx"), *Path("benchmarks").rglob("*.pyx")])
]
setup(
    ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, nthreads=JOBS),
    options={"build_ext": {"parallel": JOBS}},
)
