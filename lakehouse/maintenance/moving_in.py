"""A stream here that goes on where a stream elsewhere ended.

The files that were loaded there come first in the journal here. The checkpoint begins behind those files, as a fork's
does. The next run loads what is not among them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from lakehouse.autoloader.context import Source, new_stream_id
from lakehouse.autoloader.files.discovery import listed_files
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import glob_regex, split_uri
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake
from lakehouse.maintenance.fork import begin_at
from lakehouse.maintenance.loaded_elsewhere import Elsewhere
from lakehouse.storage.local_paths import mapped


@dataclass(frozen=True)
class MovedIn:
    """What an import does, or did.

    Attributes:
        table: The table.
        what: Whose books were read.
        loaded: Files that they call loaded.
        there: How many of those are in the folder: they are not loaded again.
        gone: How many are not in the folder any more.
        new: Files in the folder that were not loaded: the next run loads them.
        not_loaded: Files that the other stream knew of and had not finished.
        rows: Whether the table is there, with its rows of before.
        gone_sample: Some of the files that are gone.
        done: Whether it was done.
    """

    table: str
    what: str
    loaded: int
    there: int
    gone: int
    new: int
    not_loaded: int
    rows: bool
    gone_sample: tuple[str, ...] = ()
    done: bool = False


def move_in(
    lake: Lake,
    table: str,
    options: CloudFilesOptions,
    elsewhere: Elsewhere,
    rewrites: Mapping[str, str] | None = None,
    *,
    really: bool = False,
) -> MovedIn:
    """Has the stream into ``table`` begin behind the files that another stream has loaded.

    Args:
        lake: Where the table is.
        table: A table of files without a checkpoint. It may hold the rows of those files already.
        options: Of its stream.
        elsewhere: What was loaded.
        rewrites: Beginnings of paths there, and what stands for them here.
        really: Do it; without only says what it would do.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: the table has a checkpoint, none of the files is in its folder, or its journal has met
            other files before them.
    """
    with checkpoints.writer_of(lake, table):
        if checkpoints.read_checkpoint(lake, table) is not None:
            raise _refused(
                lake,
                table,
                f"{table} has a checkpoint already",
                "declare another name, or lakehouse checkpoint reset " + table,
            )
        source = Source(options, None, endpoint=lake.endpoint)
        listed = {info.key: info for info in listed_files(source.store, source.path) if info.size_bytes}
        named = keys_here(elsewhere, source.path.bucket, listed, rewrites or {})
        there = [listed[key] for key in dict.fromkeys(named.values()) if key in listed]
        gone = [path for path, key in named.items() if key not in listed]
        journal = source.journal
        loaded, names = {info.key for info in there}, options.path_glob_filter
        is_input = re.compile(glob_regex(names) if names else ".*", re.DOTALL)
        others = [key for key in listed if key not in loaded and source.path.covers(key)]
        new = [key for key in others if is_input.fullmatch(key.rsplit("/", 1)[-1])]
        if not there:
            raise _refused(
                lake,
                table,
                f"none of the {len(named):,} files that were loaded elsewhere is in {options.path}"
                + (f", {gone[0]} among them" if gone else ""),
                "say what their paths are here: --rewrite OLD=NEW",
            )
        _require_first(lake, table, journal, loaded)
        rows = lake.version(table) is not None
        done = MovedIn(
            table,
            elsewhere.what,
            len(elsewhere.paths),
            len(there),
            len(gone),
            len(new),
            elsewhere.not_loaded,
            rows,
            tuple(gone[:5]),
            really,
        )
        if really:
            journal.append(source.path.bucket, there, journal.high_water)
            last = _last(journal, loaded)
            place = {"v": 1, "seq": last, "segment": journal.position(last).segment, "journal": source.journal_uri}
            begin_at(lake, table, {**place, "stream": new_stream_id()})
        return done


def keys_here(elsewhere: Elsewhere, bucket: str, listed: Container[str], rewrites: Mapping[str, str]) -> dict[str, str]:
    """The key here of each path there; a path of another place stands for itself, and is no key.

    A path is escaped or plain, whichever names a file.
    """
    found = {}
    for path in elsewhere.paths:
        for old, new in rewrites.items():
            if path.startswith(old):
                path = new + path.removeprefix(old)
                break
        plain = _key(path, bucket)
        if plain is None:
            found[path] = path
            continue
        unescaped = unquote(plain)
        likely, unlikely = (unescaped, plain) if elsewhere.escaped else (plain, unescaped)
        found[path] = unlikely if likely not in listed and unlikely in listed else likely
    return found


def _key(path: str, bucket: str) -> str | None:
    """The key of a path as it is written; None where it is of another bucket, or of a place that is not known."""
    path = mapped(path)
    if not path.partition("/")[0].endswith(":"):
        return path.lstrip("/")
    try:
        of, key = split_uri(path)
    except ConfigurationError:
        return None
    return key if of == bucket else None


def _require_first(lake: Lake, table: str, journal: Journal, keys: set[str]) -> None:
    """Makes sure that a place in the journal can tell the loaded files from the others."""
    known = [(file.key, file.seq) for file in journal.files(0, journal.high_water)]
    last = max((seq for key, seq in known if key in keys), default=0)
    lacking = keys - {key for key, _ in known}
    between = [key for key, seq in known if key not in keys and (seq < last or lacking)]
    if between:
        raise _refused(
            lake,
            table,
            f"the journal {journal.uri} has met other files before some of those, {between[0]} among them: "
            "no place in it tells the two apart",
            "give the table a journal of its own, in its options: "
            f"{{cloudFiles.journalLocation: {lake.settings.journal_root}/{table}}}",
        )


def _last(journal: Journal, keys: set[str]) -> int:
    return max(file.seq for file in journal.files(0, journal.high_water) if file.key in keys)


def _refused(lake: Lake, table: str, what: str, next_command: str) -> ConfigurationError:
    return ConfigurationError(
        what, where=lake.settings.checkpoint_uri(table), state="nothing was changed", next_command=next_command
    )
