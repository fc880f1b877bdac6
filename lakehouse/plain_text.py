"""Text that came with files, tables and objects, made fit for terminals, pages and logs."""

from __future__ import annotations

import re

# control characters, what turns the direction of writing or ends a line, and halves of characters
_UNFIT = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_A_LINE, _IN_LINES = re.compile(f"[{_UNFIT}]"), re.compile(rf"(?!\n)[{_UNFIT}]")
_BYTE_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}

# of the clients below obstore and deltalake
_REQUEST = re.compile(
    r"Error performing (\w+) \S+ in \S+?(, after \d+ retries)?(?:, max_retries: \S+ retry_timeout: \S+)?\s+-\s+"
)
_TREE = re.compile(r"\s*\n\s*(?:\x1b\[\d+m)?↳(?:\x1b\[0m)?\s*")


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with its control characters written as Python writes them, such as ``\x1b``.

    Args:
        text: Anything.
        lines: Whether it may have several lines; without it a line's end is written as ``\n``, too.
    """
    return (_IN_LINES if lines else _IN_A_LINE).sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def without_address(text: str) -> str:
    """What an object store's client says of a request, without its address and its own limits: they do not tell why."""
    return _REQUEST.sub(r"\1\2: ", text)


def cause_of(error: BaseException, most_characters: int = 200) -> str:
    """What an exception of another library says, in one line: the first, with all levels of a cause drawn as a tree."""
    lines = without_address(_TREE.sub(": ", str(error))).strip().splitlines()
    return lines[0][:most_characters] if lines else type(error).__name__


def shortened(text: str, most_characters: int) -> str:
    """The text, or as much of it as is asked for and how long it is."""
    if len(text) <= most_characters:
        return text
    return f"{text[:most_characters]}… ({len(text):,} characters)"


def counted(number: int, noun: str) -> str:
    """``1 batch``, ``3 batches``, ``1,200 files``."""
    plural = "es" if noun.endswith(("ch", "s")) else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def sized(size_bytes: int) -> str:
    """``228 bytes``, ``1.2 kB``, ``3.4 MB``, ``1,200.0 GB``."""
    if size_bytes < 1000:
        return counted(size_bytes, "byte")
    unit, exponent = next((pair for pair in (("kB", 3), ("MB", 6)) if size_bytes < 10 ** (pair[1] + 3)), ("GB", 9))
    return f"{size_bytes / 10**exponent:,.1f} {unit}"


def size_bytes(text: str) -> int:
    """A number of bytes, alone or with a unit of 1024: ``10g``, ``10 GB``."""
    found = re.fullmatch(r"0*([1-9][0-9]{0,18}) ?([kmgtp]?)(?:i?b)?", text.strip().lower())
    size = int(found[1]) << _BYTE_UNITS[found[2]] if found else 0
    if not 0 < size < 1 << 63:
        raise ValueError("write a whole number of bytes above 0, or one with a unit such as 512k, 64m or 10g")
    return size
