"""The format ``json``: lines or documents, into columns or into one VARIANT. The two parsers are imported when used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import IO

from pyspark.sql.types import StructType, VariantType

from lakehouse.autoloader.formats.encoding import to_utf8
from lakehouse.autoloader.formats.format import SINGLE_VARIANT, encoding_of
from lakehouse.autoloader.formats.rows import PathAt, Rows, Target


def parse_json(file: IO[bytes], target: Target) -> Iterator[Rows]:
    """Rows of a file that is read whole: with ``multiline`` one document, else lines in another encoding.

    Errors as ``json.parse_json_lines``.
    """
    data, reader = _in_utf8(file.read(), target.reader)
    yield parse_lines(data, lambda line: target.path, replace(target, reader=reader))


def parse_lines(data: bytes, path_at: PathAt, target: Target) -> Rows:
    """Rows of whole lines. Errors as ``json.parse_json_lines``."""
    columns = {"corrupt_column": target.corrupt, "rescued_column": target.rescued}
    if SINGLE_VARIANT in target.reader:
        from lakehouse.autoloader.formats.variant import parse_variant_lines

        return parse_variant_lines(data, target.schema, reader=target.reader, path_at=path_at, **columns)
    from lakehouse.autoloader.formats.json import parse_json_lines

    return parse_json_lines(data, target.schema, reader=target.reader, path_at=path_at, **columns)


def infer_json_files(files: Iterable[IO[bytes]], *, reader: Mapping[str, str], infer_column_types: bool) -> StructType:
    """The columns of all files; with ``singleVariantColumn`` that column alone, and no file is read."""
    if column := reader.get(SINGLE_VARIANT):
        return StructType().add(column, VariantType())
    from lakehouse.autoloader.formats.json import infer_json

    samples = (_in_utf8(file.read(), reader)[0] for file in files)
    return infer_json(samples, reader=_in_utf8(b"", reader)[1], infer_column_types=infer_column_types)


def _in_utf8(data: bytes, reader: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
    """The text in UTF-8, and the options without its former encoding."""
    if not (encoding := encoding_of(reader)):
        return data, reader
    options = {name: value for name, value in reader.items() if name not in ("encoding", "charset")}
    return to_utf8(data, encoding), options
