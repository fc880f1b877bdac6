"""A failed run tells in its log what the doctor finds, and fails with its own error."""

import json

import dagster as dg
from declared import with_declaration

from lakehouse.dagster import LakeResource, definitions
from lakehouse.doctor import examining

TABLE = "bronze.things"


def test_a_failed_run_has_the_findings_in_its_log_and_its_own_error(lake, lake_resource, tmp_path, monkeypatch):
    flow = {"path": "{landing}/things/", "engine": "local"}
    lake = with_declaration(lake, tmp_path, json.dumps({"tables": {TABLE: {"files": flow}}}))
    settings = lake.settings
    lake.store.write(settings.landing_bucket, f"{settings.landing_prefix}things/1.json", b'{"a": 1}\n')
    resource = LakeResource(**{**lake_resource.model_dump(), "declaration": str(settings.declaration)})
    job = definitions(lake=resource).resolve_job_def("ingest")

    def run():
        with dg.DagsterInstance.ephemeral() as instance:
            result = job.execute_in_process(instance=instance, raise_on_error=False)
            said = "\n".join(entry.user_message for entry in instance.all_logs(result.run_id))
        failed = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
        return result.success, said, [error.cause.cls_name if error.cause else error.cls_name for error in failed]

    success, said, _ = run()
    assert success
    assert "lakehouse doctor" not in said
    lake.store.delete_prefix(settings.bucket, f"{settings.user}/bronze/things/")
    success, said, errors = run()
    assert (success, errors) == (False, ["CheckpointMismatch"])
    assert "[table_missing]" in said
    assert f"lakehouse checkpoint repair {TABLE} --yes" in said
    monkeypatch.setattr(examining, "examine", lambda *given, **named: 1 / 0)
    success, said, errors = run()
    assert (success, errors) == (False, ["CheckpointMismatch"]), "a doctor that fails hides nothing"
    assert "lakehouse doctor could not look: ZeroDivisionError" in said
