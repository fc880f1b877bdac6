from lakehouse.streams.progress import BatchProgress, StreamReport


def batch(**changes):
    return BatchProgress(
        **{"table": "bronze.t", "batch_id": 7, "input_rows": 4310, "duration_seconds": 2.44, **changes}
    )


def test_a_batch_is_one_line_in_a_fixed_order():
    line = batch(files=12, backlog_files=38, watermark="2026-01-01T10:05:00.000Z").line()
    assert line == "bronze.t #7  12 files  4,310 rows  2.4 s  backlog 38 files  watermark 2026-01-01T10:05:00.000Z"


def test_what_was_not_measured_is_not_in_the_line():
    assert batch().line() == "bronze.t #7  4,310 rows  2.4 s"


def test_a_report_adds_up_its_batches():
    report = StreamReport("bronze.t", (batch(corrupt_rows=1), batch(batch_id=8, input_rows=1)), 4311, 3, 5, 9.0)
    assert (report.input_rows, report.corrupt_rows) == (4311, 1)
    assert report.as_dict()["input_rows"] == 4311
    assert "2 batches" in report.line()


def test_nothing_new_is_said_with_the_version():
    assert StreamReport("bronze.t", (), 0, 5, 5, 0.1, ignored_files=2).line() == (
        "bronze.t: nothing new, 2 objects ignored: not named as the table's files are, or empty, version 5"
    )
