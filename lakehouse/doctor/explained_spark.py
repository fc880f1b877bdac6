"""What the conditions of Spark and Delta mean that streams and their tables end with, and what to run here."""

from __future__ import annotations

_REPAIR = "lakehouse checkpoint repair TABLE   (says what it would do; --yes does it)"
_RESTART = "lakehouse checkpoint restart TABLE --yes && lakehouse ingest TABLE"
_DOCTOR = "lakehouse doctor TABLE"
_AGAIN = "lakehouse ingest TABLE"
_TWO = "Two processes write one table: the lease was taken over, or one of them takes none."
_CHANGED = "A replay, a newer version of a file, or SQL changed the source."

CONDITIONS = {
    "CONCURRENT_STREAM_LOG_UPDATE": ("Another query wrote the same batch of the checkpoint.", _TWO, _DOCTOR),
    "DELTA_CONCURRENT_TRANSACTION": ("Another query with the same checkpoint committed this batch.", _TWO, _DOCTOR),
    "DELTA_CONCURRENT_APPEND": ("Another commit added rows that this one should have seen.", _TWO, _AGAIN),
    "DELTA_CONCURRENT_WRITE": ("Another commit came first.", _TWO, _AGAIN),
    "DELTA_CONCURRENT_DELETE_READ": ("Another commit removed files that this one has read.", _TWO, _AGAIN),
    "DELTA_CONCURRENT_DELETE_DELETE": ("Another commit removed the same files.", _TWO, _AGAIN),
    "DELTA_METADATA_CHANGED": ("Another commit changed the table's columns or properties.", _TWO, _AGAIN),
    "DIFFERENT_DELTA_TABLE_READ_BY_STREAMING_SOURCE": (
        "The source is another table than the checkpoint knows.",
        "The source was dropped and made anew.",
        _RESTART,
    ),
    "DELTA_SOURCE_TABLE_IGNORE_CHANGES": ("Rows of the source were changed.", _CHANGED, _AGAIN),
    "DELTA_SOURCE_IGNORE_DELETE": ("Rows of the source were removed.", _CHANGED, _AGAIN),
    "DELTA_LOG_FILE_NOT_FOUND_FOR_STREAMING_SOURCE": (
        "A commit that the stream has not read is not in the source's log any more.",
        "The stream was behind for longer than the log is kept.",
        _RESTART,
    ),
    "DELTA_MISSING_FILES_UNEXPECTED_VERSION": (
        "The source's log begins after the version at which the stream stands.",
        "The stream was behind for longer than the log is kept.",
        _RESTART,
    ),
    "DELTA_FILE_NOT_FOUND": (
        "A data file that the log names is not in the store.",
        "A VACUUM with too short a retention, a lifecycle rule of the bucket or a person removed it.",
        _DOCTOR,
    ),
    "DELTA_LOG_FILE_NOT_FOUND": (
        "The table's log lacks a commit.",
        "A lifecycle rule of the bucket or a person removed it.",
        _DOCTOR,
    ),
    "DELTA_TRUNCATED_TRANSACTION_LOG": (
        "The table's log lacks a commit.",
        "A lifecycle rule of the bucket or a person removed it.",
        _DOCTOR,
    ),
    "DELTA_VERSIONS_NOT_CONTIGUOUS": (
        "A commit is missing between two others.",
        "A lifecycle rule of the bucket or a person removed it.",
        _DOCTOR,
    ),
    "DELTA_STREAMING_SCHEMA_MISMATCH_ON_RESTART": (
        "The source has other columns than at the stream's start.",
        "Its columns changed while the stream began.",
        _AGAIN,
    ),
    "DELTA_STREAMING_METADATA_EVOLUTION": (
        "Columns or properties of the source changed. The next start takes them in.",
        "The source got new columns.",
        _AGAIN,
    ),
    "DELTA_STREAMING_INCOMPATIBLE_SCHEMA_CHANGE_USE_SCHEMA_LOG": (
        "A column of the source was renamed, dropped or got another type.",
        "Somebody changed the source by SQL.",
        _RESTART,
    ),
    "DELTA_NULL_SCHEMA_IN_STREAMING_WRITE": (
        "A column has the type of NULL, which no table can have.",
        "Every value of it was null: give it a type, by hints of the table.",
        "lakehouse validate",
    ),
    "DELTA_FAILED_TO_MERGE_FIELDS": (
        "A column has another type than the table's.",
        "Senders changed a type, or two tables write one.",
        "lakehouse schema history --table TABLE",
    ),
    "DELTA_METADATA_MISMATCH": (
        "The rows have other columns than the table.",
        "A query writes new columns without mergeSchema.",
        "lakehouse schema history --table TABLE",
    ),
    "DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT": (
        "VACUUM would remove files that readers and running batches may need.",
        "A retention below 168 hours.",
        "lakehouse maintain vacuum TABLE   (knows who reads)",
    ),
    "STREAMING_CHECKPOINT_MISSING_METADATA_FILE": (
        "The checkpoint has batches, and not its own id.",
        "It was copied in part, or a lifecycle rule removed the object.",
        _REPAIR,
    ),
    "STATE_STORE_CHECKPOINT_LOCATION_NOT_EMPTY": (
        "The checkpoint has state or the beginning of an offset, and no batch.",
        "The first start of the stream was killed.",
        _AGAIN,
    ),
    "STREAMING_STATEFUL_OPERATOR_MISSING_STATE_DIRECTORY": (
        "The checkpoint has batches, and its state is gone.",
        "It was copied in part, or a lifecycle rule removed the objects.",
        _RESTART,
    ),
    "STATE_STORE_KEY_SCHEMA_NOT_COMPATIBLE": (
        "The state has keys of another shape.",
        "Keys or windows were changed after the checkpoint began.",
        _RESTART,
    ),
    "STATE_STORE_VALUE_SCHEMA_NOT_COMPATIBLE": (
        "The state has values of another shape.",
        "Aggregates were changed after the checkpoint began.",
        _RESTART,
    ),
    "STREAM_FAILED": (
        "A query ended with an error, which the message names behind this.",
        "The condition in brackets there says which.",
        "lakehouse explain CONDITION; then: lakehouse doctor TABLE",
    ),
}
"""Meaning, cause and command of each, by its name."""
