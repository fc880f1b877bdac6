"""A Delta table that is opened again is read again only where its log has changed.

To open a table takes a request for each commit since its last checkpoint, and each step of a run opens it anew: it
wants the newest version, whoever wrote that. So a table that was opened twice is kept, and shared by all who only read
it. One request tells whether its newest commit is still the same object. Who may write with a table has it for itself.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from lakehouse.delta_log import commits_from, newest_version

if TYPE_CHECKING:
    from lakehouse.storage import ObjectStore

_MOST_TABLES, _MOST_VERSIONS, _MOST_COMMITS = 4, 1000, 50
_READS = (
    *("version", "schema", "metadata", "protocol", "transaction_version", "history", "deletion_vectors", "partitions"),
    *("get_add_actions", "file_uris", "to_pyarrow_dataset", "load_cdf", "create_write_transaction"),
)
"""What leaves an opened table at its version. Any other method of ``DeltaTable`` may move it."""


class Opened:
    """What was read of a table's log.

    Attributes:
        version: Its newest version then.
        tag: Tells the object with that commit from any other.
        table: What ``deltalake`` holds; None where the table was opened only once, or somebody has it for himself.
        options: What ``deltalake`` was told of the store.
    """

    def __init__(self, version: int, tag: str = "", table: Any = None, options: dict[str, str] | None = None) -> None:
        self.version, self.tag, self.table, self.options = version, tag, table, options or {}
        self._readers: list[weakref.ref[ReadTable]] = []

    def read_by(self, reader: ReadTable) -> None:
        """Notes who reads it."""
        self._readers = [weakref.ref(reader), *(known for known in self._readers if known() is not None)]

    def readers(self) -> int:
        """How many read it now."""
        return sum(reader.shares(self) for known in self._readers if (reader := known()) is not None)

    def brought_up(self, commits: dict[int, str], options: dict[str, str]) -> bool:
        """Whether it is the table at its newest version, or could be moved there, since nobody reads it."""
        if self.table is None or self.options != options or commits.get(self.version) != self.tag:
            return False
        newest = max(commits)
        if newest > self.version:
            if self.readers():
                return False
            try:
                self.table.update_incremental()
            except DeltaError:  # who opens it anew is told what is wrong
                return False
            if self.table.version() != newest:
                return False
            self.version, self.tag = newest, commits[newest]
        return True


_opened: OrderedDict[str, Opened] = OrderedDict()
_turn, _thread = threading.RLock(), threading.local()


def _forget_all() -> None:
    global _turn
    _opened.clear()
    _turn = threading.RLock()  # somebody else may have held it


os.register_at_fork(after_in_child=_forget_all)


class ReadTable(DeltaTable):
    """A Delta table at one version. While it is only read, it may share what was read of the log.

    Args:
        address: Its folder, as ``deltalake`` takes it.
        options: What ``deltalake`` is told of the store.
        version: None for the newest.
        shared: The newest version, where it is known.
    """

    _own: Any = None
    _shared: Opened | None = None

    def __init__(
        self, address: str, options: dict[str, str], version: int | None = None, shared: Opened | None = None
    ) -> None:
        self._address = address
        if shared is None:
            super().__init__(address, version, storage_options=options)
        else:
            self._storage_options = options
            self.share(shared)

    def share(self, opened: Opened) -> None:
        """Reads from there, until it is asked for more than reading."""
        opened.table = self._own if opened.table is None else opened.table
        self._own, self._shared = None, opened
        opened.read_by(self)

    def shares(self, opened: Opened) -> bool:
        """Whether it reads from there."""
        return self._shared is opened

    @property
    def _table(self) -> Any:
        """What ``DeltaTable`` asks for with everything it does."""
        if self._shared is not None and not getattr(_thread, "reads", 0):
            self._part()
        return self._own if self._shared is None else self._shared.table

    @_table.setter
    def _table(self, table: Any) -> None:
        self._own, self._shared = table, None

    def _part(self) -> None:
        with _turn:
            shared = self._shared
            assert shared is not None
            if shared.readers() == 1:
                self._table, shared.table = shared.table, None
                return
        self._table = DeltaTable(self._address, shared.version, storage_options=shared.options)._table


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def read(self: ReadTable, *args: Any, **options: Any) -> Any:
        _thread.reads = getattr(_thread, "reads", 0) + 1
        try:
            return method(self, *args, **options)
        finally:
            _thread.reads -= 1

    return read


for _name in _READS:
    setattr(ReadTable, _name, _reading(getattr(DeltaTable, _name)))

Kind = TypeVar("Kind", bound=ReadTable)


def at_newest(store: ObjectStore, uri: str, options: dict[str, str], made: Callable[[Opened | None], Kind]) -> Kind:
    """The table at its newest version.

    Args:
        store: Where the table is.
        uri: Its folder.
        options: What ``deltalake`` is told of the store.
        made: Opens the table, or makes one that shares what is known.

    Raises:
        TableNotFoundError, DeltaError: as ``DeltaTable`` does.
    """
    with _turn:
        known = _opened.pop(uri, None)  # until it is put back, nobody else moves it
    commits = commits_from(store, uri, known.version) if known is not None else {}
    table = None
    if known is not None and known.brought_up(commits, options):
        with _turn:
            if known.table is not None:
                table = made(known)
    if table is None:
        table = made(None)
        known = Opened(table.version(), options=options)
        if known.version in commits and known.version == max(commits):
            known.tag = commits[known.version]
            table.share(known)
    assert known is not None
    _keep(uri, known)
    return table


def _keep(uri: str, opened: Opened) -> None:
    with _turn:
        _opened[uri] = opened
        _opened.move_to_end(uri)
        kept = [name for name, one in _opened.items() if one.table is not None]
        for name in kept[:-_MOST_TABLES]:
            _opened[name] = Opened(_opened[name].version)
        while len(_opened) > _MOST_VERSIONS:
            _opened.popitem(last=False)


def newest_version_of(store: ObjectStore, uri: str) -> int | None:
    """Like ``newest_version``; a single request for a table that was opened before."""
    known = _opened.get(uri)
    if known is None:
        return newest_version(store, uri)
    commits = commits_from(store, uri, known.version)
    newest = max(commits) if known.version in commits else newest_version(store, uri)
    if known.version in commits and max(commits) <= known.version + _MOST_COMMITS:
        return newest
    with _turn:
        _opened.pop(uri, None)
    if newest is not None:  # so the next one lists no more than it needs
        _keep(uri, Opened(newest))
    return newest
