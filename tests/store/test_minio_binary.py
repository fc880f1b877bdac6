import hashlib
import os
from pathlib import Path

import pytest

from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.storage.embedded import store_server
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


PINNED = f"path\tgithub.com/minio/minio\nmod\tgithub.com/minio/minio\t{MINIO_VERSION}\th1:x\n".encode()


def cached(folder, content=PINNED, *, note=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "minio").write_bytes(content)
    if note is not None:
        (folder / "minio.sha256").write_text(note)


def on_path(monkeypatch, folder, text):
    folder.mkdir()
    (folder / "minio").write_text(text)
    (folder / "minio").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "minio"


@pytest.fixture
def no_build(monkeypatch, tmp_path):
    """A Go that builds nothing, so that none is fetched."""
    (tmp_path / "go").mkdir()
    version = "[ $1 = version ] && echo go version go1.26 linux/amd64 && exit"
    script = f"#!/bin/sh\n{version}\necho nothing is built here\nexit 1\n"
    (tmp_path / "go" / "go").write_text(script)
    (tmp_path / "go" / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'go'}{os.pathsep}{os.environ['PATH']}")


SERVER = "#!/bin/sh\necho minio version RELEASE.2020-01-01\n"


def test_the_cached_build_is_used_without_a_word(empty_cache):
    cached(empty_cache, note=hashlib.sha256(PINNED).hexdigest())
    said = []
    assert ensure_minio_binary(said.append) == empty_cache / "minio"
    assert said == []


def test_a_cached_build_of_an_older_version_of_this_is_taken_over_and_noted(empty_cache):
    cached(empty_cache)
    assert ensure_minio_binary() == empty_cache / "minio"
    assert (empty_cache / "minio.sha256").read_text() == hashlib.sha256(PINNED).hexdigest()


@pytest.mark.parametrize(
    ("content", "note"),
    [(PINNED + b"changed", hashlib.sha256(PINNED).hexdigest()), (b"another", None), (b"", None), (PINNED, "")],
    ids=["changed", "of another version", "empty", "without a hash"],
)
def test_what_is_not_what_was_built_is_built_again(empty_cache, no_build, content, note):
    cached(empty_cache, content, note=note)
    with pytest.raises(TransientError, match="nothing is built here"):
        ensure_minio_binary()


def test_another_server_on_path_is_not_used_but_told_of(empty_cache, no_build, monkeypatch, tmp_path):
    found = on_path(monkeypatch, tmp_path / "bin", SERVER)
    said = []
    with pytest.raises(TransientError, match="nothing is built here"):
        ensure_minio_binary(said.append)
    assert said[0].startswith(f"{found} is not MinIO {MINIO_VERSION}: not used")


def test_the_pinned_server_on_path_is_used(empty_cache, monkeypatch, tmp_path):
    found = on_path(monkeypatch, tmp_path / "bin", SERVER + PINNED.decode())
    assert ensure_minio_binary() == found


def test_a_server_that_is_named_is_used_whatever_its_version(empty_cache, monkeypatch, tmp_path):
    found = on_path(monkeypatch, tmp_path / "bin", SERVER)
    assert ensure_minio_binary(chosen=found) == found
    found.write_text("#!/bin/sh\necho GNU Midnight Commander\n")
    with pytest.raises(ConfigurationError, match="is no MinIO server"):
        ensure_minio_binary(chosen=found)


def test_the_build_of_this_machine_is_the_pinned_one(settings, lake):
    [binary] = {Path(store_server(settings).running().process().exe())}
    assert f"\t{MINIO_VERSION}\t".encode() in binary.read_bytes()
