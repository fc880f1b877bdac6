"""Options that Databricks and Spark document and that nothing here reads: harmless ones are accepted, others refused.

What would change a result is refused; what cannot is accepted, with a warning unless it asks for what is done anyway.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

from lakehouse.autoloader.options.verdict import ACCEPTED, ANY, REFUSED, WARNING, Elsewhere, by_name, refused, warned

KEYS = (
    "the driver and the workers take credentials from their environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) "
    "or from the profile that cloudFiles.profile names"
)
REGION = "region and address are AWS_REGION and AWS_ENDPOINT_URL in the environment of the driver and the workers"

_LISTS = "files are found by listing the bucket, or by events that LAKEHOUSE_EVENTS_INBOX names; no queue is named here"
_OTHER_CLOUD = "no queue of another cloud is made or read; keys of gs:// and abfss:// are in the environment"
_CREDENTIAL = f"it is a credential, and options are no place for one because Spark shows them in plans and logs; {KEYS}"
_NO_CATALOG = f"no Unity Catalog is asked for it: cloudFiles.roleArn names a role; {KEYS}"
_OFF = ("false",)

DATABRICKS_OPTIONS: dict[str, Elsewhere] = by_name(
    Elsewhere(
        "cloudFiles.useIncrementalListing",
        "whether listing can begin after the last key is found out by itself; cloudFiles.backfillInterval says how "
        "often everything is listed nevertheless",
        ("auto",),
    ),
    Elsewhere(
        "cloudFiles.maxFileAge",
        "what was loaded is kept in the journal and never forgotten, so no file is too old; modifiedAfter leaves old "
        "files out",
    ),
    Elsewhere(
        "cloudFiles.cleanSource.waitForCompletion",
        "the stream does not wait for cleaning: what is left is cleaned with the next micro-batch",
        _OFF,
    ),
    *warned(_LISTS, "cloudFiles.fetchParallelism", "cloudFiles.pathRewrites"),
    *warned(_LISTS, "cloudFiles.queueUrl", "cloudFiles.queueName", "cloudFiles.subscription"),
    *warned("no queue or other resource is made that could carry a tag", "cloudFiles.resourceTag.*"),
    *warned(REGION, "cloudFiles.region"),
    *warned(_NO_CATALOG, "databricks.serviceCredential"),
    *refused(_CREDENTIAL, "cloudFiles.awsAccessKey", "cloudFiles.awsSecretKey"),
    *warned(_OTHER_CLOUD, "cloudFiles.resourceGroup", "cloudFiles.subscriptionId", "cloudFiles.tenantId"),
    *warned(_OTHER_CLOUD, "cloudFiles.clientId", "cloudFiles.client", "cloudFiles.clientEmail"),
    *warned(_OTHER_CLOUD, "cloudFiles.projectId", "cloudFiles.project"),
    *refused(_CREDENTIAL, "cloudFiles.clientSecret", "cloudFiles.connectionString"),
    *refused(_CREDENTIAL, "cloudFiles.privateKey", "cloudFiles.privateKeyId"),
)
"""Options of Auto Loader."""

SPARK_OPTIONS: dict[str, Elsewhere] = by_name(
    Elsewhere(
        "ignoredPathSegmentRegex",
        "names that begin with . or _ are hidden, and no others; pathGlobFilter and globs in the path choose among the "
        "rest",
        ("^[._]",),
        REFUSED,
    ),
    Elsewhere("latestFirst", "files are loaded in the order in which they were found", _OFF),
    Elsewhere(
        "fileNameOnly",
        "a file is known by its full key and its ETag: files of one name in two folders are two files",
        _OFF,
        REFUSED,
    ),
    *warned(
        "the backlog is kept as numbers, all of it, so there is no cache", "maxCachedFiles", "discardCachedInputRatio"
    ),
    Elsewhere("sourceArchiveDir", "it is called cloudFiles.cleanSource.moveDestination here"),
    Elsewhere(
        "basePath",
        "partition folders are found below the load path: load the folder of basePath, with globs such as year=2024",
        other=REFUSED,
        words=f"{ACCEPTED} where no partition folder stands between it and the load path, others {REFUSED}",
    ),
    Elsewhere(
        "ignoreInvalidPartitionPaths", "a folder that is no name=value is no partition: nothing to ignore", (ANY,)
    ),
    Elsewhere(
        "ignoreExtension",
        "the load path and pathGlobFilter choose the files, whatever they are called: pathGlobFilter=*.avro",
        ("true",),
        REFUSED,
    ),
    Elsewhere("extension", "the load path and pathGlobFilter choose the files, whatever they are called"),
    Elsewhere(
        "inferSchema",
        "cloudFiles.inferColumnTypes decides whether types are inferred",
        words=f"{ACCEPTED} where it says what cloudFiles.inferColumnTypes says, others {WARNING}",
    ),
    *warned("compression is recognised by the ending of a file's name", "compression", "codec"),
    *warned("the query's checkpoint is an option of writeStream", "checkpointLocation"),
    *warned(
        "it is an option of streams that read Delta tables",
        "ignoreChanges",
        "ignoreDeletes",
        "skipChangeCommits",
        "readChangeFeed",
        "startingVersion",
        "startingTimestamp",
        "withEventTimeOrder",
        "failOnDataLoss",
    ),
    *warned("it is an option of writers", "partitionBy", "outputMode", "overwriteSchema", "quoteAll", "escapeQuotes"),
)
"""Options of Spark's own sources and of writers that are seen on readers."""

_MERGED = "the columns of all files of the sample are merged, and later ones join the schema by its mode"
_CALENDAR = (
    "dates are read as they are written (CORRECTED); a file that Spark wrote in the old calendar goes to quarantine"
)
_NO_LIMIT = "values have no limit of their own: cloudFiles.maxLineBytes and cloudFiles.maxRecordBytes limit records"
_SAMPLE = "inference looks at every row of the sample; cloudFiles.schemaInference.sampleSize.numFiles limits that"
_TIME = "no column is of the type TIME: such a value is a string"
_FALLBACK = "dates and timestamps are read by the given pattern or by Spark's default, never by the old parser"
_WHOLE = "a damaged file goes to quarantine as a whole, whatever the mode"
_TEXTS = (
    Elsewhere("samplingRatio", _SAMPLE, ("1", "1.0")),
    Elsewhere("timeFormat", _TIME, ("hh:mm:ss",)),
    Elsewhere("enableDateTimeParsingFallback", _FALLBACK, _OFF),
    Elsewhere("mergeSchema", _MERGED, (ANY,)),
)

OF_FORMATS: dict[str, dict[str, Elsewhere]] = {
    "json": by_name(
        *_TEXTS,
        *warned(_NO_LIMIT, "maxNestingDepth", "maxNumLen", "maxStringLen"),
        Elsewhere("alternateVariantEncoding", "strings are read as they are", ("", "none"), REFUSED),
        Elsewhere("upgradeExceptionAsBadRecord", "a value of a wrong type is rescued, and never ends the stream", _OFF),
        Elsewhere("ignoreNullFields", "it is an option of writers"),
    ),
    "csv": by_name(
        *_TEXTS,
        *warned(_NO_LIMIT, "maxCharsPerColumn", same=("-1",)),
        *warned("cloudFiles.maxColumns limits the columns", "maxColumns", same=("20480",)),
        *warned("blocks are of a fixed size", "inputBufferSize"),
        *refused("cloudFiles.schemaEvolutionMode=failOnNewColumns does that", "failOnUnknownFields", same=_OFF),
        *refused("cloudFiles.schemaEvolutionMode says what a wider type does", "failOnWidenedFields", same=_OFF),
    ),
    "xml": by_name(
        *_TEXTS,
        Elsewhere("multiLine", "documents are read whole, and several in a file one after another", (ANY,)),
        Elsewhere("useLegacyXMLParser", "one parser reads XML, whatever this says", ("false",)),
        *warned("it is an option of writers", "arrayElementName", "declaration", "indent", "rootTag", "validateName"),
    ),
    "parquet": by_name(
        *warned(_CALENDAR, "datetimeRebaseMode", "int96RebaseMode", same=("corrected",)),
        Elsewhere("mergeSchema", _MERGED, (ANY,)),
    ),
    "avro": by_name(
        *warned(_CALENDAR, "datetimeRebaseMode", same=("corrected",)),
        *warned(_WHOLE, "mode"),
        Elsewhere("mergeSchema", _MERGED, (ANY,)),
        *refused("give the schema itself with avroSchema", "avroSchemaUrl"),
        *refused("fields go by their names", "positionalFieldMatching", same=_OFF),
        *warned("there is no schema registry: each file has its schema", "avroSchemaEvolutionMode", same=("none",)),
        *warned("a type within itself is not read", "recursiveFieldMaxDepth", same=("-1", "0")),
    ),
    "orc": by_name(Elsewhere("mergeSchema", _MERGED, (ANY,))),
    "text": by_name(),
    "excel": by_name(
        *refused("phonetic runs of texts are left out", "includePhoneticRuns", same=_OFF),
        *warned(_WHOLE, "mode"),
    ),
    "binaryfile": by_name(),
}
"""Options of a format's reader that nothing reads, by format."""


ALIASES = {
    "fileNamePattern": "pathGlobFilter",
    "parserCaseSensitive": "readerCaseSensitive",
    "cloudFiles.rescuedDataColumn": "rescuedDataColumn",
}
"""Second names, and what they stand for."""
