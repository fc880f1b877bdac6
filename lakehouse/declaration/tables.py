"""From the nodes of a declaration to its tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, TypeAdapter, ValidationError

from lakehouse.declaration.models import key_names, line_of, note_problems
from lakehouse.declaration.nodes import Mapped, Node, Scalar
from lakehouse.declaration.problems import Problems, meant, nearest
from lakehouse.declaration.values import Lines, Values
from lakehouse.settings import LAYERS, Settings
from lakehouse.table import CHECKS, FLOWS, Alerting, Check, Declared, Duration, Flow, Names, Retention, Table
from lakehouse.table_names import TableName

_NAME = TypeAdapter(TableName)
_OWNER = re.compile(r"team:[\w.-]+|[^@\s]+@[^@\s]+\.[^@\s]+")


def _owners(given: tuple[str, ...]) -> tuple[str, ...]:
    for owner in given:
        _require_owner(owner)
    return given


def _require_owner(given: str) -> None:
    if not _OWNER.fullmatch(given):
        raise ValueError(f"{given!r} is no owner: write a mail address, or team:name")


class TableKeys(Declared):
    """What a table has beside its flow and its checks.

    Attributes:
        description: For people.
        owners: Who answers for it: mail addresses, or ``team:name``.
        freshness: How old its newest data may be, such as ``2 hours``.
        after_removals: What becomes of the table when rows are removed from its source: ``ask`` stops and tells,
            ``follow`` computes it again, ``keep`` leaves it as it is; without it ``LAKEHOUSE_AFTER_REMOVALS`` says so.
        on_demand: ``true``: the table is brought up to date only when it is named.
        retention: How long its rows are kept: ``{column: ordered_at, keep: 90 days}``; of a table of ``files``.
    """

    description: str = ""
    owners: Annotated[Names, AfterValidator(_owners)] = ()
    freshness: Duration | None = None
    after_removals: Literal["ask", "follow", "keep"] | None = None
    on_demand: bool = False
    retention: Retention | None = None


class Drafts:
    """Makes tables of nodes, and keeps the lines of what is in them.

    Attributes:
        tables: Those that could be made, in the order of the file.
        lines: For each table, the lines of its body.
        broken: Names of those that could not be made.
        alerts: What the file says of alerts.
    """

    def __init__(self, values: Values, problems: Problems, settings: Settings) -> None:
        self._values, self._problems, self._settings = values, problems, settings
        self.tables: list[Table] = []
        self.lines: dict[str, Lines] = {}
        self.broken: set[str] = set()
        self.alerts = Alerting()
        self._spelled: dict[str, tuple[str, int]] = {}

    def add(self, name: str, line: int, node: Node) -> None:
        """Makes the table ``name``; what is wrong with it is noted."""
        noted = len(self._problems)
        lines: Lines = {(): line}
        self._check_name(name, line)
        first, where = self._spelled.setdefault(name.lower(), (name, line))
        if first != name:
            reason = f"{name} is spelled as {first} in line {where} but for its case: to SQL both are one table"
            self._problems.add(line, f"{reason}, give one of them another name")
        body = self._values.of(node, lines)
        lines[()] = line
        if not isinstance(body, dict):
            self._problems.add(line, f"{name} has to be a mapping with the key of a flow: {', '.join(FLOWS)}")
            self.broken.add(name)
            return
        body = {key: value for key, value in body.items() if value is not None or key in FLOWS}
        kinds = [key for key in body if key in FLOWS]
        unknown = [key for key in body if key not in (*FLOWS, *key_names(TableKeys), "checks")]
        for key in unknown:
            known = [*FLOWS, "checks", *key_names(TableKeys)]
            self._problems.add(lines[(key,)], f"unknown key {key} in {name}{meant(key, known)}")
        if len(kinds) > 1:
            self._problems.add(lines[(kinds[1],)], f"{name} has {len(kinds)} flows: {' and '.join(kinds)}; leave one")
        if not kinds and not any(nearest(key, FLOWS) for key in unknown):
            self._problems.add(line, f"{name} has no flow: give it one of {', '.join(FLOWS)}")
        flow = self._flow(name, kinds[0], body[kinds[0]], lines) if len(kinds) == 1 else None
        checks = self._checks(name, kinds, body.get("checks"), lines)
        keys = self._keys(name, {key: body[key] for key in key_names(TableKeys) if key in body}, lines)
        if flow is not None and keys is not None and keys.retention and flow.kind != "files":
            cure = "declare it of the table that files fill, with then: follow"
            self._problems.add(lines[("retention",)], f"{name} is computed, and would have its old rows again: {cure}")
        if flow is None or keys is None or len(self._problems) > noted:
            self.broken.add(name)
        if flow is not None and keys is not None:
            self.lines[name] = lines
            fields = {field: getattr(keys, field) for field in TableKeys.model_fields}
            self.tables.append(Table(name, flow, self._with_defaults(name, line, flow, checks), **fields, line=line))

    def set_alerts(self, line: int, node: Node) -> None:
        """Takes what the file says of alerts; what is wrong with it is noted."""
        lines: Lines = {(): line}
        given = self._values.of(node, lines)
        if given is not None and not isinstance(given, dict):
            self._problems.add(line, f"alerts has to be a mapping with {', '.join(key_names(Alerting))}")
            return
        try:
            self.alerts = Alerting.model_validate(given or {})
            for owner in self.alerts.owners:
                _require_owner(owner)
        except ValidationError as error:
            note_problems(error, Alerting, "alerts", lines, (), self._problems)
        except ValueError as error:
            self._problems.add(line_of(lines, ("owners",)), f"owners in alerts: {error}")

    def _check_name(self, name: str, line: int) -> None:
        try:
            _NAME.validate_python(name)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            layer, dot, rest = name.partition(".")
            near = nearest(layer, LAYERS) if dot and layer not in LAYERS else None
            self._problems.add(line, f"{message}{f' (did you mean {near}.{rest}?)' if near else ''}")

    def _flow(self, name: str, kind: str, given: Any, lines: Lines) -> Flow | None:
        place = f"{kind} of {name}"
        given = {} if given is None else given
        if not isinstance(given, dict):
            reason = f"{place} has to be a mapping with {', '.join(key_names(FLOWS[kind]))}"
            self._problems.add(lines[(kind,)], reason)
            return None
        try:
            fields = {key: value for key, value in given.items() if value is not None}
            return FLOWS[kind].model_validate(fields, context=self._settings)
        except ValidationError as error:
            note_problems(error, FLOWS[kind], place, lines, (kind,), self._problems)
            return None

    def _keys(self, name: str, given: dict[str, Any], lines: Lines) -> TableKeys | None:
        try:
            return TableKeys.model_validate(given)
        except ValidationError as error:
            note_problems(error, TableKeys, name, lines, (), self._problems)
            return None

    def _checks(self, name: str, flows: list[str], given: Any, lines: Lines) -> list[Check]:
        if given is None:
            return []
        if not isinstance(given, list):
            self._problems.add(lines[("checks",)], f"checks of {name} have to be a list: each begins with -")
            return []
        found: dict[str, tuple[int, Check]] = {}
        for number, entry in enumerate(given):
            line = line_of(lines, ("checks", number))
            check = self._check(name, number, entry, lines)
            if check is None:
                continue
            if check.called in found:
                reason = f"{name} has two checks named {check.called}; the other is in line {found[check.called][0]}"
                self._problems.add(line, f"{reason}: give one of them another name")
            found.setdefault(check.called, (line, check))
            if check.flows and len(flows) == 1 and flows[0] not in check.flows:
                reason = f"{check.kind} examines tables made by {' or '.join(check.flows)}"
                self._problems.add(line, f"{reason}, and {name} is made by {flows[0]}: it would never find anything")
        return [check for _, check in found.values()]

    def _check(self, table: str, number: int, given: Any, lines: Lines) -> Check | None:
        at = ("checks", number)
        line = line_of(lines, at)
        given = {given: None} if isinstance(given, str) else given
        if not isinstance(given, dict):
            self._problems.add(
                line, f"a check of {table} is no mapping: write it as - kind: ..., such as - {_example()}"
            )
            return None
        kinds = [key for key in given if key in CHECKS]
        if len(kinds) != 1:
            self._problems.add(line_of(lines, (*at, *_first_unknown(given))), _no_kind(table, given, kinds))
            return None
        [kind] = kinds
        model, what, place = CHECKS[kind], given[kind], f"check {kind} of {table}"
        beside = {key: value for key, value in given.items() if key != kind and value is not None}
        if what is None:
            what = {}
        elif not isinstance(what, dict):
            if not model.main:
                reason = f"{place} takes a mapping with {', '.join(key_names(model))}, or nothing"
                self._problems.add(line_of(lines, (*at, kind)), reason)
                return None
            lines[(*at, kind, model.main)] = line_of(lines, (*at, kind))
            what = {model.main: what}
        for key in beside:
            if reason := _misplaced(key, kind, model, what):
                self._problems.add(lines[(*at, key)], f"{place}: {reason}")
        if any(_misplaced(key, kind, model, what) for key in beside):
            return None
        for key in what:
            lines[(*at, key)] = line_of(lines, (*at, kind, key))
        for place_within in [path for path in lines if path[:3] == (*at, kind)]:
            lines.setdefault((*at, *place_within[3:]), lines[place_within])
        try:
            return model.model_validate({**{key: value for key, value in what.items() if value is not None}, **beside})
        except ValidationError as error:
            note_problems(error, model, place, lines, at, self._problems)
            return None

    def _with_defaults(self, name: str, line: int, flow: Flow, checks: Iterable[Check]) -> tuple[Check, ...]:
        """The declared checks, and those that the flow asks for where none of their kind is declared."""
        every = list(checks)
        kinds = {check.kind for check in every}
        for default in flow.default_checks():
            if default.kind in kinds:
                continue
            if any(check.called == default.called for check in every):
                reason = f"a check of {name} is named {default.called}, as the one that {flow.kind} brings: rename it"
                self._problems.add(line, reason)
            every.append(default)
        return tuple(every)


def _misplaced(key: str, kind: str, model: type[Check], within: dict[str, Any]) -> str:
    """Why a key may not stand beside the kind of a check; "" where it may."""
    if key in key_names(Check):
        return f"{key} is there twice, within {kind} and beside it" if key in within else ""
    if key in key_names(model):
        return f"{key} belongs to the check itself: write {kind}: {{{key}: ...}}"
    return f"unknown key {key} beside {kind}{meant(key, [*key_names(Check), *key_names(model)])}"


def _example() -> str:
    return "unique: id" if "unique" in CHECKS else next(iter(CHECKS), "kind: ...")


def _first_unknown(given: dict[str, Any]) -> tuple[str, ...]:
    beside = key_names(Check)
    return next(((key,) for key in given if key not in beside and key not in CHECKS), ())


def _no_kind(table: str, given: dict[str, Any], kinds: list[str]) -> str:
    if kinds:
        return f"a check of {table} is of {len(kinds)} kinds, {' and '.join(kinds)}: begin each with a - of its own"
    unknown = _first_unknown(given)
    if not unknown:
        return f"a check of {table} says not what it checks: its kind is missing, such as {_example()}"
    return f"unknown kind of check {unknown[0]} in {table}{meant(unknown[0], CHECKS)}"


def add_tables(root: Node | None, drafts: Drafts, values: Values, problems: Problems) -> None:
    """Makes all tables that the file declares.

    Raises:
        DeclarationInvalid: the file is no mapping.
    """
    if root is None or (isinstance(root, Scalar) and root.plain and not root.text):
        return
    if not isinstance(root, Mapped):
        raise problems.stop(root.line, "the file is no mapping: it begins with the key tables:")
    for key, line, node in values.pairs(root):
        if key.startswith("x-"):
            continue
        if key == "alerts":
            drafts.set_alerts(line, node)
        elif key != "tables":
            known = ["tables", "alerts"]
            hint = meant(key, known) if nearest(key, known) else ": there is tables, alerts, and x-... for anchors"
            problems.add(line, f"unknown key {key}{hint}")
        elif isinstance(node, Mapped):
            for name, at, body in values.pairs(node):
                drafts.add(name, at, body)
        elif not (isinstance(node, Scalar) and node.plain and node.text in ("", "~", "null")):
            problems.add(line, "tables has to be a mapping: name of a table, then its flow")
