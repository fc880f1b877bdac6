import os
from pathlib import Path

import pytest

from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.storage.minio_binary import MINIO_VERSION, ensure_minio_binary


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """No MinIO anywhere: the cache is empty and no folder of PATH has one."""
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "minio").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lakehouse" / "minio" / MINIO_VERSION


def test_a_build_that_fails_says_why_and_leaves_nothing(empty_cache, monkeypatch):
    monkeypatch.setenv("GOPROXY", "off")
    killed_before = empty_cache / ".building-killed" / "gopath"
    killed_before.mkdir(parents=True)
    said = []
    with pytest.raises(TransientError, match=r"could not be built: .*GOPROXY=off") as caught:
        ensure_minio_binary(said.append)
    assert MINIO_VERSION in caught.value.where
    assert any("building the MinIO server" in line for line in said)
    assert [path.name for path in empty_cache.iterdir() if path.name != "build.lock"] == []


def test_a_cache_that_cannot_be_written_is_an_error_with_a_cure(empty_cache):
    empty_cache.parents[2].write_text("a file, where a folder is needed")
    with pytest.raises(ConfigurationError, match="cannot be built into") as caught:
        ensure_minio_binary()
    assert "XDG_CACHE_HOME" in caught.value.next_command


def test_the_cached_build_is_used_without_a_word(empty_cache):
    empty_cache.mkdir(parents=True)
    (empty_cache / "minio").write_bytes(b"")
    said = []
    assert ensure_minio_binary(said.append) == empty_cache / "minio"
    assert said == []
