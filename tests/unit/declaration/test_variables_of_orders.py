"""Variables of the project's own declaration: what makes no sense is refused before anything starts."""

import pytest

from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WINDOW": "five minutes"}, "no length of time"),
        ({"WINDOW": "0s"}, "one second or longer"),
        ({"WINDOW": "5 minutes", "SLIDE": "10 minutes"}, "rows between two windows would be in none"),
        ({"SESSION_GAP": "5 minutes", "SLIDE": "1 minute"}, "exclude each other"),
        ({"SESSION_GAP": "5 minutes", "OUTPUT_MODE": "update"}, "no session windows in that mode"),
        ({"WINDOW": "1 second", "WATERMARK": "30 days"}, "2,592,001 windows open at a time"),
        ({"OUTPUT_MODE": "overwrite"}, "output_mode"),
        ({"EARLIEST_DATE": "long ago"}, "earliest"),
        ({"MAX_FILES_PER_TRIGGER": "0"}, "max_files_per_trigger"),
    ],
)
def test_windows_that_make_no_sense_are_refused_before_anything_starts(monkeypatch, variables, said):
    for name, value in variables.items():
        monkeypatch.setenv(f"LAKEHOUSE_SILVER_{name}", value)
    with pytest.raises(ConfigurationError, match=said):
        read_catalogue(Settings.load())
