"""A structure being filled in: named fields over bytes, by the layout of one build."""

from __future__ import annotations

import struct

from .layouts import Shape

_MASKS = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFF_FFFF, 8: 0xFFFF_FFFF_FFFF_FFFF}


class Record:
    """Bytes of one structure; `extra` reserves room behind it (a trailing array, a name)."""

    def __init__(self, shape: Shape, extra: int = 0) -> None:
        self.shape = shape
        self.data = bytearray(shape.size + extra)

    def set(self, path: str, value: int, skip: int = 0) -> Record:
        """Writes an integer at a field (plus skip bytes, with 8 bytes, for parts of an aggregate)."""
        offset, width = self.shape.fields[path]
        if skip or width not in _MASKS:
            width = 8
        self.data[offset + skip : offset + skip + width] = (value & _MASKS[width]).to_bytes(width, "little")
        return self

    def put(self, path: str, data: bytes, skip: int = 0) -> Record:
        offset, width = self.shape.fields[path]
        if skip + len(data) > max(width, 8):
            raise ValueError(f"{self.shape.name}.{path} holds {width} bytes, not {skip + len(data)}")
        self.data[offset + skip : offset + skip + len(data)] = data
        return self

    def string(self, path: str, characters: int, buffer: int) -> Record:
        """A UNICODE_STRING of so many characters."""
        return self.put(path, struct.pack("<2H4xQ", 2 * characters, 2 * characters + 2, buffer))

    def links(self, path: str, forward: int, backward: int) -> Record:
        return self.put(path, struct.pack("<2Q", forward, backward))

    def __bytes__(self) -> bytes:
        return bytes(self.data)
