"""The resource section: one VS_VERSIONINFO, after Microsoft's documentation of its parts."""

from __future__ import annotations

import struct

Version = tuple[int, int, int, int]

_SIGNATURE = 0xFEEF04BD
_RT_VERSION = 16
_LANGUAGE = 0x409  # U.S. English
_CODE_PAGE = 0x4B0  # Unicode


def _node(key: str, value: bytes, children: bytes, text: bool) -> bytes:
    """Length, value length, kind, key, value, children; each part on a 32-bit boundary."""
    head = key.encode("utf-16-le") + b"\0\0"
    head += bytes(-(6 + len(head)) % 4)
    body = value
    if children:
        body += bytes(-len(body) % 4)
    length = 6 + len(head) + len(body) + len(children)
    # A text value is counted in characters.
    return struct.pack("<3H", length, len(value) // 2 if text else len(value), text) + head + body + children


def version_info(version: Version, strings: dict[str, str]) -> bytes:
    """VS_VERSIONINFO with VS_FIXEDFILEINFO, StringFileInfo and VarFileInfo."""
    if not all(0 <= part <= 0xFFFF for part in version):
        raise ValueError("a version part has 16 bits")
    high = version[0] << 16 | version[1]
    low = version[2] << 16 | version[3]
    fixed = struct.pack(
        "<13I", _SIGNATURE, 0x10000, high, low, high, low,
        0x3F, 0, 0x40004, 3, 7, 0, 0,  # VOS_NT_WINDOWS32, VFT_DRV, VFT2_DRV_SYSTEM
    )  # fmt: skip
    rows = b""
    for key, text in strings.items():
        rows += bytes(-len(rows) % 4)
        rows += _node(key, text.encode("utf-16-le") + b"\0\0", b"", True)
    table = _node(f"{_LANGUAGE:04x}{_CODE_PAGE:04x}", b"", rows, True)
    string_info = _node("StringFileInfo", b"", table, True)
    string_info += bytes(-len(string_info) % 4)
    variable = _node("Translation", struct.pack("<2H", _LANGUAGE, _CODE_PAGE), b"", False)
    return _node("VS_VERSION_INFO", fixed, string_info + _node("VarFileInfo", b"", variable, True), False)


def resource_section(rva: int, info: bytes) -> bytes:
    """Type, name and language directories over the version resource."""

    def directory(identifier: int, offset: int) -> bytes:
        return struct.pack("<2I4H2I", 0, 0, 0, 0, 0, 1, identifier, offset)

    first_leaf, data_at = 72, 88
    tree = directory(_RT_VERSION, 0x8000_0000 | 24)  # high bit: another directory
    tree += directory(1, 0x8000_0000 | 48)
    tree += directory(_LANGUAGE, first_leaf)
    return tree + struct.pack("<4I", rva + data_at, len(info), 0, 0) + info
