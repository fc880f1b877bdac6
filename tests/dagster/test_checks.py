"""What becomes of findings in Dagster: which are asked for, what they stop, what is said of silence."""

from types import SimpleNamespace

import dagster as dg
import pytest
from declared_catalogues import READINGS

from lakehouse.dagster import LakeResource, SparkResource, definitions
from lakehouse.table import Catalogue, Finding

KEY = dg.AssetKey(["bronze", "readings"])


@pytest.fixture(scope="module")
def loaded():
    return definitions(Catalogue((READINGS,)))


@pytest.fixture
def examine(monkeypatch, instance, loaded):
    """Runs the named checks over findings that the test writes down; gives what was asked for, and the evaluations."""

    def run(findings, *names):
        asked = []

        def check_table(spark, lake, table, *, names=None):
            asked.append((table, names))
            return findings

        class Nothing(SparkResource):
            @property
            def spark_session(self):
                return None

        monkeypatch.setattr("lakehouse.pipeline.check_table", check_table)
        monkeypatch.setattr(LakeResource, "open", lambda self: SimpleNamespace(settings=self.settings()))
        lake = LakeResource()
        alone = dg.Definitions(
            assets=loaded.assets,
            asset_checks=loaded.asset_checks,
            resources={"lake": lake, "spark": Nothing(lake=lake)},
        ).resolve_implicit_global_asset_job_def()
        keys = {dg.AssetCheckKey(KEY, name) for name in names}
        job = alone.get_subset(asset_check_selection=keys)
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        return asked, {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}

    return run


def finding(name, passed, blocks):
    sample = () if passed else ({"id": 7},)
    return Finding(name, "bronze.readings", passed, {"rows": 3}, sample, "" if passed else "mend it", blocks)


def test_all_checks_of_a_table_are_one_question(examine):
    asked, found = examine([finding("single", True, True), finding("whole", False, False)], "single", "whole")
    assert asked == [("bronze.readings", None)]
    assert {name: evaluation.passed for name, evaluation in found.items()} == {"single": True, "whole": False}


def test_a_check_alone_is_asked_for_by_its_name(examine):
    asked, found = examine([finding("single", True, True)], "single")
    assert (asked, set(found)) == ([("bronze.readings", ["single"])], {"single"})


def test_what_a_finding_blocks_says_its_severity(examine):
    _, found = examine([finding("single", False, True), finding("whole", False, False)], "single", "whole")
    assert found["single"].severity == dg.AssetCheckSeverity.ERROR
    assert found["whole"].severity == dg.AssetCheckSeverity.WARN


def test_a_failed_check_shows_numbers_rows_and_the_cure(examine):
    _, found = examine([finding("single", False, True)], "single")
    metadata = found["single"].metadata
    assert (metadata["rows"].value, metadata["next"].value) == (3, "mend it")
    assert [record.data for record in metadata["offending_rows"].records] == [{"id": 7}]


@pytest.mark.parametrize(
    ("findings", "why"),
    [
        ([], "nothing of bronze.readings to examine yet"),
        ([finding("whole", True, False)], "nothing to examine, or switched off"),
    ],
)
def test_a_check_without_a_finding_passes_and_says_why(examine, findings, why):
    _, found = examine(findings, "single", "whole")
    assert (found["single"].passed, found["single"].description) == (True, why)
