"""A table and a checkpoint that do not belong together are told apart from those that do, without Spark."""

import json

import pyarrow as pa
import pytest
from deltalake import CommitProperties, Transaction, write_deltalake

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.agreement import CheckpointMismatch


class Written:
    """A table and its checkpoint, as a stream that ended somewhere left them."""

    def __init__(self, lake, planned, finished):
        self.lake, self.version = lake, None
        files = {} if planned is None else {"metadata": '{"id": "mine"}'}
        for folder, last in (("offsets", planned), ("commits", finished)):
            files |= {f"{folder}/{batch}": "v1\n{}\n{}" for batch in upto(last)}
        for name, text in files.items():
            place = f"{lake.settings.user}/_checkpoints/bronze.t/{name}"
            lake.store.write(lake.settings.bucket, place, text.encode())

    def commit(self, query, last):
        for self.version in upto(last):
            write_deltalake(
                self.lake.settings.table_uri("bronze.t").replace("s3a://", "s3://"),
                pa.table({"batch": [self.version]}),
                mode="append",
                storage_options=self.lake.endpoint.deltalake_options(),
                commit_properties=CommitProperties(
                    custom_metadata={"userMetadata": json.dumps({"epochId": self.version, "queryId": query})},
                    app_transactions=[Transaction(query, self.version)],
                ),
            )


def upto(last):
    return range(0 if last is None else last + 1)


@pytest.mark.parametrize(
    ("planned", "finished", "held"),
    [(None, None, None), (0, None, None), (0, None, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1)],
)
def test_a_table_goes_on_wherever_its_stream_was_killed(lake, planned, finished, held):
    written = Written(lake, planned, finished)
    written.commit("mine", held)
    opened = checkpoints.verify(lake, "bronze.t")
    assert (opened and opened.version()) == written.version


@pytest.mark.parametrize(
    ("planned", "finished", "query", "held", "why"),
    [
        (0, 0, "mine", 1, "holds batch 1, but the newest planned in the checkpoint is 0: the checkpoint is an older"),
        (1, 1, "mine", 0, "has finished batch 1, but the table holds batches up to 0 of it: the table was replaced"),
        (1, 1, "another", 1, "the table holds no batch of it"),
        (1, 1, "mine", None, "the table is gone, but its checkpoint stands at batch 1"),
        (None, None, "mine", 0, "the checkpoint is gone"),
    ],
    ids=["older checkpoint", "older table", "table of another", "no table", "no checkpoint"],
)
def test_a_table_and_a_checkpoint_of_another_day_are_refused(lake, planned, finished, query, held, why):
    written = Written(lake, planned, finished)
    written.commit(query, held)
    with pytest.raises(CheckpointMismatch, match=why):
        checkpoints.verify(lake, "bronze.t")
    assert lake.version("bronze.t") == written.version
