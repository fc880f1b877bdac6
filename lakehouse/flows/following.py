"""A table that is computed from another follows its commits: what it has not read, and what it does about removals."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from lakehouse.errors import ConfigurationError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lakehouse.delta_commit import Commit
    from lakehouse.lake import Lake
    from lakehouse.table import At, Table

_NOTED_VERSIONS = 50
"""After how many versions of its source a running stream notes that it has looked at them."""


class RowsRemoved(TerminalError):
    """Rows that a table was computed from were removed, and nobody said what becomes of it."""


def may_leave_out_changes(lake: Lake, source: str, *, reader: Table, reads: frozenset[str] | None = None) -> bool:
    """Whether the stream into ``reader`` may leave out commits of ``source`` that change rows or take them out.

    It may when they promote columns, none of which it ``reads`` (None: it reads all), and when ``reader`` keeps what it
    has after rows were removed on purpose. After a replay, or whenever ``reader`` is to follow, it starts over.

    Raises:
        RowsRemoved: nobody said what the reader does about removed rows; or it would lose what it kept before.
    """
    from lakehouse.checkpoints.kept import judged_up_to, note_judged

    read, before = (_read_up_to(lake, reader, back=back) for back in (0, 1))
    if read is None:
        return False
    judged = judged_up_to(lake, reader.name)
    since = judged if judged is not None else before if before is not None else read
    commits = lake.commits_since(source, min(since, read if before is None else before))
    changed = [commit for commit in commits if not commit.only_adds]
    # a stream that left out changes and was killed before `stop_at_changes` saw its batches: they are judged now
    to_judge = not_judged(lake, reader, [commit for commit in changed if since < commit.version <= read])
    to_judge += [commit for commit in changed if commit.version > read]
    leave_out = _all_left_out(lake, source, to_judge, reader=reader, reads=reads)
    if to_judge and not leave_out:
        return False
    if judged != read and (to_judge or judged is not None):
        note_judged(lake, reader.name, read)
    # Spark asks for the last batch once more when it starts: what that left out it must leave out again
    return leave_out or (before is not None and any(before < commit.version <= read for commit in changed))


def _all_left_out(
    lake: Lake, source: str, changed: list[Commit], *, reader: Table, reads: frozenset[str] | None
) -> bool:
    """Whether there are changes, and ``reader`` leaves out all of them; where it may not, it starts over."""
    from lakehouse.checkpoints.kept import note_kept

    left_out = {
        change.version for change in changed if change.promoted and reads is not None and not change.promoted & reads
    }
    todo = [change for change in changed if change.version not in left_out]
    if not todo:
        return bool(changed)
    removals = [change for change in todo if change.batch_id is None and not change.promoted]
    # what was removed before the source was taken back is there again, or removed by that
    back = [place for place, removal in enumerate(removals) if removal.operation == "RESTORE" and removal.forgotten]
    counting = removals[back[-1] if back else 0 :]
    choices = {_choice(lake, removal, reader) for removal in counting}
    if "ask" in choices:
        raise _asks(lake, source, reader.name, counting)
    if choices == {"keep"} and len(removals) == len(todo):
        note_kept(lake, reader.name, [removal.version for removal in removals])
        return True
    _compute_again(lake, reader.name, f"{source} was changed in version {todo[0].version}")
    return False


def leaves_out(lake: Lake, source: str, *, reader: Table, judged: int | None) -> Callable[[int], bool]:
    """A function that says whether the stream into ``reader`` leaves out a commit of ``source`` that removes rows.

    A stream that does not end meets such commits while it runs. It goes on where rows were removed on purpose and
    ``reader`` keeps what it has; of all else ``may_leave_out_changes`` decides at its next start.

    Args:
        lake: Where both tables are.
        source: The table that is followed.
        reader: The table that is computed.
        judged: Up to this version ``may_leave_out_changes`` has said that all are left out; None where it has not.
    """

    @cache
    def is_left_out(version: int) -> bool:
        from lakehouse.checkpoints.kept import note_kept

        if judged is not None and version <= judged:
            return True
        commit = lake.commits_since(source, version - 1, newest=version)[-1]
        others = commit.operation == "RESTORE" or commit.batch_id is not None or commit.promoted or commit.emptied
        if others or _choice(lake, commit, reader) != "keep":
            return False
        note_kept(lake, reader.name, [version])
        return True

    return is_left_out


def not_judged(lake: Lake, reader: Table, commits: Sequence[Commit]) -> list[Commit]:
    """Those that change rows or take them out, and of which nobody has said that ``reader`` keeps what it has."""
    from lakehouse.checkpoints.kept import kept_removals

    changed = [commit for commit in commits if not commit.only_adds]
    kept = kept_removals(lake, reader.name) if changed else []
    return [commit for commit in changed if commit.version not in kept]


def stop_at_changes(
    lake: Lake, source: str, *, reader: Table, reads: frozenset[str] | None = None
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What a stream of Spark that leaves out changes calls with the progress of each batch.

    Spark's ``skipChangeCommits`` holds for as long as the query runs. So it would leave out also what nobody has looked
    at yet, such as the rows of a replay, without a word. The next start looks at that.

    Args:
        lake: Where both tables are.
        source: The table that is followed.
        reader: The table that is computed.
        reads: Columns that it reads; None: all.

    Raises:
        SourceChanged: by the returned function, of a batch that left out what ``reader`` has to take account of.
    """
    from lakehouse.checkpoints.kept import judged_up_to, note_judged
    from lakehouse.streams.failures import SourceChanged

    is_left_out, noted = leaves_out(lake, source, reader=reader, judged=None), judged_up_to(lake, reader.name)

    def look(progress: dict[str, Any]) -> dict[str, Any]:
        nonlocal noted
        [read] = progress["sources"][:1]
        if not read["startOffset"] or not read["endOffset"]:
            return {}
        start, end = (json.loads(read[name]) for name in ("startOffset", "endOffset"))
        since, newest = _passed(start), end["reservoirVersion"] - 1
        for commit in not_judged(lake, reader, lake.commits_since(source, since, newest=newest)):
            unread = commit.promoted and reads is not None and not commit.promoted & reads
            if not unread and not is_left_out(commit.version):
                raise SourceChanged(
                    f"version {commit.version} of {source} changed rows while {reader.name} was computed from it",
                    where=lake.settings.table_uri(reader.name),
                    state=f"{reader.name} does not take account of that yet",
                    next_command="run the same again: it begins anew where that is needed",
                )
        if newest - (noted or 0) >= _NOTED_VERSIONS:  # so the next start looks at few of them again
            noted = newest
            note_judged(lake, reader.name, noted)
        return {}

    return look


def _choice(lake: Lake, removal: Commit, reader: Table) -> str:
    if removal.forgotten == "ask":  # whoever removed the rows wants to be asked; the setting is the answer
        return lake.settings.after_removals
    return removal.forgotten or reader.after_removals or lake.settings.after_removals


def _compute_again(lake: Lake, reader: str, why: str) -> None:
    from lakehouse.checkpoints import agreement as checkpoints
    from lakehouse.checkpoints.kept import kept_removals
    from lakehouse.maintenance.repair import start_over

    kept = kept_removals(lake, reader)
    if kept:
        raise RowsRemoved(
            f"{why}: {reader} has to be computed again, and would lose what it kept when its source lost rows",
            where=lake.settings.table_uri(reader),
            state="nothing was changed",
            next_command=f"lakehouse checkpoint restart {reader} --yes   (its rows of today stay in an older version)",
        )
    with checkpoints.writer_of(lake, reader):
        start_over(lake, reader, why)


def _asks(lake: Lake, source: str, reader: str, removals: list[Commit]) -> RowsRemoved:
    named = ", ".join(f"version {removal.version} ({removal.operation})" for removal in removals)
    return RowsRemoved(
        f"rows were removed from {source}: {named}. {reader} can be computed again without them, or keep what it has",
        where=lake.settings.table_uri(source),
        state=f"nothing was changed; {reader} is as it was before",
        next_command="LAKEHOUSE_AFTER_REMOVALS=follow lakehouse ingest   (computed again; keep: it keeps what it has)",
    )


def start_over_after_another(lake: Lake, source: str, *, reader: Table) -> None:
    """Starts ``reader`` over when the table that it followed is gone, and another is in its place."""
    from lakehouse.checkpoints import agreement as checkpoints

    opened, offset = lake.delta(source), checkpoints.newest_offset(lake, reader.name)
    if opened is not None and offset is not None and offset.get("reservoirId") != str(opened.metadata().id):
        _compute_again(lake, reader.name, f"{source} is another table now")


def was_emptied(lake: Lake, *, reader: Table) -> bool:
    """Whether the reader's table is there, without a row, and its stream begins anew."""
    from lakehouse.checkpoints import agreement as checkpoints

    found = lake.describe(reader.name)
    return found is not None and not found.files and checkpoints.read_checkpoint(lake, reader.name) is None


def has_read_all(lake: Lake, source: str, *, reader: Table) -> bool:
    """Whether a query would find nothing: its start alone takes about a second.

    Raises:
        CheckpointMismatch: the reader's table and its checkpoint do not belong together.
    """
    from lakehouse.checkpoints import agreement as checkpoints

    state, offset, version = (
        checkpoints.read_checkpoint(lake, reader.name),
        checkpoints.newest_offset(lake, reader.name),
        lake.version(source),
    )
    if state is None or offset is None or version is None or state.last_commit != state.last_offset:
        return False
    checkpoints.verify(lake, reader.name)
    return not offset["isStartingVersion"] and bool(offset["reservoirVersion"] > version)


def _read_up_to(lake: Lake, reader: Table, *, back: int) -> int | None:
    """Up to which version the stream into ``reader`` has read, or had so many batches ago; None before its first."""
    from lakehouse.checkpoints import agreement as checkpoints

    offset = checkpoints.newest_offset(lake, reader.name, back=back)
    if offset is None or "reservoirVersion" not in offset:
        return None
    return _passed(offset)


def _passed(offset: dict[str, Any]) -> int:
    """The last version behind an offset, which names the commit that is read next, or the version of a snapshot."""
    return int(offset["reservoirVersion"]) - (0 if offset.get("isStartingVersion") else 1)


def refused(at: At, what: str, cure: str) -> ConfigurationError:
    """The error for a table whose declaration does not fit its source; it names the line of the declaration."""
    return ConfigurationError(
        what,
        where=f"{at.catalogue.where}:{at.table.line}",
        state="nothing was read or written",
        next_command=cure,
    )
