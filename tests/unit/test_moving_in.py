"""Which files a stream elsewhere has loaded, and what they are called here."""

import json

import pytest

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.maintenance.loaded_elsewhere import Elsewhere, read_elsewhere
from lakehouse.maintenance.moving_in import keys_here
from lakehouse.storage.by_place import PlacedStore
from lakehouse.storage.local_paths import LOCAL, PATHS


@pytest.mark.parametrize(
    ("load_path", "path"),
    [
        ("file:///data/landed/", "file:///data/landed/a b.json"),
        ("/data/landed/", "file:/data/landed/a b.json"),
        ("/data/landed/", "/data/landed/a b.json"),
        ("/data/landed/", "dbfs:/landed/a b.json"),
        ("dbfs:/landed/", "dbfs:/landed/a b.json"),
        ("s3a://raw/landed/", "s3://raw/landed/a b.json"),
        ("s3a://raw/landed/", "/Volumes/raw/landed/a b.json"),
        ("gs://raw/landed/", "gs://raw/landed/a b.json"),
        ("abfss://raw@there.dfs.core.windows.net/landed/", "abfss://raw@there.dfs.core.windows.net/landed/a b.json"),
    ],
)
@pytest.mark.parametrize("escaped", [True, False])
def test_a_path_of_any_place_is_the_key_of_its_file(monkeypatch, load_path, path, escaped):
    monkeypatch.setenv(PATHS, "dbfs:/=file:///data/,/Volumes/=s3a://raw/,/Volumes/raw/=s3a://raw/")
    bucket, folder = split_uri(load_path)
    key = f"{folder}a b.json"
    written = path.replace(" ", "%20") if escaped else path
    assert keys_here(Elsewhere("books", (written,), escaped=escaped), bucket, {key}, {}) == {written: key}


@pytest.mark.parametrize("path", ["s3://other/a.json", "file:///a.json", "hdfs://there/a.json", "gs://raw/a.json"])
def test_a_path_of_another_place_is_no_key(path):
    assert keys_here(Elsewhere("books", (path,)), "raw", {"a.json"}, {}) == {path: path}
    assert keys_here(Elsewhere("books", (path,)), "raw", {"a.json"}, {path: "s3a://raw/a.json"}) == {
        "s3a://raw/a.json": "a.json"
    }


def test_the_local_checkpoint_of_a_local_folder_says_which_of_its_files_were_loaded(tmp_path):
    landed = tmp_path / "landed"
    for name, text in {
        "sources/0/0": json.dumps({"path": f"file://{landed}/a%20b.json", "timestamp": 1, "batchId": 0}),
        "offsets/0": '{"batchWatermarkMs":0}\n{"logOffset":0}',
        "commits/0": "{}",
    }.items():
        (tmp_path / "checkpoint" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkpoint" / name).write_text(f"v1\n{text}")
        (tmp_path / "checkpoint" / name).with_name(f".{name[-1]}.crc").write_bytes(b"crc")
    found = read_elsewhere(PlacedStore(lambda: pytest.fail("no store is asked")), f"{tmp_path}/checkpoint")
    key = f"{str(landed)[1:]}/a b.json"
    assert list(keys_here(found, LOCAL, {key}, {}).values()) == [key]
