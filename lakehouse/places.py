"""Where the declared streams stand: shown, backed up, restored, reset, and handed on to other tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.autoloader.outcomes.file_states import FileState
from lakehouse.checkpoints.standing import Standing, disagreement, standing
from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.flows.files import Files
from lakehouse.flows.query import Computed
from lakehouse.lake import Lake
from lakehouse.maintenance.backup import Backup, back_up, prune
from lakehouse.maintenance.fork import Fork, fork, refused
from lakehouse.maintenance.replay import replay
from lakehouse.maintenance.reset import Reset, Rows, reset_empty
from lakehouse.maintenance.restore import Restored, restore
from lakehouse.plain_text import counted
from lakehouse.table import Catalogue, Table

if TYPE_CHECKING:
    from lakehouse.maintenance.moving_in import MovedIn

_THREADS = 8


@dataclass(frozen=True)
class Place:
    """A declared table and its stream.

    Attributes:
        table: Its name.
        begun: Whether it has a checkpoint.
        standing: Where the stream stands; None before it has begun.
        rows: Rows of the table; None when there is none.
        disagreement: Why table and checkpoint do not belong together; empty when they do.
    """

    table: str
    begun: bool
    standing: Standing | None
    rows: int | None
    disagreement: str


def has_stream(table: Table) -> bool:
    """Whether a table has a checkpoint once it is run: a table that is computed anew each time has none."""
    return not (isinstance(table.flow, Computed) and table.flow.mode == "recompute")


def streams(catalogue: Catalogue) -> tuple[str, ...]:
    """Names of the tables that have a checkpoint, in the order of the data."""
    return tuple(table.name for table in catalogue if has_stream(table))


def places_of(lake: Lake) -> list[Place]:
    """Every declared stream, in the order of the data."""

    def look(name: str) -> Place:
        found, info = standing(lake, name), lake.describe(name)
        return Place(name, found is not None, found, info.rows if info else None, disagreement(lake, name))

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(look, streams(read_catalogue(lake.settings))))


@dataclass(frozen=True)
class BackedUp:
    """What a backup of several tables did.

    Attributes:
        made: The backups.
        removed: Older backups that were removed.
        without: Tables that have no checkpoint yet.
        errors: Why a table could not be backed up.
    """

    made: tuple[Backup, ...]
    removed: tuple[Backup, ...]
    without: tuple[str, ...]
    errors: dict[str, LakehouseError]


def back_up_all(
    lake: Lake,
    tables: Iterable[str],
    keep: int | None = None,
    *,
    on_backup: Callable[[Backup], None] = lambda backup: None,
) -> BackedUp:
    """Backs tables up, one after the other. A table that cannot be backed up does not stop the others.

    Args:
        lake: Where they are.
        tables: Their names.
        keep: Complete backups of each table that are kept, with the new one; None for all.
        on_backup: Told of each backup.
    """
    made: list[Backup] = []
    removed: list[Backup] = []
    without: list[str] = []
    errors: dict[str, LakehouseError] = {}
    for name in tables:
        if standing(lake, name) is None:
            without.append(name)
            continue
        try:
            made.append(back_up(lake, name))
            on_backup(made[-1])
            removed += prune(lake, name, keep) if keep else []
        except LakehouseError as error:
            errors[name] = error
    return BackedUp(tuple(made), tuple(removed), tuple(without), errors)


def restore_table(
    lake: Lake, table: str, taken: str | None = None, *, with_table: bool = False, really: bool = False
) -> Restored:
    """Puts a backup of a declared table back; see ``maintenance.restore``."""
    catalogue = read_catalogue(lake.settings)
    source = next(iter(catalogue[table].flow.reads), None)
    readers = [reader.name for reader in catalogue.readers(table)]
    return restore(lake, table, taken, source=source, readers=readers, with_table=with_table, really=really)


def reset_table(lake: Lake, table: str, rows: Rows | None = None, *, really: bool = False) -> Reset:
    """Has a stream begin anew; without ``really`` only says what that would do.

    Args:
        lake: Where it is.
        table: Its table.
        rows: What becomes of the rows that are there: ``empty`` takes them out, ``replace`` loads every file again in
            place of its rows, ``keep`` leaves them; None for what the kind of table can do without a loss.
        really: Do it.

    Raises:
        ConfigurationError: rows would be doubled, or lost.
        LeaseHeld: a stream writes the table now.
    """
    flow = read_catalogue(lake.settings)[table].flow
    files = flow if isinstance(flow, Files) and flow.replaces else None
    chosen: Rows = rows or ("replace" if files else "empty")
    if chosen == "keep":
        raise _refused(
            table,
            "its stream would read all of its source again, and each row that stays would be there twice",
            "replace" if files else "empty",
        )
    if chosen == "replace" and files is None:
        raise _refused(table, "its rows do not say which file they are from: none can take another's place", "empty")
    if chosen == "replace" and files is not None:
        return _replace(lake, table, files, really)
    reads: Sequence[str] = [flow.path] if isinstance(flow, Files) else flow.reads
    return reset_empty(lake, table, reads, outlives=files is not None, really=really)


def _replace(lake: Lake, table: str, flow: Files, really: bool) -> Reset:
    overwrites = bool(flow.cloud_files(lake.settings, table).allow_overwrites)
    if standing(lake, table) is None:
        raise _knows_nothing(lake, table, f"the stream into {table} has no checkpoint")
    done = replay(lake, table, overwrites=overwrites, really=really)
    if not (done.files or done.waiting):
        raise _knows_nothing(lake, table, f"the stream into {table} knows no file that is still there")
    steps = [f"load {counted(len(done.files), 'file')} again, each in place of its rows ({done.rows:,} now)"]
    if done.waiting:
        steps.append(f"load {counted(len(done.waiting), 'file')} again, for which that was asked before")
    if done.forgotten_rows:
        steps.append(f"{counted(done.forgotten_rows, 'row')} of these files, removed on purpose, come again")
    if done.gone:
        rows = sum(file.rows or 0 for file in done.gone)
        steps.append(f"leave {counted(rows, 'row')} of {counted(len(done.gone), 'file')} that are not there any more")
    steps.append("keep the checkpoint: what is loaded again is named in the journal")
    steps.append("compute the tables behind it again")
    return Reset(table, "replace", tuple(steps), _paths(done.gone), done=done.done)


def _knows_nothing(lake: Lake, table: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        what,
        where=lake.settings.checkpoint_uri(table),
        state="nothing was changed",
        next_command=f"lakehouse checkpoint repair {table}   (when checkpoint or journal were lost)",
    )


def _paths(files: Sequence[FileState]) -> tuple[str, ...]:
    return tuple(file.path for file in files)


def fork_table(lake: Lake, table: str, new: str, *, really: bool = False) -> Fork:
    """Has a declared table begin where another stands; without ``really`` only says where that is.

    Raises:
        ConfigurationError: the two tables do not read the same files, or the new table has begun.
        LeaseHeld: a stream writes the new table now.
    """
    catalogue = read_catalogue(lake.settings)
    old, young = catalogue[table].flow, catalogue[new].flow
    where = str(lake.settings.declaration)
    if not isinstance(old, Files) or not isinstance(young, Files):
        computed = table if not isinstance(old, Files) else new
        what = f"{computed} is computed: it would lack what came before, and its checks ask for all of it"
        raise refused(new, what, "name two tables of files", where)
    if table == new:
        raise refused(new, "it is the same table", "name two tables of files", where)
    names = ("path", "glob", "source", "format")
    differ = [name for name in names if getattr(old, name) != getattr(young, name)]
    if differ or old.source == "spark":
        what = f"its {' and '.join(differ)} differ from those of {table}" if differ else "Spark's source has no journal"
        raise refused(new, what, f"declare {new} over the files of {table}, by cloudFiles", where)
    ours, theirs = (flow.cloud_files(lake.settings, "bronze.fork") for flow in (old, young))
    if ours.journal_location != theirs.journal_location:
        raise refused(new, f"it has another journal than {table}", "give both the same journalLocation", where)
    # columns that are inferred alike: types of the first files, which the new table will not read
    same = all(getattr(old, name) == getattr(young, name) for name in ("columns", "hints", "options"))
    return fork(lake, table, new, with_schema=same and old.columns is None, really=really)


def import_place(
    lake: Lake, table: str, source: str, rewrites: Mapping[str, str] | None = None, *, really: bool = False
) -> MovedIn:
    """Has a declared table of files begin behind what a stream elsewhere has loaded; without ``really`` only says so.

    Args:
        lake: Where the table is.
        table: The table.
        source: The other stream's books, see ``read_elsewhere``.
        rewrites: Beginnings of paths there, and what stands for them here.
        really: Do it.

    Raises:
        ConfigurationError: it cannot be, see ``read_elsewhere`` and ``move_in``.
        LeaseHeld: a stream writes the table now.
    """
    from lakehouse.maintenance.loaded_elsewhere import read_elsewhere
    from lakehouse.maintenance.moving_in import move_in

    flow = read_catalogue(lake.settings)[table].flow
    if not isinstance(flow, Files) or flow.source == "spark":
        raise ConfigurationError(
            f"{table} is not filled from files by cloudFiles",
            where=str(lake.settings.declaration),
            state="nothing was changed",
            next_command="declare it as files, over the folder that the other stream read",
        )
    return move_in(
        lake, table, flow.cloud_files(lake.settings, table), read_elsewhere(lake.store, source), rewrites, really=really
    )


def _refused(table: str, why: str, able: str) -> ConfigurationError:
    return ConfigurationError(
        f"the stream into {table} cannot begin anew like that: {why}",
        where="lakehouse checkpoint reset",
        state="nothing was changed",
        next_command=f"lakehouse checkpoint reset {table} --rows {able}   (says what it would do; --yes does it)",
    )
