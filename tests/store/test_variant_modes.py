"""``singleVariantColumn`` in each evolution mode, on a real store without Spark: there is nothing to evolve."""

import pytest

from lakehouse.autoloader.source import CloudFiles


@pytest.mark.parametrize(
    "mode", ["addNewColumns", "addNewColumnsWithTypeWidening", "inline", "rescue", "failOnNewColumns", "none"]
)
@pytest.mark.parametrize("located", [True, False])
def test_new_fields_change_no_schema_with_and_without_a_schema_location(world, mode, located):
    world.put("a.json", b'{"a": 1}\n{"b": {"c": 2}}\nnope\n')
    options = {
        "path": f"s3a://{world.bucket}/{world.folder}",
        "cloudFiles.format": "json",
        "cloudFiles.schemaEvolutionMode": mode,
        "cloudFiles.journalLocation": world.journal,
        "singleVariantColumn": "v",
    }
    if located:
        options["cloudFiles.schemaLocation"] = f"s3a://{world.lake.settings.bucket}/schemas"
    source = CloudFiles(options)
    schema = source.schema()
    rescued = [] if mode == "none" else ["_rescued_data"]
    assert schema.names == ["v", *rescued, "_metadata"]
    reader = source.streamReader(schema)
    start = reader.initialOffset()
    reader.prepareForTriggerAvailableNow()
    end = reader.latestOffset(start, reader.getDefaultReadLimit())
    batches = [batch for part in reader.partitions(start, end) for batch in reader.read(part)]
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["v"] is None for row in rows] == [False, False, True]
    for name in rescued:
        assert ["nope" in (row[name] or "") for row in rows] == [False, False, True]
    assert source.schema() == schema
