"""Avro container files, read with ``fastavro`` into Arrow columns of the writer's types."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO
from uuid import UUID

import pyarrow as pa
from pyspark.sql.types import StructType

from lakehouse.autoloader.formats.arrow_columns import CHUNK_BYTES, CHUNK_ROWS, rows_of_batch
from lakehouse.autoloader.formats.avro_types import Column, columns_of
from lakehouse.autoloader.formats.orc import merged
from lakehouse.autoloader.formats.rows import BadFile, Rows, Target
from lakehouse.errors import ConfigurationError


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
    read = columns_of(fields, target.reader, wanted)
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
    target: Target, records: list[dict[str, Any]], read: dict[str, Column], done: int, new: frozenset[str]
) -> Iterator[Rows]:
    for at in range(0, len(records), CHUNK_ROWS):
        chunk = records[at : at + CHUNK_ROWS]
        arrays = [_array([record[name] for record in chunk], column) for name, column in read.items()]
        names = list(read)
        if not names:  # without a column there are still rows
            arrays, names = [pa.nulls(len(chunk))], ["\0"]
        yield rows_of_batch(target, pa.RecordBatch.from_arrays(arrays, names), done + at, new)


def _array(values: list[Any], column: Column) -> pa.Array:
    values = [column.convert(value) for value in values] if column.convert else values
    try:
        return pa.array(values, column.type)
    except (pa.ArrowTypeError, pa.ArrowInvalid):  # a UUID has no text for Arrow
        return pa.array([_texts(value) for value in values], column.type)


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
        return _schema(_opened(file).writer_schema, reader)

    if given := given_schema(reader):
        return merged([io.BytesIO()], lambda _: _schema(given, reader))
    return merged(files, schema_of)


def given_schema(reader: Mapping[str, str]) -> Any:
    """The option ``avroSchema`` as a schema of fastavro; None without it: then each file is read by its own schema.

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


def _schema(schema: Any, reader: Mapping[str, str]) -> pa.Schema:
    return pa.schema([pa.field(name, column.type) for name, column in columns_of(_fields_of(schema), reader).items()])


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
    BLOCK_READERS["lz4"] = _lz4
    try:
        blocks = fastavro.block_reader(file, given_schema(reader))
    except _damage() as error:
        raise BadFile("TRUNCATED", f"its header cannot be read: {error}") from error
    if "org.apache.spark.legacyDateTime" in blocks.metadata:
        raise BadFile("LEGACY_CALENDAR", "Spark wrote its dates in the old calendar: write them again without LEGACY")
    if blocks.codec not in ("null", "deflate", "bzip2", "xz", "snappy", "zstandard", "lz4"):
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


def _lz4(file: BinaryIO) -> BinaryIO:
    data = _packed(file)
    size = int.from_bytes(data[:4], "little")
    return io.BytesIO(pa.Codec("lz4_raw").decompress(data[4:], size, asbytes=True))


def _zstandard(file: BinaryIO) -> BinaryIO:
    return io.BytesIO(pa.CompressedInputStream(pa.BufferReader(_packed(file)), "zstd").read())


def _fields_of(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise BadFile("NOT_RECORDS", "the file holds single values, not records with columns")
    return {field["name"]: field["type"] for field in schema["fields"]}
