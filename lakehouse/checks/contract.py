"""``contract``, ``schema`` and ``schema_drift``: columns and rows against what is pinned in a contract."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from lakehouse.counting import SAMPLE_ROWS
from lakehouse.table import At, Check, Finding

if TYPE_CHECKING:
    from lakehouse.autoloader.schema.versions import SchemaVersion
    from lakehouse.contract import Contract


def _versions(at: At) -> list[SchemaVersion]:
    from lakehouse.flows.schema_versions import schema_of

    return at.once("schema versions", lambda: schema_of(at.lake, at.table.name).history())


def _contract(at: At) -> Contract | None:
    from lakehouse.contract import read_contract

    return at.once("contract", lambda: read_contract(at.lake.settings, at.table.name))


class Schema(Check):
    """``schema``: every pinned column is there with its type, and no other where others are refused.

    The contract is the file ``contracts/<table>.odcs.yaml``. Without it the check fails only where it is to block.
    """

    kind: ClassVar[str] = "schema"
    flows: ClassVar[tuple[str, ...]] = ("files", "windows")
    about: ClassVar[str] = "Every pinned column is there with its type."
    blocks: ClassVar[bool] = False

    def examine(self, at: At) -> Finding | None:
        """Compares the latest version of the schema; nothing to examine before the first."""
        from lakehouse.contract import accept

        versions = _versions(at)
        if not versions:
            return None
        contract = _contract(at)
        broken = contract.broken_by(versions[-1]) if contract else []
        numbers = {
            "pinned_columns": len(contract.columns) if contract else 0,
            "missing_columns": sum(column.present is None for column in broken),
            "changed_types": sum(None not in (column.pinned, column.present) for column in broken),
            "refused_columns": sum(column.pinned is None for column in broken),
        }
        sample = tuple(
            {"column": column.column, "pinned": column.pinned, "present": column.present}
            for column in broken[:SAMPLE_ROWS]
        )
        passed = not broken and (contract is not None or not self.blocking)
        finding = self.finding(at, passed, numbers, sample)
        command = accept(at.table.name)
        if contract is None:
            cure = f"pin a first contract: {command}"
        elif broken:
            look = f"lakehouse schema diff 0 --table {at.table.name} shows what came"
            cure = f"{look}; correct it at the sender, or accept it: {command}"
        else:
            cure = ""
        return _with_cure(finding, cure)


class OfContract(Check):
    """``contract``: the table has what its contract pins: columns and types, what is required, unique, the primary key.

    The contract is the file ``contracts/<table>.odcs.yaml``; the check fails without it.
    """

    kind: ClassVar[str] = "contract"
    about: ClassVar[str] = "The table has the pinned columns; what is required is there, and what is unique is so."

    def examine(self, at: At) -> Finding:
        """Compares the table's columns; rows are looked at when those are as pinned."""
        from lakehouse.checks.rows import NotNull, rows_of
        from lakehouse.checks.unique import Unique

        contract, table = _contract(at), at.table.name
        if contract is None:
            path = at.lake.settings.contract_path(table)
            cure = f"write the contract: lakehouse schema export {table} > {path}"
            return self.finding(at, False, {"pinned_columns": 0}, (), cure)
        broken = contract.broken_by(rows_of(at).schema)
        numbers: dict[str, int | float] = {
            "pinned_columns": len(contract.columns),
            "missing_columns": sum(column.present is None for column in broken),
            "changed_types": sum(None not in (column.pinned, column.present) for column in broken),
            "refused_columns": sum(column.pinned is None for column in broken),
        }
        if broken:
            sample = tuple(vars(column) for column in broken[:SAMPLE_ROWS])
            cure = f"correct {', '.join(at.table.flow.reads) or 'the files at their sender'}, or {contract.path.name}"
            return self.finding(at, False, numbers, sample, cure)
        pinned = contract.pinned
        rules: list[Check] = []
        if required := tuple(dict.fromkeys([*pinned.required, *pinned.key])):
            rules.append(NotNull(columns=required, max_share=0, name="required"))
        keys = {(column,) for column in pinned.unique} | ({pinned.key} if pinned.key else set())
        rules += [Unique(columns=key, name="unique") for key in sorted(keys)]
        inner = replace(at, table=replace(at.table, checks=tuple(rules)), memo={"rows": rows_of(at)})
        findings = [found for rule in rules if (found := rule.examine(inner)) is not None]
        for name in ("null_rows", "duplicate_keys", "examined_rows"):
            counts = [found.numbers[name] for found in findings if name in found.numbers]
            numbers |= {name: max(counts) if name == "examined_rows" else sum(counts)} if counts else {}
        failed = next((found for found in findings if not found.passed), None)
        if failed is None:
            return self.finding(at, True, numbers)
        return self.finding(at, False, numbers, failed.sample, failed.next_command)


class SchemaDrift(Check):
    """``schema_drift``: no column came that the contract does not name; says which file brought it, and when."""

    kind: ClassVar[str] = "schema_drift"
    flows: ClassVar[tuple[str, ...]] = ("files", "windows")
    about: ClassVar[str] = "No column came that the pinned contract does not name; shows the files that brought them."
    blocks: ClassVar[bool] = False

    def examine(self, at: At) -> Finding | None:
        """Compares the latest version; nothing to examine before the first, or with the contract switched off."""
        from lakehouse.contract import accept, differences, schema_changes, types

        off = any(isinstance(check, Schema) and check.on_failure == "off" for check in at.table.checks)
        versions = [] if off else _versions(at)
        if not versions:
            return None
        contract, latest = _contract(at), versions[-1]
        every = differences(contract.columns, types(latest)) if contract else []
        extra = [column for column in every if column.pinned is None]
        met = {row["column"]: row for row in schema_changes(versions)}
        first: dict[str, Any] = {"change": "inferred", "version": versions[0].version}
        first |= {"record": None, "file": "", "written": versions[0].written}
        sample = tuple(
            met.get(column.column) or {"column": column.column, "type": column.present, **first} for column in extra
        )
        look = f"look at them with lakehouse schema history --table {at.table.name}"
        cure = f"{look}; to accept them: {accept(at.table.name)}"
        numbers = {"schema_version": latest.version, "new_columns": len(extra)}
        return self.finding(at, not extra, numbers, sample, cure)


def _with_cure(finding: Finding, cure: str) -> Finding:
    """The finding with a cure, also when it passed: a first contract is worth pinning then, too."""
    return replace(finding, next_command=cure)
