"""One frozen settings object, read from ``LAKEHOUSE_*`` variables."""

from __future__ import annotations

import getpass
import re
import warnings
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakehouse.durations import parse_duration
from lakehouse.errors import ConfigurationError


def _matching(pattern: str, what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return AfterValidator(check)


def _length(given: object) -> object:
    return parse_duration(given) if isinstance(given, str) else given


Length = Annotated[timedelta, BeforeValidator(_length, json_schema_input_type=str)]
BucketName = Annotated[
    str, _matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket name (S3's rules: 3-63 of a-z 0-9 . -)")
]
UserName = Annotated[str, _matching(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", "a user name (letters, digits, _ . @ -)")]
Memory = Annotated[str, _matching(r"[1-9]\d*[mg]", "an amount of memory such as 1536m or 4g")]
STORES = tuple(module.name for module in iter_modules([str(Path(__file__).parent / "storage" / "servers")]))
"""The servers that can be embedded: modules of ``lakehouse.storage.servers``, which are imported by who starts one."""
StoreName = Annotated[str, _matching("|".join(STORES), f"one of {', '.join(STORES)}")]
LAYERS = ("bronze", "silver", "gold")
"""First parts of the names of tables."""
_CATALOG = rf"\w[\w-]*(\.\w[\w-]*=({'|'.join(LAYERS)}))?"
Catalogs = Annotated[
    str,
    _matching(rf"{_CATALOG}(,{_CATALOG})*", "a list of catalogs, such as main or main.sales=bronze,main.raw=bronze"),
]

_warned: set[str] = set()
_OF_THIS_NETWORK = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


def _warn_of_plain_http(endpoint: str | None) -> None:
    """Says once that a store on the open network is spoken to without TLS. Nothing is looked up to find that out."""
    parts = urlsplit(endpoint or "")
    host = parts.hostname or ""
    if parts.scheme != "http" or host in _warned:
        return
    try:
        near = not ip_address(host).is_global
    except ValueError:  # a name; without a dot it is of this network
        near = "." not in host or host.endswith(_OF_THIS_NETWORK)
    if not near:
        _warned.add(host)
        warnings.warn(
            f"LAKEHOUSE_S3_ENDPOINT is http://{host}: rows go over the network unencrypted; take https://",
            stacklevel=3,
        )


class Settings(BaseSettings):
    """Everything the lakehouse can be told, from the environment or in Python.

    No endpoint set means the embedded object store; no remote set means the warm Spark engine on this machine.

    Raises:
        ConfigurationError: from ``Settings.load()``, naming the variable at fault, never its secret value.
    """

    model_config = SettingsConfigDict(env_prefix="LAKEHOUSE_", frozen=True, extra="forbid", hide_input_in_errors=True)

    s3_endpoint: str | None = Field(None, description="http(s) address of an S3 server; unset = the embedded one")
    s3_access_key: SecretStr | None = Field(None, description="access key of that server")
    s3_secret_key: SecretStr | None = Field(None, description="secret key of that server")
    s3_region: str = Field("us-east-1", description="region to sign requests for")
    store: StoreName = Field("minio", description="which embedded server to run")
    minio_binary: Path | None = Field(None, description="MinIO server to run; unset = the pinned version, built once")
    landing_bucket: BucketName = Field("landing", description="bucket where files land")
    landing_prefix: str = Field("orders/", description="folder in it")
    bucket: BucketName = Field("lakehouse", description="bucket of the tables")
    user: UserName = Field(default_factory=getpass.getuser, description="whose tables: the folder in the bucket")
    home: Path = Field(Path(".lakehouse"), description="local data, logs, credentials and process records")
    declaration: Path = Field(Path("lakehouse.yaml"), description="the file that declares the tables")
    variables: dict[str, str] = Field(
        default_factory=dict, description="values for ${NAME} in that file, as a JSON object; before the environment's"
    )
    contracts: Path | None = Field(
        None, description="folder of the contracts; unset = contracts/ beside the declaration"
    )
    after_removals: Literal["ask", "follow", "keep"] = Field(
        "ask",
        description="rows were removed from a table: those computed from it stop, are computed again, or keep theirs",
    )
    spark_remote: SecretStr | None = Field(
        None,
        description="sc://host:port (Spark Connect) or local[N] (in process); unset = the warm engine on this machine",
    )
    engine: Literal["spark", "local"] = Field(
        "spark", description="who loads files: spark, or local: processes of this machine, without a JVM"
    )
    alerts: SecretStr | None = Field(
        None, description="addresses of the channels that are told what goes wrong, as Apprise writes them, or file://"
    )
    catalogs: Catalogs = Field(
        "lakehouse,spark_catalog",
        description="catalogs of names with three parts: main, whose schemas are the layers; or main.sales=bronze",
    )
    dagster_url: str | None = Field(
        None, description="where people open Dagster's pages: alerts link to a table's page"
    )
    keep_batches: Length | None = Field(
        None, description="for how long the table ops.batches keeps a row for each batch; unset = it is not written"
    )
    traces: str | None = Field(
        None, description="who takes OpenTelemetry's spans: http(s)://host:4318 (OTLP) or file:///folder/name"
    )
    engine_memory: Memory = Field("1536m", description="heap of the Spark engine on this machine")
    events_inbox: SecretStr | None = Field(
        None,
        description="where events tell of new files: a file, postgresql://... or sqs://...; unset = "
        "events/inbox.sqlite in LAKEHOUSE_HOME",
    )
    events_token: SecretStr | None = Field(
        None, description="what a store has to say to lakehouse events serve; unset = one that events enable makes"
    )
    spark_ui: bool = Field(False, description="serve Spark's own pages on 127.0.0.1")

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("LAKEHOUSE_S3_ACCESS_KEY and LAKEHOUSE_S3_SECRET_KEY belong together: set both or neither")
        if self.dagster_url is not None and not re.fullmatch(r"https?://[^\s@]+", self.dagster_url):
            raise ValueError("LAKEHOUSE_DAGSTER_URL must look like https://host:port, without a name or a password")
        if self.traces is not None and not re.fullmatch(r"https?://[^\s@]+|file:///\S*[^\s/]", self.traces):
            raise ValueError(
                "LAKEHOUSE_TRACES must look like http://host:4318 or file:///folder/name, without a password: "
                "OTEL_EXPORTER_OTLP_HEADERS has keys"
            )
        if self.s3_endpoint is not None:
            if not re.fullmatch(r"https?://[^/\s]+/?", self.s3_endpoint):
                raise ValueError("LAKEHOUSE_S3_ENDPOINT must look like http://host:port or https://host")
            if self.s3_access_key is None:
                raise ValueError("LAKEHOUSE_S3_ENDPOINT needs LAKEHOUSE_S3_ACCESS_KEY and LAKEHOUSE_S3_SECRET_KEY")
        inbox = self.events_inbox.get_secret_value() if self.events_inbox else "/"
        if "://" in inbox and not re.match(r"(postgres|postgresql|sqs|sqs\+http)://[^/]*/.", inbox):
            raise ValueError("LAKEHOUSE_EVENTS_INBOX must be a file, postgresql://... or sqs://...: docs/events.md")
        remote = self.spark_remote.get_secret_value() if self.spark_remote else None
        if remote is not None and not re.match(r"sc://.+|local(\[(\d+|\*)\])?$", remote):
            raise ValueError("LAKEHOUSE_SPARK_REMOTE must be sc://host:port or local[N]")
        return self

    @classmethod
    def load(cls, **overrides: object) -> Settings:
        """Reads the environment; ``overrides`` win over it."""
        try:
            settings = cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            problems = []
            for item in error.errors():
                name = "LAKEHOUSE_" + str(item["loc"][0]).upper() + ": " if item["loc"] else ""
                problems.append(name + item["msg"].removeprefix("Value error, "))
            raise ConfigurationError(
                "; ".join(problems),
                where="settings",
                state="nothing was started or changed",
                next_command="correct the variable; README.md lists all of them",
            ) from None
        _warn_of_plain_http(settings.s3_endpoint)
        folders = {"home": settings.home, "declaration": settings.declaration}
        if settings.contracts is not None:
            folders["contracts"] = settings.contracts
        if settings.minio_binary is not None:
            folders["minio_binary"] = settings.minio_binary
        return settings.model_copy(update={name: path.expanduser().absolute() for name, path in folders.items()})

    @property
    def schemas(self) -> frozenset[str]:
        """Schemas that ``catalogs`` makes layers, in small letters; not the layers themselves."""
        named = (text.lower().partition("=")[0].partition(".")[2] for text in self.catalogs.split(","))
        return frozenset(named) - {"", *LAYERS}

    def table_name(self, given: str) -> str:
        """``layer.name`` for ``catalog.schema.table``, and for ``schema.table`` whose schema is always the same layer.

        Other names stay as they are.

        Raises:
            ConfigurationError: the lake has no such catalog, or no layer for its schema.
        """
        catalog, _, rest = given.partition(".")
        schema, dot, name = rest.partition(".")
        known = dict(text.lower().partition("=")[::2] for text in self.catalogs.split(","))
        if rest and not dot and catalog.lower() in self.schemas:
            layers = {meant for key, meant in known.items() if key.endswith(f".{catalog.lower()}")}
            return f"{layers.pop()}.{rest}" if len(layers) == 1 else given
        if not dot or "." in name:
            return given
        layer = known.get(f"{catalog}.{schema}".lower()) or (schema.lower() if catalog.lower() in known else "")
        if layer in LAYERS:
            return f"{layer}.{name}"
        entry = catalog if schema.lower() in LAYERS else f"{catalog}.{schema}=bronze"
        raise ConfigurationError(
            f"{given} names no table of the lake: "
            + (f"its catalog {catalog} has no schema {schema}" if layer else f"it has no catalog {catalog}"),
            where=f"LAKEHOUSE_CATALOGS={self.catalogs}",
            state="nothing was read or written",
            next_command=f"name it as bronze.{name}; or add {entry} to LAKEHOUSE_CATALOGS",
        )

    @property
    def inbox(self) -> SecretStr:
        """The address of the inbox of events: a file's whole path, or as it was given."""
        given = self.events_inbox.get_secret_value() if self.events_inbox else str(self.home / "events/inbox.sqlite")
        if "://" in given:
            return SecretStr(given)
        return SecretStr(str(Path(given.removeprefix("sqlite:")).expanduser().absolute()))

    @property
    def lake_uri(self) -> str:
        """The folder of this user's tables, without a slash at the end."""
        return f"s3a://{self.bucket}/{self.user}"

    @property
    def landing_uri(self) -> str:
        """The folder where order files land, with a slash at the end."""
        return f"s3a://{self.landing_bucket}/{self.landing_prefix}"

    def table_uri(self, table: str) -> str:
        """Where ``layer.name`` lives."""
        layer, name = table.split(".", 1)
        return f"{self.lake_uri}/{layer}/{name}"

    def schema_uri(self, table: str) -> str:
        """Where the versions of the schema of the stream into ``layer.name`` are."""
        return f"{self.lake_uri}/_schemas/{table}"

    def contract_path(self, table: str) -> Path:
        """The file with the columns that are pinned for ``layer.name``."""
        return (self.contracts or self.declaration.parent / "contracts") / f"{table}.odcs.yaml"

    def quarantine_uri(self, table: str) -> str:
        """Where the rows are that ``layer.name`` does not count."""
        return f"{self.lake_uri}/_quarantine/{table}"

    @property
    def journal_root(self) -> str:
        """The folder of the journals of ``cloudFiles`` sources, one folder each."""
        return f"{self.lake_uri}/_journal"

    def checkpoint_uri(self, table: str) -> str:
        """Where the stream that writes ``layer.name`` keeps its progress: named after the target."""
        return f"{self.lake_uri}/_checkpoints/{table}"
