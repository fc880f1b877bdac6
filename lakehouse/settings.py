"""One frozen settings object, read from ``LAKEHOUSE_*`` variables."""

from __future__ import annotations

import getpass
import re
import warnings
from datetime import date, timedelta
from ipaddress import ip_address
from pathlib import Path
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


BucketName = Annotated[
    str, _matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket name (S3's rules: 3-63 of a-z 0-9 . -)")
]
UserName = Annotated[str, _matching(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", "a user name (letters, digits, _ . @ -)")]
Memory = Annotated[str, _matching(r"[1-9]\d*[mg]", "an amount of memory such as 1536m or 4g")]
Duration = Annotated[
    timedelta, BeforeValidator(lambda given: parse_duration(given) if isinstance(given, str) else given)
]

_MOST_OPEN_WINDOWS = 100_000

_CONTRACTS = Path(__file__).parent / "contracts"


LAYERS = ("bronze", "silver", "gold")
"""First parts of the names of tables."""

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
    except ValueError:  # a name; without a dot it is one of this network
        near = "." not in host or host.endswith(_OF_THIS_NETWORK)
    if not near:
        _warned.add(host)
        warnings.warn(
            f"LAKEHOUSE_S3_ENDPOINT is http://{host}: orders go over the network unencrypted; take https://",
            stacklevel=3,
        )


class Settings(BaseSettings):
    """Everything the lakehouse can be told, from the environment or in Python.

    No endpoint set means the embedded object store; no remote set means the local warm engine.

    Raises:
        ConfigurationError: from ``Settings.load()``, naming the variable at fault, never its secret value.
    """

    model_config = SettingsConfigDict(env_prefix="LAKEHOUSE_", frozen=True, extra="forbid", hide_input_in_errors=True)

    s3_endpoint: str | None = Field(None, description="http(s) address of an S3 server; unset = the embedded one")
    s3_access_key: SecretStr | None = Field(None, description="access key of that server")
    s3_secret_key: SecretStr | None = Field(None, description="secret key of that server")
    s3_region: str = Field("us-east-1", description="region to sign requests for")
    store: Literal["minio", "seaweedfs"] = Field("minio", description="which embedded server to run")
    minio_binary: Path | None = Field(None, description="MinIO server to run; unset = the pinned version, built once")
    landing_bucket: BucketName = Field("landing", description="bucket where order files land")
    landing_prefix: str = Field("orders/", description="folder in it")
    bucket: BucketName = Field("lakehouse", description="bucket of the tables")
    user: UserName = Field(default_factory=getpass.getuser, description="whose tables: the folder in the bucket")
    home: Path = Field(Path(".lakehouse"), description="local data, logs, credentials and process records")
    declaration: Path = Field(Path("lakehouse.yaml"), description="the file that declares the tables")
    variables: dict[str, str] = Field(
        default_factory=dict, description="values for ${NAME} in that file, as a JSON object; before the environment's"
    )
    bronze_max_files_per_trigger: int = Field(3, ge=1, description="order files in one batch of bronze")
    allow_overwrites: Literal["false", "true", "replace"] = Field(
        "false",
        description="what a newer version of a file does: nothing, add its rows, or replace the old ones",
    )
    schema_evolution_mode: Literal[
        "addNewColumns", "addNewColumnsWithTypeWidening", "inline", "rescue", "failOnNewColumns"
    ] = Field("addNewColumns", description="what a new column in the files does; docs/schemas.md")
    schema_contract: Literal["off", "warn", "block"] = Field(
        "warn",
        description="what a schema that breaks its pinned contract does: nothing, a warning, or no silver",
    )
    contracts: Path = Field(_CONTRACTS, description="folder of the contracts")
    rescued_share: float = Field(
        0.01, ge=0, le=1, description="share of rows with rescued values that needs no warning"
    )
    corrupt_share: float = Field(0, ge=0, le=1, description="share of corrupt rows that needs no warning")
    duplicate_orders: Literal["block", "drop"] = Field(
        "block",
        description="what an order that came twice does: stops what comes after bronze, or is counted once",
    )
    after_removals: Literal["ask", "follow", "keep"] = Field(
        "ask",
        description="rows were removed from a table: those computed from it stop, are computed again, or keep theirs",
    )
    silver_source: Literal["bronze", "cloudFiles"] = Field("bronze", description="what the windows are streamed from")
    silver_max_files_per_trigger: int = Field(1000, ge=1, description="data files of bronze in one batch of silver")
    silver_watermark: Duration = Field(timedelta(minutes=10), description="how long a window waits for late orders")
    silver_window: Duration = Field(timedelta(minutes=5), description="length of a window")
    silver_slide: Duration | None = Field(
        None, description="from one window's start to the next one's, if they overlap"
    )
    silver_session_gap: Duration | None = Field(None, description="windows are sessions, ended by such a pause")
    silver_output_mode: Literal["append", "update", "complete"] = Field(
        "append", description="which windows a batch writes: closed ones once, changed ones, all"
    )
    silver_earliest_date: date = Field(date(2000, 1, 1), description="orders dated before it go to quarantine")
    silver_future_limit: Duration = Field(timedelta(days=1), description="orders dated further ahead go to quarantine")
    silver_amount_limit: float = Field(1e9, gt=0, description="orders of a larger amount go to quarantine")
    spark_remote: SecretStr | None = Field(
        None,
        description="sc://host:port (Spark Connect) or local[N] (in process); unset = the warm local engine",
    )
    engine_memory: Memory = Field("1536m", description="heap of the local engine")
    spark_ui: bool = Field(False, description="serve Spark's own pages on 127.0.0.1")

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("LAKEHOUSE_S3_ACCESS_KEY and LAKEHOUSE_S3_SECRET_KEY belong together: set both or neither")
        if self.s3_endpoint is not None:
            if not re.fullmatch(r"https?://[^/\s]+/?", self.s3_endpoint):
                raise ValueError("LAKEHOUSE_S3_ENDPOINT must look like http://host:port or https://host")
            if self.s3_access_key is None:
                raise ValueError("LAKEHOUSE_S3_ENDPOINT needs LAKEHOUSE_S3_ACCESS_KEY and LAKEHOUSE_S3_SECRET_KEY")
        remote = self.spark_remote.get_secret_value() if self.spark_remote else None
        if remote is not None and not re.match(r"sc://.+|local(\[(\d+|\*)\])?$", remote):
            raise ValueError("LAKEHOUSE_SPARK_REMOTE must be sc://host:port or local[N]")
        self._windows_make_sense()
        return self

    def _windows_make_sense(self) -> None:
        window, slide, gap = self.silver_window, self.silver_slide, self.silver_session_gap
        if min(window, slide or window, gap or window) < timedelta(seconds=1):
            raise ValueError("LAKEHOUSE_SILVER_WINDOW, _SLIDE and _SESSION_GAP must be one second or longer")
        if slide is not None and slide > window:
            raise ValueError(
                "LAKEHOUSE_SILVER_SLIDE is longer than LAKEHOUSE_SILVER_WINDOW: orders between them would be in none"
            )
        if gap is not None and slide is not None:
            raise ValueError("LAKEHOUSE_SILVER_SESSION_GAP and LAKEHOUSE_SILVER_SLIDE exclude each other")
        if gap is not None and self.silver_output_mode == "update":
            raise ValueError(
                "LAKEHOUSE_SILVER_OUTPUT_MODE=update: Spark has no session windows in that mode; use append"
            )
        opened = (self.silver_watermark + window) / (slide or window)
        if gap is None and opened > _MOST_OPEN_WINDOWS:
            raise ValueError(
                f"LAKEHOUSE_SILVER_WATERMARK keeps {opened:,.0f} windows open at a time for each payment method, over "
                f"{_MOST_OPEN_WINDOWS:,}: take longer windows or a shorter watermark"
            )

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
        folders = {"home": settings.home, "declaration": settings.declaration, "contracts": settings.contracts}
        if settings.minio_binary is not None:
            folders["minio_binary"] = settings.minio_binary
        return settings.model_copy(update={name: path.expanduser().absolute() for name, path in folders.items()})

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
        return self.contracts / f"{table}.json"

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
