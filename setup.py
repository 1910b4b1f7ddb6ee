"""Builds and installs lockhound: the C library compiled into one limited-API extension, the package and the forge."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from setuptools import Extension, find_packages, setup  # type: ignore[import-untyped,unused-ignore]
from setuptools.command.build_ext import build_ext  # type: ignore[import-untyped,unused-ignore]
from setuptools.command.sdist import sdist  # type: ignore[import-untyped,unused-ignore]

HERE = Path(__file__).resolve().parent
CSRC = HERE / "csrc"
WARNINGS = (
    "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Werror"
).split()


def version() -> str:
    """Stands in lockhound.h and nowhere else."""
    header = (CSRC / "include" / "lockhound.h").read_text()
    parts = [re.search(rf"#define LH_VERSION_{part} (\d+)", header) for part in ("MAJOR", "MINOR", "PATCH")]
    return ".".join(match.group(1) for match in parts if match)


def beside(paths: list[Path]) -> list[str]:
    """Paths as setuptools wants them: relative to this file, with slashes."""
    return sorted(path.relative_to(HERE).as_posix() for path in paths)


def library() -> list[Path]:
    """The files of csrc/sources, which the Makefile reads too."""
    lines = (line.strip() for line in (CSRC / "sources").read_text().splitlines())
    return [CSRC / line for line in lines if line and not line.startswith("#")]


class BuildExtension(build_ext):  # type: ignore[misc,unused-ignore]
    """Warnings are errors only where that was asked for: a user's compiler of tomorrow knows warnings that ours does not."""

    def build_extensions(self) -> None:
        for extension in self.extensions:
            if os.environ.get("LOCKHOUND_WERROR") == "1":
                # As system headers, CPython's are left alone.
                extension.extra_compile_args += [*WARNINGS, *(f"-isystem{path}" for path in self.include_dirs)]
        super().build_extensions()


class SourceDistribution(sdist):  # type: ignore[misc,unused-ignore]
    """Adds what the build reads and setuptools does not know of: the list of sources, headers, Makefile, licence."""

    def make_distribution(self) -> None:
        extra = [path for path in CSRC.rglob("*") if path.is_file() and path.suffix not in (".o", ".so", ".a")]
        extra += [path for name in ("README.md", "LICENSE") if (path := HERE / name).exists()]
        self.filelist.extend(beside(extra))
        self.filelist.remove_duplicates()
        super().make_distribution()


def text(name: str) -> str:
    """A file's text, or nothing where the file is not there."""
    path = HERE / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


# What reads the drivers' code. Without it those rules are "not evaluated", and the core needs nothing but C.
zydis = os.environ.get("LOCKHOUND_ZYDIS") != "0"

extension = Extension(
    "lockhound._lockhound",
    sources=beside([*library(), *(CSRC / "python").glob("*.c")]),
    depends=[*beside(list(CSRC.rglob("*.h"))), "csrc/sources"],
    include_dirs=["csrc", "csrc/include"],
    extra_compile_args=["-std=c11", "-O3", "-fvisibility=hidden", "-pthread"],
    extra_link_args=["-pthread", "-Wl,-Bsymbolic-functions"],  # a liblockhound.so beside it in the process stays another one
    define_macros=[("LHI_ZYDIS", "1")] if zydis else [],
    libraries=["Zydis", "m"] if zydis else ["m"],
    py_limited_api=True,
)

tables = ["numpy", "pandas"]
notebook = ["nbclient", "ipykernel", "ipywidgets", "tqdm"]
options: dict[str, Any] = {
    "name": "lockhound",
    "version": version(),
    "description": "Names the driver that left a process's pages locked, from a Windows kernel dump",
    "long_description": text("README.md"),
    "long_description_content_type": "text/markdown",
    "license": "Apache-2.0",
    "license_files": ["LICENSE"],
    "classifiers": [
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: C",
        "Programming Language :: Python :: 3",
        "Topic :: Software Development :: Debuggers",
        "Typing :: Typed",
    ],
    "python_requires": ">=3.11",
    "package_dir": {"": "python"},
    "packages": find_packages("python"),
    "package_data": {"lockhound": ["py.typed", "*.pyi"], "lockhound_synth": ["py.typed", "**/*.json", "**/*.xz", "**/*.bin", "**/*.c"]},
    "ext_modules": [extension],
    "cmdclass": {"build_ext": BuildExtension, "sdist": SourceDistribution},
    "entry_points": {"console_scripts": ["lockhound = lockhound.cli:main"]},
    "extras_require": {
        "tables": tables,
        "arrow": ["pyarrow"],
        "notebook": [*tables, *notebook],
        "progress": ["tqdm"],
        "test": [*tables, *notebook, "pyarrow", "pytest", "pytest-xdist", "hypothesis", "jsonschema", "mypy", "ruff"],
    },
    "options": {"bdist_wheel": {"py_limited_api": "cp311"}},
    "zip_safe": False,
}

if __name__ == "__main__":
    setup(**options)
