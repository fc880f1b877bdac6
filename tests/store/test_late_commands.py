"""``replay-late`` and ``watermark`` choose their table before anything is started."""

import pytest
from command import lakehouse_here

FILE = """
tables:
  bronze.readings:
    files: {path: s3a://landing/readings/}
  silver.by_minute:
    windows: {of: bronze.readings, event_time: at, window: 1 minute}
  silver.by_hour:
    windows: {of: bronze.readings, event_time: at, window: 1 hour}
"""


@pytest.mark.parametrize("command", ["replay-late", "watermark"])
def test_of_several_tables_of_windows_one_has_to_be_named(environment, tmp_path, command):
    file = tmp_path / "lakehouse.yaml"
    file.write_text(FILE)
    place = {**environment, "LAKEHOUSE_DECLARATION": str(file)}
    for arguments, what in (((), "none was named"), (("bronze.readings",), "no table of windows bronze.readings")):
        done = lakehouse_here(place, command, *arguments)
        assert done.returncode == 1
        assert what in done.stderr
        assert "name one of: silver.by_minute, silver.by_hour" in done.stderr
    file.write_text("tables:\n  bronze.readings:\n    files: {path: s3a://landing/readings/}\n")
    assert "no table of windows is declared" in lakehouse_here(place, command).stderr


def test_a_delay_that_is_none_is_refused(environment):
    done = lakehouse_here(environment, "watermark", "--delay", "soon")
    assert (done.returncode, "'soon' is no length of time" in done.stderr) == (1, True)
