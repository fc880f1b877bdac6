"""A store that does not keep its conditional writes is refused before anything rests on them."""

import pytest
from forgetful_proxy import forgetful_proxy

from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings
from lakehouse.storage import MinioStore, StoreEndpoint, ensure_store
from lakehouse.storage.conditional import _proved


@pytest.fixture(autouse=True)
def nothing_known():
    _proved.clear()


def behind(lake, proxy, home):
    return Settings.load(
        s3_endpoint=proxy.url,
        s3_access_key=lake.endpoint.access_key,
        s3_secret_key=lake.endpoint.secret_key,
        bucket=lake.settings.bucket,
        user="tester",
        home=home,
    )


def probes(lake):
    return list(lake.store.list(lake.settings.bucket, "tester/_probe/"))


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_a_condition_is_refused_at_each_start(lake, tmp_path, header):
    with forgetful_proxy(lake.endpoint, header) as proxy:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=f"ignores {header}.*two writers") as caught:
                ensure_store(behind(lake, proxy, tmp_path))
            assert caught.value.where == proxy.url
            assert "MinIO" in caught.value.next_command
    assert not probes(lake)


def test_a_store_that_refuses_the_version_it_has_is_refused(lake, tmp_path):
    class Stubborn:
        def __getattr__(self, name):
            return getattr(lake.store, name)

        def write(self, bucket, key, data, *, if_absent=False, if_match=None):
            return lake.store.write(bucket, key, data, if_absent=if_absent, if_match=if_match and "0" * 32)

    from lakehouse.storage.conditional import prove_conditional_writes

    with pytest.raises(ConfigurationError, match="refuses to overwrite the very version"):
        prove_conditional_writes(Stubborn(), lake.settings, "http://stubborn")
    assert not probes(lake)


def test_an_honest_store_is_asked_once_for_each_home(lake, tmp_path):
    with forgetful_proxy(lake.endpoint) as proxy:
        for home, writes in ((tmp_path / "a", 4), (tmp_path / "a", 0), (tmp_path / "b", 4)):
            _proved.clear()  # another process
            proxy.asked.clear()
            ensure_store(behind(lake, proxy, home))
            assert proxy.asked.count("PUT") == writes
    assert not probes(lake)


def test_a_damaged_or_foreign_note_is_not_believed(lake, tmp_path):
    with forgetful_proxy(lake.endpoint) as honest:
        ensure_store(behind(lake, honest, tmp_path))
    (note,) = (tmp_path / "stores").iterdir()
    for content in ("", "{}", "[]", "true", '{"store": "http://elsewhere/x", "conditional_writes": true}'):
        note.write_text(content)
        _proved.clear()
        with forgetful_proxy(lake.endpoint, "If-Match") as proxy, pytest.raises(ConfigurationError):
            settings = behind(lake, proxy, tmp_path)
            from lakehouse.storage.conditional import prove_once

            prove_once(MinioStore(endpoint_of(lake, proxy)), settings, honest.url)


def endpoint_of(lake, proxy):
    known = lake.endpoint
    return StoreEndpoint(proxy.url, known.access_key, known.secret_key, known.region)


def test_a_home_that_cannot_be_written_to_costs_a_question_and_no_failure(lake, tmp_path):
    (tmp_path / "home").write_text("a file, where a folder is needed")
    with forgetful_proxy(lake.endpoint) as proxy:
        for _ in range(2):
            _proved.clear()
            proxy.asked.clear()
            ensure_store(behind(lake, proxy, tmp_path / "home"))
            assert proxy.asked.count("PUT") == 4


def test_the_embedded_stores_keep_their_conditions(tmp_path):
    """SeaweedFS; MinIO is asked by every start of this suite."""
    from lakehouse.storage import stop_store

    own = Settings.load(home=tmp_path / "home", user="tester", store="seaweedfs")
    try:
        ensure_store(own)
    finally:
        stop_store(own)
