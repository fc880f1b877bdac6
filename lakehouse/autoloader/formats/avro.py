"""Avro container files, read with ``fastavro`` into Arrow columns of the writer's types."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO
from uuid import UUID

import pyarrow as pa
from pyspark.sql.types import StructType

from lakehouse.autoloader.formats.arrow_columns import CHUNK_BYTES, CHUNK_ROWS, rows_of_batch
from lakehouse.autoloader.formats.orc import merged
from lakehouse.autoloader.formats.rows import BadFile, Rows, Target
from lakehouse.errors import ConfigurationError

_FLAT = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
    "fixed": pa.binary(),
}
_LOGICAL: dict[Any, pa.DataType] = {
    ("int", "date"): pa.date32(),
    ("long", "timestamp-millis"): pa.timestamp("us", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("us"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
    ("string", "uuid"): pa.string(),
}
_TIMES = ("time-millis", "time-micros")  # fastavro makes times of them


def parse_avro(file: BinaryIO, target: Target) -> Iterator[Rows]:
    """Rows of an Avro file; columns by name.

    Raises:
        BadFile: the file is not Avro, is truncated or damaged.
        ConfigurationError: a column that is read has a type or the file has a codec that is not supported.
    """
    import fastavro

    blocks = _opened(file, target.reader)
    fields = _fields_of(blocks.reader_schema or blocks.writer_schema)
    new = frozenset(name for name, goal in target.source(fields).items() if goal is None)
    wanted = frozenset(name for name in fields if target.rescued or name not in new)
    read = {one.name: one.type for one in _columns(fields, wanted)}
    records: list[dict[str, Any]] = []
    size = done = 0
    try:
        for block in blocks:
            records.extend(block)
            size += block.size
            if len(records) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                yield from _rows(target, records, read, done, new)
                done, records, size = done + len(records), [], 0
    except fastavro.read.SchemaResolutionError as error:
        raise BadFile("OTHER_SCHEMA", f"its schema does not go together with avroSchema: {error}") from error
    except _damage() as error:
        reason = "TRUNCATED" if isinstance(error, EOFError) else "DAMAGED_AVRO"
        raise BadFile(reason, f"after {done + len(records):,} rows: {error or 'it ends too early'}") from error
    yield from _rows(target, records, read, done, new)


def _rows(
    target: Target, records: list[dict[str, Any]], read: dict[str, pa.DataType], done: int, new: frozenset[str]
) -> Iterator[Rows]:
    for at in range(0, len(records), CHUNK_ROWS):
        some = records[at : at + CHUNK_ROWS]
        arrays = [_array([record[name] for record in some], type_) for name, type_ in read.items()]
        names = list(read)
        if not names:  # without a column there are still rows
            arrays, names = [pa.nulls(len(some))], ["\0"]
        yield rows_of_batch(target, pa.RecordBatch.from_arrays(arrays, names), done + at, new)


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, type_)
    except (pa.ArrowTypeError, pa.ArrowInvalid):  # a UUID has no text for Arrow
        return pa.array([_texts(value) for value in values], type_)


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _texts(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_texts(part) for part in value]
    return str(value) if isinstance(value, UUID) else value


def infer_avro(files: Iterable[BinaryIO], *, reader: Mapping[str, str], infer_column_types: bool) -> StructType:
    """The columns of all files; Avro has types, so ``infer_column_types`` changes nothing.

    Raises:
        ConfigurationError: a column has an unsupported type, or types that do not go together.
    """

    def schema_of(file: BinaryIO) -> pa.Schema:
        return _columns(_fields_of(_opened(file).writer_schema))

    if given := given_schema(reader):
        return merged([io.BytesIO()], lambda _: _columns(_fields_of(given)))
    return merged(files, schema_of)


def given_schema(reader: Mapping[str, str]) -> Any:
    """The schema of ``avroSchema`` that files are read by, as fastavro has it; None where each is read by its own.

    Raises:
        ConfigurationError: it is no Avro schema.
    """
    import fastavro

    text = reader.get("avroschema")
    if text is None:
        return None
    try:
        given = json.loads(text)
        if given["type"] != "record" or not isinstance(given["fields"], list):
            raise ValueError("it is no record with fields")
        return fastavro.parse_schema(given)
    except (ValueError, KeyError, TypeError, AttributeError, fastavro.schema.SchemaParseException) as error:
        raise ConfigurationError(
            f"avroSchema is no Avro schema: {str(error)[:200]}",
            where="cloudFiles options",
            state="nothing was read or written",
            next_command="give the text of a schema, a record with fields, as JSON",
        ) from error


def _columns(fields: Mapping[str, Any], wanted: Container[str] | None = None) -> pa.Schema:
    """The columns of fields, of those that are wanted; a type that one of them names the later ones may refer to."""
    named: dict[str, Any] = {}
    found = []
    for name, type_ in fields.items():
        if wanted is None or name in wanted:
            found.append(pa.field(name, _arrow(type_, name, named)))
        else:
            _note_names(type_, named)
    return pa.schema(found)


def _note_names(type_: Any, named: dict[str, Any]) -> None:
    """Notes the types that are named within one that is not read itself."""
    if isinstance(type_, list):
        for one in type_:
            _note_names(one, named)
    elif isinstance(type_, dict):
        if isinstance(type_.get("name"), str):
            named[type_["name"]] = type_
        for part in (type_.get("type"), type_.get("items"), type_.get("values"), *type_.get("fields", ())):
            _note_names(part, named)


def _opened(file: BinaryIO, reader: Mapping[str, str] = MappingProxyType({})) -> Any:
    import fastavro
    from fastavro.read import BLOCK_READERS

    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if start != b"Obj\x01":
        raise BadFile("NOT_AVRO", f"it begins with {start!r}" if size else "it is empty")
    # fastavro itself needs a package for each of these; pyarrow has them
    BLOCK_READERS["snappy"] = _snappy
    BLOCK_READERS["zstandard"] = _zstandard
    try:
        blocks = fastavro.block_reader(file, given_schema(reader))
    except _damage() as error:
        raise BadFile("TRUNCATED", f"its header cannot be read: {error}") from error
    if "org.apache.spark.legacyDateTime" in blocks.metadata:
        raise BadFile("LEGACY_CALENDAR", "Spark wrote its dates in the old calendar: write them again without LEGACY")
    if blocks.codec not in ("null", "deflate", "bzip2", "xz", "snappy", "zstandard"):
        raise ConfigurationError(f"the codec {blocks.codec!r} of Avro is not supported")
    return blocks


def _damage() -> tuple[type[Exception], ...]:
    return (
        EOFError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        OverflowError,
        zlib.error,
        pa.ArrowException,
    )


def _packed(file: BinaryIO) -> bytes:
    """The bytes of a block, after their number in Avro's variable length."""
    number = shift = 0
    while True:
        byte = file.read(1)
        if not byte:
            raise EOFError("it ends within a block")
        number |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            break
    length = (number >> 1) ^ -(number & 1)
    data = file.read(length)
    if len(data) != length:
        raise EOFError("it ends within a block")
    return data


def _snappy(file: BinaryIO) -> BinaryIO:
    data = _packed(file)
    size = shift = 0
    for byte in data:  # Snappy's own length, which pyarrow wants to be told
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    unpacked = pa.Codec("snappy").decompress(data[:-4], size, asbytes=True)
    if zlib.crc32(unpacked) != int.from_bytes(data[-4:], "big"):
        raise ValueError("a block's checksum is wrong")
    return io.BytesIO(unpacked)


def _zstandard(file: BinaryIO) -> BinaryIO:
    return io.BytesIO(pa.CompressedInputStream(pa.BufferReader(_packed(file)), "zstd").read())


def _fields_of(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise BadFile("NOT_RECORDS", "the file holds single values, not records with columns")
    return {field["name"]: field["type"] for field in schema["fields"]}


def _arrow(type_: Any, where: str, named: dict[str, Any]) -> pa.DataType:
    """Arrow's type for one of Avro; ``named`` holds the types that names stand for."""
    if isinstance(type_, list):
        parts = [_arrow(one, where, named) for one in type_ if one != "null"]
        both = {str(part) for part in parts}
        if both == {"int32", "int64"}:
            return pa.int64()
        if both == {"float", "double"}:
            return pa.float64()
        if len(parts) > 1:
            raise _refused(f"the column {where} is a union of {', '.join(sorted(both))}: not supported")
        return parts[0] if parts else pa.null()
    kind = type_.get("type") if isinstance(type_, dict) else type_
    if isinstance(kind, dict | list):
        return _arrow(kind, where, named)
    if isinstance(type_, dict) and "name" in type_:
        named[type_["name"]] = type_
    if kind == "record":
        fields = [
            pa.field(one["name"], _arrow(one["type"], f"{where}.{one['name']}", named)) for one in type_["fields"]
        ]
        return pa.struct(fields)
    if kind == "array":
        return pa.list_(_arrow(type_["items"], where, named))
    if kind == "map":
        return pa.map_(pa.string(), _arrow(type_["values"], where, named))
    logical = type_.get("logicalType") if isinstance(type_, dict) else None
    if logical == "decimal" and kind in ("bytes", "fixed"):
        if type_["precision"] > 38:
            raise _refused(f"the column {where} has decimals of {type_['precision']} digits, over 38")
        return pa.decimal128(type_["precision"], type_.get("scale", 0))
    if kind in _FLAT and logical not in _TIMES:  # as in Spark, what nobody knows of a type says nothing
        return _LOGICAL.get((kind, logical), _FLAT[kind])
    if kind in named and named[kind] is not None:
        known, named = named[kind], {**named, kind: None}  # a type within itself has no end
        return _arrow(known, where, named)
    raise _refused(f"the column {where} has the Avro type {logical or kind}, which is not supported")


def _refused(what: str) -> ConfigurationError:
    return ConfigurationError(what, next_command="give the other columns with .schema(...): what it lacks is not read")
