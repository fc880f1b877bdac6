"""What each error class and each condition means, what causes it, and what to run."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.doctor.explained_spark import CONDITIONS
from lakehouse.errors import ConfigurationError


@dataclass(frozen=True)
class Explanation:
    """What is known of one error class or one condition.

    Attributes:
        meaning: What has happened.
        cause: What usually leads to it.
        command: What to run or change.
    """

    meaning: str
    cause: str
    command: str


_DOCTOR = "lakehouse doctor TABLE"
_REPLAY = "correct the file at its sender, then: lakehouse replay --files NAME --yes && lakehouse ingest"
_AGAIN = "lakehouse ingest TABLE"

_ERRORS = {
    "LakehouseError": (
        "Any error of this library.",
        "The class of the error says which one it is.",
        "lakehouse explain",
    ),
    "TransientError": ("The same call may succeed later.", "A server restarts, or another writer was faster.", _AGAIN),
    "TerminalError": (
        "The same call fails again until something is changed.",
        "The message names the cause.",
        "do what the line next of the message says; then: lakehouse ingest TABLE",
    ),
    "ConfigurationError": (
        "A setting is missing, malformed or contradicts another; nothing was read or written.",
        "A LAKEHOUSE_ variable, an option or a key of the declaration.",
        "lakehouse validate",
    ),
    "DeclarationInvalid": (
        "The declaration is missing, or something in it is wrong. The message lists all problems with their lines.",
        "An edit of lakehouse.yaml, or a variable that it asks for.",
        "lakehouse validate",
    ),
    "StoreUnavailable": (
        "The object store does not answer, or what answers is no S3 server.",
        "The store does not run, the address is wrong, or a proxy answers in place of the store.",
        "lakehouse up, or correct LAKEHOUSE_S3_ENDPOINT",
    ),
    "AccessDenied": (
        "The object store refuses these credentials.",
        "The keys are wrong, or have no right to read, write, list or delete.",
        "correct LAKEHOUSE_S3_ACCESS_KEY and LAKEHOUSE_S3_SECRET_KEY; then: lakehouse doctor",
    ),
    "BucketMissing": (
        "There is no such bucket.",
        "The name is misspelled, or nobody made the bucket. On a server of yours no bucket is made for you.",
        "create it, or name another: LAKEHOUSE_BUCKET, LAKEHOUSE_LANDING_BUCKET",
    ),
    "ObjectMissing": (
        "An object that is needed is not in the store.",
        "Somebody removed it, or a lifecycle rule of the bucket removed it.",
        "lakehouse doctor",
    ),
    "ObjectExists": (
        "A conditional write found another version of the object. Nothing was written.",
        "Another writer was faster.",
        _AGAIN,
    ),
    "TableUnreadable": (
        "The Delta log of a table cannot be read. Nothing was changed.",
        "An object in _delta_log is cut off or damaged, or the table was made by a newer Delta.",
        "lakehouse doctor; then bring the damaged object back from a copy",
    ),
    "NotS3": (
        "The answer of the store is none that an S3 server gives. The batch is done again.",
        "A proxy, an ingress or a login page answers in place of the store.",
        "see what listens at LAKEHOUSE_S3_ENDPOINT; then: lakehouse doctor",
    ),
    "EngineUnavailable": (
        "The Spark engine cannot be reached, died or did not start. What was committed stays.",
        "It ran out of memory or was killed, or a server of yours does not run.",
        "lakehouse up; where memory ran out, with a larger LAKEHOUSE_ENGINE_MEMORY",
    ),
    "OutOfMemory": (
        "A process has no memory left for a file. The batch is not committed.",
        "A record is very large, or too many files are read at the same time.",
        "LAKEHOUSE_ENGINE_MEMORY=4g lakehouse ingest TABLE, or lower cloudFiles.maxFilesPerTrigger",
    ),
    "StreamFailed": (
        "A stream ended with an error. What it committed before stays committed.",
        "The first line of the message names the cause.",
        _DOCTOR,
    ),
    "StreamInterrupted": (
        "A stream was ended from outside. Batches that it committed before stay committed.",
        "Somebody stopped the query or its session.",
        _AGAIN,
    ),
    "SourceChanged": (
        "Rows of the table that a stream reads were changed or removed. The next run takes account of it.",
        "A replay, a newer version of a file, or SQL changed the source.",
        _AGAIN,
    ),
    "RowsRemoved": (
        "Rows that a table was computed from were removed. Nothing says what becomes of the table.",
        "Somebody ran DELETE, UPDATE, MERGE or RESTORE on its source.",
        "LAKEHOUSE_AFTER_REMOVALS=follow lakehouse ingest   (computed again; keep: it keeps what it has)",
    ),
    "UnknownFieldException": (
        "Files have columns that the schema lacks. The batch was not committed; nothing is lost.",
        "Senders send new columns. After a new start the stream has them, unless its mode is failOnNewColumns.",
        "lakehouse ingest TABLE   (what is new: lakehouse schema history --table TABLE)",
    ),
    "CheckpointMismatch": (
        "A table and its checkpoint do not belong together. Nothing was read or written.",
        "One of the two was removed, restored from a copy, or replaced.",
        "lakehouse checkpoint repair TABLE   (says what it would do; --yes does it)",
    ),
    "CheckpointUnreadable": (
        "An object of the checkpoint is empty, cut off or damaged.",
        "A disk that was full, a copy that broke off, or an edit by hand.",
        "lakehouse checkpoint repair TABLE   (says what it would do; --yes does it)",
    ),
    "JournalMismatch": (
        "The checkpoint names a place that the journal of files does not have.",
        "The journal was removed, or restored from an older copy.",
        "lakehouse checkpoint repair TABLE   (says what it would do; --yes does it)",
    ),
    "JournalUnsettled": (
        "Segments of the journal of files do not follow each other without a gap.",
        "Another process merges them at this moment, or a segment between them was removed.",
        "lakehouse doctor TABLE   (says which of the two it is)",
    ),
    "SegmentUnreadable": (
        "A segment of the journal is empty, cut off or damaged.",
        "A disk that was full, a copy that broke off, or an edit by hand.",
        "lakehouse checkpoint repair TABLE   (says what it would do; --yes does it)",
    ),
    "LeaseHeld": (
        "Another process writes this table now. Nothing was read or written.",
        "A run, a service or a command writes the table, or one died on another machine less than a minute ago.",
        "wait until it ends; to see who it is: lakehouse doctor TABLE --all",
    ),
    "CheckFailed": (
        "A blocking check found rows that must not be there. What comes after the table was not run.",
        "The sample of the check names the files and records.",
        "lakehouse check TABLE",
    ),
    "CopyFailed": (
        "A copy of files into a table ended with an error. No row of it is in the table.",
        "A file cannot be read, or a type does not fit.",
        "correct the file, or leave it out; then the same lakehouse copy-into again",
    ),
    "DataFileMissing": (
        "A data file that the table's log names is not in the store.",
        "A VACUUM with too short a retention, a lifecycle rule of the bucket or a person removed it.",
        "lakehouse doctor TABLE; for a computed table: lakehouse checkpoint restart TABLE --yes && lakehouse ingest",
    ),
    "NotDelivered": (
        "A channel of alerts did not take a message. The message is kept, and sent again with the next run.",
        "The service does not answer, or refuses the address.",
        "lakehouse alerts test",
    ),
    "AlertsBusy": (
        "Other processes keep writing the state of alerts. The next run finds what is new again.",
        "Very many runs end at the same moment.",
        "lakehouse alerts show",
    ),
    "ContractInvalid": (
        "The file of a contract is malformed. The message lists its problems with their lines.",
        "An edit of contracts/TABLE.odcs.yaml.",
        "lakehouse schema contract --write",
    ),
}

_CONDITIONS = {
    "UNKNOWN_FIELD_EXCEPTION": (
        "The name of UnknownFieldException in Spark's error: see there.",
        "Senders send new columns.",
        _AGAIN,
    ),
    "KILLS_ITS_READER": (
        "The process that read the file crashed or ran out of memory, twice. The file is left out.",
        "The file is made to be harmful, or is far too large.",
        "look at it elsewhere; then: lakehouse replay --files NAME --yes && lakehouse ingest",
    ),
    "OTHER_SCHEMA": (
        "The schema of an Avro file does not fit the option avroSchema.",
        "Its sender writes another schema, or the option has an older one.",
        _REPLAY,
    ),
    "TRUNCATED": ("The file ends too early.", "Its upload broke off.", _REPLAY),
    "MALFORMED": ("A record is malformed. The mode FAILFAST leaves its file out.", "The sender has a bug.", _REPLAY),
    "NOT_AVRO": ("The file is no Avro file.", "Another format under that name.", _REPLAY),
    "NOT_ORC": ("The file is no ORC file.", "Another format under that name.", _REPLAY),
    "NOT_PARQUET": ("The file is no Parquet file.", "Another format under that name.", _REPLAY),
    "NOT_XML": ("The file is not well-formed XML.", "The sender has a bug, or it is another format.", _REPLAY),
    "HAS_DTD": (
        "The XML file declares something in its DOCTYPE, or uses an entity that is declared elsewhere.",
        "The sender uses a DTD, or the file is made to be harmful.",
        _REPLAY,
    ),
    "NOT_TEXT": ("The file is no text.", "It is a compressed or binary file without its extension.", _REPLAY),
    "NOT_UTF8": (
        "The file is not UTF-8.",
        "Its sender uses another encoding: name it in the option encoding.",
        _REPLAY,
    ),
    "NOT_RECORDS": ("The file holds single values, not records.", "The schema of the Avro file is no record.", _REPLAY),
    "DAMAGED_AVRO": ("The Avro file is damaged.", "Its bytes were changed on their way.", _REPLAY),
    "DAMAGED_ORC": ("The ORC file is damaged.", "Its bytes were changed on their way.", _REPLAY),
    "DAMAGED_PARQUET": ("The Parquet file is damaged.", "Its bytes were changed on their way.", _REPLAY),
    "NOT_EXCEL": (
        "The file is no workbook of Excel.",
        "Another format under that name, such as HTML as .xls.",
        _REPLAY,
    ),
    "DAMAGED_EXCEL": ("The workbook is damaged.", "Its bytes were changed on their way.", _REPLAY),
    "ENCRYPTED": ("The workbook cannot be opened without a password.", "It was saved with one.", _REPLAY),
    "NO_SUCH_SHEET": (
        "The workbook lacks the sheet that dataAddress names.",
        "The sheet was renamed. With ignoreMissingSheet=true such files are left out.",
        _REPLAY,
    ),
    "WORKBOOK_TOO_LARGE": (
        "The workbook takes more memory than maxWorkbookBytes.",
        "The file is made to be harmful, a stray cell is far from the others, or the limit is too low.",
        _REPLAY,
    ),
    "HEADER_MISMATCH": ("The header of a CSV file names other columns.", "Columns were moved or renamed.", _REPLAY),
    "LEGACY_CALENDAR": (
        "Its dates are in the calendar from before 1582.",
        "An old Spark or Hive wrote the file.",
        _REPLAY,
    ),
    "SHREDDED_VARIANT": ("A VARIANT has values in columns of their own.", "Its writer shreds VARIANTs.", _REPLAY),
    "WRONG_TYPE": ("A value is not of its column's type, and no column rescues it.", "The sender has a bug.", _REPLAY),
    "WRONG_EXTENSION": ("The content is compressed, and the name does not say so.", "The name lacks .gz.", _REPLAY),
    "TOO_LARGE": ("The file is larger than a BINARY value may be.", "It is over 2 GB, read as binaryFile.", _REPLAY),
    "TOO_LARGE_UNPACKED": (
        "The file, decompressed, is larger than cloudFiles.maxDecompressedBytes.",
        "The file is made to be harmful, or the limit is too low.",
        _REPLAY,
    ),
    "RECORD_TOO_LARGE": ("A record is larger than cloudFiles.maxRecordBytes.", "The sender has a bug.", _REPLAY),
    "LINE_TOO_LONG": ("A line is longer than cloudFiles.maxLineBytes.", "The file has no line ends.", _REPLAY),
    "UNREADABLE": ("The file cannot be read. The text of the reason says why.", "The file is damaged.", _REPLAY),
    "VANISHED": ("The file was found, and was gone when it was to be read.", "Its sender removed it.", _REPLAY),
    "NOT_REPLAYED": (
        "A file was to be loaded again, and gave no rows. The rows of its earlier load stay.",
        "The file as it is now cannot be read.",
        _REPLAY,
    ),
    "TEXT_CUT": (
        "Only the beginning of the text of bad records is kept.",
        "The bad records are very many, or very long.",
        "lakehouse files",
    ),
    "QUARANTINED": (
        "The file could not be read. Its rows are not in the table.",
        "Its reason names the cause.",
        _REPLAY,
    ),
    "PASSED_OVER": (
        "The stream leaves out this version of the file.",
        "Its name is known and allowOverwrites is off, or a filter excludes it.",
        _REPLAY,
    ),
}

EXPLAINED = {name: Explanation(*texts) for name, texts in {**_ERRORS, **_CONDITIONS, **CONDITIONS}.items()}
"""The explanation of each class and condition, by its name."""


def explanation(named: str) -> tuple[str, Explanation]:
    """The name as it is spelled, and its explanation; capital and small letters count as the same.

    A condition may be named as Spark prints it: in brackets, with what is behind its dot.

    Raises:
        ConfigurationError: there is no such name.
    """
    plain = named.strip("[] ").split(".")[0].lower()
    for name, found in EXPLAINED.items():
        if name.lower() == plain:
            return name, found
    raise ConfigurationError(
        f"no error or condition is called {named}",
        where="lakehouse explain",
        state="nothing was read",
        next_command="lakehouse explain   (lists them)",
    )


def explanation_of(error: BaseException) -> Explanation | None:
    """The explanation of an error's class, or of the nearest class above it; the text of the error does not matter."""
    return next((EXPLAINED[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in EXPLAINED), None)
