import dagster as dg
import pytest
from engine_fixtures import land, spark  # noqa: F401

from assets.definitions import defs
from resources.lake import LakeResource
from resources.spark import SparkResource


@pytest.fixture
def instance(tmp_path, monkeypatch):
    """A persistent Dagster instance of the test's own."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as made:
        yield made


@pytest.fixture
def lake_resource(settings):
    return LakeResource(
        home=str(settings.home), user=settings.user, bucket=settings.bucket, landing_prefix=settings.landing_prefix
    )


@pytest.fixture
def definitions(lake_resource):
    """All definitions on the test's lake."""
    ours = {"lake": lake_resource, "spark": SparkResource(lake=lake_resource)}
    loaded = defs()
    return dg.Definitions(
        assets=loaded.assets,
        asset_checks=loaded.asset_checks,
        jobs=loaded.jobs,
        resources=ours,
        executor=dg.in_process_executor,
    )


@pytest.fixture
def job(definitions):
    """``ingest_orders`` on the test's lake."""
    return definitions.resolve_job_def("ingest_orders")
