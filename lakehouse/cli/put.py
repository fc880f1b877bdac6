"""``lakehouse put``: local files into the folder that a table is filled from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import Json, command, in_lake, require_declared
from lakehouse.errors import ConfigurationError
from lakehouse.plain_text import counted

if TYPE_CHECKING:
    from lakehouse.flows.files import Files
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings

_STATE = "nothing was uploaded"


@dataclass(frozen=True)
class _Upload:
    file: Path
    key: str
    data: bytes


def put(
    files: Annotated[list[Path], typer.Argument(help="files, or folders with all that is in them")],
    table: Annotated[
        str,
        typer.Argument(callback=in_lake, help="layer.name of a table of files, or s3a://bucket/folder/ or /folder/"),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="also over objects of that name that have other content")
    ] = False,
    as_json: bool = Json,
) -> None:
    """Upload local files to where a table takes its files from.

    A file goes by its name; folders called column=value above it, and those below a folder that is named, are kept.
    """
    from lakehouse.autoloader.options.paths import SourcePath, key_uri
    from lakehouse.flows.files import Files
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings

    with command(as_json) as out:
        settings = Settings.load()
        flow = Files.model_validate({"path": table}) if "/" in table else _flow(settings, table)
        path = SourcePath.parse(flow.path)
        uploads = [_Upload(file, path.root + name, _content(file)) for file, name in _named(files)]
        _require_input(flow, uploads, table)
        lake = Lake.open(settings, say=out.say)
        there = {upload.key for upload in uploads if _is_there(lake, path.bucket, upload, overwrite)}
        for upload in uploads:
            if upload.key not in there:
                lake.store.write(path.bucket, upload.key, upload.data, if_absent=not overwrite)
        rows = [[str(upload.file), len(upload.data), key_uri(path.bucket, upload.key)] for upload in uploads]
        out.table(["file", "bytes", "is now"], rows)
        for upload in uploads:
            if upload.key in there:
                out.line(f"{upload.file} was there already, with the same content", style="yellow")
        folder, count = key_uri(path.bucket, path.root), counted(len(uploads) - len(there), "file")
        cure = f"lakehouse add bronze.NAME {folder}" if "/" in table else f"lakehouse ingest {table}"
        out.line(f"put {count} into {folder}; next: {cure}")
        names = ("file", "bytes", "path")
        entries = [dict(zip(names, row, strict=True)) for row in rows]
        same = [str(upload.file) for upload in uploads if upload.key in there]
        out.result({"table": None if "/" in table else table, "folder": folder, "files": entries, "unchanged": same})


def _flow(settings: Settings, table: str) -> Files:
    from lakehouse.flows.files import Files

    flow = require_declared(settings, table).flow
    if isinstance(flow, Files):
        return flow
    raise ConfigurationError(
        f"{table} takes no files: it is computed from {' and '.join(flow.reads)}",
        where="lakehouse put",
        state=_STATE,
        next_command="name a table of files: lakehouse validate   (lists the tables)",
    )


def _named(files: list[Path]) -> Iterator[tuple[Path, str]]:
    """Each file with its name below the folder of the table."""
    for given in files:
        if given.is_dir():
            inside = sorted(file for file in given.rglob("*") if file.is_file())
            yield from (
                (file, "/".join([*_partitions(given / "x"), *file.relative_to(given).parts])) for file in inside
            )
        else:
            yield given, "/".join([*_partitions(given), given.name])


def _partitions(file: PurePath) -> list[str]:
    """The folders called ``column=value`` right above a file."""
    found: list[str] = []
    for part in reversed(file.parts[:-1]):
        if "=" not in part:
            break
        found.insert(0, part)
    return found


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the file cannot be read: {error.strerror}",
            where=str(file),
            state=_STATE,
            next_command="name files that are there",
        ) from None


def _require_input(flow: Files, uploads: list[_Upload], table: str) -> None:
    """Makes sure that the table would load each file, and that no two files become the same object."""
    from lakehouse.storage import ObjectInfo

    now = datetime.now(UTC)
    refused = [upload for upload in uploads if not flow.is_input(ObjectInfo(upload.key, len(upload.data), "", now))]
    twice = {upload.key for upload in uploads if sum(other.key == upload.key for other in uploads) > 1}
    if uploads and not refused and not twice:
        return
    if not uploads:
        what = "there is no file in the folders"
    elif refused:
        names = ", ".join(str(upload.file) for upload in refused[:5]) + (" ..." if len(refused) > 5 else "")
        glob = f" and names such as {flow.glob}" if flow.glob else ""
        what = f"{table} does not take {names}: it takes files with content under {flow.path}{glob}"
    else:
        what = f"several files would become {', '.join(sorted(twice))}"
    raise ConfigurationError(
        what,
        where="lakehouse put",
        state=_STATE,
        next_command="name other files, or rename those",
    )


def _is_there(lake: Lake, bucket: str, upload: _Upload, overwrite: bool) -> bool:
    from lakehouse.autoloader.options.paths import key_uri

    found = lake.store.info(bucket, upload.key)
    if found is None:
        return False
    same = found.size_bytes == len(upload.data) and (
        found.e_tag == hashlib.md5(upload.data, usedforsecurity=False).hexdigest()
        or lake.store.read(bucket, upload.key) == upload.data
    )
    if same or overwrite:
        return same
    raise ConfigurationError(
        f"{upload.file} is another file than the one of that name on the store",
        where=key_uri(bucket, upload.key),
        state=_STATE,
        next_command="rename it; or --overwrite, which a table notices with cloudFiles.allowOverwrites",
    )
