"""How many rows wait in quarantine for being late, counted without a session, of table and quarantine as they stand."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from counted import no_spark, storage, write
from deltalake import write_deltalake

from lakehouse.autoloader.lineage import FILE
from lakehouse.checks.late_rate import LateRate
from lakehouse.counting.data_files import DataFiles
from lakehouse.flows.files import Files
from lakehouse.flows.windows import Windows
from lakehouse.table import At, Catalogue, Table

TABLE, SOURCE = "silver.counts", "bronze.things"
START = datetime(2026, 1, 1, 9, tzinfo=UTC)
WINDOWS = {"window": "5 minutes"}


@pytest.fixture
def examine(lake):
    """What the check says of a table of windows that is declared otherwise than told."""

    def examined(check, **windows):
        flow = Windows.model_validate({"of": SOURCE, "event_time": {"column": "at"}, **(windows or WINDOWS)})
        declared = Table(TABLE, flow, (check,))
        source = Table(SOURCE, Files(path="s3a://landing/things/"), ())
        return check.examine(At(no_spark, lake, declared, Catalogue((source, declared))))

    return examined


def count_windows(lake, *rows):
    """Windows, five minutes each, that count so many rows."""
    starts = [START + number * timedelta(minutes=5) for number in range(len(rows))]
    ends = [start + timedelta(minutes=5) for start in starts]
    write(lake, pa.table({"window_start": starts, "window_end": ends, "row_count": list(rows)}), TABLE)


def set_aside(lake, *kept):
    """Rows of the quarantine: reason, number of the window, seconds late, file, whether it was replayed."""
    moment = pa.timestamp("us", "UTC")
    columns = {
        "reason": [reason for reason, *_ in kept],
        "window_start": pa.array([START + number * timedelta(minutes=5) for _, number, *_ in kept], moment),
        "window_end": pa.array([START + (number + 1) * timedelta(minutes=5) for _, number, *_ in kept], moment),
        "lateness_seconds": pa.array([seconds for *_, seconds, _, _ in kept], pa.float64()),
        FILE: [file for *_, file, _ in kept],
        "replayed_at": pa.array([START if replayed else None for *_, replayed in kept], moment),
    }
    uri = lake.settings.quarantine_uri(TABLE).replace("s3a://", "s3://")
    write_deltalake(uri, pa.table(columns), mode="append", storage_options=storage(lake))


def test_the_share_is_of_rows_that_are_counted_and_that_wait(lake, examine):
    assert examine(LateRate()) is None, "there is no table yet"
    count_windows(lake, 60, 36)
    assert examine(LateRate(max_share=0)).passed
    late = [
        ("late", 1, 700.0, "b.json", False),
        ("late", 1, 900.0, "a.json", False),
        ("late", 0, 1000.0, "a.json", False),
    ]
    set_aside(lake, *late, ("late", 0, 800.0, "a.json", True), ("no_event_time", 0, None, "a.json", False))
    found = examine(LateRate(max_share=0.03))
    assert not found.passed and not found.blocks
    assert found.numbers == {"late_rows": 3, "counted_rows": 96, "late_share": 0.030303, "allowed_share": 0.03}
    assert [
        (row["window_start"], row["late_rows"], row["most_seconds_late"], row["source_files"]) for row in found.sample
    ] == [
        (START + timedelta(minutes=5), 2, 900.0, "a.json, b.json"),
        (START, 1, 1000.0, "a.json"),
    ]
    assert found.next_command.startswith(f"lakehouse replay-late {TABLE} --yes; ")
    assert examine(LateRate(max_share=0.031)).passed


def test_late_rows_of_sessions_are_not_replayed(lake, examine):
    count_windows(lake, 1)
    set_aside(lake, ("late", 0, 700.0, "a.json", False))
    found = examine(LateRate(), session_gap="5 minutes")
    assert found.next_command.startswith(f"lakehouse checkpoint restart {TABLE} --yes && lakehouse ingest {TABLE}; ")


def test_a_data_file_that_was_counted_is_not_read_again(lake, examine, monkeypatch):
    count_windows(lake, 60)
    set_aside(lake, ("late", 0, 700.0, "a.json", False))
    before = examine(LateRate(max_share=1)).numbers
    read = []
    batches = DataFiles.batches
    monkeypatch.setattr(
        DataFiles, "batches", lambda files, paths, columns: read.extend(paths) or batches(files, paths, columns)
    )
    assert examine(LateRate(max_share=1)).numbers == before and not read
    count_windows(lake, 9)
    found = examine(LateRate(max_share=1)).numbers
    assert (found["counted_rows"], found["late_rows"], len(read)) == (69, 1, 1)
