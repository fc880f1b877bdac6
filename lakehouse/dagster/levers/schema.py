"""Levers on the schema of a stream: columns that wait, what is pinned, an older version, values that were rescued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from lakehouse.dagster.levers.lever import LeverConfig, Pull, Pulled, of_table
from lakehouse.errors import ConfigurationError
from lakehouse.plain_text import counted

if TYPE_CHECKING:
    from lakehouse.autoloader.schema.versions import SchemaLocation


class ApproveForm(LeverConfig):
    """Columns that become part of the schema."""

    columns: list[str] = Field(
        default_factory=list, description='names, or "name TYPE"; none is all that wait in the rescued data'
    )


class RollbackForm(LeverConfig):
    """The version whose columns the stream has again."""

    version: int = Field(0, ge=0, description="its number, as lakehouse schema history lists it")


class ContractForm(LeverConfig):
    """The present columns, which become the pinned ones: the contract is a file where the step runs."""


class PromoteForm(LeverConfig):
    """Values that move from the rescued data into the columns that can take them now."""


def approve(pull: Pull) -> Pulled:
    """``lakehouse schema approve``."""
    from lakehouse.pipeline import rescued_data

    rescued = rescued_data(pull.lake, pull.table)
    waiting = rescued.waiting()
    columns = list(pull.config.columns) or [column.name for column in waiting]
    done = pull.really and bool(columns)
    version = rescued.approve(columns, waiting, really=done).version
    if done:
        sentence = f"version {version} of the schema has {', '.join(columns)}: the next run fills them"
    else:
        sentence = f"would add {', '.join(columns)} to version {version}" if columns else "no column waits"
    rows = [
        {"column": item.name, "type": item.type, "rows": item.rows, "met in": f"{item.file}, record {item.record:,}"}
        for item in waiting
    ]
    numbers = {"columns_waiting": len(waiting), "columns_approved": len(columns) if done else 0}
    arguments = [*pull.config.columns, "--table", pull.table, *pull.yes]
    return Pulled([sentence], done, arguments, of_table(pull.table, **numbers), rows)


def contract(pull: Pull) -> Pulled:
    """``lakehouse schema contract``."""
    from lakehouse.contract import differences, pin, read_contract, types
    from lakehouse.pipeline import schemas

    settings, versions = pull.lake.settings, schemas(pull.lake, pull.table)
    latest, pinned = versions.read(_numbers(pull, versions)[-1]), read_contract(settings, pull.table)
    found = differences(pinned.columns if pinned else {}, types(latest))
    done = pull.really and bool(found)
    if done:
        pin(settings, pull.table, latest, pull.catalogue[pull.table].description)
    about = f"the columns of version {latest.version} in {settings.contract_path(pull.table)}"
    differ = f"{counted(len(found), 'column')} {'differ' if pinned else 'are new'}"
    sentence = (
        f"{'pinned' if done else 'would pin'} {about}: {differ}" if found else f"{about} are pinned: nothing to do"
    )
    rows = [{"column": item.column, "pinned": item.pinned, "present": item.present} for item in found]
    numbers = {"columns_pinned": len(found) if done else 0, "schema_version": latest.version}
    arguments = [*(["--write"] if pull.really else []), "--table", pull.table]
    return Pulled([sentence], done, arguments, of_table(pull.table, **numbers), rows)


def rollback(pull: Pull) -> Pulled:
    """``lakehouse schema rollback``."""
    from lakehouse.contract import schema_changes
    from lakehouse.pipeline import schemas

    versions, wanted = schemas(pull.lake, pull.table), int(pull.config.version)
    there = _numbers(pull, versions)
    if wanted not in there:
        raise _refused(pull, f"the schema has no version {wanted}", f"name one of {there[0]} to {there[-1]}")
    now = versions.read(there[-1])
    changes = schema_changes([now, versions.read(wanted)])
    made = versions.roll_back(wanted) if pull.really and changes else None
    if made is not None:
        lines = [f"version {made.version} has the columns of version {wanted}; the next run uses it"]
    elif changes:
        lines = [f"would write version {now.version + 1} with the columns of version {wanted}"]
    else:
        lines = [f"versions {now.version} and {wanted} have the same columns: nothing to do"]
    kinds = {row["change"] for row in changes}
    if "removed" in kinds:
        lines.append("rows that are stored keep those columns; in new files their values are rescued")
        lines.append("in mode addNewColumns the next file that has one brings it back: use mode rescue to keep it out")
    if "retyped" in kinds:
        lines.append("the table keeps its wider types; new values that do not fit the narrower ones are rescued")
    rows: list[dict[str, Any]] = [{name: row[name] for name in ("change", "column", "type")} for row in changes]
    numbers = {"columns_changed": len(changes), "schema_version": (made or now).version}
    arguments = [f"{wanted}", "--table", pull.table, *pull.yes]
    return Pulled(lines, made is not None, arguments, of_table(pull.table, **numbers), rows)


def promote(pull: Pull) -> Pulled:
    """``lakehouse schema promote``."""
    from lakehouse.pipeline import rescued_data

    done = rescued_data(pull.lake, pull.table).promote(pull.session(), really=pull.really)
    values = sum(done.rows.values())
    if done.done:
        sentence = (
            f"{counted(values, 'value')} promoted in version {done.delta_version}; {done.rows_after:,} rows, as before"
        )
    else:
        sentence = f"would promote {counted(values, 'value')}" if values else "nothing to promote"
    rows = [{"column": name, "rows": count} for name, count in done.rows.items()]
    arguments = ["--table", pull.table, *pull.yes]
    return Pulled([sentence], done.done, arguments, of_table(pull.table, values_promoted=values), rows)


def _numbers(pull: Pull, versions: SchemaLocation) -> list[int]:
    """Of the versions that there are, ascending."""
    there = sorted(versions.numbers())
    if not there:
        raise _refused(pull, "there is no schema yet", f"lakehouse ingest {pull.table}")
    return there


def _refused(pull: Pull, what: str, next_command: str) -> ConfigurationError:
    where = pull.lake.settings.schema_uri(pull.table)
    return ConfigurationError(what, where=where, state="nothing was changed", next_command=next_command)
