"""Rows that are removed on purpose and stay in a quarantine: the command says so, and how they go."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from command import lakehouse_here
from declared import with_declaration
from deltalake import write_deltalake
from store.local_world import TABLE, LocalWorld, no_session

from lakehouse.errors import ConfigurationError
from lakehouse.forgetting import forget_rows

WINDOWS = "silver.hours"
AGAIN = f"lakehouse checkpoint restart {WINDOWS} --yes && lakehouse ingest {WINDOWS}"


class Late(LocalWorld):
    """Rows of people, two of which came too late for their windows."""

    def declare(self):
        bad = f"s3a://{self.plain.settings.bucket}/bad_records"
        hints = {"a": "BIGINT", "who": "STRING", "at": "TIMESTAMP"}
        flow = {"path": "{landing}/things/", "engine": "local", "hints": hints, "options": {"badRecordsPath": bad}}
        windows = {"of": TABLE, "event_time": "at", "window": "1 hour"}
        tables = {TABLE: {"files": flow}, WINDOWS: {"windows": windows}}
        self.lake = with_declaration(self.plain, self.tmp, json.dumps({"tables": tables}))
        return self

    def fill(self, *lines):
        at = datetime(2026, 1, 1, tzinfo=UTC)
        rows = [{"a": number, "who": who, "at": f"{at:%Y-%m-%dT%H:%M:%SZ}"} for number, who in enumerate("xyxz")]
        self.put("0.json", "".join(line + "\n" for line in [*map(json.dumps, rows), *lines]))
        self.load()
        late = {"reason": ["late"] * 2, "window_start": [at] * 2, "a": [0, 1], "who": ["x", "y"], "at": [at] * 2}
        place = self.lake.settings.quarantine_uri(WINDOWS).replace("s3a://", "s3://")
        write_deltalake(place, pa.table(late), storage_options=self.lake.endpoint.deltalake_options())
        return self

    def forget(self, where, **how):
        return forget_rows(no_session, self.lake, TABLE, where=where, **how)[0]


@pytest.fixture
def late(lake, tmp_path):
    return Late(lake, tmp_path).declare().fill()


def test_such_rows_in_a_quarantine_are_told_with_what_removes_them(late):
    for how in ({}, {"really": True, "then": "keep"}):
        [kept] = late.forget("who = 'x'", **how).quarantined
        assert (kept.table, kept.rows, kept.cure.startswith(AGAIN)) == (WINDOWS, 1, True)
        assert kept.where == late.lake.settings.quarantine_uri(WINDOWS)
    with pytest.raises(ConfigurationError, match=f"no row of {TABLE} fits; .* has 1 such row;") as refused:
        late.forget("who = 'x'", really=True)
    assert refused.value.next_command.startswith(AGAIN)
    [kept] = late.forget("who = 'y'", really=True, then="follow").quarantined
    assert kept.cure.startswith(f"lakehouse ingest {WINDOWS} ")
    assert late.forget("who = 'z'").quarantined == ()


def test_what_a_condition_cannot_tell_of_a_quarantine_is_said(late):
    """A word that is also the name of the quarantine's own column."""
    [kept] = late.forget("who = 'x' OR who = 'reason'").quarantined
    assert (kept.rows, "may have such rows" in str(kept)) == (None, True)


def test_bad_records_are_text_that_no_condition_reaches(late):
    late.put("1.json", '{"a": 9, "who": "q"}\n{"a": broken "who": "x"}\n')
    late.load()
    late.load()
    said = lakehouse_here(late.environment, "forget", TABLE, "--where", "who = 'q'")
    assert said.returncode == 0, said.stderr
    place = f"s3a://{late.lake.settings.bucket}/bad_records"
    shown = " ".join(said.stdout.split())
    assert f"the quarantine of {TABLE}, {place}, may have such rows" in shown
    assert f"lakehouse quarantine --records {place} --table {TABLE}" in shown
