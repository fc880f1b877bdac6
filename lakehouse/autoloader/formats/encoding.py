"""Text in another encoding than UTF-8: named by an option, or known by its first bytes."""

from __future__ import annotations

import codecs
import shlex

from lakehouse.autoloader.formats.rows import BadFile

BEGINNING_BYTES = 64
"""How much of a file tells its encoding."""

_MAGIC = {b"\x1f\x8b": "gzip", b"PAR1": "Parquet", b"ORC": "ORC", b"Obj\x01": "Avro", b"PK\x03\x04": "zip"}
_MARKS = {
    "UTF-32LE": codecs.BOM_UTF32_LE,  # before UTF-16LE, whose mark it begins with
    "UTF-32BE": codecs.BOM_UTF32_BE,
    "UTF-16LE": codecs.BOM_UTF16_LE,
    "UTF-16BE": codecs.BOM_UTF16_BE,
}


def to_utf8(data: bytes, encoding: str) -> bytes:
    """The same text in UTF-8, without a byte order mark; what is no text of that encoding becomes U+FFFD.

    Without a mark UTF-16 and UTF-32 are big endian, as Java reads them.
    """
    if encoding in ("utf-16", "utf-32") and not data.startswith(tuple(_MARKS.values())):
        encoding += "-be"
    return data.decode(encoding, "replace").removeprefix("\ufeff").encode()


def refuse_binary(start: bytes) -> None:
    """Raises ``BadFile`` where a file begins as files of a binary format do."""
    for magic, name in _MAGIC.items():
        if start.startswith(magic):
            raise BadFile("NOT_TEXT", f"the file begins as {name}, not as text")


def refuse_wide(data: bytes, path: str, *, zeros: bool = True) -> None:
    """Raises ``BadFile`` for UTF-16 and UTF-32.

    No UTF-8 begins with their byte order marks. Without a mark a file is refused when it begins with two characters of
    ASCII in UTF-16 or UTF-32, and goes on so: as UTF-8 each of them would have NUL beside it, which no JSON has
    outside of strings.

    Args:
        data: The file, or its first bytes.
        path: The file's path, for the message.
        zeros: False where NUL may stand between the values of a text: then only a mark tells.
    """
    start = data[:BEGINNING_BYTES]
    found = next((name for name, mark in _MARKS.items() if start.startswith(mark)), None)
    if found is None and zeros and b"\0" in start[:4]:
        found = next((name for name in _MARKS if _reads_as(start, name)), None)
    if found is not None:
        cure = f"convert it to UTF-8, then: lakehouse replay --files {shlex.quote(path)}"
        raise BadFile("NOT_UTF8", f"the file looks like {found}; {cure}")


def _reads_as(start: bytes, encoding: str) -> bool:
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start)
    except UnicodeDecodeError:
        return False
    plain = [character.isascii() and (character.isprintable() or character in "\t\r\n") for character in text]
    if len(text) < 2 or not all(plain[:2]) or "\0" in text:
        return False
    # any two bytes are a character of UTF-16, but few groups of four bytes are a character of UTF-32
    return encoding.startswith("UTF-32") or 2 * sum(plain) >= len(plain)
