"""Compile every ``feedd/**/*.pyx``; the rest of the metadata is in pyproject.toml."""

import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, PlatformError

ROOT = Path(__file__).parent
INCLUDE = [
    "feedd/shm/include",
    *(f"feedd/{part}/src" for part in ("decode", "book", "pipeline", "bench")),
]
SANITIZE = os.environ.get("FEEDD_SANITIZE", "")  # e.g. "address": see `make asan`

CFLAGS = ["-std=gnu11", "-fno-strict-aliasing", "-Wall", "-Wno-unused-function"]
LDFLAGS: list[str] = []
# -O3 where a message passes; elsewhere it only doubles the time to compile
HOT = ("feedd/pipeline/", "feedd/decode/native.pyx", "feedd/client/", "feedd/reader/line.pyx")
# A jump at the end of 32 bytes takes these out of the cache of decoded instructions of Intel's
# processors from 2015 to 2019 (erratum SKX102 and others): the assembler moves it, where it can.
NO_JUMP_AT_32 = "-Wa,-mbranches-within-32B-boundaries"
# -O1 where the code runs seldom, or in tests only: a third less to compile
COLD = tuple(
    f"feedd/{name}.pyx"
    for name in (
        *("decode/plan", "decode/probe", "pipeline/alarms", "pipeline/core", "pipeline/twice"),
        *("shm/counters", "shm/instruments"),
    )
)
# What takes longest to compile comes first: none is left to run alone at the end. Of the others the
# size of the source tells.
LONGEST = tuple(f"feedd/{name}.pyx" for name in ("decode/native", "decode/plan", "bench/loop"))
if SANITIZE:
    CFLAGS += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-O1", "-g"]
    LDFLAGS += [f"-fsanitize={SANITIZE}"]


def optimise(path: str) -> list[str]:
    if SANITIZE:
        return []
    if path in COLD:
        return ["-g0", "-O1"]
    return ["-g0", "-O3" if path.startswith(HOT) else "-O2"]


# Cython's code for memory views, once: in each module it would be most of what gcc has to read.
SHARED = "feedd._cython"

DIRECTIVES = {
    "language_level": "3",
    "cdivision": True,
    "freethreading_compatible": False,
}


class BuildExt(build_ext):
    """Say what to install when the compiler is missing, instead of a traceback."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def takes(self, flag: str) -> bool:
        """Does the compiler know it? It says so itself when not."""
        with tempfile.TemporaryDirectory() as name:
            source = Path(name) / "empty.c"
            source.write_text("int feedd_empty;\n")
            try:
                self.compiler.compile([str(source)], output_dir=name, extra_postargs=[flag])
            except CompileError:
                return False
            return True

    def build_extensions(self) -> None:
        if platform.machine() in ("x86_64", "AMD64") and self.takes(NO_JUMP_AT_32):
            for extension in self.extensions:
                if str(Path(extension.sources[0]).with_suffix(".pyx")).startswith(HOT):
                    extension.extra_compile_args.append(NO_JUMP_AT_32)
        try:
            super().build_extensions()
        except (CompileError, PlatformError) as exc:
            sys.stderr.write(
                "\nfeedd: the C extensions could not be compiled: " + str(exc).strip() + "\n"
                "Install a C compiler and the Python headers (Debian/Ubuntu: "
                "apt-get install gcc python3-dev; Fedora: dnf install gcc python3-devel), "
                "then run the same command again.\n"
            )
            raise


def extensions() -> list[Extension]:
    headers = [str(p.relative_to(ROOT)) for d in INCLUDE for p in (ROOT / d).rglob("*.h")]
    sources = sorted(
        (ROOT / "feedd").rglob("*.pyx"),
        key=lambda path: (str(path.relative_to(ROOT)) not in LONGEST, -path.stat().st_size),
    )
    shared = Extension(
        SHARED,
        [SHARED.replace(".", os.sep) + ".c"],
        extra_compile_args=CFLAGS + optimise(""),
        extra_link_args=LDFLAGS,
    )
    return [shared] + [
        Extension(
            str(path.relative_to(ROOT).with_suffix("")).replace(os.sep, "."),
            [str(path.relative_to(ROOT))],
            include_dirs=INCLUDE,
            depends=headers,
            define_macros=[("FEEDD_PICOWS_VERSION", f'"{version("picows")}"')],
            extra_compile_args=CFLAGS + optimise(str(path.relative_to(ROOT))),
            extra_link_args=LDFLAGS,
        )
        for path in sources
    ]


setup(
    ext_modules=cythonize(
        extensions(),
        compiler_directives=DIRECTIVES,
        shared_utility_qualified_name=SHARED,
        nthreads=os.cpu_count() or 1,
    ),
    cmdclass={"build_ext": BuildExt},
)
