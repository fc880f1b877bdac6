"""The formats that ``cloudFiles`` reads. A format is a module of this package, and its entry here.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

from lakehouse.autoloader.formats.format import Format, Formats, Reader, encoding_of, is_true, words

_TEXTS = "charset columnNameOfCorruptRecord encoding lineSep mode"
_TIMES = "dateFormat locale timeZone timestampFormat timestampNTZFormat"
_TEXT_FLAGS = "multiLine readerCaseSensitive"  # the last is Databricks'


def _lines_of_json(reader: Reader) -> bool:
    return not is_true(reader, "multiline") and not encoding_of(reader)


def _lines_of_text(reader: Reader) -> bool:
    return not is_true(reader, "wholetext") and "linesep" not in reader


FORMATS = Formats(
    Format(
        "json",
        parse="json_files:parse_json",
        parse_lines="json_files:parse_lines",
        is_lines=_lines_of_json,
        infer="json_files:infer_json_files",
        suffixes=("json", "jsonl", "ndjson"),
        options=words(_TEXTS, _TIMES, "singleVariantColumn"),
        flags=words(
            _TEXT_FLAGS,
            "allowBackslashEscapingAnyCharacter allowComments allowNonNumericNumbers allowNumericLeadingZeros",
            "allowSingleQuotes allowUnquotedControlChars allowUnquotedFieldNames dropFieldIfAllNull inferTimestamp",
            "prefersDecimal primitivesAsString",
        ),
        infers_types=True,
        keeps_bad_records=True,
    ),
    Format(
        "csv",
        parse="csv:parse_csv",
        infer="csv:infer_csv",
        suffixes=("csv", "tsv"),
        options=words(
            _TEXTS,
            _TIMES,
            "charToEscapeQuoteEscaping comment delimiter emptyValue escape nanValue negativeInf nullValue positiveInf",
            "quote sep singleVariantColumn skipRows unescapedQuoteHandling",
        ),
        flags=words(_TEXT_FLAGS, "enforceSchema header ignoreLeadingWhiteSpace ignoreTrailingWhiteSpace preferDate"),
        has_header=True,
        infers_types=True,
        rescues_text=True,
        keeps_bad_records=True,
    ),
    Format(
        "xml",
        parse="xml:parse_xml",
        infer="xml:infer_xml",
        suffixes=("xml",),
        options=words(
            "charset columnNameOfCorruptRecord encoding mode",
            _TIMES,
            "attributePrefix nullValue rowTag rowValidationXSDPath singleVariantColumn valueTag wildcardColName",
        ),
        flags=words(
            "excludeAttribute ignoreNamespace ignoreSurroundingSpaces preferDate prefersDecimal readerCaseSensitive"
        ),
        infers_types=True,
        keeps_bad_records=True,
    ),
    Format(
        "parquet",
        parse="parquet:parse_parquet",
        infer="parquet:infer_parquet",
        suffixes=("parquet",),
        mark=b"PAR1",
        flags=words("readerCaseSensitive"),
    ),
    Format(
        "avro",
        parse="avro:parse_avro",
        infer="avro:infer_avro",
        suffixes=("avro",),
        mark=b"Obj\x01",
        options=words("avroSchema stableIdentifierPrefixForUnionType"),
        flags=words("enableStableIdentifiersForUnionType readerCaseSensitive"),
    ),
    Format(
        "orc",
        parse="orc:parse_orc",
        infer="orc:infer_orc",
        suffixes=("orc",),
        mark=b"ORC",
        flags=words("readerCaseSensitive"),
    ),
    Format(
        "text",
        parse="text:parse_text",
        parse_lines="text:parse_lines",
        is_lines=_lines_of_text,
        infer="text:infer_text",
        suffixes=("txt", "log"),
        options=words("encoding lineSep"),
        flags=words("wholetext"),
        has_fields=False,
    ),
    Format(
        "binaryFile", parse="binary_file:parse_binary_file", infer="binary_file:infer_binary_file", has_fields=False
    ),
    Format(
        "excel",
        parse="excel:parse_excel",
        infer="excel:infer_excel",
        suffixes=("xlsx", "xlsm", "xls"),
        options=words("dataAddress dateFormat headerRows maxWorkbookBytes operation timestampNTZFormat"),
        flags=words("ignoreMissingSheet"),
        infers_types=True,
        grows=False,
    ),
)
