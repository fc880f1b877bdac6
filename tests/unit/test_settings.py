import pytest

from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings


def test_defaults_name_the_documented_places(monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_USER", "anna")
    settings = Settings.load()
    assert settings.table_uri("bronze.orders") == "s3a://lakehouse/anna/bronze/orders"
    assert settings.checkpoint_uri("bronze.orders") == "s3a://lakehouse/anna/_checkpoints/bronze.orders"
    assert settings.landing_uri == "s3a://landing/orders/"
    assert settings.home.is_absolute()


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("LAKEHOUSE_S3_ENDPOINT", "not an address", "LAKEHOUSE_S3_ENDPOINT"),
        ("LAKEHOUSE_S3_ENDPOINT", "http://127.0.0.1:9000", "LAKEHOUSE_S3_ACCESS_KEY"),
        ("LAKEHOUSE_S3_ACCESS_KEY", "only-one-of-two", "LAKEHOUSE_S3_SECRET_KEY"),
        ("LAKEHOUSE_BUCKET", "Upper_Case", "LAKEHOUSE_BUCKET"),
        ("LAKEHOUSE_USER", "../somebody", "LAKEHOUSE_USER"),
        ("LAKEHOUSE_ENGINE_MEMORY", "lots", "LAKEHOUSE_ENGINE_MEMORY"),
        ("LAKEHOUSE_SPARK_REMOTE", "yarn", "LAKEHOUSE_SPARK_REMOTE"),
        ("LAKEHOUSE_STORE", "floppy", "LAKEHOUSE_STORE"),
    ],
)
def test_a_wrong_variable_is_named_with_its_cure(monkeypatch, variable, value, named):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert named in str(caught.value)
    assert caught.value.next_command


def test_no_secret_reaches_a_message_or_a_repr(monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_S3_ENDPOINT", "http://127.0.0.1:9000")
    monkeypatch.setenv("LAKEHOUSE_S3_ACCESS_KEY", "canary-access")
    monkeypatch.setenv("LAKEHOUSE_S3_SECRET_KEY", "canary-secret")
    monkeypatch.setenv("LAKEHOUSE_SPARK_REMOTE", "sc://host:1/;token=canary-token")
    assert "canary" not in repr(Settings.load()) + str(Settings.load()) + Settings.load().model_dump_json()
    monkeypatch.setenv("LAKEHOUSE_SPARK_REMOTE", "canary-token")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert "canary" not in str(caught.value)


@pytest.fixture
def keys(monkeypatch):
    for name in ("ACCESS", "SECRET"):
        monkeypatch.setenv(f"LAKEHOUSE_S3_{name}_KEY", "canary")
    monkeypatch.setattr("lakehouse.settings._warned", set())


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://127.0.0.1:9000",
            "http://localhost:9000",
            "http://[::1]:9000",
            "http://10.1.2.3",
            "http://172.20.0.2",
        ),
        *(
            "http://192.168.1.5:9000",
            "http://object-store:9000",
            "http://minio.svc.cluster.local",
            "https://s3.example.com",
        ),
    ],
)
def test_a_store_of_this_network_and_one_with_tls_need_no_warning(monkeypatch, keys, address, recwarn):
    monkeypatch.setenv("LAKEHOUSE_S3_ENDPOINT", address)
    Settings.load()
    assert list(recwarn) == []


@pytest.mark.parametrize("address", ["http://s3.example.com", "http://8.8.8.8:9000", "http://[2001:4860::1]:9000"])
def test_a_store_far_away_without_tls_is_warned_of_once(monkeypatch, keys, address):
    monkeypatch.setenv("LAKEHOUSE_S3_ENDPOINT", address)
    with pytest.warns(UserWarning, match="unencrypted") as caught:
        Settings.load()
        Settings.load()
    assert len(caught) == 1
    assert "canary" not in str(caught[0].message)


def test_the_embedded_store_needs_no_warning(recwarn):
    Settings.load()
    assert list(recwarn) == []


def test_tables_of_two_layers_share_no_place():
    settings = Settings.load(user="someone")
    places = (settings.table_uri, settings.checkpoint_uri, settings.schema_uri, settings.quarantine_uri)
    for place in places:
        assert place("bronze.orders") != place("silver.orders")
