"""``files``: objects in a bucket become a table, each file exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from lakehouse.table import At, Flow, Names

if TYPE_CHECKING:
    from lakehouse.progress import StreamReport
    from lakehouse.streams.run import Run


def _as_ddl(given: Any) -> Any:
    """``{id: BIGINT, city: STRING}`` as ``id BIGINT, city STRING``."""
    return ", ".join(f"{name} {type_}" for name, type_ in given.items()) if isinstance(given, dict) else given


def _as_texts(given: Any) -> Any:
    """Options are text for Spark: ``true`` in YAML is ``"true"``."""
    if not isinstance(given, dict):
        return given
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


Columns = Annotated[str, BeforeValidator(_as_ddl, json_schema_input_type=str | dict[str, str])]
Options = Annotated[
    dict[str, str], BeforeValidator(_as_texts, json_schema_input_type=dict[str, str | int | float | bool])
]


class Files(Flow):
    """Objects under a path, read by ``cloudFiles`` (or, to compare, by Spark's own file source).

    Attributes:
        path: ``s3a://bucket/folder/``; may have wildcards.
        format: json, csv, parquet, avro, orc, text or binaryFile.
        glob: Names of the files that are input, ``pathGlobFilter``; None for all.
        source: ``cloudFiles``, or ``spark`` for Spark's own source.
        columns: The schema of the files; None to infer it.
        hints: Types of some columns of an inferred schema, ``cloudFiles.schemaHints``.
        options: Any option of ``cloudFiles`` or of the format's reader, as Auto Loader spells it.
        lineage: Whether each row names its file and record, in ``_source_file``, ``_source_sequence``,
            ``_source_record`` and ``_processing_time``. Replays and most checks need them.
        metadata: Further columns: name to field of ``_metadata``, or to ``processing_time``.
        partition_by: Columns by which the table's folders are made.
    """

    kind: ClassVar[str] = "files"
    refills: ClassVar[bool] = False

    path: str
    format: str = "json"
    glob: str | None = None
    source: Literal["cloudFiles", "spark"] = "cloudFiles"
    columns: Columns | None = Field(None, alias="schema")
    hints: Columns | None = None
    options: Options = Field(default_factory=dict)
    lineage: bool = True
    metadata: dict[str, str] = Field(default_factory=dict)
    partition_by: Names = ()

    @property
    def expected(self) -> tuple[str, ...]:
        """Columns that the declaration names: a value of another type makes its row an invalid one."""
        from lakehouse.autoloader.hints import parse_hints

        named = self.columns or self.hints
        return tuple(path[0] for path, _ in parse_hints(named)) if named else ()

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Loads the files that are new."""
        raise NotImplementedError
