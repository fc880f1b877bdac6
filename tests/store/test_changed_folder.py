"""A declaration that changes: to another folder than the checkpoint knows, and under a run."""

import json

import pytest
from store.local_world import LocalWorld

from lakehouse.autoloader.files.journal import Journal
from lakehouse.checkpoints.agreement import object_key
from lakehouse.declaration import DeclarationInvalid
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.streams.run import Run
from lakehouse.table import At, Catalogue, Table


@pytest.mark.parametrize(("folder", "below"), [("rooms", ""), ("rooms/deep", "2026/")])
def test_it_is_told_from_which_folder_to_which(lake, folder, below):
    settings, name = lake.settings, "bronze.rooms"
    first = Files(path=f"{settings.landing_uri}{folder}/")
    key = f"{settings.landing_prefix}{folder}/{below}1.json"
    lake.store.write(settings.landing_bucket, key, b'{"id": 1}')
    lake.store.write(settings.landing_bucket, f"{settings.landing_prefix}halls/1.json", b'{"id": 1}')
    place = first.cloud_files(settings, name).journal_location
    journal = Journal.at(lake.store, place)
    journal.append(settings.landing_bucket, list(lake.store.list(settings.landing_bucket, key)))
    offset = {"v": 1, "seq": 1, "segment": journal.position(1).segment, "journal": f"{place}/", "stream": "s"}
    lake.store.write(settings.bucket, object_key(lake, name, "offsets/0"), f"v1\n{{}}\n{json.dumps(offset)}".encode())
    other = Table(name, Files(path=f"{settings.landing_uri}halls/"))
    with pytest.raises(ConfigurationError) as caught:
        other.flow.bring_up_to_date(At(None, lake, other, Catalogue((other,))), Run())
    uri = settings.landing_uri
    assert caught.value.what == f"the folder of {name} changed from {uri}{folder}/ to {uri}halls/"


def test_a_run_goes_on_as_its_table_was_declared_when_it_began(lake, tmp_path):
    things = LocalWorld(lake, tmp_path).declare(options={"cloudFiles.maxFilesPerTrigger": 1})
    for name in ("a.json", "b.json"):
        things.put(name, [{"id": 1}])
    file = things.lake.settings.declaration
    done = things.load(on_batch=lambda batch: file.write_text("tables: {bronze.things: {files: {pth: x}}}"))
    assert (len(done.batches), done.rows_added) == (2, 2)
    with pytest.raises(DeclarationInvalid, match="did you mean path"):
        things.load()
    file.write_text("tables: {bronze.others: {files: {path: s3a://landing/others/}}}")
    with pytest.raises(ConfigurationError, match=r"no table bronze\.things is declared"):
        things.load()
    assert things.rows("id") == [("1",), ("1",)]
