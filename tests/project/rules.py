"""The project's rules about its own files, as functions from a checkout to the list of what breaks them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

# ISO C11 (7.2 to 7.30) without threads.h, which not every C library has; and the compilers' own headers for x86 instructions.
PORTABLE = frozenset(
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool"
    " stddef stdint stdio stdlib stdnoreturn string tgmath time uchar wchar wctype cpuid immintrin".split()
)
LINUX_ONLY = "source/os_linux.c"
DECODER_ONLY = "code/decode.c"
TOP_LEVEL = frozenset({"README.md", "LICENSE", "setup.py", "csrc", "python", "tests", "notebooks", "docs"})
LONGEST = 800

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)', re.MULTILINE)
ROW = re.compile(r"^\| `([a-z_]+)` \| (.+) \|$")


def ladder(root: Path) -> dict[str, str]:
    """The directories of csrc in their order, with what each is for: the first table of docs/architecture.md."""
    rows: dict[str, str] = {}
    for line in (root / "docs" / "architecture.md").read_text().split("## The ladder", 1)[1].splitlines():
        if match := ROW.match(line):
            rows[match[1]] = match[2]
        elif rows:
            break
    return rows


def c_files(root: Path) -> list[Path]:
    """The C files and headers of the library and the binding."""
    return sorted(path for pattern in ("*.c", "*.h", "*.inc") for path in (root / "csrc").rglob(pattern))


def wrong_includes(root: Path) -> Iterator[str]:
    """Includes against the ladder, of files that do not exist, and of headers that belong to one system only."""
    csrc = root / "csrc"
    order = list(ladder(root))
    for path in c_files(root):
        name = path.relative_to(csrc)
        place = name.parts[0]
        if place != "include" and place not in order:
            yield f"{name}: the directory {place} is not in the ladder"
            continue
        for own, system in INCLUDE.findall(path.read_text()):
            if own:
                yield from _wrong_own(csrc, name, own, order)
            elif system == "Python.h" or (system == "structmember.h"):
                if place != "python":
                    yield f"{name}: only the binding includes <{system}>"
            elif system.startswith("Zydis/"):
                if str(name) != DECODER_ONLY:
                    yield f"{name}: only {DECODER_ONLY} includes <{system}>"
            elif system.removesuffix(".h") not in PORTABLE and str(name) != LINUX_ONLY:
                yield f"{name}: <{system}> is not portable; what needs it belongs in {LINUX_ONLY}"


def _wrong_own(csrc: Path, name: Path, own: str, order: list[str]) -> Iterator[str]:
    place = name.parts[0]
    if own == "lockhound.h":
        if place == "include":
            yield f"{name}: the public header includes {own}"
        return
    target = own.split("/")[0]
    if "/" not in own or target not in order:
        yield f'{name}: "{own}" is not written as directory/file.h of the ladder'
    elif place in ("include", "python") and target != place:
        yield f'{name}: "{own}" is internal, and {place} knows only the public header'
    elif place not in ("include", "python") and order.index(target) > order.index(place):
        yield f'{name}: "{own}" is further down the ladder than {place}'
    elif not (csrc / own).is_file():
        yield f'{name}: "{own}" does not exist'


def wrong_directories(root: Path) -> Iterator[str]:
    """Directories without a row, and rows without a directory."""
    rows = ladder(root)
    there = {path.relative_to(root / "csrc").parts[0] for path in c_files(root)} - {"include"}
    for name in sorted(there - set(rows)):
        yield f"csrc/{name} has no line in docs/architecture.md"
    for name in sorted(set(rows) - there):
        yield f"csrc/{name} has a line in docs/architecture.md and no files"


def wrong_sources(root: Path) -> Iterator[str]:
    """csrc/sources against the files of the library."""
    csrc = root / "csrc"
    listed = [line for line in (csrc / "sources").read_text().splitlines() if line and not line.startswith("#")]
    there = {str(p.relative_to(csrc)) for p in c_files(root) if p.suffix == ".c" and p.relative_to(csrc).parts[0] != "python"}
    order = list(ladder(root))
    for name in sorted(set(listed) - there):
        yield f"csrc/sources lists {name}, which is not there"
    for name in sorted(there - set(listed)):
        yield f"csrc/sources does not list {name}"
    for name in sorted({n for n in listed if listed.count(n) > 1}):
        yield f"csrc/sources lists {name} more than once"
    places = [name.split("/")[0] for name in listed if name.split("/")[0] in order]
    if places != sorted(places, key=order.index):
        yield "csrc/sources is not in the order of the ladder"


def wrong_formats(root: Path) -> Iterator[str]:
    """The table of dump formats against the files that define them, their public numbers and their names in JSON."""
    dump = root / "csrc" / "dump"
    rows = dict(re.findall(r"^FORMAT\((LH_FORMAT_\w+), (\w+)\)$", (dump / "formats.inc").read_text(), re.MULTILINE))
    numbers = dict(re.findall(r"\b(LH_FORMAT_\w+) = (\d+)", (root / "csrc" / "include" / "lockhound.h").read_text()))
    defined = [pair for path in sorted(dump.glob("*.c")) for pair in re.findall(r'lhi_format_(\w+) = \{"([^"]+)"', path.read_text())]
    known = json.loads((root / "docs" / "case-1.schema.json").read_text())["properties"]["dump"]["properties"]["format"]["enum"]
    for name in sorted(rows.keys() ^ numbers.keys()):
        yield f"{name} stands in only one of lockhound.h and formats.inc"
    if list(numbers.values()) != [str(number) for number in range(1, len(numbers) + 1)]:
        yield "the numbers of the formats in lockhound.h do not ascend by one"
    for name in sorted(set(rows.values()) ^ {name for name, _ in defined}):
        yield f"lhi_format_{name} is defined and not in formats.inc, or the other way round"
    for _, shown in defined:
        if shown not in known:
            yield f"the schema does not know the format {shown}"


def wrong_first_lines(root: Path) -> Iterator[str]:
    """Files that do not begin by saying what they are for."""
    python = [path for folder in ("python", "tests", "csrc") for path in sorted((root / folder).rglob("*.py"))]
    tests = sorted((root / "tests").rglob("*.[ch]"))
    for path in [*c_files(root), *tests, *python, *(p for p in [root / "setup.py"] if p.exists())]:
        text = path.read_text()
        opening = re.match(r'/\*[\s*]*(.+)|//\s*(.+)|r?"""\s*(.+)|#(?!!)\s*(.+)', text)
        said = next((group for group in opening.groups() if group), "") if opening else ""
        if len(re.findall(r"\w+", said)) < 3:
            yield f"{path.relative_to(root)} does not begin with its responsibility"
        if text.count("\n") > LONGEST and "generated" not in said.lower():
            yield f"{path.relative_to(root)} has more than {LONGEST} lines"


def tracked(root: Path) -> list[Path]:
    """The files under version control, by their paths in the checkout."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listing.split("\0") if name and (root / name).is_file()]


def wrong_top_level(names: list[Path]) -> Iterator[str]:
    """Things at the top of the project that have no place there."""
    for name in sorted({path.parts[0] for path in names}):
        if name not in TOP_LEVEL and not name.startswith("."):
            yield f"{name} stands at the top level"


# Written in pieces, so that this file does not contain what it looks for.
LOCAL = re.compile(
    "|".join(("(?<![\\w$}).])/(?:work|farm|root|tmp|home)" + "/", "pypi" + r"\.org", "files" + r"\.pythonhosted", "deb" + r"\.debian\.org"))
)


def wrong_text(root: Path, names: list[Path]) -> Iterator[str]:
    """Paths of one machine and hosts of package registries."""
    for name in names:
        try:
            text = (root / name).read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := LOCAL.search(line):
                yield f"{name}:{number} mentions {match[0]}"


def wrong_imports(root: Path) -> Iterator[str]:
    """The forge and the reader know nothing of each other."""
    for package, other in (("lockhound", "lockhound_synth"), ("lockhound_synth", "lockhound")):
        for path in sorted((root / "python" / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names = [node.module]
                if any(name.split(".")[0] == other for name in names):
                    yield f"{path.relative_to(root)} imports {other}"
