"""Thrift's compact protocol, as Parquet's footers are written in it: read and written as they are.

Only what a footer has (https://github.com/apache/thrift/blob/master/doc/specs/
thrift-compact-protocol.md): structs are lists of fields, whatever these mean.
"""

import struct
from io import BytesIO
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCT = *range(1, 11), 12
LONG_LIST = 15
"""In the place of a size: it follows."""

Field = tuple[int, int, Any]
"""Number, type and value."""
Struct = list[Field]
Items = tuple[int, list[Any]]
"""Type of all, and each."""


def read_struct(source: BytesIO) -> Struct:
    """A struct, from where the source stands."""
    fields: Struct = []
    number = 0
    while head := source.read(1)[0]:
        step, kind = head >> 4, head & 15
        number = number + step if step else _signed(source)
        fields.append((number, kind, _read(source, kind)))
    return fields


def written(fields: Struct) -> bytes:
    """A struct's bytes."""
    out, before = bytearray(), 0
    for number, kind, value in fields:
        step = number - before
        short = 0 < step <= LONG_LIST
        out += bytes([step << 4 | kind]) if short else bytes([kind]) + _zigzag(number)
        out += _written(kind, value)
        before = number
    return bytes(out + b"\0")


def value_of(fields: Struct, number: int) -> Any:
    """The value of a field; None if it is not there."""
    return next((value for one, _, value in fields if one == number), None)


def _read(source: BytesIO, kind: int) -> Any:
    if kind in (TRUE, FALSE):
        return kind == TRUE
    if kind == BYTE:
        return source.read(1)
    if kind in (I16, I32, I64):
        return _signed(source)
    if kind == DOUBLE:
        return struct.unpack("<d", source.read(8))[0]
    if kind == BINARY:
        return source.read(_unsigned(source))
    if kind in (LIST, SET):
        return _read_items(source)
    if kind == STRUCT:
        return read_struct(source)
    raise ValueError(f"no footer of Parquet has Thrift's type {kind}")


def _read_items(source: BytesIO) -> Items:
    head = source.read(1)[0]
    size, kind = head >> 4, head & 15
    size = _unsigned(source) if size == LONG_LIST else size
    flags = kind in (TRUE, FALSE)  # a byte each, not part of the type
    return kind, [source.read(1) if flags else _read(source, kind) for _ in range(size)]


def _written(kind: int, value: Any) -> bytes:
    if kind in (TRUE, FALSE):
        return b""
    if kind == BYTE:
        return bytes(value)
    if kind in (I16, I32, I64):
        return _zigzag(value)
    if kind == DOUBLE:
        return struct.pack("<d", value)
    if kind == BINARY:
        return _varint(len(value)) + bytes(value)
    return written(value) if kind == STRUCT else _written_items(*value)


def _written_items(kind: int, items: list[Any]) -> bytes:
    size = len(items)
    head = bytes([size << 4 | kind]) if size < LONG_LIST else b"%c" % (0xF0 | kind) + _varint(size)
    flags = kind in (TRUE, FALSE)
    return head + b"".join(item if flags else _written(kind, item) for item in items)


def _unsigned(source: BytesIO) -> int:
    value = shift = 0
    while True:
        byte = source.read(1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7


def _signed(source: BytesIO) -> int:
    value = _unsigned(source)
    return value >> 1 ^ -(value & 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)
