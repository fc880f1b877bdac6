"""Names that the documentation of Spark and Databricks has, and what to say to those that are not had here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lakehouse.autoloader.formats.format import words
from lakehouse.autoloader.formats.registry import FORMATS

READER_OPTIONS = {one.name.lower(): one.reader_options for one in FORMATS}
"""The options of each format's reader, as Spark 4.2 spells them (``readerCaseSensitive`` is Databricks')."""

READER_NAMES = {format_: {name.lower(): name for name in names} for format_, names in READER_OPTIONS.items()}
"""The same, found by their names in lower case."""

_XML = words(
    "arrayElementName attributePrefix excludeAttribute ignoreNamespace ignoreSurroundingSpaces rowTag",
    "rowValidationXSDPath valueTag wildcardColName",
)
_OWNERS = {**READER_NAMES, "xml": {name.lower(): name for name in _XML}}

FLAGS = frozenset(name.lower() for one in FORMATS for name in one.flags)
"""Reader options that are true or false, in lower case."""

MODES = ("PERMISSIVE", "DROPMALFORMED", "FAILFAST")

_QUEUE = "events come from the store itself and no cloud's queue is read, so leave it out"
_KEYS = (
    "the driver and the workers take credentials from their environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) "
    "or from the profile that cloudFiles.profile names"
)
_OTHER_CLOUD = "files are read from S3 and compatible stores only, so leave it out"
_REGION = "region and address are AWS_REGION and AWS_ENDPOINT_URL in the environment of the driver and the workers"

DATABRICKS_OPTIONS: dict[str, str] = {
    "cloudFiles.queueUrl": _QUEUE,
    "cloudFiles.queueName": _QUEUE,
    "cloudFiles.subscription": _QUEUE,
    "cloudFiles.fetchParallelism": _QUEUE,
    "cloudFiles.pathRewrites": _QUEUE,
    "cloudFiles.resourceTag.*": "no queue or other resource is made that could carry a tag, so leave it out",
    "cloudFiles.useIncrementalListing": "whether listing can begin after the last key is found out by itself; "
    "cloudFiles.backfillInterval says how often everything is listed nevertheless",
    "cloudFiles.maxFileAge": "what was loaded is kept in the journal and never forgotten, so no file is too old; "
    "modifiedAfter leaves old files out",
    "cloudFiles.cleanSource.waitForCompletion": "the stream does not wait for cleaning, so leave it out",
    "cloudFiles.region": _REGION,
    "cloudFiles.stsEndpoint": _REGION,
    "cloudFiles.roleArn": _KEYS,
    "cloudFiles.roleExternalId": _KEYS,
    "cloudFiles.roleSessionName": _KEYS,
    "cloudFiles.awsAccessKey": _KEYS,
    "cloudFiles.awsSecretKey": _KEYS,
    "databricks.serviceCredential": _KEYS,
    "cloudFiles.clientId": _OTHER_CLOUD,
    "cloudFiles.clientSecret": _OTHER_CLOUD,
    "cloudFiles.connectionString": _OTHER_CLOUD,
    "cloudFiles.resourceGroup": _OTHER_CLOUD,
    "cloudFiles.subscriptionId": _OTHER_CLOUD,
    "cloudFiles.tenantId": _OTHER_CLOUD,
    "cloudFiles.projectId": _OTHER_CLOUD,
    "cloudFiles.client": _OTHER_CLOUD,
    "cloudFiles.clientEmail": _OTHER_CLOUD,
    "cloudFiles.privateKey": _OTHER_CLOUD,
    "cloudFiles.privateKeyId": _OTHER_CLOUD,
}
"""Options of Databricks that are not had here, and why or what to use; ``.*`` at the end stands for any ending."""

SPARK_OPTIONS: dict[str, str] = {
    "latestFirst": "files are loaded in the order in which they were found",
    "fileNameOnly": "a file is known by its full key and its ETag",
    "maxCachedFiles": "the backlog is kept as numbers, all of it, so there is no cache to limit",
    "discardCachedInputRatio": "the backlog is kept as numbers, all of it, so there is no cache to discard",
    "sourceArchiveDir": "it is called cloudFiles.cleanSource.moveDestination here",
    "basePath": "partition folders are found below the load path; cloudFiles.partitionColumns names them",
    "ignoreInvalidPartitionPaths": "a folder that is no name=value is no partition, so there is nothing to ignore",
    "ignoreExtension": "the load path and pathGlobFilter choose the files, whatever they are called",
    "inferSchema": "cloudFiles.inferColumnTypes decides whether types are inferred",
    "compression": "compression is recognised by the ending of a file's name",
    "codec": "compression is recognised by the ending of a file's name",
}
"""Options of Spark's own file sources that are not had here, and why or what to use."""

SECRET = re.compile(r"secret|passw|token|credential|connection.?string|(^|[._-])key|key(.?id)?$", re.IGNORECASE)
"""Names whose values nobody may see."""


def refusal(lower: str, name: str, format_: str | None) -> str:
    """Why an option that is known, but not to this format or not here, cannot be used; "" for an unknown one.

    Args:
        lower: Its name in lower case.
        name: Its name as it was written.
        format_: ``cloudFiles.format``, None when that is missing or wrong itself.
    """
    for owner, table in (("Databricks", DATABRICKS_OPTIONS), ("Spark's file sources", SPARK_OPTIONS)):
        for known, reason in table.items():
            if _is_called(lower, known.lower()):
                return f"{name if known.endswith('*') else known} is an option of {owner}, not had here: {reason}."
    if owners := [one for one, names in _OWNERS.items() if lower in names]:
        return f"{name} is an option of the format {' or '.join(owners)}, and cloudFiles.format is {format_}."
    if SECRET.search(name):
        return (
            f"{name} looks like a credential, and options are no place for one because Spark shows them in plans and "
            f"logs: {_KEYS}."
        )
    if lower.startswith(("fs.", "spark.")):
        return f"{name} is a setting of Spark or Hadoop, not an option of cloudFiles: {_REGION}."
    return ""


def is_readers(lower: str, format_: str | None) -> bool:
    """Whether this is an option of the format's reader; of any reader while the format is not known."""
    return lower in _OWNERS[format_] if format_ else any(lower in names for names in _OWNERS.values())


def unknown(lower: str, name: str, ours: Iterable[str], format_: str | None) -> str:
    """What to say of a name that nobody knows: the nearest ones, with or without ``cloudFiles.`` before them."""
    from difflib import get_close_matches  # only errors need it

    names = [*ours, *READER_OPTIONS.get(format_ or "", ())]
    bare = {one.lower().removeprefix("cloudfiles."): one for one in names}
    near = [bare[one] for one in get_close_matches(lower.removeprefix("cloudfiles."), bare, n=2, cutoff=0.75)]
    if near and near[0].lower().removeprefix("cloudfiles.") == lower.removeprefix("cloudfiles."):
        near = near[:1]  # only the prefix is wrong
    return f"Unknown option {name}" + (f": did you mean {' or '.join(near)}?" if near else ".")


def _is_called(lower: str, known: str) -> bool:
    bare = known.removeprefix("cloudfiles.")
    if known.endswith("*"):
        return lower.startswith((known[:-1], bare[:-1]))
    return lower in (known, bare)
