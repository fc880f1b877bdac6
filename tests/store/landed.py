"""A landing folder on a real store, and streams over it without Spark."""

from datetime import UTC, datetime

from pyspark.sql.types import StructType

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import uri_key
from lakehouse.autoloader.outcomes.file_states import file_states
from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.autoloader.stream import Stream
from lakehouse.storage.environment import environment_of

ROW = b'{"a": 1}\n'
SCHEMA = StructType().add("a", "long").add("_metadata", METADATA_TYPE)
PLAIN = (
    "minPartitions",
    "path",
    "ignoreMissingFiles",
    "ignoreCorruptFiles",
    "mode",
    "multiLine",
    "badRecordsPath",
    "header",
    "rescuedDataColumn",
)


class World:
    """A landing folder, streams on it, and their clock."""

    def __init__(self, lake, monkeypatch):
        self.lake, self.now = lake, datetime.now(UTC)
        for name, value in environment_of(lake.endpoint).items():
            monkeypatch.setenv(name, value)

    @property
    def bucket(self):
        return self.lake.settings.landing_bucket

    @property
    def folder(self):
        return self.lake.settings.landing_prefix

    @property
    def journal(self):
        return f"s3a://{self.lake.settings.bucket}/journal/"

    def put(self, name, data=ROW):
        self.lake.store.write(self.bucket, self.folder + name, data)

    def names(self, below=None):
        prefix = self.folder if below is None else below
        return {info.key.removeprefix(prefix) for info in self.lake.store.list(self.bucket, prefix)}

    def stream(self, query="one", **options):
        """A stream over the folder; options by their names, those of cloudFiles without the prefix."""
        given = {"format": "json", "journalLocation": self.journal}
        given["schemaLocation"] = f"s3a://{self.lake.settings.bucket}/schemas/{query}"
        given |= options
        named = {name if name in PLAIN else f"cloudFiles.{name}": value for name, value in given.items()}
        path = named.pop("path", "")
        parsed = CloudFilesOptions.parse({"path": f"s3a://{self.bucket}/{self.folder}{path}", **named})
        return Stream(parsed, None, now=lambda: self.now)

    def run(self, query="one", *, commit=True, max_files=2, before_read=lambda: None, **options):
        """The rows of a run to the end of what is there; without ``commit`` it dies before its batch is finished."""
        stream = self.stream(query, **options)
        stream.fix_target()
        rows = []
        place = self.__dict__.setdefault(query, {"start": stream.beginning()})
        while (end := stream.next_end(place["start"], max_files=max_files, max_bytes=None)) != place["start"]:
            tasks = stream.parts(place["start"], end)
            before_read()
            for task in tasks:
                for batch in stream.read(task, SCHEMA):
                    rows += [
                        (
                            uri_key(row["_metadata"]["file_path"]).removeprefix(self.folder),
                            row["_metadata"]["record_index"],
                            row["a"],
                        )
                        for row in batch.to_pylist()
                    ]
            if not commit:
                break
            place["start"] = end
        return sorted(rows, key=str)

    def states(self):
        self.lake.store.write(
            self.lake.settings.bucket, "schemas/one/_source.json", f'{{"journal": "{self.journal}"}}'.encode()
        )
        found = file_states(self.lake.store, f"s3a://{self.lake.settings.bucket}/schemas/one")
        return {uri_key(state.path).removeprefix(self.folder): state for state in found}
