"""150 sets of options from public code: what is accepted is loaded as Spark's own readers read it.

A set is tried on files that fit its format and options, see ``option_corpora``. The values of the columns are Spark's.
What stands in a record and in none of Spark's columns is rescued, or in the table of bad records.
"""

import json
import os
from collections import Counter
from functools import reduce

from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as f
from pyspark.sql import types as t
from spark.option_loading import Loading
from spark.test_formats_like_spark import plain
from unit.autoloader.test_option_sets import REASONS, SETS, outcome

from lakehouse.autoloader.options.locations import ROOT

DIFFERENCES = {
    "avro": "Spark reads Avro by a package that the engine does not have: the rows are those that were written",
    "badRecordsPath": "Spark knows no such option: its file is without the record that is in the table of bad ones",
    "corrupt": "a record of which something is rescued is no corrupt record, as on Databricks",
    "encoding": "Spark takes ISO-8859-1 by no other name, and the encoding of text for that of lineSep alone",
    "folders": "Spark looks into folders with recursiveFileLookup, and has partition columns without it",
    "header": "columns of CSV that are inferred are named by a header unless the options say otherwise",
    "misfit": "a value of another type ends Spark's query over Parquet or ORC, and costs it more than that value in "
    "XML: its file is without the value",
    "prefix": "a reader's option with cloudFiles. before it is taken without",
    "quarantine": "a damaged file ends Spark's query: it gets none, and we load nothing of it; nor of a file with "
    "another type where nothing is rescued",
    "skipRows": "Spark knows no such option: its file is without those lines",
}
"""What Spark's readers do otherwise, and what the comparison makes of it."""


def test_all_that_is_accepted_is_right_and_all_that_is_refused_has_a_reason(spark, tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT, f"file://{tmp_path}/streams/")
    outcomes = {number: outcome(option_set) for number, option_set in enumerate(SETS)}
    loadings = {}
    for number, option_set in enumerate(SETS):
        if outcomes[number] in ("accepted", "warned"):
            (tmp_path / str(number)).mkdir()
            loadings[number] = Loading(option_set, tmp_path / str(number))
            loadings[number].load()
    expected = by_spark(spark, loadings, tmp_path / "spark")
    wrong = {number: faults for number, found in loadings.items() if (faults := faults_of(found, *expected[number]))}
    assert wrong == {}, "by the number of the set in option_sets.json"
    refused = {number: why for number, why in outcomes.items() if number not in loadings}
    assert set(refused.values()) <= set(REASONS)
    shares = Counter("right" if number in loadings and number not in wrong else "refused" for number in outcomes)
    assert shares == {"right": 143, "refused": 7}
    assert set().union(*(found.apart for found in loadings.values())) == DIFFERENCES.keys()


def by_spark(spark, loadings, folder):
    """For each set the rows of Spark's reader by file, and the folder where it read them.

    Sets that ask for the same share a read, and reads with the same columns a job.
    """
    places, frames, rows = {}, {}, {}
    for number, found in loadings.items():
        if found.kind == "avro":
            found.apart.add("avro")
            places[number] = None
            continue
        asked = [(name, file.for_spark) for name, file in sorted(found.files.items())]
        place = folder / str(len(frames))
        times = number if found.kind == "binaryfile" else ""  # which its rows show: those of the set's own files
        key = repr((found.kind, asked, found.columns.json(), sorted(found.reader_options.items()), times))
        if key not in frames:
            for name, content in asked:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content)
                seconds = (found.home / "in" / name).stat().st_mtime
                os.utime(place / name, (seconds, seconds))
            kind = "binaryFile" if found.kind == "binaryfile" else found.kind
            read = spark.read.format(kind).schema(found.columns).options(**found.reader_options).load(f"file://{place}")
            path = f.col("_metadata.file_path").alias("file of the row")
            frames[key] = place, found.columns, read.select(*map(quoted, found.columns.names), path)
        places[number] = frames[key][0]
    alike = {}
    for _, columns, frame in frames.values():
        alike.setdefault(columns.simpleString(), []).append(frame)
    for same in alike.values():
        for row in reduce(DataFrame.union, same).collect():
            *values, file = row
            names = row.__fields__[:-1]
            rows.setdefault(local(file), []).append(dict(zip(names, map(shown, values), strict=True)))
    return {number: (rows, place) for number, place in places.items()}


def quoted(name):
    return f.col(f"`{name}`")


def local(uri):
    """The path of a file that Spark names."""
    return "/" + uri.removeprefix("file:").lstrip("/")


def shown(value):
    """A value of Spark's or of Arrow's in one form."""
    if isinstance(value, t.VariantVal):
        return {"value": bytes(value.value), "metadata": bytes(value.metadata)}
    return bytes(value) if isinstance(value, bytearray) else plain(value)


def faults_of(found, rows, place):
    """What is not right in the rows of a set."""
    theirs = written(found) if place is None else {
        name: rows[f"{place}/{name}"] for name in found.files if f"{place}/{name}" in rows
    }  # fmt: skip
    if found.rows.keys() != theirs.keys():
        return [f"files with rows: {sorted(found.rows)} and {sorted(theirs)}"]
    faults = kept_apart(found)
    for name, others in theirs.items():
        ours, records = found.rows[name], found.files[name].records
        if not len(ours) == len(others) == len(records):
            faults.append(f"{name}: {len(ours)}, {len(others)} and {len(records)} rows")
            continue
        for number, (mine, other, record) in enumerate(zip(ours, others, records, strict=True)):
            faults += [
                f"{name}, row {number}: {fault}" for fault in row_faults(found, name, mine, other, record, place)
            ]
    return faults


def row_faults(found, name, mine, other, record, place):
    corrupt = found.option("columnNameOfCorruptRecord")
    lost = {field: value for field, value in record.items() if value is not None and other.get(field) is None}
    if found.rescued and lost and other.get(corrupt) is not None:
        other = {**other, corrupt: None}
        found.apart.add("corrupt")
    if found.kind == "binaryfile":
        other = {**other, "path": f"{found.folder}{local(other['path']).removeprefix(f'{place}/')}"}
    values = {column: shown(mine.get(column)) for column in found.columns.names}
    if values != other:
        yield f"{values} and {other}"
    if found.rescued and not is_rescued(mine[found.rescued], lost, f"{found.folder}{name}"):
        yield f"rescued {mine[found.rescued]} of {lost}"


def is_rescued(text, lost, path):
    """Whether just what was lost is rescued, and by the name of its file."""
    if not lost:
        return text is None
    kept = json.loads(text or "{}")
    return kept.pop("_file_path", None) == path and kept == json.loads(json.dumps(lost, default=str))


def kept_apart(found):
    """Faults of the table of bad records: it has the one malformed record."""
    if "badRecordsPath" not in found.apart:
        return []
    texts = DeltaTable(str(found.home / "bad")).to_pyarrow_table().column("raw").to_pylist()
    lines = [line for file in found.corpus for line in file.content.splitlines() if line not in file.for_spark]
    return [] if [text.encode() for text in texts] == lines and lines else [f"bad records: {texts}, not {lines}"]


def written(found):
    """Rows by the records of the files: what the columns can show of each."""
    texts = {column.name for column in found.columns if isinstance(column.dataType, t.StringType)}
    return {
        name: [
            {column: None if row.get(column) == "x" and column not in texts else plain(row.get(column))
             for column in found.columns.names}
            for row in file.records
        ]
        for name, file in found.files.items()
        if file.records
    }  # fmt: skip
