"""``read_files``: the rows of files as they are now, by the readers of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from lakehouse.lake import Lake


def read_files(
    spark: SparkSession | None,
    path: str,
    format: str | None = None,
    *,
    schema: str | StructType | None = None,
    metadata: bool = False,
    lake: Lake | None = None,
    **options: str | int | bool,
) -> DataFrame | pa.Table:
    """The rows of the files of a path.

    As ``read_files`` on Databricks: types are inferred, and what does not fit goes to ``_rescued_data``. Each call
    looks at the files anew; a stream (``cloudFiles``) loads each file once.

    ``lakehouse.read_files(None, "s3a://landing/orders/", "json", schemaHints="amount DECIMAL(10,2)").to_pandas()``

    Args:
        spark: The session; None reads them in this process, without a JVM.
        path: A folder or file, with globs as in ``cloudFiles``.
        format: ``json``, ``csv``, ``xml``, ``excel``, ``parquet``, ``avro``, ``orc``, ``text`` or ``binaryFile``;
            None takes what the endings of the files' names tell.
        schema: The columns; None infers them from the newest files.
        metadata: Whether the column ``_metadata`` is there, too: where each row is from.
        lake: Whose store is asked without Spark; default what the ``LAKEHOUSE_*`` variables name.
        options: Of the format's reader, and those of ``cloudFiles`` that are about files, with or without its name.

    Raises:
        ConfigurationError: an option or the schema is wrong, or there is no file to infer a schema from.
        TerminalError: a file cannot be read.
    """
    from lakehouse.autoloader.batch import FilesOnce, options_of_a_read

    texts = {name: _text(value) for name, value in options.items()}
    given = options_of_a_read(path, format, texts)
    if spark is None:
        rows = _read_here(given, schema, lake)
        return rows if metadata or schema is not None else rows.drop_columns(["_metadata"])
    spark.dataSource.register(FilesOnce)
    reader = spark.read.format(FilesOnce.name())
    if schema is not None:
        reader = reader.schema(schema)
    for name, value in given.items():
        reader = reader.option(name, value) if name != "path" else reader
    found = reader.load(path)
    return found if metadata or schema is not None else found.drop("_metadata")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_here(given: dict[str, str], schema: str | StructType | None, lake: Lake | None) -> pa.Table:
    import pyarrow as pa
    from pyspark.sql.pandas.types import to_arrow_schema

    from lakehouse.autoloader.batch import Files
    from lakehouse.autoloader.schema.hints import columns_of
    from lakehouse.lake import Lake

    files = Files.of(given, (lake or Lake.open()).endpoint)
    columns = columns_of(schema) if isinstance(schema, str) else schema or files.schema()
    batches = [batch for spans in files.parts() for batch in files.rows(spans, columns)]
    return pa.Table.from_batches(batches, to_arrow_schema(columns, timezone="UTC"))
