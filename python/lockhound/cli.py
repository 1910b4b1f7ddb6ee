"""The command line: a command for each question; exit statuses that a script can branch on."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__, analyze, open  # noqa: A004
from .case import Case
from .errors import AmbiguousError, ArgumentError, IOFailure, LockhoundError
from .kernel import Kernel
from .rows import Frame, Hit, Identity, Instruction, as_dict
from .terminal import one_line, wants_color, write_line

NAMED, ERROR, USAGE, NOT_APPLICABLE, NOT_NAMED, INTERRUPTED = 0, 1, 2, 3, 4, 130
STATUS_OF_KIND = {
    "driver": NAMED,
    "not_applicable": NOT_APPLICABLE,
    "kernel": NOT_NAMED,
    "insufficient": NOT_NAMED,
    "unattributed": NOT_NAMED,
}
# As the arguments of a bug check stand in a debugger's output, and in what is shown here for it: no other number looks like that.
SIXTEEN_DIGITS = re.compile("(?=0|.*[a-f])[0-9a-f]{16}", re.IGNORECASE | re.ASCII)
MODULE_AND_OFFSET = re.compile(r"(?P<module>[^+!]+)\+(?P<offset>(0x)?[0-9a-f]{1,8})", re.IGNORECASE | re.ASCII)
SPELLINGS = "0x..., decimal, or ffffe000`12345080, with its ` or without"
PLACES = f"{SPELLINGS}; or by a module: leaky.sys+0x1a2c"
WORST_FIRST = (ERROR, USAGE, NOT_NAMED, NOT_APPLICABLE, NAMED)
EPILOG = """\
exit status: 0 a driver was named, or the question was answered; 1 error; 2 usage; 3 not a locked-pages dump;
4 kernel, insufficient or unattributed; 130 interrupted. Several dumps: the first of 1, 2, 4, 3, 0 that occurred.
"""


def number(text: str) -> int:
    """A 64-bit number: 0x..., decimal, or hexadecimal as the debugger writes it (ffffe000`12345080, ffffe00012345080)."""
    plain = text.replace("_", "")
    debuggers = "`" in plain or SIXTEEN_DIGITS.fullmatch(plain) is not None
    try:
        value = int(plain.replace("`", ""), 16) if debuggers else int(plain, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a number: {one_line(text)}") from None
    if not 0 <= value < 1 << 64:
        raise argparse.ArgumentTypeError(f"not a 64-bit number: {one_line(text)}")
    return value


@dataclass(frozen=True)
class Place:
    """An address as reports write it, by a module: leaky.sys+0x1a2c."""

    module: str
    offset: int

    def address(self, kernel: Kernel) -> int:
        """Where it is in this dump."""
        wanted = "ntoskrnl.exe" if self.module == "nt" else self.module
        for module in kernel.modules():
            if not module.unloaded and module.name in (wanted, f"{wanted}.sys"):
                return module.base + self.offset
        raise ArgumentError(f"no loaded module is called {self.module}", field="address")


def place(text: str) -> int | Place:
    """An address, as a number or by a module."""
    found = MODULE_AND_OFFSET.fullmatch(text)
    return Place(found["module"].lower(), int(found["offset"], 16)) if found else number(text)


def address_of(kernel: Kernel, where: int | Place) -> int:
    """In this dump."""
    return where if isinstance(where, int) else where.address(kernel)


def process(text: str) -> int | str:
    """An address, a PID, or else a name."""
    try:
        return number(text)
    except argparse.ArgumentTypeError:
        return text


def positive(text: str) -> int:
    """A count of 1 or more."""
    value = number(text)
    if not value:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def seconds(text: str) -> float:
    """A timeout."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {one_line(text)}")
    return value


class Command(argparse.ArgumentParser):
    """The grammar of a command: options may stand anywhere, also between two dumps."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Called for a command's part of the line, and by what it calls. Behind "--" everything is a file."""
        if self._mixing or "--" in (args or ()):
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="lockhound",
        description="Names the driver that left a process's pages locked, from a Windows kernel dump.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"lockhound {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Command)

    one = commands.add_parser("analyze", help="name the driver", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    one.add_argument("dumps", nargs="+", metavar="DUMP")
    one.add_argument("--json", action="store_true", help="the case as JSON; one line each for several dumps")
    one.add_argument("--html", type=Path, metavar="FILE", help="write the case as a page, too; one dump only")
    one.add_argument("--process", type=process, metavar="P", help="ask about this process: its address, PID or name")
    one.add_argument("--redact", action="store_true", help="leave out the path and the names of people's things")
    one.add_argument("--threads", type=positive, metavar="N", help="default: one for each processor")
    one.add_argument("--timeout", type=seconds, metavar="SECONDS", help="for each dump")
    one.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    one.set_defaults(run=run_analyze)

    advice = commands.add_parser("advice", help="what to set for the next crash, and what to send to the vendor")
    advice.add_argument("dump", metavar="DUMP")
    only = advice.add_mutually_exclusive_group()
    only.add_argument("--reg", action="store_true", help="only the .reg file that turns TrackLockedPages on")
    only.add_argument("--vendor", action="store_true", help="only the text for the vendor of each suspect")
    only.add_argument("--json", action="store_true", help="`advice` of the schema lockhound.case/1")
    advice.add_argument("--redact", action="store_true", help="leave out the names of people's things")
    advice.add_argument("--timeout", type=seconds, metavar="SECONDS")
    advice.set_defaults(run=run_advice)

    audit = commands.add_parser("audit", help="every process: its locked pages, and who holds them")
    audit.add_argument("dump", metavar="DUMP")
    audit.add_argument("--json", action="store_true", help="schema lockhound.audit/1")
    audit.add_argument("--redact", action="store_true", help="leave out the path and the names of people's things")
    audit.add_argument("--threads", type=positive, metavar="N", help="default: one for each processor")
    audit.add_argument("--timeout", type=seconds, metavar="SECONDS")
    audit.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    audit.set_defaults(run=run_audit)

    info = commands.add_parser("info", help="what the dump is, without a scan")
    info.add_argument("dump", metavar="DUMP")
    info.add_argument("--json", action="store_true")
    info.add_argument("--redact", action="store_true", help="leave out the path and the names of people's things")
    info.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    info.set_defaults(run=run_info)

    search = commands.add_parser("search", help="find values in memory")
    search.add_argument("dump", metavar="DUMP")
    search.add_argument("values", nargs="+", type=number, metavar="VALUE", help=SPELLINGS)
    search.add_argument("--align", type=positive, choices=(1, 2, 4, 8), default=8)
    search.add_argument("--limit", type=positive, metavar="N", help="at most N hits")
    search.add_argument("--threads", type=positive, metavar="N", help="default: one for each processor")
    search.add_argument("--timeout", type=seconds, metavar="SECONDS")
    search.add_argument("--json", action="store_true")
    search.set_defaults(run=run_search)

    code = commands.add_parser("disassemble", help="drivers' code, with what it leads to")
    code.add_argument("dump", metavar="DUMP")
    code.add_argument("address", type=place, metavar="ADDRESS", help=PLACES)
    code.add_argument("--size", type=positive, default=64, metavar="BYTES", help="of code [64]")
    code.add_argument("--json", action="store_true")
    code.set_defaults(run=run_disassemble)
    locks = commands.add_parser("locks", help="where drivers' code locks and unlocks pages, and where a lock is lost")
    locks.add_argument("dump", metavar="DUMP")
    locks.add_argument("--module", metavar="NAME", help="one driver, whatever its code does; default: all that lock or unlock")
    locks.add_argument("--json", action="store_true")
    locks.add_argument("--redact", action="store_true", help="leave out the path")
    locks.add_argument("--timeout", type=seconds, metavar="SECONDS")
    locks.set_defaults(run=run_locks)

    identify = commands.add_parser("identify", help="what lies at an address, and whose it is")
    identify.add_argument("dump", metavar="DUMP")
    identify.add_argument("addresses", nargs="+", type=place, metavar="ADDRESS", help=PLACES)
    identify.add_argument("--json", action="store_true")
    identify.set_defaults(run=run_identify)

    stack = commands.add_parser("stack", help="the call stack of a thread")
    stack.add_argument("dump", metavar="DUMP")
    stack.add_argument("--thread", type=number, metavar="ADDRESS", help="a thread object; default: the thread that crashed")
    stack.add_argument("--json", action="store_true")
    stack.set_defaults(run=run_stack)
    return top


def worst(statuses: Iterable[int]) -> int:
    """The exit status of several dumps."""
    occurred = set(statuses)
    return next((status for status in WORST_FIRST if status in occurred), ERROR)


# ---- failures


def failure(path: str, error: BaseException) -> str:
    """A line for people: the path once, then what went wrong."""
    shown, message = one_line(path), one_line(str(error) or type(error).__name__)
    for prefix in (shown, one_line(Path(path).name)):
        if prefix and message.startswith(prefix + ": "):
            message = message[len(prefix) + 2 :]
            break
    else:
        # Of a long path the library keeps the end.
        end, _, rest = message.removeprefix("...").partition(": ")
        if message.startswith("...") and end and rest and shown.endswith(end):
            message = rest
    return f"lockhound: {shown}: {message}"


def failure_json(path: str | None, error: BaseException) -> dict[str, Any]:
    """The same for programs."""
    facts: dict[str, Any] = {"code": "memory" if isinstance(error, MemoryError) else "internal", "message": str(error)}
    if isinstance(error, LockhoundError):
        facts |= {"code": error.code, "field": error.field, "offset": error.offset, "absence": error.absence, "level": error.level}
        facts["address"] = None if error.address is None else f"{error.address:#x}"
    if isinstance(error, IOFailure):
        facts["errno"] = error.errno
    return {"schema": "lockhound.error/1", "path": path, "error": facts}


def compact(document: Any) -> str:
    """JSON on one line, in ASCII: nothing of it can hurt a terminal."""
    return json.dumps(document, separators=(",", ":"))


# ---- analyze


def status_of(case: Case, asked: bool) -> int:
    """A question about a living process is answered, though nobody is named."""
    if asked and case.verdict.kind == "not_applicable":
        return NAMED
    return STATUS_OF_KIND.get(case.verdict.kind, ERROR)


def show_case(case: Case, options: argparse.Namespace, title: str | None) -> None:
    """A case on standard output; title stands above it where there are several."""
    color = not options.json and wants_color(options.color, sys.stdout)
    if options.json:
        write_line(sys.stdout, compact(case.to_dict(redact=options.redact)))
        return
    if title is not None:
        write_line(sys.stdout, title)
    write_line(sys.stdout, case.text(color=color, redact=options.redact), color=color)


def run_analyze(options: argparse.Namespace) -> int:
    """The main job, for one dump or several: one that fails does not keep the others from their verdict."""
    several = len(options.dumps) > 1
    statuses = []
    for position, path in enumerate(options.dumps):
        try:
            case = analyze(path, process=options.process, threads=options.threads, timeout=options.timeout)
        except (LockhoundError, MemoryError) as error:
            write_line(sys.stderr, failure(path, error))
            if several and options.json:
                write_line(sys.stdout, compact(failure_json(None if options.redact else path, error)))
            statuses.append(USAGE if isinstance(error, AmbiguousError) else ERROR)
        else:
            statuses.append(status_of(case, options.process is not None))
            name = f"dump {position + 1}" if options.redact else one_line(path)
            show_case(case, options, f"{chr(10) if position else ''}== {name}" if several else None)
            if options.html:
                options.html.write_text(case.html(redact=options.redact), encoding="utf-8")
        sys.stdout.flush()
    return worst(statuses)


# ---- audit


def run_audit(options: argparse.Namespace) -> int:
    """All processes."""
    color = not options.json and wants_color(options.color, sys.stdout)
    with open(options.dump) as dump:
        audit = dump.audit(threads=options.threads, timeout=options.timeout)
    shown = compact(audit.to_dict(redact=options.redact)) if options.json else audit.text(color=color, redact=options.redact)
    write_line(sys.stdout, shown, color=color)
    return NAMED


# ---- info


def run_info(options: argparse.Namespace) -> int:
    """The header, the bug check and the processes."""
    color = not options.json and wants_color(options.color, sys.stdout)
    with open(options.dump) as dump:
        kernel = dump.kernel()
        if options.json:
            text = compact(json.loads(kernel.info_json(redact=options.redact)))
        else:
            text = kernel.info_text(redact=options.redact, color=color)
    write_line(sys.stdout, text, color=color)
    return NAMED


# ---- advice


def reg_file(advice: dict[str, Any]) -> str:
    """A .reg file: with an empty line in front of its key and at the end, and the line ends of the system that will read it."""
    first, *others = advice["tracking"]["reg_file"]
    return "".join(f"{line}\r\n" for line in (first, "", *others, ""))


def vendor_text(advice: dict[str, Any]) -> list[str]:
    """The text for each vendor, with a line between."""
    texts = [vendor["lines"] for vendor in advice["vendors"]]
    return [line for number, text in enumerate(texts) for line in ([""] if number else []) + text]


def advice_text(document: dict[str, Any]) -> list[str]:
    """All of it for people, commands indented."""
    advice, verdict = document["advice"], document["verdict"]
    tracking, verifier = advice["tracking"], advice["verifier"]
    lines = [verdict["sentence"], *([verdict["advice"]] if verdict["advice"] else [])]
    setting = [] if tracking["state"] == "on" else [f"  {tracking['command']}"]
    lines += ["", *setting, tracking["next_crash"], "To undo it when the case is solved:", f"  {tracking['undo']}"]
    if verifier:
        lines += ["", f"  {verifier['command']}", verifier["why"], "To undo it:", f"  {verifier['undo']}"]
    return [*lines, *([""] if advice["vendors"] else []), *vendor_text(advice)]


def run_advice(options: argparse.Namespace) -> int:
    """What to do next."""
    case = analyze(options.dump, timeout=options.timeout)
    document = json.loads(case.to_json(redact=options.redact))
    advice = document["advice"]
    if advice is None:
        write_line(sys.stderr, one_line(document["verdict"]["sentence"]))
        return NOT_APPLICABLE
    if options.json:
        write_line(sys.stdout, compact(advice))
        return NAMED
    if options.reg:
        sys.stdout.write(reg_file(advice))
        return NAMED
    for line in vendor_text(advice) if options.vendor else advice_text(document):
        write_line(sys.stdout, one_line(line))
    return NAMED


# ---- search


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit, with addresses as in a case."""
    return {
        "physical": None if hit.physical is None else f"{hit.physical:#x}",
        "virtual": None if hit.virtual is None else f"{hit.virtual:#x}",
        "virtual_state": hit.virtual_state,
        "value": f"{hit.value:#x}",
        "needle": hit.needle,
    }


def hit_line(hit: Hit) -> str:
    """A hit for people: where it is, and what stands there."""
    virtual = f"{hit.virtual:#018x}" if hit.virtual is not None else f"({hit.virtual_state})"
    physical = f"{hit.physical:#014x}" if hit.physical is not None else "(no physical)"
    return f"{physical:14}  {virtual:18}  {hit.value:#018x}"


def run_search(options: argparse.Namespace) -> int:
    """Values in memory."""
    with open(options.dump) as dump:
        hits = dump.search(options.values, align=options.align, limit=options.limit, threads=options.threads, timeout=options.timeout)
    if options.json:
        found = {"schema": "lockhound.search/1", "path": options.dump, "values": [f"{value:#x}" for value in options.values]}
        write_line(sys.stdout, compact({**found, "truncated": hits.truncated, "hits": [hit_json(hit) for hit in hits]}))
        return NAMED
    for hit in hits:
        write_line(sys.stdout, hit_line(hit))
    more = ", and there may be more (--limit)" if hits.truncated else ""
    write_line(sys.stderr, f"{len(hits)} hit{'' if len(hits) == 1 else 's'}{more}")
    return NAMED


# ---- disassemble


def instruction_json(row: Instruction) -> dict[str, Any]:
    """An instruction, with addresses as in a case."""
    return {
        "address": f"{row.address:#x}",
        "bytes": row.bytes.hex(),
        "text": row.text,
        "flow": row.flow,
        "target": None if row.target is None else f"{row.target:#x}",
        "slot": None if row.slot is None else f"{row.slot:#x}",
        "name": row.name or None,
    }


def run_disassemble(options: argparse.Namespace) -> int:
    """Code as a debugger shows it."""
    with open(options.dump) as dump:
        kernel = dump.kernel()
        address = address_of(kernel, options.address)
        rows = kernel.disassemble(address, options.size)
    if options.json:
        found = {"schema": "lockhound.disassembly/1", "path": options.dump, "address": f"{address:#x}"}
        write_line(sys.stdout, compact({**found, "instructions": [instruction_json(row) for row in rows]}))
        return NAMED
    for row in rows:
        write_line(sys.stdout, one_line(str(row)))
    return NAMED


# ---- identify


def identity_json(identity: Identity) -> dict[str, Any]:
    """What lies there, with addresses as in a case; sizes and offsets are numbers."""
    facts = as_dict(identity)
    return {name: f"{value:#x}" if name in ("address", "base", "owner") and value is not None else value for name, value in facts.items()}


def run_identify(options: argparse.Namespace) -> int:
    """What lies at addresses."""
    with open(options.dump) as dump:
        kernel = dump.kernel()
        found = [kernel.identify(address_of(kernel, where)) for where in options.addresses]
    if options.json:
        rows = [identity_json(identity) for identity in found]
        write_line(sys.stdout, compact({"schema": "lockhound.identify/1", "path": options.dump, "addresses": rows}))
        return NAMED
    for identity in found:
        write_line(sys.stdout, f"{identity.address:#018x}  {one_line(identity.text)}")
    return NAMED


# ---- locks


def run_locks(options: argparse.Namespace) -> int:
    """What drivers' code does with locked pages."""
    with open(options.dump) as dump:
        kernel = dump.kernel()
        if options.json:
            text = compact(json.loads(kernel.locks_json(options.module, redact=options.redact, timeout=options.timeout)))
        else:
            text = kernel.locks_text(options.module, redact=options.redact, timeout=options.timeout)
    write_line(sys.stdout, text)
    return NAMED


# ---- stack


def frame_json(frame: Frame) -> dict[str, Any]:
    """A frame, with addresses as in a case."""
    numbers = {name: getattr(frame, name) for name in ("address", "stack_pointer", "offset", "function")}
    shown = {name: None if value is None else f"{value:#x}" for name, value in numbers.items()}
    return {**shown, "module": frame.module, "symbol": frame.symbol, "interrupted": frame.interrupted, "unloaded": frame.unloaded}


def run_stack(options: argparse.Namespace) -> int:
    """Frames from the inside out, and why there are no more."""
    with open(options.dump) as dump:
        found = dump.kernel().stack(options.thread)
    if options.json:
        told = {"schema": "lockhound.stack/1", "path": options.dump, "frames": [frame_json(frame) for frame in found]}
        write_line(sys.stdout, compact({**told, "complete": found.complete, "reason": found.reason}))
        return NAMED
    for number, frame in enumerate(found):
        write_line(sys.stdout, f"{number:2}  {frame.stack_pointer:#018x}  {frame}")
    missing = f" ({found.absent.kind} at {found.absent.address:#x})" if found.absent and found.absent.address else ""
    write_line(sys.stderr, f"{found.reason}{missing}")
    return NAMED


# ---- the frame around all commands


def _silence(stream: Any) -> None:
    """After a broken pipe: what is still buffered must not fail again when Python ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        return


def guarded_run(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Runs a command; failures become a line and a status, never a traceback."""
    try:
        status = run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
        return ERROR  # what was asked for could not be delivered
    except KeyboardInterrupt:
        write_line(sys.stderr, "lockhound: interrupted")
        return INTERRUPTED
    except (LockhoundError, MemoryError, ValueError) as error:
        write_line(sys.stderr, failure(options.dump if "dump" in options else options.dumps[0], error))
        return ERROR
    except OSError as error:  # of what is written: those of a dump are the library's
        if error.filename is None:
            _silence(sys.stdout)
        write_line(sys.stderr, f"lockhound: {one_line(str(error.filename or 'standard output'))}: {error.strerror or error}")
        return ERROR
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. argparse ends usage errors with status 2 by itself."""
    top = parser()
    options = top.parse_args(arguments)
    if options.command == "analyze" and options.html and len(options.dumps) > 1:
        top.error("--html is for one dump: a page is one case")
    with contextlib.ExitStack() as stack:
        if sys.stderr is None:  # Python's name for a stream that was closed before it began
            stack.enter_context(contextlib.redirect_stderr(stack.enter_context(Path(os.devnull).open("w"))))
        if sys.stdout is None:
            write_line(sys.stderr, "lockhound: standard output: it is closed")
            return ERROR
        return guarded_run(options.run, options)
