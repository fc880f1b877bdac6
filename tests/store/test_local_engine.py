"""Files become rows of a table on the local engine: no JVM is started, no session asked for."""

import dataclasses
import gzip
import io
import json
import threading

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store.local_world import TABLE, LocalWorld, NeedsSpark

from lakehouse.errors import ConfigurationError, UnknownFieldException
from lakehouse.streams.queries import StopRequest
from lakehouse.streams.trigger import Trigger


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path)


ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": "zwei Ä 😀"}]


def parquet_of(rows):
    made = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), made)
    return made.getvalue()


def avro_of(rows):
    made = io.BytesIO()
    fields = [{"name": "a", "type": "long"}, {"name": "b", "type": "string"}]
    fastavro.writer(made, {"type": "record", "name": "r", "fields": fields}, rows)
    return made.getvalue()


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


CSV = b"a,b\n1,x\n2,zwei \xc3\x84 \xf0\x9f\x98\x80\n"
TYPED = {"cloudFiles.inferColumnTypes": True}
FAMILIES = {
    "json": ("json", "1.json", lines_of(ROWS), TYPED),
    "multiline": ("json", "1.json", json.dumps(ROWS, indent=1).encode(), {**TYPED, "multiLine": True}),
    "csv": ("csv", "1.csv", CSV, {**TYPED, "header": True}),
    "parquet": ("parquet", "1.parquet", parquet_of(ROWS), {}),
    "avro": ("avro", "1.avro", avro_of(ROWS), {}),
    "gzip": ("json", "1.json.gz", gzip.compress(lines_of(ROWS)), TYPED),
    "csv in gzip": ("csv", "1.csv.gz", gzip.compress(CSV), {**TYPED, "header": True}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_files_of_a_format_become_rows_with_their_types(things, family):
    format_, name, data, options = FAMILIES[family]
    things.declare(format=format_, options=options).put(name, data)
    assert things.load_rows() == 2
    assert things.rows("a", "b") == [(1, "x"), (2, "zwei Ä 😀")]
    assert things.load().batches == ()
    assert things.failed_checks() == set()


def test_lines_of_text_and_whole_files_become_rows(things):
    things.declare(format="text").put("1.txt", "eins\nzwei\n")
    assert things.load_rows() == 2
    assert things.rows("value") == [("eins",), ("zwei",)]


def test_whole_files_become_rows(things):
    things.declare(format="binaryFile").put("1.bin", b"\x00\xff")
    assert things.load_rows() == 1
    assert things.rows("content", "length") == [(b"\x00\xff", 2)]


def test_each_run_loads_what_is_new_and_nothing_new_is_no_commit(things):
    for number in range(3):
        things.put(f"{number}.json", [{"a": number}])
        assert things.load_rows() == 1
        assert things.lake.version(TABLE) == number
        assert things.load().batches == ()
        assert things.lake.version(TABLE) == number
    assert sorted(int(a) for (a,) in things.rows("a")) == [0, 1, 2]


def test_no_files_at_all_make_no_table(things):
    report = things.load()
    assert (report.batches, report.has_source) == ((), False)
    things.put("empty.json", b"")
    assert things.load().batches == ()
    assert things.lake.version(TABLE) is None
    assert things.checkpoint() == {}


def test_empty_files_and_files_without_a_record_are_no_rows(things):
    things.put("1.json", [{"a": 1}])
    things.put("2.json", b"")
    things.put("3.json", b"\n\n")
    assert things.load_rows() == 1
    assert things.failed_checks() == set()
    assert things.load().batches == ()


def test_a_limit_of_files_cuts_batches_in_the_order_of_the_journal(things):
    things.declare(options={"cloudFiles.maxFilesPerTrigger": 2})
    for number in range(5):
        things.put(f"{number}.json", [{"a": number}] * (number + 1))
    told = []
    report = things.load(on_batch=told.append)
    assert [(batch.batch_id, batch.files, batch.input_rows, batch.backlog_files) for batch in told] == [
        (0, 2, 3, 3),
        (1, 2, 7, 1),
        (2, 1, 5, 0),
    ]
    assert (report.rows_added, report.delta_version, len(report.source_files)) == (15, 2, 5)
    assert things.failed_checks() == set()


def test_once_takes_everything_in_one_batch(things):
    things.declare(options={"cloudFiles.maxFilesPerTrigger": 1})
    for number in range(3):
        things.put(f"{number}.json", [{"a": number}])
    assert [batch.files for batch in things.load(trigger=Trigger.parse("once")).batches] == [3]


def test_a_run_that_is_asked_to_stop_ends_between_two_batches_and_the_next_goes_on(things):
    things.declare(options={"cloudFiles.maxFilesPerTrigger": 1})
    for number in range(4):
        things.put(f"{number}.json", [{"a": number}])
    stop = StopRequest()
    report = things.load(stop=stop, on_batch=lambda batch: batch.batch_id == 1 and stop.asked.set())
    assert [loaded_batch.batch_id for loaded_batch in report.batches] == [0, 1]
    assert [loaded_batch.batch_id for loaded_batch in things.load().batches] == [2, 3]
    assert len(things.rows()) == 4
    assert things.failed_checks() == set()


def test_a_service_takes_in_files_that_come_while_it_runs(things):
    things.put("0.json", [{"a": 0}])
    stop, seen = StopRequest(), threading.Event()

    def told(batch):
        if batch.batch_id == 0:
            things.put("1.json", [{"a": 1}])
        else:
            seen.set()
            stop.asked.set()

    things.load(trigger=Trigger.parse("processing-time=100ms"), stop=stop, on_batch=told)
    assert seen.is_set()
    assert len(things.rows()) == 2


def test_a_broken_file_is_quarantined_and_the_others_are_loaded(things):
    things.put("1.json", [{"a": 1}])
    things.put("2.json", b"\x1f\x8b\x08\x00broken")
    things.put("3.json", [{"a": 3}])
    report = things.load()
    assert report.rows_added == 2
    assert things.failed_checks() == {"no_quarantined_files"}
    states = {state.path.rsplit("/", 1)[1]: state for state in things.file_states()}
    assert {name: state.ingestion_state for name, state in states.items()} == {
        "1.json": "INGESTED",
        "2.json": "QUARANTINED",
        "3.json": "INGESTED",
    }
    assert states["1.json"].delta_version == 0
    assert (states["1.json"].rows, states["1.json"].batch_id) == (1, 0)
    assert states["1.json"].commit_time is not None


def test_what_does_not_fit_is_kept_and_counted(things):
    things.declare(hints={"a": "BIGINT"})
    things.put("1.json", '{"a": 1}\n{"a": "no number"}\n{"a": 2, \n')
    report = things.load()
    assert report.rows_added == 3
    assert (report.batches[0].rescued_rows, report.batches[0].corrupt_rows) == (2, 2)
    rescued = sorted(text for (text,) in things.rows("_rescued_data") if text)
    assert [sorted(json.loads(text))[0] for text in rescued] == ["_corrupt_record", "_file_path"] or len(rescued) == 2


def test_new_columns_inside_a_run_need_no_restart(things):
    things.declare(options={"cloudFiles.maxFilesPerTrigger": 2, **TYPED})
    things.put("0.json", [{"a": 0}])
    things.load()
    for number in range(1, 5):
        things.put(f"{number}.json", [{"a": number, "b" * number: number}])
    report = things.load()
    assert report.rows_added == 4
    assert [batch.batch_id for batch in report.batches] == [1, 2]
    assert {"a", "b", "bb", "bbb", "bbbb"} <= set(things.column_names())
    assert things.rows("a", "b", "bbb") == [
        (0, None, None),
        (1, 1, None),
        (2, None, None),
        (3, None, 3),
        (4, None, None),
    ]
    assert things.failed_checks() == set()


def test_new_columns_of_later_runs_are_added_to_the_table(things):
    things.declare(options=TYPED).put("1.json", [{"a": 1}])
    things.load()
    things.put("2.json", [{"a": 2, "n": {"x": [1]}}])
    assert things.load_rows() == 1
    assert things.rows("a", "n") == [(1, None), (2, {"x": [1]})]


def test_a_stream_that_fails_on_new_columns_commits_nothing_and_goes_on_when_they_are_gone(things):
    options = {"cloudFiles.schemaEvolutionMode": "failOnNewColumns"}
    things.declare(options=options).put("1.json", [{"a": 1}])
    things.load()
    things.put("2.json", [{"a": 2, "b": 1}])
    for _ in range(2):
        with pytest.raises(UnknownFieldException):
            things.load()
        assert things.lake.version(TABLE) == 0
        assert len(things.rows()) == 1
    things.put("2.json", [{"a": 2}])
    things.declare(options={**options, "cloudFiles.schemaEvolutionMode": "rescue"})
    things.load()
    assert things.lake.version(TABLE) == 1


def test_given_columns_are_those_of_the_table(things):
    things.declare(schema={"a": "INT", "d": "DATE", "t": "TIMESTAMP", "p": "DECIMAL(10,2)"})
    things.put("1.json", '{"a": 1, "d": "2026-01-02", "t": "2026-01-02T03:04:05.123456Z", "p": 1.5, "more": 1}\n')
    things.load()
    types = {field.name: str(field.type.type) for field in things.lake.delta(TABLE).schema().fields if field.name < "_"}
    types |= {column.name: column.type.type for column in things.lake.delta(TABLE).schema().fields}
    assert {name: types[name] for name in "adtp"} == {
        "a": "integer",
        "d": "date",
        "t": "timestamp",
        "p": "decimal(10,2)",
    }
    assert len(things.rows()) == 1
    assert things.failed_checks() == set()


def test_each_row_names_its_file_its_record_and_what_else_is_declared(things):
    things.declare(metadata={"size": "file_size", "name": "file_name", "at": "processing_time"})
    things.put("ä.json", [{"a": 1}, {"a": 2}])
    things.load()
    found = things.rows("_source_file", "_source_sequence", "_source_record", "size", "name")
    size = len(lines_of([{"a": 1}, {"a": 2}]))
    assert [row[1:] for row in found] == [(1, 0, size, "ä.json"), (1, 1, size, "ä.json")]
    [(before, at)] = {(processing_time, other) for processing_time, other in things.rows("_processing_time", "at")}
    assert before == at
    assert before.utcoffset().total_seconds() == 0


def test_a_table_without_lineage_has_the_columns_of_the_files_alone(things):
    things.declare(lineage=False).put("1.json", [{"a": 1}])
    assert things.load_rows() == 1
    assert things.column_names() == ["a", "_rescued_data"]


NASTY = [
    "a b",
    "a/b",
    "a%b",
    "a%2Fb",
    "ä€😀",
    "x=y",
    "q?#[]{}^'\"*\\:",
    "+",
    "~",
    " ",
    "..",
    "a\tb",
    "&<>",
    "é",
    "e\u0301",
]


def test_folders_are_made_by_values_of_any_kind(things):
    things.declare(partition_by=["p"], schema={"p": "STRING", "n": "BIGINT"})
    values = [*NASTY, None, ""]
    things.put("1.json", [{"p": value, "n": number} for number, value in enumerate(values)])
    assert things.load_rows() == len(values)
    wanted = sorted(((value or None, number) for number, value in enumerate(values)), key=repr)
    assert things.rows("p", "n") == wanted
    things.put("2.json", [{"p": value, "n": 100 + number} for number, value in enumerate(values)])
    things.load()
    for number, value in enumerate(NASTY):
        opened = things.lake.delta(TABLE).to_pyarrow_dataset()
        kept = opened.to_table(filter=pa.compute.field("p") == value, columns=["n"])["n"].to_pylist()
        assert sorted(kept) == [number, 100 + number], value
    assert things.failed_checks() == set()
    assert len(things.objects()) == len(things.adds()) == 2 * (len(values) - 1)


def test_two_hundred_folders_of_two_columns_and_types(things):
    things.declare(partition_by=["d", "p", "ok"], schema="d DATE, p DECIMAL(12,10), ok BOOLEAN, n BIGINT")
    rows = [{"d": f"2026-01-{1 + n % 20:02d}", "p": (n % 10) / 1e10, "ok": n % 3 == 0, "n": n} for n in range(2000)]
    things.put("1.json", rows)
    assert things.load_rows() == 2000
    found = things.rows("d", "p", "ok", "n")
    assert sorted((d.isoformat(), float(p), ok, n) for d, p, ok, n in found) == sorted(
        (row["d"], row["p"], row["ok"], row["n"]) for row in rows
    )
    assert len(things.adds()) == len({(row["d"], row["p"], row["ok"]) for row in rows})


def test_a_column_that_makes_folders_and_is_not_there_is_refused(things):
    things.declare(partition_by=["nobody"]).put("1.json", [{"a": 1}])
    with pytest.raises(ConfigurationError, match="nobody"):
        things.load()
    assert things.lake.version(TABLE) is None


def test_bad_records_are_kept_where_they_are_wanted(things):
    kept = f"s3a://{things.lake.settings.bucket}/bad/"
    things.declare(schema={"a": "INT"}, options={"badRecordsPath": kept})
    things.put("1.json", '{"a": 1}\n{"a": \n')
    assert things.load_rows() == 1
    things.put("2.json", [{"a": 2}])
    things.load()
    opened = things.lake.delta_at(kept.rstrip("/"))
    assert opened is not None and opened.to_pyarrow_table().num_rows == 1


def test_files_are_moved_away_when_their_rows_are_committed(things):
    away = f"s3a://{things.bucket}/{things.lake.settings.landing_prefix}away/"
    clean = {"cleanSource": "MOVE", "cleanSource.moveDestination": away, "cleanSource.retentionDuration": "0 seconds"}
    things.declare(options={f"cloudFiles.{name}": value for name, value in clean.items()})
    things.put("1.json", [{"a": 1}])
    things.load()
    things.put("2.json", [{"a": 2}])
    things.load()
    left = {info.key.rsplit("/", 1)[1] for info in things.lake.store.list(things.bucket, things.folder)}
    assert "1.json" not in left
    assert len(things.rows()) == 2
    assert things.failed_checks() == set()


def test_files_from_before_the_first_start_are_left_out_and_those_after_it_are_not(things):
    things.declare(options={"cloudFiles.includeExistingFiles": False})
    things.put("old.json", [{"a": 0}])
    things.load()
    things.put("new.json", [{"a": 1}])
    assert things.load_rows() == 1, "it came after the first start"
    assert [int(a) for (a,) in things.rows("a")] == [1]


def test_an_overwritten_file_is_no_news_and_every_version_is_when_that_is_asked_for(things):
    things.put("1.json", [{"a": 1}])
    things.load()
    things.put("1.json", [{"a": 2}])
    assert things.load().batches == ()
    things.declare(options={"cloudFiles.allowOverwrites": True})
    things.put("1.json", [{"a": 3}])
    assert things.load_rows() >= 1


def test_what_only_spark_writes_is_handed_over(things):
    things.declare(options={"singleVariantColumn": "all"}).put("1.json", [{"a": 1}])
    with pytest.raises(NeedsSpark):
        things.load()
    assert things.lake.version(TABLE) is None


def test_the_environment_chooses_the_engine(things):
    things.put("1.json", [{"a": 1}])
    for engine in ("spark", "local"):
        things.declare(engine=None)
        chosen = things.lake.settings.model_copy(update={"engine": engine})
        things.lake = dataclasses.replace(things.lake, settings=chosen)
        if engine == "local":
            assert things.load_rows() == 1
        else:
            with pytest.raises(NeedsSpark):
                things.load()


def test_a_declared_schema_gets_the_rescued_column_that_is_asked_for(things):
    things.declare(schema="a BIGINT", options={"rescuedDataColumn": "_rescued_data"})
    things.put("1.json", [{"a": 1}, {"a": "x", "b": 2}])
    assert things.load().rescued_rows == 1
    kept = {row[0]: row[1] and json.loads(row[1]).keys() for row in things.rows("a", "_rescued_data")}
    assert kept == {1: None, None: {"a", "b", "_file_path"}}
