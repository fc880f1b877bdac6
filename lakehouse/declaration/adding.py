"""A table that is added to a declaration: its text, and the file with it, in which all else stays as it is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from lakehouse.declaration.problems import DeclarationInvalid, shown
from lakehouse.declaration.reading import catalogue_of, read_catalogue
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.settings import Settings

_FLAGS = {"true": True, "false": False}
_TOP_KEY = re.compile(r"[^\s#]")


class _Dumper(yaml.SafeDumper):
    """Indents lists below their keys."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def tables_for(table: str, flow: Files, key: Sequence[str] = ()) -> dict[str, Any]:
    """The declaration of a table of files; with a key also of ``silver.<name>``, which has each key once.

    Raises:
        ConfigurationError: both would have the same name.
    """
    name = table.partition(".")[2]
    files: dict[str, Any] = {"path": flow.path, "format": flow.format}
    if flow.glob:
        files["glob"] = flow.glob
    if flow.options:
        files["options"] = {name: _FLAGS.get(value, value) for name, value in flow.options.items()}
    made: dict[str, Any] = {table: {"files": files}}
    if not key:
        return made
    latest, named = f"silver.{name}", key[0] if len(key) == 1 else list(key)
    if latest == table:
        raise ConfigurationError(
            f"with --key a table {latest} is made, and {table} is that table",
            where=f"lakehouse add {table}",
            state="nothing was written",
            next_command=f"name the table of the files bronze.{name}",
        )
    made[table]["checks"] = [{"not_null": named}]
    made[latest] = {"latest": {"of": table, "key": named}, "checks": [{"unique": named}]}
    return made


def as_yaml(tables: dict[str, Any], indent: int = 2) -> str:
    """The text of tables, as it stands below ``tables:``."""
    parts = []
    for name, body in tables.items():
        text = yaml.dump({name: body}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
        parts.append("".join(f"{' ' * indent}{line}\n" for line in text.replace("${", "$${").splitlines()))
    return "\n".join(parts)


def add_tables_to_file(settings: Settings, tables: dict[str, Any]) -> None:
    """Writes tables at the end of those in ``settings.declaration``; comments and all other text stay.

    Raises:
        ConfigurationError: a table is declared already, the file is wrong, or would be with them: it is left as it was.
    """
    path = settings.declaration
    refuse_declared(settings, tables)
    before = path.read_bytes()
    after = with_tables(before.decode("utf-8-sig"), tables, shown(path))
    content = (b"\xef\xbb\xbf" if before.startswith(b"\xef\xbb\xbf") else b"") + after.encode()
    try:
        made = catalogue_of(content, settings)
    except DeclarationInvalid as error:
        raise ConfigurationError(
            f"the declaration would not be valid with {', '.join(tables)}: {error.what}",
            where=error.where,
            state=f"{shown(path)} is as it was",
            next_command="write the table by hand, from what lakehouse add prints without --yes",
        ) from None
    assert set(tables) <= set(made.names)
    _replace(path, before, content)


def refuse_declared(settings: Settings, tables: dict[str, Any]) -> None:
    """Makes sure that the declaration can be read, and has none of the tables.

    Raises:
        ConfigurationError: it cannot be read, or has a table of that name.
    """
    catalogue = read_catalogue(settings)
    for name in tables:
        if name in catalogue:
            raise ConfigurationError(
                f"{name} is declared already",
                where=f"{catalogue.where}:{catalogue[name].line}",
                state="nothing was written",
                next_command="choose another name, or change the table there",
            )


def with_tables(text: str, tables: dict[str, Any], where: str) -> str:
    """The text of a valid declaration with further tables.

    Raises:
        ConfigurationError: its tables are written in braces.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    begin = _line_of_tables(text)
    if begin is None:
        lines = [_ended(line, newline) for line in lines]
        return "".join([*lines, newline if lines else "", f"tables:{newline}", _block(tables, 2, newline)])
    if re.match(r"tables:\s*\{\s*\}", lines[begin]):
        lines[begin] = re.sub(r"\s*\{\s*\}", "", lines[begin], count=1)
    elif re.match(r"tables:[^#]*[{*]", lines[begin]):
        raise ConfigurationError(
            "the tables are written in braces or as an alias, where nothing can be added",
            where=f"{where}:{begin + 1}",
            state="nothing was written",
            next_command="write one table a line below tables:, or add the printed text by hand",
        )
    end = next((at for at in range(begin + 1, len(lines)) if _TOP_KEY.match(lines[at])), len(lines))
    last = max(at for at in range(begin, end) if at == begin or (lines[at][:1] in " \t" and lines[at].strip()))
    first = next((line for line in lines[begin + 1 : end] if re.match(r" +[^\s#]", line)), "  x")
    block = _block(tables, len(first) - len(first.lstrip(" ")), newline)
    lines[last] = _ended(lines[last], newline)
    return "".join([*lines[: last + 1], newline if last > begin else "", block, *lines[last + 1 :]])


def _block(tables: dict[str, Any], indent: int, newline: str) -> str:
    return as_yaml(tables, indent).replace("\n", newline)


def _ended(line: str, newline: str) -> str:
    return line if line.endswith(("\n", "\r")) else line + newline


def _line_of_tables(text: str) -> int | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, _ in root.value if root is not None else ():
        if key.value == "tables":
            return int(key.start_mark.line)
    return None


def _replace(path: Path, before: bytes, content: bytes) -> None:
    """Puts the content in place of the file at once, unless somebody changed it meanwhile."""
    real = path.resolve()
    fresh = real.with_name(f"{real.name}.new")
    try:
        fresh.write_bytes(content)
        shutil.copymode(real, fresh)
        if real.read_bytes() != before:
            raise ConfigurationError(
                "the declaration was changed meanwhile",
                where=shown(path),
                state="it is as somebody else wrote it",
                next_command="run the same command again",
            )
        fresh.replace(real)
    except OSError as error:
        raise ConfigurationError(
            f"the declaration cannot be written: {error.strerror or error}",
            where=shown(path),
            state="it is as it was",
            next_command="make the file and its folder writable",
        ) from None
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
