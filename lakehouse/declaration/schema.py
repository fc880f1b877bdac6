"""The JSON Schema of a declaration, from the models: what editors complete, explain and underline."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

import lakehouse.checks
import lakehouse.flows  # noqa: F401 (makes the kinds known)
from lakehouse.declaration.models import key_docs
from lakehouse.declaration.tables import TableKeys
from lakehouse.durations import spark_interval
from lakehouse.settings import LAYERS
from lakehouse.table import CHECKS, FLOWS, Alerting, Check

Schema = dict[str, Any]

_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
_NO_TEXTS = ("integer", "number", "boolean")
_NAMES = rf"^({'|'.join(LAYERS)})\.[A-Za-z][A-Za-z0-9_]{{0,127}}$"


class _Generator(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        """A model in the words of its docstring. A model that is made of something else first may be given as text."""
        cls: type[BaseModel] = schema["cls"]
        made = {**super().model_schema(schema), "description": _summary(cls)}
        made.pop("title", None)
        docs = key_docs(cls)
        for key, value in made["properties"].items():
            value.pop("title", None)
            if value.get("default", 0) in (None, "", [], {}):
                del value["default"]
            if key in docs:
                value["description"] = docs[key]
        inner: Any = schema["schema"]
        while inner["type"] in ("function-after", "function-wrap"):
            inner = inner["schema"]
        return {"anyOf": [made, {"type": "string"}]} if inner["type"] == "function-before" else made

    def encode_default(self, dft: Any) -> Any:
        return spark_interval(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> Schema:
    """The schema (draft 2020-12) of ``lakehouse.yaml``; a variable may stand in place of a number or of a choice."""
    parts: Schema = {}
    keys = _model(TableKeys, parts)["properties"]
    flows = {kind: _model(flow, parts) for kind, flow in FLOWS.items()}
    of_every_check = _model(_Named, parts)["properties"]
    parts |= {f"check_{key}": value for key, value in of_every_check.items()}
    beside = {key: {"$ref": f"#/$defs/check_{key}"} for key in of_every_check}
    checks = [_check(kind, model, beside, parts) for kind, model in CHECKS.items()]
    alone = {"type": "string", "enum": [kind for kind, model in CHECKS.items() if not _needs(model)]}
    table = {
        "type": "object",
        "properties": {**flows, "checks": {"type": "array", "items": {"anyOf": [alone, *checks]}}, **keys},
        "additionalProperties": False,
        "oneOf": [{"required": [kind]} for kind in flows],
    }
    root = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The tables of a lakehouse",
        "type": "object",
        "properties": {
            "tables": {
                "type": ["object", "null"],
                "description": "Each table by its name, layer.name.",
                "patternProperties": {_NAMES: {"$ref": "#/$defs/Table"}},
                "additionalProperties": False,
            },
            "alerts": {"description": _summary(Alerting), "anyOf": [_model(Alerting, parts), {"type": "null"}]},
        },
        "patternProperties": {"^x-": {"description": "Anything: a place for anchors."}},
        "additionalProperties": False,
        "$defs": {"Table": table, **parts},
    }
    return _with_variables(root)


class _Named(Check):
    """What every check has."""

    def examine(self, at: Any) -> None:
        """Nothing."""


def _model(model: type[BaseModel], parts: Schema) -> Schema:
    """The schema of a model given as a mapping; models within it go to ``parts``."""
    made: Schema = model.model_json_schema(schema_generator=_Generator, ref_template="#/$defs/{model}")
    parts.update(made.pop("$defs", {}))
    mapping: Schema = made["anyOf"][0] if "anyOf" in made else made
    return mapping


def _check(kind: str, model: type[Check], beside: Schema, parts: Schema) -> Schema:
    made = _model(model, parts)
    fields = {**made["properties"], **beside}
    forms: list[Schema] = [{"type": "object", "properties": fields, "additionalProperties": False}, {"type": "null"}]
    if model.main:
        forms.append({key: value for key, value in fields[model.main].items() if key != "default"})
    if needed := _needs(model):
        forms[:2] = [{**forms[0], "required": needed}]
    return {
        "type": "object",
        "properties": {kind: {"description": model.about or _summary(model), "anyOf": forms}, **beside},
        "required": [kind],
        "additionalProperties": False,
    }


def _needs(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if field.is_required()]


def _summary(model: type[BaseModel]) -> str:
    return re.sub(r"``", "", (model.__doc__ or "").strip().split("\n\n")[0]).replace("\n", " ")


def _with_variables(schema: Any) -> Any:
    """The same schema, in which every value that is no free text may be ``${NAME}``, too."""
    if isinstance(schema, list):
        return [_with_variables(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: value if key in ("enum", "required") else _with_variables(value) for key, value in schema.items()}
    if "anyOf" in made:
        made["anyOf"] = _flat(made["anyOf"])
    dated = schema.get("type") == "string" and isinstance(schema.get("format"), str)
    choice = isinstance(schema.get("enum"), list) or "const" in schema or dated
    if not choice and schema.get("type") not in _NO_TEXTS:
        return made
    about = {key: made.pop(key) for key in ("description", "default") if key in made}
    return {**about, "anyOf": [made, _VARIABLE]}


def _flat(choices: list[Schema]) -> list[Schema]:
    """The same choices, each once, without choices among them."""
    made: list[Schema] = []
    for choice in choices:
        made += [inner for inner in choice["anyOf"] if inner not in made] if choice.keys() == {"anyOf"} else [choice]
    return [choice for number, choice in enumerate(made) if choice not in made[:number]]
