"""What each error class and each condition means, what causes it, and what to run."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.errors import ConfigurationError


@dataclass(frozen=True)
class Explanation:
    """Of one class or condition.

    Attributes:
        meaning: What it says.
        cause: How it comes about.
        command: What to run or change.
    """

    meaning: str
    cause: str
    command: str


_DOCTOR = "lakehouse doctor TABLE"
_REPLAY = "correct the file at its sender, then: lakehouse replay --files NAME --yes && lakehouse ingest"
_AGAIN = "lakehouse ingest TABLE"

_ERRORS = {
    "LakehouseError": ("An error of this library.", "Its class says which.", "lakehouse explain"),
    "TransientError": ("The same call may succeed later.", "A server restarts, or another writer was faster.", _AGAIN),
    "TerminalError": (
        "The same call fails again until something is changed.",
        "What the message names.",
        "do what its line next says; then: lakehouse ingest TABLE",
    ),
    "ConfigurationError": (
        "A setting is missing, malformed or contradicts another; nothing was read or written.",
        "A LAKEHOUSE_ variable, an option or a key of the declaration.",
        "lakehouse validate",
    ),
    "DeclarationInvalid": (
        "The declaration is missing, or something in it is wrong; all problems are told at once, with their lines.",
        "An edit of lakehouse.yaml, or a variable that it asks for.",
        "lakehouse validate",
    ),
    "StoreUnavailable": (
        "The object store does not answer, or what answers is no S3 server.",
        "It does not run, the address is wrong, or a proxy answers in its place.",
        "lakehouse up, or correct LAKEHOUSE_S3_ENDPOINT",
    ),
    "AccessDenied": (
        "The object store refuses these credentials.",
        "Wrong keys, or keys without the right to read, write, list or delete.",
        "correct LAKEHOUSE_S3_ACCESS_KEY and LAKEHOUSE_S3_SECRET_KEY; then: lakehouse doctor",
    ),
    "BucketMissing": (
        "There is no such bucket.",
        "On a server of yours buckets are not made for you; or its name is misspelled.",
        "create it, or name another: LAKEHOUSE_BUCKET, LAKEHOUSE_LANDING_BUCKET",
    ),
    "ObjectMissing": (
        "An object that was named is not in the store.",
        "Somebody removed it, or a lifecycle rule of the bucket did.",
        "lakehouse doctor",
    ),
    "ObjectExists": (
        "A conditional write met another version of the object; nothing was written.",
        "Another writer was faster.",
        _AGAIN,
    ),
    "TableUnreadable": (
        "The Delta log of a table cannot be read; nothing was changed.",
        "An object in _delta_log is cut off or damaged, or the table was made by a newer Delta.",
        "lakehouse doctor; then bring the damaged object back from a copy",
    ),
    "NotS3": (
        "An answer came that no S3 server gives; the batch is done again.",
        "A proxy, an ingress or a login page stands before the store.",
        "see what listens at LAKEHOUSE_S3_ENDPOINT; then: lakehouse doctor",
    ),
    "EngineUnavailable": (
        "The Spark engine cannot be reached, died or did not start. What was committed stays.",
        "It ran out of memory, was killed, or a server of yours does not run.",
        "lakehouse up; after too little memory with a larger LAKEHOUSE_ENGINE_MEMORY",
    ),
    "OutOfMemory": (
        "A process has no memory left for a file; the batch is not committed.",
        "A very large record, or too many files read at the same time.",
        "LAKEHOUSE_ENGINE_MEMORY=4g lakehouse ingest TABLE, or lower cloudFiles.maxFilesPerTrigger",
    ),
    "StreamFailed": (
        "A stream ended with an error; what it committed before stays committed.",
        "What the message says in its first line.",
        _DOCTOR,
    ),
    "StreamInterrupted": (
        "A stream was ended from outside; batches committed before stay committed.",
        "Somebody stopped the query or its session.",
        _AGAIN,
    ),
    "SourceChanged": (
        "Rows of the table that a stream reads were changed or taken out; a new start takes account of it.",
        "A replay, a newer version of a file, or SQL on the source.",
        _AGAIN,
    ),
    "RowsRemoved": (
        "Rows that a table was computed from were removed, and nobody said what becomes of it.",
        "DELETE, UPDATE, MERGE or RESTORE on its source.",
        "LAKEHOUSE_AFTER_REMOVALS=follow lakehouse ingest   (computed again; keep: it keeps what it has)",
    ),
    "UnknownFieldException": (
        "Files have columns that the schema lacks; the batch was not committed, nothing is lost.",
        "Senders send new columns. After a new start the stream has them, unless its mode is failOnNewColumns.",
        "lakehouse ingest TABLE   (what is new: lakehouse schema history --table TABLE)",
    ),
    "CheckpointMismatch": (
        "A table and its checkpoint do not belong together; nothing was read or written.",
        "One of the two was removed, restored from a copy, or exchanged.",
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
        "Segments of the journal do not join.",
        "Others merge them at this moment; or a segment in between was removed.",
        "lakehouse doctor TABLE, which tells the two apart",
    ),
    "SegmentUnreadable": (
        "A segment of the journal is empty, cut off or damaged.",
        "A disk that was full, a copy that broke off, or an edit by hand.",
        "lakehouse checkpoint repair TABLE   (says what it would do; --yes does it)",
    ),
    "LeaseHeld": (
        "Another process writes this table now; nothing was read or written.",
        "A run, a service or a command; or one that died on another machine less than a minute ago.",
        "wait until it ends; who it is says: lakehouse doctor TABLE --all",
    ),
    "CheckFailed": (
        "A blocking check found rows that must not be there; what comes after the table was not run.",
        "What the check counts; its sample names files and records.",
        "lakehouse check TABLE",
    ),
    "CopyFailed": (
        "A copy of files into a table ended with an error; nothing of it is in the table.",
        "A file that cannot be read, or a type that does not fit.",
        "correct the file, or leave it out; then the same lakehouse copy-into again",
    ),
    "DataFileMissing": (
        "A data file that the table's log names is not in the store.",
        "A VACUUM with too short a retention, a lifecycle rule of the bucket, or somebody's hand.",
        "lakehouse doctor TABLE; of a computed table: lakehouse checkpoint restart TABLE --yes && lakehouse ingest",
    ),
    "NotDelivered": (
        "A channel of alerts did not take a message; it is kept, and sent again with the next run.",
        "The service does not answer, or refuses the address.",
        "lakehouse alerts test",
    ),
    "AlertsBusy": (
        "Others write the state of alerts all the time; what is new is found again by the next run.",
        "Very many runs end at the same moment.",
        "lakehouse alerts show",
    ),
    "ContractInvalid": (
        "A contract's file is malformed; its problems are told with their lines.",
        "An edit of contracts/TABLE.odcs.yaml.",
        "lakehouse schema contract --write",
    ),
}

_CONDITIONS = {
    "UNKNOWN_FIELD_EXCEPTION": (
        "See UnknownFieldException; the text stands in Spark's error.",
        "Senders send new columns.",
        _AGAIN,
    ),
    "KILLS_ITS_READER": (
        "Whoever read the file crashed or ran out of memory, twice: it is left out.",
        "A file that is made to be harmful, or that is far too large.",
        "look at it elsewhere; then: lakehouse replay --files NAME --yes && lakehouse ingest",
    ),
    "OTHER_SCHEMA": (
        "The records of an Avro file do not go together with the option avroSchema.",
        "Its sender writes another schema, or the option is an older one.",
        _REPLAY,
    ),
    "TRUNCATED": ("The file ends too early.", "Its upload broke off.", _REPLAY),
    "MALFORMED": ("A record is malformed, and the mode FAILFAST leaves its file out.", "A bug of the sender.", _REPLAY),
    "NOT_AVRO": ("The file is no Avro file.", "Another format under that name.", _REPLAY),
    "NOT_ORC": ("The file is no ORC file.", "Another format under that name.", _REPLAY),
    "NOT_PARQUET": ("The file is no Parquet file.", "Another format under that name.", _REPLAY),
    "NOT_XML": ("The file is not well-formed XML.", "A bug of the sender, or another format.", _REPLAY),
    "HAS_DTD": (
        "The XML file declares something itself, or needs what is declared elsewhere: entities, for example.",
        "A sender that uses a DTD; or a file that is made to be harmful.",
        _REPLAY,
    ),
    "NOT_TEXT": ("The file is no text.", "A compressed or binary file without its extension.", _REPLAY),
    "NOT_UTF8": ("The file is not UTF-8.", "Its sender uses another encoding; the option encoding names it.", _REPLAY),
    "NOT_RECORDS": ("The file holds single values, not records.", "An Avro file of another shape.", _REPLAY),
    "DAMAGED_AVRO": ("The Avro file is damaged.", "Its bytes were changed on their way.", _REPLAY),
    "DAMAGED_ORC": ("The ORC file is damaged.", "Its bytes were changed on their way.", _REPLAY),
    "DAMAGED_PARQUET": ("The Parquet file is damaged.", "Its bytes were changed on their way.", _REPLAY),
    "NOT_EXCEL": (
        "The file is no workbook of Excel.",
        "Another format under that name, such as HTML as .xls.",
        _REPLAY,
    ),
    "DAMAGED_EXCEL": ("The workbook is damaged.", "Its bytes were changed on their way.", _REPLAY),
    "ENCRYPTED": ("A password opens the workbook.", "It was saved with one.", _REPLAY),
    "NO_SUCH_SHEET": (
        "The workbook lacks the sheet that dataAddress names.",
        "A sheet that was renamed; with ignoreMissingSheet=true such files are left out.",
        _REPLAY,
    ),
    "WORKBOOK_TOO_LARGE": (
        "The workbook takes more memory than maxWorkbookBytes.",
        "A file that is made to be harmful, a stray cell far from the others, or a limit that is too low.",
        _REPLAY,
    ),
    "HEADER_MISMATCH": ("The header of a CSV file names other columns.", "Columns were moved or renamed.", _REPLAY),
    "LEGACY_CALENDAR": ("Dates are in the calendar of before 1582.", "An old Spark or Hive wrote the file.", _REPLAY),
    "SHREDDED_VARIANT": ("A VARIANT has values in columns of their own.", "A writer that shreds.", _REPLAY),
    "WRONG_TYPE": ("A value is not of its column's type, and no column rescues it.", "Its sender.", _REPLAY),
    "WRONG_EXTENSION": ("The content is compressed, and the name does not say so.", "A missing .gz.", _REPLAY),
    "TOO_LARGE": ("The file is larger than a BINARY value may be.", "A file of over 2 GB as binaryFile.", _REPLAY),
    "TOO_LARGE_UNPACKED": (
        "The file grows past cloudFiles.maxDecompressedBytes.",
        "A file that is made to be harmful, or a limit that is too low.",
        _REPLAY,
    ),
    "RECORD_TOO_LARGE": ("A record is larger than cloudFiles.maxRecordBytes.", "A bug of the sender.", _REPLAY),
    "LINE_TOO_LONG": ("A line is longer than cloudFiles.maxLineBytes.", "A file without line ends.", _REPLAY),
    "UNREADABLE": ("The file cannot be read, for a reason that the text names.", "A damaged file.", _REPLAY),
    "VANISHED": ("The file was found and was gone when it was read.", "Its sender removed it.", _REPLAY),
    "NOT_REPLAYED": (
        "A file was to be loaded again and gave no rows; those of its earlier load stay.",
        "The file as it is now cannot be read.",
        _REPLAY,
    ),
    "TEXT_CUT": (
        "Of bad records' text only the beginning is kept.",
        "Very many, or very long ones.",
        "lakehouse files",
    ),
    "QUARANTINED": ("The file could not be read; its rows are not in the table.", "See its reason.", _REPLAY),
    "PASSED_OVER": ("Another version of a known file, or a filtered name.", "allowOverwrites is off.", _REPLAY),
}

EXPLAINED = {name: Explanation(*texts) for name, texts in {**_ERRORS, **_CONDITIONS}.items()}
"""By the name of the class or condition."""


def explanation(named: str) -> tuple[str, Explanation]:
    """What is known under that name, in any case.

    Raises:
        ConfigurationError: nothing is.
    """
    for name, found in EXPLAINED.items():
        if name.lower() == named.lower():
            return name, found
    raise ConfigurationError(
        f"no error or condition is called {named}",
        where="lakehouse explain",
        state="nothing was read",
        next_command="lakehouse explain   (lists them)",
    )


def explanation_of(error: BaseException) -> Explanation | None:
    """Of an error, by its class or the nearest class above it; its text has no say."""
    return next((EXPLAINED[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in EXPLAINED), None)
