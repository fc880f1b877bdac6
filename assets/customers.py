"""The last part of the demo: another data set, which needs a declaration and no code."""

from collections.abc import Callable
from dataclasses import replace

from assets.instance import PROJECT
from examples.customers.samples import days_of, generate_customers
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.declaration import read_catalogue
from lakehouse.engine import connect
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.pipeline import ingest
from lakehouse.streams.run import Run

_DAYS = 2


def load_customers(lake: Lake, say: Callable[[str, str], None]) -> None:
    """Writes the next days of customers and brings their tables up to date.

    Raises:
        LakehouseError: a table could not be brought up to date, or a check failed.
    """
    declaration = PROJECT / "examples" / "customers" / "lakehouse.yaml"
    lake = replace(lake, settings=lake.settings.model_copy(update={"declaration": declaration}))
    catalogue = read_catalogue(lake.settings)
    files = catalogue["bronze.customers"].flow
    assert isinstance(files, Files)
    bucket, prefix = split_uri(files.path)
    first = days_of(info.key for info in lake.store.list(bucket, prefix))
    lines = generate_customers(
        lambda name, data: lake.store.write(bucket, prefix + name, data), days=_DAYS, first_day=first
    )
    say(f"\nanother data set, which nobody wrote code for: {declaration.relative_to(PROJECT)}", "bold")
    say(f"wrote {lines} lines of customers of {_DAYS} days: CSV in folders by country, with updates", "")
    done = ingest(connect(lake), lake, run=Run(on_batch=lambda batch: say(f"  {batch.line()}", "")))
    done.require_success()
    passed = [finding.check for finding in done.findings if finding.passed]
    say(f"  PASS  {', '.join(passed)}", "green")
