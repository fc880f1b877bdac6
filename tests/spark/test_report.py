"""The report and the plots of a lake with late orders, and of an empty one."""

import re
from datetime import UTC, datetime

from command import lakehouse_json_here
from landed_windows import BronzeWriter
from spark.test_late import EARLY, LATER, order, run_over

from lakehouse.orders.plots import batch_times, plots
from lakehouse.orders.report import report

PNG = b"\x89PNG\r\n\x1a\n"


def at(clock):
    return datetime.strptime(f"2026-01-01 {clock}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def test_the_report_shows_tables_uncounted_orders_watermarks_and_plots(lake, spark, environment, tmp_path):
    odd = [order("10:01", order_date="2999-01-01 00:00:00"), b"{broken"]
    run_over(BronzeWriter(lake), spark, lake, EARLY, [*LATER, *odd])
    # the writer of these tables keeps no statistics of columns: then the times are not known, the watermarks are
    assert [batch.watermark for batch in batch_times(lake)] == [None, at("10:30"), at("10:30"), at("10:45")]
    made = report(lake)
    counts = {reason: count for reason, count, _ in made.reasons}
    assert counts == {"late": 2, "event_time_in_the_future": 1, "invalid_row": 1}
    assert [cure.split()[1] for _, cure in made.problems] == ["replay-late", "quarantine"]
    assert all(plot.png.startswith(PNG) for plot in made.plots)
    assert "2 late orders; a watermark of 37 minutes" in made.plots[1].sentence
    told = lakehouse_json_here(environment, "report", "--output", str(tmp_path / "r.html"))
    html = (tmp_path / "r.html").read_text()
    assert html.count("data:image/png;base64,") == 3
    assert re.findall(r'(?:src|href)="(?!data:)', html) == [], "nothing is loaded from elsewhere"
    assert "silver.orders_windowed_aggregates" in html
    assert [entry["name"] for entry in told["plots"]] == ["windows", "lateness", "watermark"]
    assert environment["LAKEHOUSE_HOME"] not in html


def test_an_empty_lake_has_a_report_that_says_so(lake):
    made = report(lake)
    assert (made.tables, made.reasons, made.batches) == ((), (), ())
    assert "There are no tables yet" in made.html()
    assert [plot.sentence for plot in plots(lake)] == [
        "No window is closed yet.",
        "No order came too late for its window.",
        "Silver has no batch yet, or reads the files themselves.",
    ]
