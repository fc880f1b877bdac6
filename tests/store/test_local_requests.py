"""How many requests a run costs: whatever came before, what it asks for follows what is new."""

from store.local_world import TABLE, LocalWorld

from benchmarks.ingest import requests_served


def requests_of(lake, act):
    before = requests_served(lake)
    act()
    return requests_served(lake) - before


def test_a_run_behind_many_commits_asks_for_little_more_than_behind_few(lake, tmp_path):
    things = LocalWorld(lake, tmp_path)
    for number in range(3):
        things.put(f"{number}.json", [{"a": number}])
        things.load()
    few = requests_of(things.lake, things.load)
    for _ in range(40):
        opened = things.lake.delta(TABLE)
        opened.create_write_transaction([], "append", opened.schema())
    things.put("more.json", [{"a": 4}])
    things.load()  # the newest commit is the stream's own, as a rule
    many = requests_of(things.lake, things.load)
    assert many < few + 50, "at most ten commits are read, those since the last checkpoint"
    assert requests_of(things.lake, lambda: things.lake.version(TABLE)) <= 3
