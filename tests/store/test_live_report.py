"""``lakehouse report --port``: the lake on one page, made anew whenever a browser asks."""

import signal
import subprocess

import pyarrow as pa
import pytest
import requests
from command import COMMAND
from counted import write
from store.local_world import TABLE, LocalWorld


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare()


def log_of(lake, table):
    return f"{lake.settings.user}/{table.replace('.', '/')}/_delta_log/{0:020}.json"


def rows_of(page, heading):
    """The cells of the table below a heading; none where it is not on the page."""
    _, found, below = page.partition(f"<h2>{heading}</h2>")
    lines = below.partition("</table>")[0].split("<tr>")[2:] if found else []
    return [[cell.partition("</td>")[0] for cell in line.split("<td>")[1:]] for line in lines]


def test_the_page_follows_what_lands_and_what_is_loaded_and_ends_when_it_is_asked(things, environment):
    things.put("1.json", [{"id": 1}, {"id": 2}])
    with subprocess.Popen(
        [*COMMAND, "report", "--port", "0"],
        env={**environment, **things.environment},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            address = next(line for line in process.stderr if "report: " in line).split("report: ")[1].strip()
            assert address.startswith("http://127.0.0.1:")
            waiting = requests.get(address, timeout=60).text
            assert '<meta http-equiv="refresh"' in waiting
            assert "There are no tables yet" in waiting
            assert [row[:2] for row in rows_of(waiting, "Files that wait")] == [[TABLE, "1"]]
            things.load()
            loaded = requests.get(address, timeout=60).text
            assert rows_of(loaded, "Files that wait") == []
            assert [row[:2] for row in rows_of(loaded, "Tables")] == [[TABLE, "2"]]
            days = {
                "day": ["2026-01-01", "2026-01-01", "2026-01-02"],
                "orders": [2, 1, 5],
                "revenue": [1.5, 2.5, 1234.5],
            }
            write(things.lake, pa.table(days), "gold.daily_revenue")
            told = requests.get(address, timeout=60).text
            assert rows_of(told, "Revenue, newest days") == [
                ["2026-01-02", "5", "1,234.50"],
                ["2026-01-01", "3", "4.00"],
            ]
            things.lake.store.write(things.lake.settings.bucket, log_of(things.lake, "gold.daily_revenue"), b"{broken")
            assert requests.get(address, timeout=60).status_code == 503
            assert requests.get(f"{address}nothing", timeout=10).status_code == 404
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
