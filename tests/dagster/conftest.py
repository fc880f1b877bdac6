import dagster as dg
import pytest
from dagster_instances import instance_in
from engine_fixtures import land, spark  # noqa: F401

from assets.definitions import defs
from lakehouse.dagster import LakeResource, SparkResource


@pytest.fixture(scope="session")
def empty_instance(tmp_path_factory):
    """The folder of a Dagster instance that no test uses: others begin as its copies."""
    folder = tmp_path_factory.mktemp("empty_instance")
    with dg.instance_for_test(temp_dir=str(folder)):
        return folder


@pytest.fixture
def instance(tmp_path, empty_instance, monkeypatch):
    """A persistent Dagster instance of the test's own."""
    with instance_in(tmp_path, empty_instance) as made:
        yield made


@pytest.fixture
def lake_resource(settings):
    return LakeResource(
        home=str(settings.home), user=settings.user, bucket=settings.bucket, landing_prefix=settings.landing_prefix
    )


@pytest.fixture
def load(lake_resource):
    """Loads all definitions on the test's lake, with the variables that are set now; so does each run of the daemon."""

    def loaded():
        ours = {"lake": lake_resource, "spark": SparkResource(lake=lake_resource)}
        made = defs()
        return dg.Definitions(
            assets=made.assets,
            asset_checks=made.asset_checks,
            jobs=made.jobs,
            resources=ours,
            executor=dg.in_process_executor,
        )

    return loaded


@pytest.fixture
def load_job(load):
    """Loads ``ingest_orders``."""
    return lambda: load().resolve_job_def("ingest_orders")


@pytest.fixture
def job(load_job):
    """``ingest_orders`` on the test's lake."""
    return load_job()
