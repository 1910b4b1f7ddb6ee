"""Writes a driver file: assembled functions, imports, data with relocations, unwind data, debug directory and version resource."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import headers, tables, version
from .assemble import Code, Function, assemble
from .headers import PAGE, Section, align

INT3 = 0xCC
COOKIE = "__security_cookie"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a driver is made of. data names symbols with their sizes; pointers are functions whose addresses stand in a table."""

    functions: Sequence[Function]
    imports: Mapping[str, Sequence[str]]
    timestamp: int
    file_version: tuple[int, int, int, int]
    strings: Mapping[str, str]
    pdb: tuple[uuid.UUID, int, str]
    data: Mapping[str, int] = field(default_factory=dict)
    pointers: Sequence[str] = ()
    entry: str = "DriverEntry"


def _place(codes: Mapping[str, Code], names: Sequence[str], base: int, symbols: dict[str, int]) -> int:
    """Gives functions their RVAs from base on; returns the end."""
    at = base
    for name in names:
        symbols[name] = at
        at = align(at + len(codes[name].code), 16)
    return at


def _section_bytes(codes: Mapping[str, Code], names: Sequence[str], base: int, end: int, symbols: Mapping[str, int]) -> bytes:
    out = bytearray([INT3]) * (end - base)
    for name in names:
        code = bytearray(codes[name].code)
        for fixup in codes[name].fixups:
            struct.pack_into("<i", code, fixup.offset, symbols[fixup.symbol] - (symbols[name] + fixup.end))
        at = symbols[name] - base
        out[at : at + len(code)] = code
    return bytes(out)


def build(blueprint: Blueprint) -> tuple[bytes, dict[str, int]]:
    """The file and the RVAs of its symbols."""
    codes = {f.name: assemble(f) for f in blueprint.functions}
    text = [f.name for f in blueprint.functions if f.section == ".text"]
    init = [f.name for f in blueprint.functions if f.section != ".text"]
    symbols: dict[str, int] = {}
    text_end = _place(codes, text, PAGE, symbols)

    # Read-only data: import slots first, then what describes the image.
    rdata = align(text_end, PAGE)
    sizes = tables.imports(blueprint.imports, 0, 0)
    descriptors = align(rdata + len(sizes.iat), 8)
    names = align(descriptors + len(sizes.descriptors), 8)
    table = tables.imports(blueprint.imports, names, rdata)
    for (_, name), offset in table.slots.items():
        symbols[f"__imp_{name}"] = rdata + offset
    debug = align(names + len(table.names), 8)
    record = tables.codeview(blueprint.pdb)
    config = align(debug + 28 + len(record), 8)
    unwind = config + tables.LOAD_CONFIG_SIZE
    unwind_at: dict[str, int] = {}
    for name, code in codes.items():
        if code.unwind:
            unwind_at[name] = unwind
            unwind = align(unwind + len(code.unwind), 4)

    # Data: a table of function pointers, the cookie, then the named symbols.
    data = align(unwind, PAGE)
    symbols["pointer_table"] = data
    at = data + 8 * len(blueprint.pointers)
    for name, size in {COOKIE: 8, **blueprint.data}.items():
        symbols[name] = align(at, 16)
        at = symbols[name] + size
    data_end = at
    pdata = align(data_end, PAGE)
    rows = sum(1 for code in codes.values() if code.unwind)
    init_at = align(pdata + 12 * rows, PAGE)
    init_end = _place(codes, init, init_at, symbols)
    rsrc = align(init_end, PAGE) if init else init_at
    resource = version.resource_section(rsrc, version.version_info(blueprint.file_version, dict(blueprint.strings)))
    reloc = align(rsrc + len(resource), PAGE)

    pointer_rvas = [data + 8 * i for i in range(len(blueprint.pointers))]
    data_bytes = bytearray(data_end - data)
    for rva, name in zip(pointer_rvas, blueprint.pointers, strict=True):
        struct.pack_into("<Q", data_bytes, rva - data, headers.PREFERRED_BASE + symbols[name])
    relocations = tables.relocations([*pointer_rvas, config + tables.LOAD_CONFIG_COOKIE])

    functions = [(symbols[name], symbols[name] + len(codes[name].code), at) for name, at in unwind_at.items()]
    content: list[tuple[str, int, bytes, int]] = [
        (".text", PAGE, _section_bytes(codes, text, PAGE, text_end, symbols), headers.CODE | headers.EXECUTE | headers.NOT_PAGED),
        (".rdata", rdata, b"", headers.INITIALIZED | headers.NOT_PAGED),
        (".data", data, bytes(data_bytes), headers.INITIALIZED | headers.WRITE | headers.NOT_PAGED),
        (".pdata", pdata, tables.runtime_functions(functions), headers.INITIALIZED | headers.NOT_PAGED),
        ("INIT", init_at, _section_bytes(codes, init, init_at, init_end, symbols), headers.CODE | headers.EXECUTE | headers.DISCARDABLE),
        (".rsrc", rsrc, resource, headers.INITIALIZED | headers.DISCARDABLE),
        (".reloc", reloc, relocations, headers.INITIALIZED | headers.DISCARDABLE),
    ]
    content = [row for row in content if row[2] or row[0] == ".rdata"]
    raw = align(headers.SECTION_TABLE + 40 * len(content), headers.FILE_ALIGNMENT)
    sections: list[Section] = []
    for name, rva, body, kind in content:
        size = unwind - rdata if name == ".rdata" else len(body)
        sections.append(Section(name, rva, size, raw, align(size, headers.FILE_ALIGNMENT), kind | headers.READ))
        raw = sections[-1].raw_offset + sections[-1].raw_size
    rdata_raw = next(s.raw_offset for s in sections if s.name == ".rdata")
    middle = bytearray(unwind - rdata)
    directory = tables.debug_directory(blueprint.timestamp, len(record), debug + 28, rdata_raw + debug + 28 - rdata)
    parts = [(rdata, table.iat), (descriptors, table.descriptors), (names, table.names), (debug, directory + record)]
    parts.append((config, tables.load_config(headers.PREFERRED_BASE + symbols[COOKIE])))
    parts += [(where, codes[name].unwind) for name, where in unwind_at.items()]
    for where, block in parts:
        middle[where - rdata : where - rdata + len(block)] = block
    out = bytearray(
        headers.pack_headers(
            sections=sections,
            directories={
                headers.DIR_IMPORT: (descriptors, len(table.descriptors)),
                headers.DIR_RESOURCE: (rsrc, len(resource)),
                headers.DIR_EXCEPTION: (pdata, 12 * rows),
                headers.DIR_RELOC: (reloc, len(relocations)),
                headers.DIR_DEBUG: (debug, 28),
                headers.DIR_LOAD_CONFIG: (config, tables.LOAD_CONFIG_SIZE),
                headers.DIR_IAT: (rdata, len(table.iat)),
            },
            entry=symbols[blueprint.entry],
            timestamp=blueprint.timestamp,
            size_of_image=align(reloc + len(relocations), PAGE),
        )
    )
    for section, (name, _, body, _) in zip(sections, content, strict=True):
        out += (bytes(middle) if name == ".rdata" else body).ljust(section.raw_size, b"\0")
    struct.pack_into("<I", out, headers.CHECKSUM_OFFSET, headers.checksum(bytes(out)))
    return bytes(out), symbols
