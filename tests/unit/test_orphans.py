"""What is decided about a dead client's engine before its lease is taken; the engine itself is in tests/e2e."""

import subprocess
import time

import pytest

from lakehouse.engine import orphans
from lakehouse.engine.orphans import CLONED, end_writes
from lakehouse.errors import LeaseHeld
from lakehouse.lake import Lake
from lakehouse.processes import free_port
from lakehouse.settings import Settings
from lakehouse.storage.lease_holder import EngineUse, Holder, birth_of, this_host
from lakehouse.streams.transaction import SOURCE_VIEW

TABLE = "bronze.t"
SESSION = "3f1c2a52-0c0f-4a53-9a8e-6f6b1f1a0001"


@pytest.fixture
def lake(tmp_path):
    return Lake(Settings.load(home=tmp_path, user="tester"), None, None)


@pytest.fixture
def process():
    """Something that lives and is no Spark."""
    made = subprocess.Popen(["sleep", "600"])
    yield made
    made.kill()
    made.wait()


def holder(engine, host=None):
    return Holder("a", TABLE, host or this_host(), 1, "1", 0.0, engine=engine)


def engine_of(process, tmp_path, **changes):
    folder = tmp_path / "engine" / "tester"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text("canary-token")
    known = {
        "address": f"sc://localhost:{free_port()}",
        "pid": process.pid,
        "started": birth_of(process.pid),
        "session_id": SESSION,
        "folder": str(folder),
    }
    return EngineUse(**{**known, **changes})


def test_whoever_was_connected_to_no_engine_left_nothing(lake):
    assert end_writes(lake, TABLE, holder(None)) is True


def test_an_engine_that_is_gone_writes_nothing_and_one_that_has_its_number_now_is_another(lake, process, tmp_path):
    assert end_writes(lake, TABLE, holder(engine_of(process, tmp_path, started="1"))) is True
    use = engine_of(process, tmp_path)
    process.kill()
    process.wait()
    assert end_writes(lake, TABLE, holder(use)) is True


def test_an_engine_that_lives_and_cannot_be_asked_is_named_with_a_cure(lake, process, tmp_path):
    with pytest.raises(LeaseHeld, match=f"pid {process.pid} at sc://localhost") as caught:
        end_writes(lake, TABLE, holder(engine_of(process, tmp_path)))
    assert caught.value.next_command.startswith(f"LAKEHOUSE_HOME={tmp_path} lakehouse down")
    assert "canary" not in str(caught.value)


def test_an_engine_whose_token_is_anothers_is_named_too(lake, process, tmp_path):
    use = engine_of(process, tmp_path)
    (tmp_path / "engine/tester/token").unlink()
    with pytest.raises(LeaseHeld, match=f"pid {process.pid}"):
        end_writes(lake, TABLE, holder(use))


def test_a_spark_within_the_dead_process_is_waited_for(lake, process, monkeypatch):
    use = EngineUse("local[2]", process.pid, birth_of(process.pid))
    monkeypatch.setattr(orphans, "_END_TIMEOUT_SECONDS", 0.3)
    with pytest.raises(LeaseHeld, match=f"pid {process.pid}") as caught:
        end_writes(lake, TABLE, holder(use))
    assert caught.value.next_command == f"kill {process.pid}"
    ending = subprocess.Popen(["sleep", "0.5"])
    use = EngineUse("local[2]", ending.pid, birth_of(ending.pid))
    monkeypatch.setattr(orphans, "_END_TIMEOUT_SECONDS", 30)
    began = time.monotonic()
    assert end_writes(lake, TABLE, holder(use)) is True
    assert time.monotonic() - began < 20
    ending.wait()


@pytest.mark.parametrize("host", [None, "elsewhere/1/"])
def test_of_a_server_that_does_not_answer_nothing_is_known(lake, host):
    use = EngineUse(f"sc://127.0.0.1:{free_port()}", session_id=SESSION)
    assert end_writes(lake, TABLE, holder(use, host)) is False


def test_of_an_engine_of_another_machine_nothing_is_known(lake, process, tmp_path):
    assert end_writes(lake, TABLE, holder(engine_of(process, tmp_path), "elsewhere/1/")) is False
    inner = EngineUse("local[2]", process.pid, birth_of(process.pid))
    assert end_writes(lake, TABLE, holder(inner, "elsewhere/1/")) is False


def test_the_remote_has_the_parameters_of_our_own_address_and_the_dead_clients_session(tmp_path):
    remote = "sc://spark:15002/;use_ssl=true;token=canary;user_id=me"
    lake = Lake(Settings.load(home=tmp_path, user="tester", spark_remote=remote), None, None)
    use = EngineUse("sc://spark:15002", session_id=SESSION, user_id="them")
    assert orphans._session_remote(lake, use) == (
        f"sc://spark:15002/;use_ssl=true;token=canary;user_id=them;session_id={SESSION}"
    )
    other = EngineUse("sc://other:15002", session_id=SESSION)
    assert orphans._session_remote(lake, other) == f"sc://other:15002/;session_id={SESSION}"


def test_the_session_of_a_merge_is_found_by_the_name_of_its_view():
    assert SOURCE_VIEW == CLONED
