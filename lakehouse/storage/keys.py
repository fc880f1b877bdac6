"""Keys that are renewed: those of a profile, a role, single sign-on, a web identity or the machine itself.

``botocore`` asks for them. It asks again ten minutes before they end at the latest, so what it hands out is good for
that long, whoever holds it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any

from pydantic import SecretStr

from lakehouse.errors import AccessDenied, ConfigurationError, LakehouseError, StoreUnavailable
from lakehouse.extras import needing

HELD_FOR = timedelta(minutes=9)
"""For so long a client may use keys before it asks again."""

_WHERE = "credentials of the object store"
_NOTHING = "nothing was read or written"


@dataclass(frozen=True)
class Keys:
    """Keys as they are now."""

    access_key: SecretStr
    secret_key: SecretStr
    session_token: SecretStr | None = None


@dataclass(frozen=True)
class Role:
    """A role that is taken on.

    Attributes:
        arn: Its name.
        external_id: What its owner asks for; None for nothing.
        session_name: What the owner's log calls who took it on.
        sts_url: Who hands out its keys; None for Amazon.
        region: Of that service.
    """

    arn: str
    external_id: str | None = None
    session_name: str = "lakehouse"
    sts_url: str | None = None
    region: str = "us-east-1"


@dataclass(frozen=True)
class KeySource:
    """Where keys come from. It travels to other processes, which ask for keys of their own.

    Attributes:
        profile: A profile of the AWS configuration; None for the usual places: the environment, a web identity, a
            container, the machine.
        given: Keys in place of those.
        role: The role that is taken on with them.
    """

    profile: str | None = None
    given: Keys | None = None
    role: Role | None = None

    def now(self) -> Keys:
        """The keys of now.

        Raises:
            ConfigurationError: there are none.
            AccessDenied: somebody refuses them.
            StoreUnavailable: who hands them out does not answer.
        """
        with _explained(self):
            found = _credentials(self, os.getpid()).get_frozen_credentials()
        token = SecretStr(found.token) if found.token else None
        return Keys(SecretStr(found.access_key), SecretStr(found.secret_key), token)

    def of_role(self, role: Role) -> KeySource:
        """The same with a role that is taken on."""
        return replace(self, role=role)

    def for_obstore(self) -> Callable[[], dict[str, Any]]:
        """What ``obstore`` asks for keys, each time that those it has come to their end."""

        def ask() -> dict[str, Any]:
            ends = datetime.now(UTC) + HELD_FOR
            keys = self.now()
            return {
                "access_key_id": keys.access_key.get_secret_value(),
                "secret_access_key": keys.secret_key.get_secret_value(),
                "token": keys.session_token.get_secret_value() if keys.session_token else None,
                "expires_at": ends,
            }

        return ask

    def for_minio(self) -> Any:
        """What the ``minio`` SDK asks for keys, for each request."""
        from minio.credentials import Credentials, Provider

        class Renewed(Provider):
            def retrieve(_) -> Credentials:  # noqa: N805
                keys = self.now()
                token = keys.session_token.get_secret_value() if keys.session_token else None
                return Credentials(keys.access_key.get_secret_value(), keys.secret_key.get_secret_value(), token)

        return Renewed()


@lru_cache(16)
def _credentials(source: KeySource, process: int) -> Any:
    """What hands out keys and renews them; made once a process."""
    with needing("aws", "keys that are renewed"):
        from botocore.config import Config
        from botocore.credentials import AssumeRoleCredentialFetcher, Credentials, DeferredRefreshableCredentials
        from botocore.session import Session
    session = Session(profile=source.profile)
    if given := source.given:
        token = given.session_token.get_secret_value() if given.session_token else None
        found = Credentials(given.access_key.get_secret_value(), given.secret_key.get_secret_value(), token)
    else:
        found = session.get_credentials()
    if found is None:
        raise _no_keys(source)
    if (role := source.role) is None:
        return found
    create = partial(
        session.create_client,
        region_name=role.region,
        endpoint_url=role.sts_url,
        config=Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 3}),
    )
    arguments = {"RoleSessionName": role.session_name, **({"ExternalId": role.external_id} if role.external_id else {})}
    fetcher = AssumeRoleCredentialFetcher(create, found, role.arn, extra_args=arguments)
    return DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")


def _no_keys(source: KeySource) -> ConfigurationError:
    of = f"the profile {source.profile} has no keys" if source.profile else "this machine has no keys"
    return ConfigurationError(
        f"{of} for the object store",
        where=_WHERE,
        state=_NOTHING,
        next_command="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile by cloudFiles.profile",
    )


@contextmanager
def _explained(source: KeySource) -> Iterator[None]:
    """Turns what botocore raises into this library's errors."""
    try:
        yield
    except LakehouseError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("botocore"):
            raise
        raise _error_of(error, source) from None


def _error_of(error: Exception, source: KeySource) -> LakehouseError:
    kind = type(error).__name__
    answer: Mapping[str, Any] = getattr(error, "response", {})
    code = answer.get("Error", {}).get("Code", "")
    of = f"the role {source.role.arn}" if source.role else f"the profile {source.profile}" if source.profile else "keys"
    if kind == "ProfileNotFound":
        return ConfigurationError(
            f"there is no profile {source.profile}",
            where=_WHERE,
            state=_NOTHING,
            next_command="name one of the files of AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, on every machine",
        )
    if kind == "ParamValidationError":
        return ConfigurationError(
            f"{of} cannot be asked for: {error}".replace("\n", " ")[:300],
            where=_WHERE,
            state=_NOTHING,
            next_command="write cloudFiles.roleArn as arn:aws:iam::123456789012:role/name",
        )
    if "SSO" in kind or "Token" in kind:
        name = f" --profile {source.profile}" if source.profile else ""
        cure = f"aws sso login{name}, then run the same again"
        return AccessDenied(f"the sign-on of {of} has ended ({kind})", where=_WHERE, state=_NOTHING, next_command=cure)
    if kind == "ClientError" and code not in ("Throttling", "InternalFailure", "ServiceUnavailable"):
        message = f"{of} is refused ({code}): {answer.get('Error', {}).get('Message', '')}"[:400]
        cure = "allow sts:AssumeRole to the keys of this machine, or correct cloudFiles.roleArn and roleExternalId"
        return AccessDenied(message, where=_WHERE, state=_NOTHING, next_command=cure)
    if kind in ("NoCredentialsError", "PartialCredentialsError", "InvalidConfigError", "ConfigParseError"):
        return _no_keys(source)
    return StoreUnavailable(
        f"nobody hands out keys for {of} now ({kind})",
        where=source.role.sts_url or "sts" if source.role else _WHERE,
        state=_NOTHING,
        next_command="run the same again in a while",
    )
