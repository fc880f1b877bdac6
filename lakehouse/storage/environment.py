"""The endpoint as Spark's workers find it: in their environment or in a named profile, never in an option."""

from __future__ import annotations

import os
from importlib.util import find_spec

from pydantic import SecretStr

from lakehouse.errors import ConfigurationError
from lakehouse.storage.keys import Keys, KeySource, Role
from lakehouse.storage.role_names import role_counts, sts_of
from lakehouse.storage.store import StoreEndpoint

_RENEWING = (
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Variables that say where keys come from."""


def environment_of(endpoint: StoreEndpoint) -> dict[str, str]:
    """The variables from which ``endpoint_from_environment`` and S3A's provider make this endpoint again."""
    endpoint = endpoint.current
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

    Address: ``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``, else Amazon's of ``AWS_REGION``. Keys: those of the
    ``profile`` when one is named, else ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and, for temporary ones,
    ``AWS_SESSION_TOKEN``. Without them the usual places of Amazon's tools, where one of those is named or the store is
    Amazon's: a profile, a web identity, a container, the machine. What is not simply written down is renewed.

    Raises:
        ConfigurationError: there are no keys.
        AccessDenied, StoreUnavailable: see ``KeySource.now``.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    at = (url or f"https://s3.{region}.amazonaws.com").rstrip("/")
    keys = _of_profile(profile) if profile else _of_environment()
    if keys is not None:
        return StoreEndpoint(at, keys.access_key, keys.secret_key, region, keys.session_token)
    if not profile and url and not any(map(os.environ.get, _RENEWING)):
        raise _no_keys("this Spark has no keys for the object store")
    nobody = SecretStr("")
    return StoreEndpoint(at, nobody, nobody, region).with_keys(KeySource(profile=profile))


def _of_environment() -> Keys | None:
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    token = os.environ.get("AWS_SESSION_TOKEN")
    if not access or not secret:
        return None
    return Keys(SecretStr(access), SecretStr(secret), SecretStr(token) if token else None)


def _of_profile(profile: str) -> Keys | None:
    """The keys that are written down under a profile; None where they have to be asked for."""
    from minio.credentials import AWSConfigProvider

    try:
        found = AWSConfigProvider(profile=profile).retrieve()
    except (ValueError, KeyError):
        if find_spec("botocore"):
            return None
        raise _no_keys(f"there is no profile {profile} with keys in the AWS credentials file") from None
    token = SecretStr(found.session_token) if found.session_token else None
    return Keys(SecretStr(found.access_key), SecretStr(found.secret_key), token)


def keys_of_profile(endpoint: StoreEndpoint, profile: str) -> StoreEndpoint:
    """The same server with the keys of a profile.

    Raises:
        ConfigurationError, AccessDenied, StoreUnavailable: see ``endpoint_from_environment``.
    """
    keys = _of_profile(profile)
    return endpoint.with_keys(KeySource(profile=profile) if keys is None else KeySource(given=keys))


def role_of(
    endpoint: StoreEndpoint, arn: str | None, external_id: str | None, session_name: str | None, sts_url: str | None
) -> Role | None:
    """The role that options name; None where it does not count, see ``role_counts``."""
    if not arn or not role_counts(sts_url, endpoint.url):
        return None
    return Role(arn, external_id, session_name or "lakehouse", sts_of(sts_url), endpoint.region)


def _no_keys(what: str) -> ConfigurationError:
    return ConfigurationError(
        what,
        where="environment of the Spark driver and its workers",
        state="nothing was read or written",
        next_command="set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL) there, or name a profile by "
        "the option cloudFiles.profile",
    )
