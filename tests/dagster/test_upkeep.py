"""Files joined and removed every night, on a table that no stream wrote: no session is opened."""

import dagster as dg
from counted import write
from declared import with_declaration

from lakehouse.dagster import LakeResource, definitions
from lakehouse.declaration import read_catalogue

FILE = 'tables:\n  bronze.things:\n    files: {path: "{landing}/things/"}\n'
KEY = dg.AssetKey(["maintenance", "join_and_remove_files", "bronze", "things"])


def test_the_nightly_asset_tells_files_and_bytes_before_and_after(lake, tmp_path, instance):
    settings = with_declaration(lake, tmp_path, FILE).settings
    names = ("home", "declaration", "user", "bucket", "landing_prefix")
    resource = LakeResource(**{name: str(getattr(settings, name)) for name in names})
    made = definitions(read_catalogue(settings), lake=resource)
    assert KEY in made.resolve_job_def("maintenance").asset_layer.selected_asset_keys
    job = dg.Definitions(
        assets=made.assets, resources={"lake": resource, "spark": dg.ResourceDefinition.none_resource()}
    )

    def night():
        graph = job.resolve_implicit_global_asset_job_def().get_subset(asset_selection={KEY})
        [found] = graph.execute_in_process(instance=instance).asset_materializations_for_node(
            KEY.to_python_identifier()
        )
        return {name: value.value for name, value in found.metadata.items()}

    assert night() == {"table_files_before": 0, "table_files_after": 0}
    for number in range(10):
        write(lake, [{"id": number}])
    told = night()
    assert (told["table_files_before"], told["table_files_after"], told["small_files"]) == (10, 1, 10)
    assert (told["stored_files_before"], told["stored_files_after"]) == (11, 11), "seven days stay"
    assert told["table_bytes_after"] < told["table_bytes_before"] < told["stored_bytes_after"]
    assert night()["table_files_before"] == 1
