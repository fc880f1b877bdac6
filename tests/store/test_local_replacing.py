"""The local engine takes the rows of files that are loaded again out in the commit that brings the new ones."""

import json

import pytest
from declared import with_declaration

from lakehouse import pipeline
from lakehouse.direct import stream as direct_stream
from lakehouse.errors import TransientError
from lakehouse.maintenance.forget import accept_removals
from lakehouse.streams.run import Run

TABLE = "bronze.places"
DECLARATION = """
tables:
  bronze.places:
    files:
      path: {landing}
      format: json
      engine: local
      hints: {id: BIGINT, country: STRING}
      partition_by: country
      options: {cloudFiles.allowOverwrites: OVERWRITES}
"""


def no_spark():
    raise AssertionError("Spark was asked for")


class Places:
    def __init__(self, lake):
        self.lake = lake

    def put(self, name, *rows):
        text = "\n".join(json.dumps({"id": number, "country": country}) for number, country in rows)
        self.write(name, text.encode())

    def write(self, name, data):
        settings = self.lake.settings
        self.lake.store.write(settings.landing_bucket, f"{settings.landing_prefix}{name}.json", data)

    def run(self):
        return pipeline.run_table(no_spark, self.lake, TABLE, Run())

    def replay(self, name):
        return pipeline.replay_files(self.lake, TABLE, files=[f"{name}.json"], really=True)

    def rows(self):
        found = self.lake.rows(TABLE).to_table(columns=["id", "country"]).to_pylist()
        return sorted((row["id"], row["country"]) for row in found)

    def wrong(self):
        return [finding for finding in pipeline.check_table(no_spark, self.lake, TABLE) if not finding.passed]


@pytest.fixture
def places(lake, tmp_path, request):
    overwrites = getattr(request, "param", "false")
    return Places(with_declaration(lake, tmp_path, DECLARATION.replace("OVERWRITES", overwrites)))


def test_a_replay_takes_out_the_rows_of_the_file_and_no_others(places):
    places.put("a", (1, "x y"), (2, "z/1%"), (9, "x y"))
    places.put("b", (3, "x y"), (4, "ü"))
    places.run()
    places.lake.delta(TABLE).delete("id = 9")  # in the data file that this writes, texts are views
    accept_removals(places.lake, TABLE, really=True)
    places.put("a", (5, "x y"), (6, "new"))
    places.replay("a")
    report = places.run()
    assert places.rows() == [(3, "x y"), (4, "ü"), (5, "x y"), (6, "new")]
    assert (report.rows_added, report.rows_removed) == (2, 2)
    assert report.delta_version == report.delta_version_before + 1
    [commit] = places.lake.commits_since(TABLE, report.delta_version_before)
    assert not commit.only_adds, "whoever reads the table has to know that rows went"
    assert not places.wrong()


def test_a_replay_of_a_file_that_is_broken_now_removes_nothing(places):
    places.put("a", (1, "x"), (2, "y"))
    places.run()
    places.write("a", b"\x1f\x8b\x08\x00no gzip at all")
    places.replay("a")
    places.run()
    assert places.rows() == [(1, "x"), (2, "y")]
    assert {finding.check for finding in places.wrong()} == {"no_quarantined_files"}


def test_a_corrected_file_with_a_new_column_takes_the_place_of_its_rows(places):
    """Its batch is planned, ends because of the column, and is read again."""
    places.put("a", (1, "x"), (2, "y"))
    places.put("b", (3, "x"))
    places.run()
    places.write("a", b'{"id": 5, "country": "x", "coupon": "TEN"}\n')
    places.replay("a")
    report = places.run()
    assert "coupon" in places.lake.rows(TABLE).schema.names
    assert places.rows() == [(3, "x"), (5, "x")]
    assert (report.rows_added, report.rows_removed) == (1, 2)
    assert not places.wrong()


@pytest.mark.parametrize("places", ["replace"], indirect=True)
def test_of_versions_that_go_to_and_fro_the_last_one_stays(places):
    for rows in ([(1, "x")], [(2, "x"), (3, "y")], [(1, "x")]):
        places.put("a", *rows)
        places.put("b", (9, "x"))
        places.run()
        assert places.rows() == [*rows, (9, "x")]
    assert not places.wrong()


def test_rows_that_an_optimize_has_moved_meanwhile_are_not_left_behind(places, monkeypatch):
    places.put("a", (1, "x"))
    places.run()
    places.put("b", (2, "x"))
    places.run()
    places.put("a", (3, "x"))
    places.replay("a")
    commit = direct_stream.commit

    def after_an_optimize(*arguments):
        monkeypatch.setattr(direct_stream, "commit", commit)
        places.lake.delta(TABLE).optimize.compact()
        return commit(*arguments)

    monkeypatch.setattr(direct_stream, "commit", after_an_optimize)
    with pytest.raises(TransientError, match="another writer was faster"):
        places.run()
    assert places.rows() == [(1, "x"), (2, "x")]
    places.run()
    assert places.rows() == [(2, "x"), (3, "x")]
    assert not places.wrong()


LATEST = """
  silver.newest:
    latest: {of: bronze.places, key: id, engine: local}
"""


@pytest.mark.parametrize("stands", ["before", "after"])
def test_an_old_file_that_is_loaded_again_revives_no_row_that_a_later_file_has_replaced(lake, tmp_path, stands):
    """The number of a file's first load orders its rows, not the number of its replay."""
    places = Places(with_declaration(lake, tmp_path, DECLARATION.replace("OVERWRITES", "false") + LATEST))

    def newest():
        pipeline.run_table(no_spark, places.lake, "silver.newest", Run())
        found = places.lake.rows("silver.newest").to_table(columns=["id", "country"]).to_pylist()
        return sorted((row["id"], row["country"]) for row in found)

    places.put("old", (1, "old"), (2, "old"))
    places.run()
    places.put("new", (1, "new"))
    places.run()
    if stands == "before":
        assert newest() == [(1, "new"), (2, "old")]
    places.put("old", (1, "mended"), (2, "mended"))
    places.replay("old")
    places.run()
    assert newest() == [(1, "new"), (2, "mended")]
    assert not places.wrong()
    assert not [found for found in pipeline.check_table(no_spark, places.lake, "silver.newest") if not found.passed]
