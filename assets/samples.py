"""The lever that puts sample orders into the landing folder: good ones, or ones with a flaw that the tables handle."""

from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from lakehouse.dagster.levers import STORE, Lever, LeverConfig, Pull, Pulled
from lakehouse.orders.landing import look_at_landing
from lakehouse.orders.samples import generate_orders

LANDING = dg.AssetKey(["landing", "orders"])
_NEW_COLUMN = "coupon"


class Kind(Enum):
    """Which sample orders are put."""

    good = "good"
    late = "late"
    duplicate = "duplicate"
    broken = "broken"
    evolving = "evolving"


class SamplesForm(LeverConfig):
    """Sample order files; the next ones of the series."""

    kind: Kind = Field(
        Kind.good,
        description="good; late: a fifth of the orders come after their window; duplicate: a tenth are sent twice; "
        f"broken: a tenth of the lines are no order; evolving: a new column, {_NEW_COLUMN}",
    )
    files: int = Field(3, ge=1, le=1_000, description="how many files")
    rows_per_file: int = Field(250, ge=1, le=100_000, description="orders in each")
    seed: int = Field(7, ge=0, description="the same seed writes the same bytes")


_FLAWS: dict[Kind, dict[str, Any]] = {
    Kind.good: {"late_share": 0.0},
    Kind.late: {"late_share": 0.2},
    Kind.duplicate: {"late_share": 0.0, "duplicate_share": 0.1},
    Kind.broken: {"late_share": 0.0, "bad_line_share": 0.1},
    Kind.evolving: {"late_share": 0.0, "new_column": _NEW_COLUMN},
}


def sample_lever() -> Lever:
    """``lakehouse generate`` for the launchpad."""
    does = "Puts sample order files into the landing folder: good, late, duplicate, broken or evolving ones."
    return Lever("generate", does, STORE, SamplesForm, _put, "put_sample_files")


def _put(pull: Pull) -> Pulled:
    form, settings, store = pull.config, pull.lake.settings, pull.lake.store
    first = look_at_landing(pull.lake).next_number
    shape = {"files": form.files, "rows_per_file": form.rows_per_file, "seed": form.seed, "first_file": first}

    def write(name: str, data: bytes) -> None:
        if pull.really:
            store.write(settings.landing_bucket, settings.landing_prefix + name, data)

    done = generate_orders(write, **shape, **_FLAWS[form.kind])
    line = done.line() if pull.really else f"would have {done.line().replace('wrote', 'written', 1)}"
    sentence = f"{line}, to s3://{settings.landing_bucket}/{settings.landing_prefix}"
    numbers = {
        "sample_files": len(done.files),
        "sample_rows": done.rows,
        "sample_bytes": done.size_bytes,
        "late_rows": done.late_rows,
        "duplicate_rows": done.duplicate_rows,
        "bad_lines": done.bad_lines,
    }
    options = {**shape, **_FLAWS[form.kind]}
    arguments = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", f"{value}")]
    rows = [
        {"file": file.name, "rows": file.rows, "bytes": file.size_bytes, "bad lines": file.bad_lines}
        for file in done.files
    ]
    return Pulled([sentence], pull.really, arguments, {LANDING: numbers}, rows)
