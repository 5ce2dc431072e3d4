"""Builds one Cython extension for each .pyx under sipcore/.

SIPCORE_DEBUG=1 adds index checks and live-object counters, SIPCORE_SANITIZE=1 AddressSanitizer and
UndefinedBehaviorSanitizer, SIPCORE_COVERAGE=1 line tracing for coverage.
"""
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG, SANITIZE, COVERAGE = (os.environ.get(f"SIPCORE_{name}") == "1" for name in ("DEBUG", "SANITIZE", "COVERAGE"))
DIRECTIVES = {
    "language_level": 3,
    "embedsignature": True,
    "boundscheck": True,
    "wraparound": False,
    "cdivision": True,
    "freethreading_compatible": False,
    "linetrace": COVERAGE,
}

cflags, ldflags, macros = ["-O3", "-fno-semantic-interposition", "-Wno-unreachable-code"], [], []
if DEBUG:
    cflags += ["-O1", "-g"]
    macros.append(("SIPCORE_CHECKED", "1"))
if SANITIZE:
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g"]
    cflags += flags
    ldflags += flags
if COVERAGE:
    macros.append(("CYTHON_TRACE", "1"))

extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        include_dirs=["sipcore/base"],
        extra_compile_args=cflags,
        extra_link_args=ldflags,
        define_macros=macros,
        depends=[str(header) for header in Path("sipcore/base").glob("*.h")],
    )
    for path in sorted(Path("sipcore").rglob("*.pyx"))
]
setup(ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, nthreads=os.cpu_count() or 1))
