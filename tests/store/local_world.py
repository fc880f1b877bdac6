"""A lake whose tables the local engine fills: declared, loaded and checked without a JVM."""

import json

import pyarrow as pa
from declared import with_declaration

from lakehouse.autoloader.outcomes.file_states import file_states
from lakehouse.errors import LakehouseError
from lakehouse.pipeline import check_table, run_table
from lakehouse.streams.run import Run

TABLE = "bronze.things"


class NeedsSpark(LakehouseError):
    """A session was asked for."""


def no_session():
    raise NeedsSpark("a session was asked for")


class LocalWorld:
    """One declared table of the landing folder ``things/``."""

    def __init__(self, lake, folder):
        self.plain, self.tmp = lake, folder
        self.declare()

    def declare(self, **flow):
        """Declares the table anew; ``flow`` as in the declaration."""
        said = {"path": "{landing}/things/", "engine": "local", **flow}
        self.lake = with_declaration(self.plain, self.tmp, json.dumps({"tables": {TABLE: {"files": said}}}))
        return self

    @property
    def bucket(self):
        return self.lake.settings.landing_bucket

    @property
    def folder(self):
        return f"{self.lake.settings.landing_prefix}things/"

    @property
    def environment(self):
        """The same lake and declaration for a command."""
        names = ("home", "user", "bucket", "landing_prefix", "declaration")
        return {f"LAKEHOUSE_{name.upper()}": str(getattr(self.lake.settings, name)) for name in names}

    def put(self, name, data):
        """Text, bytes, or rows for JSON lines."""
        if isinstance(data, list):
            data = "".join(json.dumps(row) + "\n" for row in data)
        self.lake.store.write(self.bucket, self.folder + name, data.encode() if isinstance(data, str) else data)

    def load(self, **run):
        """A run of the table without a session."""
        return run_table(no_session, self.lake, TABLE, Run(**run))

    def load_rows(self, **run):
        """The rows that a run added."""
        return self.load(**run).rows_added

    def rows(self, *columns):
        """The rows, as Arrow reads them, in some order that is always the same."""
        opened = self.lake.delta(TABLE)
        if opened is None:
            return []
        found = opened.to_pyarrow_table(columns=list(columns) or None).to_pylist()
        return sorted((tuple(row.values()) for row in found) if columns else found, key=repr)

    def column_names(self):
        return [field.name for field in self.lake.delta(TABLE).schema().fields]

    def failed_checks(self):
        return {finding.check for finding in self.failures()}

    def failures(self):
        """The findings that did not pass, with their numbers and offending rows."""
        return [finding for finding in check_table(no_session, self.lake, TABLE) if not finding.passed]

    def file_states(self):
        """What ``lakehouse files`` says of every file."""
        commits = self.lake.commits_since(TABLE, None)
        versions = {commit.batch_id: commit.version for commit in commits if commit.batch_id is not None}
        return list(file_states(self.lake.store, self.lake.settings.checkpoint_uri(TABLE), versions=versions))

    def checkpoint(self):
        """Content of every object of the checkpoint, by its name in it."""
        prefix = f"{self.lake.settings.user}/_checkpoints/{TABLE}/"
        bucket = self.lake.settings.bucket
        return {
            info.key.removeprefix(prefix): self.lake.store.read(bucket, info.key)
            for info in self.lake.store.list(bucket, prefix)
        }

    def set_checkpoint(self, content):
        prefix = f"{self.lake.settings.user}/_checkpoints/{TABLE}/"
        self.lake.store.delete_prefix(self.lake.settings.bucket, prefix)
        for name, data in content.items():
            self.lake.store.write(self.lake.settings.bucket, prefix + name, data)

    def objects(self):
        """Keys of all data files below the table's folder, named by the log or not."""
        prefix = f"{self.lake.settings.user}/bronze/things/"
        keys = (info.key.removeprefix(prefix) for info in self.lake.store.list(self.lake.settings.bucket, prefix))
        return {key for key in keys if not key.startswith("_delta_log/")}

    def adds(self):
        """The ``add`` actions of the newest version, flattened."""
        return pa.table(self.lake.delta(TABLE).get_add_actions(flatten=True)).to_pylist()
