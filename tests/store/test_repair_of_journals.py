"""A lost journal that several streams read by, and files that were overwritten since."""

import json

import pyarrow as pa
import pytest
from declared import with_variables
from deltalake import write_deltalake

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError, LeaseHeld
from lakehouse.maintenance.repair import repair
from lakehouse.orders.tables import BRONZE

OTHER = "bronze.orders_trigger_availablenow"


class Lost:
    """Two files in bronze, of which one was overwritten since, and a journal that is gone."""

    def __init__(self, lake, overwrites):
        self.lake = lake
        settings = with_variables(lake, allow_overwrites=overwrites).settings
        self.options = read_catalogue(settings)[BRONZE].flow.cloud_files(settings, BRONZE)
        self.uri = self.options.journal_location
        for name in ("1", "2"):
            self.put(name, b"{}\n")
        self.discover()
        uris = [f"s3a://{settings.landing_bucket}/{self.key(name)}" for name in ("1", "2")]
        write_deltalake(
            settings.table_uri(BRONZE).replace("s3a://", "s3://"),
            pa.table({"_source_sequence": [1, 2], "_source_file": uris, "_source_record": [0, 0]}),
            storage_options=lake.endpoint.deltalake_options(),
        )
        for table in (BRONZE, OTHER):
            offset = {"v": 1, "seq": 2, "segment": "gone", "journal": self.uri, "stream": table}
            place = f"{settings.user}/_checkpoints/{table}/offsets/0"
            lake.store.write(settings.bucket, place, f"v1\n{{}}\n{json.dumps(offset)}".encode())
        lake.store.delete_prefix(*split_uri(f"{self.uri}/segments/"))
        self.put("2", b"{}\n{}\n")

    def key(self, name):
        return f"{self.lake.settings.landing_prefix}orders_stream_{name}.json"

    def put(self, name, data):
        self.lake.store.write(self.lake.settings.landing_bucket, self.key(name), data)

    def discover(self):
        settings = self.lake.settings
        found = list(self.lake.store.list(settings.landing_bucket, settings.landing_prefix))
        return Journal.at(self.lake.store, self.uri).append(settings.landing_bucket, found)

    def repair(self, **really):
        return repair(self.lake, BRONZE, self.options, **really)


def test_where_newer_versions_take_the_place_of_older_ones_every_file_comes_again(lake):
    lost = Lost(lake, "replace")
    assert any("load every file again" in step for step in lost.repair().steps)
    assert lost.repair(really=True).done
    assert lost.discover() == 2
    entries = list(Journal.at(lake.store, lost.uri).files(0, 10))
    assert [(entry.seq, entry.first) for entry in entries] == [(1, True), (2, True), (3, False), (4, False)]


def test_what_is_known_is_not_loaded_again_without_overwrites(lake):
    lost = Lost(lake, "false")
    assert lost.repair(really=True).done
    assert lost.discover() == 0


def test_where_every_version_is_loaded_a_lost_journal_is_not_made_up(lake):
    lost = Lost(lake, "true")
    with pytest.raises(ConfigurationError, match="nothing tells which versions") as refused:
        lost.repair(really=True)
    assert "declare cloudFiles.allowOverwrites: false" in refused.value.next_command
    assert lost.discover() == 2, "nothing was written"


def test_a_journal_is_restored_only_while_no_other_stream_reads_by_it(lake):
    lost = Lost(lake, "false")
    with checkpoints.writer_of(lake, OTHER), pytest.raises(LeaseHeld, match=OTHER):
        lost.repair(really=True)
    assert lost.discover() == 2, "nothing was written"
    lake.store.delete_prefix(*split_uri(f"{lost.uri}/segments/"))
    steps = lost.repair(really=True).steps
    assert any(f"{OTHER} reads by the same journal" in step for step in steps)
