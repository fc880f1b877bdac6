"""Files drop without a pause while streams and inboxes are killed, and listing and events change places."""

from contextlib import closing

import pytest
from store.inboxes import KINDS
from store.notified_kills import Dropping

FILES = 300


@pytest.mark.soak("kills of processes during a continuous drop of files; test_events.py has crashes at named calls")
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_there_once_while_streams_and_inboxes_are_killed_and_modes_change(kind, tmp_path):
    with closing(Dropping(kind, tmp_path, 1)) as world:
        world.play(FILES)
        assert world.numbers() == list(range(FILES))
        assert world.failed_checks() == []
        assert world.kills["stream"] > 2
