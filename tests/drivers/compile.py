"""Compiles the drivers in this directory with clang and lld into real images, and loads them for the forge."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from lockhound_synth.driver_image import ROUTINES
from lockhound_synth.pe.load import LoadedImage, load

HERE = Path(__file__).parent
TOOLS = ("clang", "lld-link", "llvm-dlltool", "llvm-rc")
DRIVERS = ("holder", "grabber", "sender", "splitter")
PATHS = ("code_paths", "code_shapes", "code_helpers", "code_steps", "code_pointers", "code_lengths", "code_frames", "code_forms")
VERSION = (3, 1, 4, 15)
TIMESTAMP = 0x5F00_0000
IMAGE_BASE = 0x1_4000_0000
RESOURCE = """1 VERSIONINFO
FILEVERSION {commas}
PRODUCTVERSION {commas}
FILEOS 0x40004
FILETYPE 3
FILESUBTYPE 7
{{
  BLOCK "StringFileInfo" {{
    BLOCK "040904b0" {{
      VALUE "CompanyName", "Compiled Systems\\0"
      VALUE "FileDescription", "{name} test driver\\0"
      VALUE "FileVersion", "{dots}\\0"
      VALUE "OriginalFilename", "{name}.sys\\0"
    }}
  }}
  BLOCK "VarFileInfo" {{
    VALUE "Translation", 0x409, 1200
  }}
}}
"""
# Flags as for a driver of today; -ffreestanding alone drops .pdata.
CLANG = (
    "clang", "--target=x86_64-pc-windows-msvc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-ffreestanding",
    "-fasynchronous-unwind-tables", "-gcodeview", "-c",
)  # fmt: skip


def missing_tools() -> list[str]:
    """The programs that are not here."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def _run(*command: str | Path, at: Path) -> None:
    done = subprocess.run([str(part) for part in command], cwd=at, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr or done.stdout}")


def symbols(map_file: str) -> dict[str, int]:
    """RVAs of the known routines in a linker map: lines of section:offset, name, address, object."""
    rows = re.findall(r"^ [0-9a-f]{4}:[0-9a-f]{8} +(\S+) +([0-9a-f]{16}) ", map_file, re.MULTILINE)
    return {name: int(address, 16) - IMAGE_BASE for name, address in rows if name in ROUTINES}


def compile_drivers(out: Path) -> dict[str, Path]:
    """Writes NAME.sys and NAME.map for every driver; returns the paths by file name."""
    _run("llvm-dlltool", "-m", "i386:x86-64", "-d", HERE / "nt.def", "-l", "nt.lib", at=out)
    _run(*CLANG, HERE / "common.c", "-o", "common.obj", at=out)
    files: dict[str, Path] = {}
    for number, name in enumerate(DRIVERS):
        version = (*VERSION[:3], VERSION[3] + number)
        text = RESOURCE.format(name=name, commas=",".join(map(str, version)), dots=".".join(map(str, version)))
        (out / f"{name}.rc").write_text(text)
        _run("llvm-rc", "/FO", f"{name}.res", f"{name}.rc", at=out)
        _run(*CLANG, HERE / f"{name}.c", "-o", f"{name}.obj", at=out)
        _run(
            "lld-link", "/nologo", "/driver", "/subsystem:native", "/nodefaultlib", "/entry:DriverEntry", "/opt:noref", "/debug",
            f"/timestamp:{TIMESTAMP + number}",
            f"/pdb:{name}.pdb", "/pdbaltpath:%_PDB%", f"/map:{name}.map", f"/base:{IMAGE_BASE:#x}", f"/out:{name}.sys",
            f"{name}.obj", "common.obj", f"{name}.res", "nt.lib", at=out,
        )  # fmt: skip
        files[f"{name}.sys"] = out / f"{name}.sys"
    return files


def compile_paths(out: Path, level: str) -> LoadedImage:
    """The files of PATHS at a level of optimisation, as one driver with the RVAs of all its routines."""
    _run("llvm-dlltool", "-m", "i386:x86-64", "-d", HERE / "nt.def", "-l", "nt.lib", at=out)
    for name in PATHS:
        _run(*CLANG, level, "-fms-extensions", HERE / f"{name}.c", "-o", f"{name}.obj", at=out)
    _run(
        "lld-link", "/nologo", "/driver", "/subsystem:native", "/nodefaultlib", "/entry:DriverEntry", "/opt:noref", "/map:code_paths.map",
        f"/timestamp:{TIMESTAMP}", f"/base:{IMAGE_BASE:#x}", "/out:code_paths.sys", *(f"{name}.obj" for name in PATHS), "nt.lib", at=out,
    )  # fmt: skip
    return _with_all_symbols(out, "code_paths")


def _with_all_symbols(out: Path, name: str) -> LoadedImage:
    rows = re.findall(r"^ [0-9a-f]{4}:[0-9a-f]{8} +(\S+) +([0-9a-f]{16}) ", (out / f"{name}.map").read_text(), re.MULTILINE)
    found = {symbol: int(address, 16) - IMAGE_BASE for symbol, address in rows}
    return load((out / f"{name}.sys").read_bytes(), f"{name}.sys", found)


def compile_client(out: Path, name: str, *flags: str) -> LoadedImage:
    """The client of KMDF, as a driver of that name."""
    for library in ("nt", "wdfldr"):
        _run("llvm-dlltool", "-m", "i386:x86-64", "-d", HERE / f"{library}.def", "-l", f"{library}.lib", at=out)
    _run(*CLANG, *flags, HERE / "code_framework.c", "-o", f"{name}.obj", at=out)
    _run(
        "lld-link", "/nologo", "/driver", "/subsystem:native", "/nodefaultlib", "/entry:DriverEntry", "/opt:noref", f"/map:{name}.map",
        f"/timestamp:{TIMESTAMP}", f"/base:{IMAGE_BASE:#x}", f"/out:{name}.sys", f"{name}.obj", "nt.lib", "wdfldr.lib", at=out,
    )  # fmt: skip
    return _with_all_symbols(out, name)


def compiled_images(out: Path) -> dict[str, LoadedImage]:
    """The drivers, compiled into a folder and loaded: what `scenarios.build(..., images=)` takes."""
    return {
        name: load(path.read_bytes(), name, symbols(path.with_suffix(".map").read_text())) for name, path in compile_drivers(out).items()
    }
