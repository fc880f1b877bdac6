"""A local table whose rows have ages, and one that is computed from it."""

import json
from datetime import UTC, datetime, timedelta

from declared import with_declaration
from store.local_world import TABLE, LocalWorld, no_session

from lakehouse.pipeline import check_table, run_table
from lakehouse.streams.run import Run

SILVER = "silver.things"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HINTS = {"a": "BIGINT", "at": "TIMESTAMP", "day": "DATE", "said": "STRING"}


class Ageing(LocalWorld):
    """A table with rows of three ages, and one that is computed from it."""

    def declare(self, retention=None, **flow):
        said = {"path": "{landing}/things/", "engine": "local", "hints": HINTS, **flow}
        latest = {"of": TABLE, "key": "a", "engine": "local"}
        tables = {TABLE: {"files": said, "retention": retention}, SILVER: {"latest": latest}}
        self.lake = with_declaration(self.plain, self.tmp, json.dumps({"tables": tables}))
        return self

    def put_ages(self, name, *days):
        """A row of each age; and one that says none."""
        first = len(self.column())
        self.put(name, [*_rows(first, days), {"a": first + len(days)}])
        self.load()

    def land(self, name, first, *days):
        """A file with a row of each age, numbered from ``first`` on."""
        self.put(name, _rows(first, days))

    def column(self, table=TABLE):
        rows = self.lake.rows(table)
        return [] if rows is None else sorted(rows.to_table(columns=["a"])["a"].to_pylist())

    def merge(self):
        return run_table(no_session, self.lake, SILVER, Run())

    def failed(self, table):
        return {finding.check for finding in check_table(no_session, self.lake, table) if not finding.passed}


def _rows(first, days):
    ages = [(number, NOW - timedelta(days=age)) for number, age in enumerate(days, first)]
    return [{"a": a, "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "day": f"{at:%Y-%m-%d}", "said": "x"} for a, at in ages]
