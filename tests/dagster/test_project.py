"""The definitions of this project, as a small file that a change has to change, too."""

import json
import os
from pathlib import Path

from assets.definitions import defs

SNAPSHOT = Path(__file__).with_name("project.json")
REGENERATE = "REGENERATE_SNAPSHOT=1 .venv/bin/python -m pytest tests/dagster/test_project.py"


def told():
    made = defs()
    graph = made.resolve_asset_graph()
    checks = [graph.get_check_spec(key) for key in graph.asset_check_keys]
    assets = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        assets[key.to_user_string()] = {
            "group": node.group_name,
            "kinds": ", ".join(sorted(node.kinds)),
            "owners": ", ".join(node.owners),
            "deps": ", ".join(sorted(parent.to_user_string() for parent in node.parent_keys)),
            "pools": ", ".join(sorted(node.pools or ())),
            "checks": {
                spec.name: "blocks" if spec.blocking else "warns"
                for spec in sorted(checks, key=lambda check: check.name)
                if spec.asset_key == key
            },
        }
    jobs = {job.name: made.resolve_job_def(job.name).asset_layer.selected_asset_keys for job in made.jobs}
    return {
        "assets": assets,
        "jobs": {name: sorted(key.to_user_string() for key in keys) for name, keys in sorted(jobs.items())},
        "sensors": {
            sensor.name: ", ".join(job.name for job in sensor.jobs) if sensor.has_jobs else ""
            for sensor in made.sensors
        },
        "schedules": {
            schedule.name: {
                "job": schedule.job.name,
                "cron": schedule.cron_schedule,
                "status": schedule.default_status.name,
            }
            for schedule in made.schedules
        },
        "resources": ", ".join(sorted(made.resources)),
    }


def test_the_definitions_are_as_they_were():
    found = told()
    if os.environ.get("REGENERATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(SNAPSHOT.read_text()), f"when the change is meant: {REGENERATE}"
