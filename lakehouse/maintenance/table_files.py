"""All objects below a table's folder, and which versions in its log name them.

``deltalake`` would list them for its own VACUUM. It does not say which it passes over and knows no readers, so the
folder is listed here, once, and the log is read as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.errors import TerminalError
from lakehouse.lake import Lake, LakeTable, paths_of
from lakehouse.storage.store import ObjectInfo, ObjectMissing

_THREADS = 16
_LOG = "_delta_log/"
_DATA = (".parquet", ".bin")
KNOWN_FEATURES = frozenset(
    {"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns", "identityColumns"}
    | {"columnMapping", "typeWidening", "typeWidening-preview", "timestampNtz", "variantType", "variantType-preview"}
    | {"vacuumProtocolCheck", "v2Checkpoint", "domainMetadata", "clustering", "rowTracking", "inCommitTimestamp"}
    | {"allowColumnDefaults"}
)
"""Features with which the data files of a version are the paths in its log, and nothing else."""


@dataclass(frozen=True)
class LoggedCommit:
    """What a commit names.

    Attributes:
        version: Its version.
        paths: Data files that it added or took out, and those of its change data feed.
        changes_data: Whether a reader has to look at it.
        operation: As Delta calls it.
    """

    version: int
    paths: frozenset[str]
    changes_data: bool
    operation: str


@dataclass(frozen=True)
class TableFiles:
    """A table's folder at one moment.

    Attributes:
        uri: The table.
        opened: Its newest version; opened after the folder was listed, so what it names is among the objects.
        data: Data files by their path in the folder, whoever names them.
        log: Objects of the log.
        hidden: Other objects below names that begin with ``_`` or ``.``: they are nobody's data files.
        other: What is left.
        active: Paths of the newest version.
        commits: When each commit that the log still has was written, by its version.
    """

    uri: str
    opened: LakeTable
    data: dict[str, ObjectInfo]
    log: list[ObjectInfo]
    hidden: list[ObjectInfo]
    other: list[ObjectInfo]
    active: frozenset[str]
    commits: dict[int, datetime]
    _lake: Lake = field(repr=False, compare=False)

    @classmethod
    def of(cls, lake: Lake, uri: str) -> TableFiles | None:
        """The table at ``uri``; None when there is none."""
        bucket, folder = _place(uri)
        data: dict[str, ObjectInfo] = {}
        log: list[ObjectInfo] = []
        hidden: list[ObjectInfo] = []
        other: list[ObjectInfo] = []
        commits: dict[int, datetime] = {}
        for info in lake.store.list(bucket, folder):
            path = info.key.removeprefix(folder)
            if path.startswith(_LOG):
                log.append(info)
                name = path.removeprefix(_LOG)
                if len(name) == 25 and name.endswith(".json") and name[:20].isdigit():
                    commits[int(name[:20])] = info.last_modified
            elif _is_hidden(path):
                hidden.append(info)
            elif path.endswith(_DATA):
                data[path] = info
            else:
                other.append(info)
        opened = lake.delta_at(uri)
        if opened is None:
            return None
        return cls(uri, opened, data, log, hidden, other, frozenset(paths_of(opened)), commits, lake)

    def missing(self) -> list[str]:
        """Paths of the newest version that are not in the folder; those that came after the listing are looked for."""
        bucket, folder = _place(self.uri)
        late = sorted(self.active - self.data.keys())
        return [path for path in late if self._lake.store.info(bucket, folder + path) is None]

    def logged(self, after: int) -> list[LoggedCommit]:
        """The commits after a version up to the newest, in order.

        Raises:
            TerminalError: the log has lost one of these versions.
        """
        wanted = range(after + 1, self.opened.version() + 1)
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self._commit, wanted))

    def named_by(self, versions: Iterable[int]) -> frozenset[str]:
        """The paths that the commits name; commits that the log has lost are left out."""
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(self._commit_if_there, versions)
            return frozenset().union(*(commit.paths for commit in found if commit is not None))

    def _commit_if_there(self, version: int) -> LoggedCommit | None:
        try:
            return self._commit(version)
        except TerminalError:
            return None

    def _commit(self, version: int) -> LoggedCommit:
        bucket, folder = _place(self.uri)
        try:
            text = self._lake.store.read(bucket, f"{folder}{_LOG}{version:020d}.json")
        except ObjectMissing:
            raise self._lost(version) from None
        paths, changes, operation = set(), False, ""
        for line in text.splitlines():
            for kind, action in json.loads(line).items() if line.strip() else ():
                if kind in ("add", "remove", "cdc"):
                    paths.add(unquote(action["path"]))
                    changes = changes or bool(action.get("dataChange", kind != "cdc"))
                elif kind == "commitInfo":
                    operation = str(action.get("operation") or "")
        return LoggedCommit(version, frozenset(paths), changes, operation)

    def _lost(self, version: int) -> TerminalError:
        return TerminalError(
            f"version {version} is not in the log any more: which files it needs cannot be found out",
            where=self.uri,
            state="nothing was removed",
            next_command="a reader that stands there has to begin anew: lakehouse checkpoint restart READER",
        )


def unknown_features(opened: LakeTable) -> list[str]:
    """Features of a table with which its log names more, or other things, than paths of data files."""
    protocol = opened.protocol()
    return sorted({*(protocol.reader_features or ()), *(protocol.writer_features or ())} - KNOWN_FEATURES)


def size_of(infos: Iterable[ObjectInfo]) -> int:
    """Bytes of the objects."""
    return sum(info.size_bytes for info in infos)


def _is_hidden(path: str) -> bool:
    """Whether Spark hides the path. Folders of partition columns and the change data feed are not hidden."""
    parts = path.removeprefix("_change_data/").split("/")
    return any(part.startswith(("_", ".")) and "=" not in part for part in parts)


def _place(uri: str) -> tuple[str, str]:
    bucket, folder = split_uri(uri)
    return bucket, folder.rstrip("/") + "/"
