"""A set of options from public code on the files of its corpus, by the calls that Spark makes of the source.

The files, the schemas and the journals are on this machine. Only the reading and the stream's bookkeeping are tried
here: the calls need no Spark.
"""

import os
import time
import warnings
from functools import cached_property

from pyspark.sql import types as t
from spark.option_corpora import BASE, corpus

from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.lineage import METADATA, RESCUED_DATA
from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.autoloader.schema.hints import columns_of
from lakehouse.autoloader.schema.rescued import with_rescued
from lakehouse.autoloader.source import CloudFiles
from lakehouse.errors import UnknownFieldException

FIXED = {
    "text": "value STRING",
    "binaryfile": "path STRING, modificationTime TIMESTAMP, length LONG, content BINARY",
}
_PREFIXED = ("cloudfiles.header", "cloudfiles.pathglobfilter")


class Loading:
    """A set's stream.

    Attributes:
        rows: What was loaded, by file.
        schema: The columns with which the last batch was loaded.
        stopped: Whether a new column ended the stream for good.
        apart: Names of the differences from Spark's reader that the comparison had to go about.
    """

    def __init__(self, option_set, home):
        self._lower = {name.lower(): value for name, value in option_set["options"].items()}
        self._given = {
            name: value.replace("s3a://bucket/", f"file://{home}/") for name, value in option_set["options"].items()
        }
        self.home, self.folder = home, f"file://{home}/in/"
        self.kind = self._lower["cloudfiles.format"].lower()
        self.schema_given, self.corpus = option_set["schema_given"], corpus(option_set)
        self.rows, self.stopped, self.apart = {}, False, set()
        self._options, self._offset = {"path": self.folder, **self._given}, None

    def option(self, name):
        """The value of an option, with or without ``cloudFiles.`` before it."""
        return self._lower.get(f"cloudfiles.{name.lower()}", self._lower.get(name.lower()))

    def load(self):
        """All steps. A new column ends the stream, which goes on with it unless the mode says that this is a fault."""
        self._put(0)
        self._begin()
        for step in (1, 2):
            self._put(step)
            try:
                self._run()
            except UnknownFieldException:
                if self.option("schemaEvolutionMode") == "failOnNewColumns":
                    self.stopped = True
                    return
                self._begin()
                self._run()

    def _put(self, step):
        seconds = int(time.time())  # Spark shows milliseconds
        for file in self.corpus:
            if file.step == step:
                path = self.home / "in" / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.content)
                os.utime(path, (seconds, seconds))

    def _begin(self):
        source = CloudFiles(self._options)
        self.schema = self._given_schema if self.schema_given else source.schema()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._stream = source.streamReader(self.schema)
        self._offset = self._offset or self._stream.initialOffset()

    @cached_property
    def _given_schema(self):
        """As a client of Spark Connect completes it where the query asks for ``_metadata``."""
        texts = [f"{name} {type_.simpleString()}" for name, type_ in BASE.items()]
        if corrupt := self.option("columnNameOfCorruptRecord"):
            texts.append(f"{corrupt} STRING")
        columns = columns_of(FIXED.get(self.kind, ", ".join(texts)))
        return with_rescued(columns, self._options).add(METADATA, METADATA_TYPE)

    def _run(self):
        stream = self._stream
        stream.prepareForTriggerAvailableNow()
        while (end := stream.latestOffset(self._offset, stream.getDefaultReadLimit())) != self._offset:
            parts = stream.partitions(self._offset, end)
            found = [row for part in parts for batch in stream.read(part) for row in batch.to_pylist()]
            for row in sorted(found, key=lambda row: row[METADATA]["record_index"]):
                name = row.pop(METADATA)["file_path"].removeprefix(self.folder)
                self.rows.setdefault(name, []).append(row)
            self._offset = end

    @property
    def rescued(self):
        """The column for rescued data; None where the stream has none."""
        name = self.option("rescuedDataColumn") or RESCUED_DATA
        return name if name in self.schema.names and FORMATS[self.kind].has_fields else None

    @property
    def columns(self):
        """The columns that files and folders fill."""
        return t.StructType([column for column in self.schema if column.name not in (METADATA, self.rescued)])

    @cached_property
    def files(self):
        """What Spark reads: the files that such a stream loads, by name."""
        steps = {0, 1} if self.stopped else {0, 1, 2}
        if (self.option("includeExistingFiles") or "").lower() == "false":
            steps -= {0}
        chosen = {}
        for file in self.corpus:
            if file.step not in steps:
                continue
            if file.for_spark is None or (file.misfit and self.rescued is None):
                self.apart.add("quarantine")
                continue
            if file.for_spark != file.content:
                self.apart.add(self._why_another(file))
            chosen[file.name] = file
        return chosen

    def _why_another(self, file):
        if "badrecordspath" in self._lower:
            return "badRecordsPath"
        return "skipRows" if "skiprows" in self._lower else "misfit"

    @cached_property
    def reader_options(self):
        """The set's own words to Spark's reader, but for differences; what that reader does not know is left out."""
        known = {name.lower() for name in FORMATS[self.kind].reader_options} - {"skiprows", "readercasesensitive"}
        partitions = self.option("partitionColumns")
        options = {"recursiveFileLookup": str(not partitions).lower(), "timeZone": "UTC"}
        self.apart.add("folders")
        if self.kind == "csv" and not self.schema_given and self.option("header") is None:
            options["header"] = "true"
            self.apart.add("header")
        for name, value in self._given.items():
            if name.lower() in _PREFIXED:
                name = name.partition(".")[2]
                self.apart.add("prefix")
            if name.lower() == "encoding" and self._differs(value):
                self.apart.add("encoding")
                if self.kind == "text":
                    continue
                value = "ISO-8859-1"
            if name.lower() in known | {"pathglobfilter"}:
                options[name] = value
        return options

    def _differs(self, encoding):
        return self.kind == "text" or encoding == "latin1"
