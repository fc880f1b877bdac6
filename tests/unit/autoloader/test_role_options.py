"""Options that name a role: where it counts, what is refused, and that nothing of it is a key."""

import pytest

from lakehouse.autoloader.context import Source
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.copy_into.copy import Copy
from lakehouse.errors import ConfigurationError

ARN = "arn:aws:iam::123456789012:role/reader"
STORES = {
    "": True,
    "https://s3.eu-central-1.amazonaws.com": True,
    "http://127.0.0.1:9000": False,
}


def parsed(**options):
    given = {"path": "s3a://landing/orders/", "cloudFiles.format": "json"}
    return CloudFilesOptions.parse({**given, **{f"cloudFiles.{name}": value for name, value in options.items()}})


@pytest.mark.parametrize("store", STORES)
def test_a_role_counts_on_amazon_s_store_or_where_somebody_else_hands_out_its_keys(monkeypatch, store):
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    notes = parsed(roleArn=ARN, roleExternalId="x", roleSessionName="y").notes
    assert [note.split(":")[0] for note in notes] == ([] if STORES[store] else ["cloudFiles.roleArn is without effect"])
    assert parsed(roleArn=ARN, stsEndpoint="sts.here:8443").sts_endpoint == "https://sts.here:8443"
    assert parsed(roleArn=ARN, stsEndpoint="http://sts.here").notes == ()
    amazon = parsed(roleArn=ARN, stsEndpoint="https://sts.eu-central-1.amazonaws.com").notes
    assert bool(amazon) is not STORES[store]


def test_a_role_that_does_not_count_leaves_the_keys_as_they_are(monkeypatch):
    for name, value in {
        "ENDPOINT_URL": "http://127.0.0.1:9000",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    source = Source(parsed(roleArn=ARN), None)
    assert source.server_of_files == source.server


@pytest.mark.parametrize("address", ["https://me:pw@sts", "sts/path", "", "ftp://sts"])
def test_who_hands_out_keys_is_an_address_without_a_password(address):
    with pytest.raises(ConfigurationError, match=r"cloudFiles\.stsEndpoint is .*write an address") as caught:
        parsed(roleArn=ARN, stsEndpoint=address)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("name", ["awsAccessKey", "awsSecretKey", "sasToken", "privateKey"])
def test_a_literal_key_is_refused_with_the_reason_and_not_repeated(name):
    with pytest.raises(ConfigurationError, match="Spark shows") as caught:
        parsed(**{name: "canary"})
    assert "canary" not in str(caught.value)


def test_a_copy_takes_no_role():
    for name in ("cloudFiles.roleArn", "cloudFiles.stsEndpoint"):
        with pytest.raises(ConfigurationError, match="is no option of a copy"):
            Copy("bronze.a", "s3a://b/c/", "json", options={name: ARN}).check()
