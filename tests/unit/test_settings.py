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
