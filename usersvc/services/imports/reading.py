"""Reading records out of CSV, JSON Lines and JSON documents, in constant memory."""

import csv
import io
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import ijson

from usersvc.errors import InvalidImport
from usersvc.services.imports.products import Product

_MOST_BYTES_OF_A_LINE = 1 << 20
_LOOK_AHEAD = 4096
# ijson keeps the way to a place for each level above it: what nests deep would fill the memory.
_MOST_LEVELS = 1000
_STEP = 4096
"""Bytes that are looked at before ijson gets them: so many levels may be added to the most."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WHOLE = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""Up to a string that goes on after what was read."""
# What a spreadsheet would take for a formula has an apostrophe before it in our own CSV.
_ESCAPED = ("'=", "'+", "'-", "'@", "'\t", "'\r", "''")


Buffered: TypeAlias = "io.BufferedReader[Any]"


@dataclass(frozen=True)
class Record:
    line: int
    """Where it ends; in a JSON document, the how-manieth user it is."""
    values: dict[str, Any] | None
    """None where it cannot be read."""
    problem: str = ""


class Counted(io.RawIOBase):
    """Counts what was read of a file or a pipe."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.bytes_read += len(data)
        return len(data)


class _Shallow:
    """A JSON document that is read no further than it nests too deep. Raises InvalidImport there."""

    def __init__(self, file: Buffered) -> None:
        self._file = file
        self._level = 0
        self._open = b""
        """How a string begins that goes on after what was read."""

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(_STEP if size < 0 else min(size, _STEP))
        self._look_at(self._open + data)
        return data

    def _look_at(self, text: bytes) -> None:
        whole = _WHOLE.match(text)
        assert whole
        bare, rest = _STRING.sub(b"", whole[0]), text[whole.end() :]
        is_escaping = (len(rest) - len(rest.rstrip(b"\\"))) % 2
        self._open = rest[:1] + b"\\" * is_escaping
        self._level += bare.count(b"[") + bare.count(b"{") - bare.count(b"]") - bare.count(b"}")
        if self._level > _MOST_LEVELS:
            raise InvalidImport(f"The file nests deeper than {_MOST_LEVELS:,} levels.")


def records(file: io.RawIOBase, product: Product) -> Iterator[Record]:
    """What begins with `{` or `[` is JSON, everything else CSV. Raises InvalidImport where it is neither."""
    buffered: Buffered = io.BufferedReader(file, 1 << 16)
    if buffered.peek(_LOOK_AHEAD).startswith(BOM_UTF8):
        buffered.read(len(BOM_UTF8))
    begins = buffered.peek(_LOOK_AHEAD)[:_LOOK_AHEAD].lstrip()[:1]
    if begins == b"[":
        return _document(buffered, "item")
    if begins == b"{" and product.users_at:
        return _document(buffered, product.users_at)
    return _lines(buffered) if begins == b"{" else _table(buffered, product)


def _document(file: Buffered, place: str) -> Iterator[Record]:
    number = 0
    try:
        for number, found in enumerate(
            ijson.items(_Shallow(file), place, use_float=True, buf_size=_STEP), start=1
        ):
            is_object = isinstance(found, dict)
            yield Record(number, found if is_object else None, "This is no JSON object.")
    except ijson.JSONError:
        raise InvalidImport(f"After {number} users, the file is no JSON any more.") from None


def _lines(file: Buffered) -> Iterator[Record]:
    number = 0
    while line := file.readline(_MOST_BYTES_OF_A_LINE):
        number += 1
        if len(line) == _MOST_BYTES_OF_A_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(_MOST_BYTES_OF_A_LINE)) and not rest.endswith(b"\n"):
                pass
            yield Record(number, None, "This line is longer than 1 MiB.")
        elif line.strip():
            yield _line(number, line)


def _line(number: int, line: bytes) -> Record:
    try:
        found = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return Record(number, None, "This line is no JSON in UTF-8.")
    if not isinstance(found, dict):
        return Record(number, None, "This is no JSON object.")
    return Record(number, found)


def _table(file: Buffered, product: Product) -> Iterator[Record]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text)
    header = product.columns or _header(reader)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Record(reader.line_num, None, "This line is no CSV.")
            continue
        if row:
            yield _row(reader.line_num, row, header, escaped=product.escapes)


def _header(reader: Any) -> tuple[str, ...]:
    try:
        header = tuple(cell.strip() for cell in next(reader, []))
    except csv.Error:
        raise InvalidImport("The first line is no header of CSV.") from None
    if len(set(header)) < len(header):
        raise InvalidImport("The header names a column twice.")
    return header


def _row(line: int, row: list[str], header: tuple[str, ...], *, escaped: bool) -> Record:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return Record(line, None, "This line is no UTF-8.")
    if any(row[len(header) :]):
        return Record(line, None, "This line has more cells than there are columns.")
    if escaped:
        row = [cell[1:] if cell.startswith(_ESCAPED) else cell for cell in row]
    return Record(line, {name: cell or None for name, cell in zip(header, row, strict=False)})
