"""Whether a checkpoint still belongs to what is declared: state of another window, files of another folder."""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient
from lakehouse.doctor.watching import WouldWrite
from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.flows.files_on_spark import require_same_folder
from lakehouse.flows.windowing import Windowing
from lakehouse.streams.definition import keep_definition

ABOUT, OF, ORDER = "checkpoint and declaration fit", "table", 35

DEFINITION = Sign(
    "definition_changed",
    Verdict.FAIL,
    "window, slide, gap, keys, aggregates or output mode were changed after the checkpoint began; a run is refused",
    "the state has rows of the other shape, and Spark would mix them: set it back, or compute the table anew",
    "lakehouse checkpoint restart {table} --yes && lakehouse ingest {table}",
)
FOLDER = Sign(
    "folder_changed",
    Verdict.FAIL,
    "the declaration names another landing folder than the checkpoint; a run is refused",
    "the checkpoint's place is one among the files of the first folder",
    "give {table} its path back, declare another table for the new folder; then: lakehouse ingest {table}",
)
SIGNS = (DEFINITION, FOLDER)


def examine(patient: Patient) -> Iterator[Seen]:
    """Asks what a run asks."""
    lake, table, flow = patient.lake, patient.name, patient.table.flow
    where = lake.settings.checkpoint_uri(table)
    if not patient.checkpoint:
        return
    try:
        if isinstance(flow, Windowing):
            keep_definition(lake, table, flow.definition())
        elif patient.files is not None and patient.files.source == "cloudFiles":
            require_same_folder(lake, table, patient.files)
        else:
            return
    except ConfigurationError as error:
        yield Seen(DEFINITION if isinstance(flow, Windowing) else FOLDER, error.what, where)
        return
    except (LakehouseError, ValueError):
        return  # other probes report what cannot be read
    except WouldWrite:  # an older checkpoint, which takes on what is declared now
        pass
    yield Seen(None, "the checkpoint was begun as the table is declared", where)
