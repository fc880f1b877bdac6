"""The endpoint as Spark's workers find it: in their environment or in a named profile, never in an option."""

from __future__ import annotations

import os

from pydantic import SecretStr

from lakehouse.errors import ConfigurationError
from lakehouse.storage.store import StoreEndpoint


def environment_of(endpoint: StoreEndpoint) -> dict[str, str]:
    """The variables from which ``endpoint_from_environment`` and S3A's provider make this endpoint again."""
    token = {"AWS_SESSION_TOKEN": endpoint.session_token.get_secret_value()} if endpoint.session_token else {}
    return {
        "AWS_ENDPOINT_URL": endpoint.url,
        "AWS_REGION": endpoint.region,
        "AWS_ACCESS_KEY_ID": endpoint.access_key.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": endpoint.secret_key.get_secret_value(),
        **token,
    }


def endpoint_from_environment(profile: str | None = None) -> StoreEndpoint:
    """The endpoint of this process.

    Address: ``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``, else Amazon's of ``AWS_REGION``. Keys: the ``profile`` of
    the AWS credentials file when one is named, else ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and, for
    temporary ones, ``AWS_SESSION_TOKEN``.

    Raises:
        ConfigurationError: there are no keys.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    access = os.environ.get("AWS_ACCESS_KEY_ID")
    secret = os.environ.get("AWS_SECRET_ACCESS_KEY")
    token = os.environ.get("AWS_SESSION_TOKEN")
    if profile:
        from minio.credentials import AWSConfigProvider

        try:
            found = AWSConfigProvider(profile=profile).retrieve()
        except (ValueError, KeyError):
            raise _no_keys(f"there is no profile {profile} with keys in the AWS credentials file") from None
        access, secret, token = found.access_key, found.secret_key, found.session_token
    if not access or not secret:
        raise _no_keys("this Spark has no keys for the object store")
    return StoreEndpoint(
        (url or f"https://s3.{region}.amazonaws.com").rstrip("/"),
        SecretStr(access),
        SecretStr(secret),
        region,
        SecretStr(token) if token else None,
    )


def _no_keys(what: str) -> ConfigurationError:
    return ConfigurationError(
        what,
        where="environment of the Spark driver and its workers",
        state="nothing was read or written",
        next_command="set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL) there, or name a profile by "
        "the option cloudFiles.profile",
    )
