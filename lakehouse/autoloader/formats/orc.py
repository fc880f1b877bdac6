"""Reads ORC. Parquet and Avro share ``merged``, which makes a single schema of several files' schemas."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
import pyspark.sql.types as spark
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import DataType, StructType

from lakehouse.autoloader.formats.arrow_columns import CHUNK_BYTES, CHUNK_ROWS, UNREADABLE, rows_of_batch
from lakehouse.autoloader.formats.rows import BadFile, Rows, Target, raise_if_environment
from lakehouse.errors import ConfigurationError

_WHOLE: list[DataType] = [spark.ByteType(), spark.ShortType(), spark.IntegerType(), spark.LongType()]
_NAMELESS = re.compile(r"_col\d+")
_LARGER = {
    pa.uint8(): spark.ShortType(),
    pa.uint16(): spark.IntegerType(),
    pa.uint32(): spark.LongType(),
    pa.uint64(): spark.DecimalType(20, 0),
    pa.float16(): spark.FloatType(),
    pa.date64(): spark.DateType(),
}


def parse_orc(file: BinaryIO, target: Target) -> Iterator[Rows]:
    """Rows of an ORC file; columns by name, or by position where old Hive named them ``_col0`` and so on.

    Raises:
        BadFile: the file is not ORC, is truncated or damaged, or a value fits no column.
    """
    opened = _opened(file)
    leaf = _julian if has_julian_days(opened) else _floored
    names = list(opened.schema.names)
    wanted = [field.name for field in target.wanted]
    if names and all(map(_NAMELESS.fullmatch, names)) and not set(names) & set(wanted):
        names = wanted[: len(names)] + names[len(wanted) :]
    new = frozenset(name for name, goal in target.source(names).items() if goal is None)
    read = [n for n, name in enumerate(names) if target.rescued or name not in new]
    done = 0
    for number in range(opened.nstripes):
        try:
            # without a wanted column there are still rows: the file's first column counts them
            stripe = opened.read_stripe(number, columns=[opened.schema.names[n] for n in read or [0]])
        except UNREADABLE as error:
            raise BadFile("DAMAGED_ORC", f"after {done:,} rows: {error}") from error
        columns = dict(zip(stripe.schema.names, stripe.columns, strict=True))
        arrays = [columns[opened.schema.names[n]] for n in read or [0]]
        stripe = pa.RecordBatch.from_arrays(arrays, [names[n] for n in read or [0]])
        step = max(1, min(CHUNK_ROWS, CHUNK_BYTES * stripe.num_rows // max(stripe.nbytes, 1)))
        for at in range(0, stripe.num_rows, step):
            batch = stripe.slice(at, step)
            yield rows_of_batch(target, batch, done, new, leaf)
            done += batch.num_rows


def _opened(file: BinaryIO) -> Any:
    from pyarrow import orc

    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(3)
    file.seek(0)
    if start != b"ORC":
        raise BadFile("NOT_ORC", f"it begins with {start!r}" if size else "it is empty")
    try:
        return orc.ORCFile(file)
    except UNREADABLE as error:
        raise BadFile("TRUNCATED", f"its footer cannot be read: {error}") from error


_REFORM_DAY = -141_427  # 1582-10-15, the first day of the Gregorian calendar
_CALENDAR = 11  # the number of its field in the footer; the footer itself is field 2 of the tail
_JULIAN, _PROLEPTIC = 1, 2


def has_julian_days(opened: Any) -> bool:
    """Whether days before 1582-10-15 are of the Julian calendar, as Java writes them unless it says otherwise."""
    footer = dict(_fields(opened.reader.serialized_file_tail())).get(2, b"")
    calendar = dict(_fields(footer)).get(_CALENDAR, 0)
    return calendar == _JULIAN or (calendar != _PROLEPTIC and opened.writer == "ORC_JAVA")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protobuf message: whole numbers, and bytes."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        else:
            length = {1: 8, 5: 4}.get(tag & 7) or number()
            yield tag >> 3, message[at : at + length]
            at += length


def _floored(array: pa.Array) -> pa.Array:
    """Microseconds, as Spark cuts ORC's nanoseconds."""
    return pc.floor_temporal(array, 1, "microsecond") if kinds.is_timestamp(array.type) else array


def _julian(array: pa.Array) -> pa.Array:
    """The same, and days of the Julian calendar become the days of the same date in ours."""
    if not kinds.is_date32(array.type) or not pc.any(pc.less(array, pa.scalar(_REFORM_DAY, pa.date32()))).as_py():
        return _floored(array)
    days = array.cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64)
    since = days + 2_440_588 + 32_082  # days since the beginning of March of the year 4801 before our era, Julian
    year = (4 * since + 3) // 1461
    of_year = since - 1461 * year // 4
    ours = of_year + 365 * year + year // 4 - year // 100 + year // 400 - 32_044 - 2_440_588
    days = np.where(days < _REFORM_DAY, ours, days).astype(np.int32)
    return pa.array(days, mask=pc.is_null(array).to_numpy(False)).cast(pa.date32())


def infer_orc(files: Iterable[BinaryIO], *, reader: Mapping[str, str], infer_column_types: bool) -> StructType:
    """The columns of all files; ORC has types, so ``infer_column_types`` changes nothing.

    Raises:
        ConfigurationError: a column has types that do not go together.
    """
    return merged(files, _schema_of)


def _schema_of(file: BinaryIO) -> pa.Schema:
    # ORC's plain timestamp is what Spark writes for TIMESTAMP and reads as such
    return pa.schema([field.with_type(_instants(field.type)) for field in _opened(file).schema])


def _instants(type_: pa.DataType) -> pa.DataType:
    if kinds.is_timestamp(type_):
        return pa.timestamp("us", "UTC")
    if kinds.is_struct(type_):
        return pa.struct([field.with_type(_instants(field.type)) for field in type_])
    if kinds.is_map(type_):
        return pa.map_(_instants(type_.key_type), _instants(type_.item_type))
    return pa.list_(_instants(type_.value_type)) if kinds.is_list(type_) else type_


def merged(files: Iterable[BinaryIO], schema_of: Callable[[BinaryIO], pa.Schema]) -> StructType:
    """The union of the files' columns, each with the wider of its types; files that cannot be read do not count.

    Raises:
        ConfigurationError: Spark has no type for a column, or its types do not go together.
    """
    found: dict[str, DataType] = {}
    for number, file in enumerate(files):
        try:
            schema = schema_of(file)
        except (BadFile, OSError) as error:
            raise_if_environment(error, f"file {number + 1} of the sample")
            continue  # the stream itself says so, when it comes to the file
        name = getattr(file, "name", None)
        for field in schema:
            where = f"{field.name} in {name if isinstance(name, str) else f'file {number + 1} of the sample'}"
            type_ = spark_type(field.type, where)
            found[field.name] = _wider(found[field.name], type_, where) if field.name in found else type_
    schema = StructType()
    for name, type_ in found.items():
        schema.add(name, spark.StringType() if isinstance(type_, spark.NullType) else type_)
    return schema


def spark_type(type_: pa.DataType, where: str) -> DataType:
    """Spark's type for a type of Arrow; ``where`` names column and file for the error.

    It may be a type that no table has, such as TIME: ``evolve.possible`` leaves those out.

    Raises:
        ConfigurationError: Spark has no such type.
    """
    if kinds.is_dictionary(type_):
        return spark_type(type_.value_type, where)
    if kinds.is_struct(type_):
        return StructType(
            [spark.StructField(field.name, spark_type(field.type, f"{field.name} of {where}")) for field in type_]
        )
    if kinds.is_map(type_):
        return spark.MapType(spark_type(type_.key_type, where), spark_type(type_.item_type, where))
    if kinds.is_list(type_) or kinds.is_large_list(type_) or kinds.is_fixed_size_list(type_):
        return spark.ArrayType(spark_type(type_.value_type, where))
    if type_ in _LARGER:
        return _LARGER[type_]
    if kinds.is_time(type_):
        return spark.TimeType()
    try:
        return from_arrow_type(type_)
    except Exception:  # pyspark's own error says less than ours
        raise ConfigurationError(
            f"the column {where} has the type {type_}, which is not supported",
            next_command="give the other columns with .schema(...): what it lacks is not read",
        ) from None


def _wider(left: DataType, right: DataType, where: str) -> DataType:
    """The type that holds the values of both types."""
    if left == right or isinstance(right, spark.NullType):
        return left
    if isinstance(left, spark.NullType):
        return right
    if isinstance(left, StructType) and isinstance(right, StructType):
        both = {field.name: field.dataType for field in left}
        for field in right:
            known = both.get(field.name, field.dataType)
            both[field.name] = _wider(known, field.dataType, f"{field.name} of {where}")
        return StructType([spark.StructField(name, type_) for name, type_ in both.items()])
    if isinstance(left, spark.ArrayType) and isinstance(right, spark.ArrayType):
        return spark.ArrayType(_wider(left.elementType, right.elementType, where))
    if isinstance(left, spark.MapType) and isinstance(right, spark.MapType):
        value = _wider(left.valueType, right.valueType, where)
        return spark.MapType(_wider(left.keyType, right.keyType, where), value)
    if left in _WHOLE and right in _WHOLE:
        return max(left, right, key=_WHOLE.index)
    if {type(left), type(right)} == {spark.FloatType, spark.DoubleType}:
        return spark.DoubleType()
    if isinstance(left, spark.DecimalType) and isinstance(right, spark.DecimalType):
        scale = max(left.scale, right.scale)
        digits = max(left.precision - left.scale, right.precision - right.scale) + scale
        if digits <= 38:
            return spark.DecimalType(digits, scale)
    types = f"{left.simpleString().upper()} and {right.simpleString().upper()}"
    raise ConfigurationError(
        f"the column {where} has another type than in the files before it: {types} do not go together",
        next_command="give the stream an explicit schema, or a type for the column with cloudFiles.schemaHints",
    )
