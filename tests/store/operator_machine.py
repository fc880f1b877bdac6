"""What operators do to three tables, in any order: commands as they are typed, some killed at a call to the store.

Bronze is filled with files, silver has its newest rows by key, gold their sums; the local engine fills all three. A
model says what they may hold after each ``lakehouse ingest``. A run that is refused says what to do: that is done.
"""

from __future__ import annotations

import json
import random
import re
import shlex
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

import pytest
from command import lakehouse_here
from declared import with_declaration

from lakehouse.lake import Lake

BRONZE, SILVER, GOLD = "bronze.things", "silver.things", "gold.things"
BROKEN = b"\x1f\x8b\x08\x00this is no gzip"
TABLES = {
    BRONZE: {
        "files": {
            "path": "{landing}/things/",
            "engine": "local",
            "schema": "id STRING, g STRING, v BIGINT, _rescued_data STRING",
            "options": {"cloudFiles.maxFilesPerTrigger": 2},
        },
        "checks": [{"unique": "id"}],
    },
    SILVER: {"latest": {"of": BRONZE, "key": "id", "engine": "local"}},
    GOLD: {
        "rollup": {"of": SILVER, "group": {"g": "g"}, "aggregates": {"n": "count(*)", "s": "sum(v)"}, "engine": "local"}
    },
}
STEPS = {
    **{"land": 8, "ingest": 6, "change": 3, "replay": 4, "forget": 3, "optimize": 2, "vacuum": 1, "backup": 4},
    **{"restore": 4, "restore_version": 4, "repair": 2, "restart": 1, "reset": 2, "lose": 2},
}
"""How often each step is chosen."""
_COMMAND = re.compile(r"lakehouse (?:(?! && |; |   \(| or ).)+")
_DRY = ("replay", "forget", "checkpoint", "maintain")
"""Commands that only say what they would do without ``--yes``."""
_MOST_CURES = 6
_LATEST_CALL = 60


class Killed(BaseException):
    """The process ends here."""


class DyingStore:
    """The store of a process that dies at one of its calls, before the server heard of it or after; no call follows."""

    def __init__(self, store, at, before):
        self._store, self._left, self._before = store, at, before
        self._lock = threading.Lock()

    def __getattr__(self, name):
        call = getattr(self._store, name)
        if not callable(call):
            return call

        def counted(*arguments, **more):
            with self._lock:
                self._left -= 1
                left = self._left
            if left < 0 or (left == 0 and self._before):
                raise Killed
            found = call(*arguments, **more)
            found = list(found) if name == "list" else found
            if left == 0:
                raise Killed
            return found

        return counted


@dataclass
class Operators:
    """The pipeline, and what it may hold.

    Attributes:
        lake: Its lake.
        chance: What decides.
        kills: The share of commands that are killed, and given again.
        landed: The version of each file's content; None: it cannot be read.
        versions: All versions that a file had and that can be read.
        forgotten: Rows that were removed on purpose.
        returned: Those of them that may be there again: their file was loaded again, or an older version of the table.
        waiting: Files that are to be loaded again.
        story: What was done, for whoever reads a failure.
    """

    lake: Lake
    chance: random.Random
    kills: float
    landed: dict[str, int | None] = field(default_factory=dict)
    versions: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    forgotten: set[str] = field(default_factory=set)
    returned: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    story: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, lake, folder, seed, kills):
        return cls(with_declaration(lake, folder, json.dumps({"tables": TABLES})), random.Random(seed), kills)

    def play(self, steps):
        """So many steps, and an ingest at the end."""
        for _ in range(steps):
            getattr(self, self.chance.choices(list(STEPS), list(STEPS.values()))[0])()
        self.ingest()

    # the bucket

    def land(self):
        for _ in range(self.chance.randint(1, 3)):
            broken = self.chance.random() < 0.1
            self._write(f"{len(self.landed):03}.json{'.gz' * broken}", None if broken else 1)

    def change(self):
        names = [name for name, version in self.landed.items() if version is not None]
        if names:
            name = self.chance.choice(names)
            self._write(name, self.landed[name] + 1)

    def _write(self, name, version):
        settings = self.lake.settings
        lines = [json.dumps(row) for row in self._rows(name, version)] if version else []
        data = "\n".join(lines).encode() if version else BROKEN
        self.lake.store.write(settings.landing_bucket, f"{settings.landing_prefix}things/{name}", data)
        self.landed[name] = version
        if version:
            self.versions[name].add(version)

    def _rows(self, name, version):
        """A file's rows; other versions have other values, and another number of rows."""
        number = int(name[:3])
        return [
            {"id": f"{name}/{row}", "g": "abc"[(number + row) % 3], "v": 1000 * number + 10 * row + version}
            for row in range(1 + number % 3 + version % 2)
        ]

    # commands

    def ingest(self):
        for _ in range(_MOST_CURES):
            done = self._command("ingest", "--json")
            if not done.returncode:
                self.waiting.clear()
                self._hold(json.loads(done.stdout))
                return
            self._follow(done)
        raise AssertionError(self._story_and("the cures have no end"))

    def replay(self):
        if self.landed and self.lake.version(BRONZE) is not None:
            names = self.chance.sample(sorted(self.landed), min(len(self.landed), self.chance.randint(1, 3)))
            files = [word for name in names for word in ("--files", name)]
            self._command("replay", "--table", BRONZE, *files, "--yes")
            self._may_return(names)

    def forget(self):
        ids = sorted(row["id"] for row in self._table(BRONZE))
        if ids:
            chosen = self.chance.choice(ids)
            self.forgotten.add(chosen)
            done = self._command("forget", BRONZE, "--where", f"id = '{chosen}'", "--then", "follow", "--yes")
            gone = done.returncode == 0 and not self.kills and not self.waiting
            (self.returned.discard if gone else self.returned.add)(chosen)

    def optimize(self):
        self._command("maintain", "optimize", "--least-fewer", "1", "--yes")

    def vacuum(self):
        self._command("maintain", "vacuum", "--retention-hours", "0", "--yes")

    def backup(self):
        self._command("checkpoint", "backup", self.chance.choice([BRONZE, BRONZE, SILVER, GOLD]))

    def restore(self):
        table = self.chance.choice([BRONZE, BRONZE, SILVER, GOLD])
        more = ["--with-table"] if self.chance.random() < 0.4 else []
        self._command("checkpoint", "restore", table, *more, "--yes")
        self._may_return()

    def restore_version(self):
        if newest := self.lake.version(BRONZE):
            version = self.chance.randint(max(0, newest - 4), newest - 1)
            self._command("maintain", "restore-version", BRONZE, str(version), "--then", "follow", "--yes")
            self._may_return()

    def repair(self):
        self._command("checkpoint", "repair", self.chance.choice([BRONZE, SILVER, GOLD]), "--yes")

    def restart(self):
        self._command("checkpoint", "restart", self.chance.choice([SILVER, GOLD]), "--yes")

    def reset(self):
        table = self.chance.choice([BRONZE, SILVER, GOLD])
        rows = self.chance.choice([[], [], ["--rows", "replace"], ["--rows", "empty"]])
        self._command("checkpoint", "reset", table, *rows, "--yes")
        if table == BRONZE:
            self._may_return(self.landed)

    def lose(self):
        """A checkpoint is gone, or a part of it."""
        table, part = self.chance.choice([BRONZE, SILVER, GOLD]), self.chance.choice(["", "offsets/", "commits/"])
        settings = self.lake.settings
        self.lake.store.delete_prefix(settings.bucket, f"{settings.user}/_checkpoints/{table}/{part}")
        self.story.append(f"lost: {table} {part}")

    def _may_return(self, files=()):
        self.waiting.update(files)
        self.returned |= self.forgotten

    def _command(self, *words):
        """Gives a command; one that is killed is given again."""
        if self.chance.random() < self.kills:
            at, before = self.chance.randint(1, _LATEST_CALL), self.chance.random() < 0.5
            with pytest.MonkeyPatch.context() as patch:
                opened = Lake.open

                def dying(*arguments, **more):
                    lake = opened(*arguments, **more)
                    return replace(lake, store=DyingStore(lake.store, at, before))

                patch.setattr(Lake, "open", staticmethod(dying))
                try:
                    self._given(*words)
                except Killed:
                    self.story.append(f"killed {'before' if before else 'after'} call {at}: {' '.join(words)}")
            self.returned |= self.forgotten
        return self._given(*words)

    def _given(self, *words):
        names = ("home", "user", "bucket", "landing_prefix", "declaration")
        environment = {f"LAKEHOUSE_{name.upper()}": str(getattr(self.lake.settings, name)) for name in names}
        done = lakehouse_here({**environment, "LAKEHOUSE_AFTER_REMOVALS": "follow"}, *words)
        output = done.stderr or done.stdout
        end = " | ".join(output.strip().splitlines()[-4:])[:300]
        self.story.append(f"{' '.join(words)} -> {done.returncode} {end}")
        assert "Traceback" not in output, self._story_and(output)
        return done

    def _follow(self, done):
        """Does the first command that a refused run prints as the way out."""
        report = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        failed = [
            check["next_command"] for check in report.get("checks", []) if check["blocks"] and not check["passed"]
        ]
        ways = [line for line in done.stderr.splitlines() if line.strip().startswith("next")]
        commands = [found.group().strip() for way in (*failed, *ways) for found in _COMMAND.finditer(way)]
        if not commands:
            assert "run the same again" in done.stdout + done.stderr, self._story_and(done.stdout + done.stderr)
            return
        _, *words = shlex.split(commands[0])
        self._command(*words, *(["--yes"] if words[0] in _DRY and "--yes" not in words else []))
        self._may_return(self.landed)

    # what must be

    def _hold(self, report):
        red = {check["check"] for check in report["checks"] if not check["passed"]}
        assert red <= ({"no_quarantined_files"} if None in self.landed.values() else set()), self._story_and(red)
        rows = self._table(BRONZE)
        often = {id_: count for id_, count in Counter(row["id"] for row in rows).items() if count > 1}
        assert not often, self._story_and(f"more than once: {often}")
        held = defaultdict(dict)
        for row in rows:
            held[row["id"].split("/")[0]][row["id"]] = row["v"]
        for name, versions in self.versions.items():
            assert any(self._fits(name, version, held[name]) for version in versions), self._story_and(
                f"{name} has {held[name]}; forgotten {self.forgotten}, perhaps back {self.returned}"
            )
        assert _by_id(self._table(SILVER)) == _by_id(rows), self._story_and("silver is not what bronze gives")
        sums = defaultdict(lambda: [0, 0])
        for row in rows:
            sums[row["g"]] = [sums[row["g"]][0] + 1, sums[row["g"]][1] + row["v"]]
        assert {row["g"]: [row["n"], row["s"]] for row in self._table(GOLD)} == sums, self._story_and(
            "gold is not the sums"
        )

    def _fits(self, name, version, held):
        """Whether a file's rows are those of that version, without some that were forgotten."""
        whole = {row["id"]: row["v"] for row in self._rows(name, version)}
        lacks = whole.keys() - held.keys()
        right = all(whole.get(id_) == value for id_, value in held.items())
        return right and lacks <= self.forgotten and not held.keys() & (self.forgotten - self.returned)

    def _table(self, name):
        rows = self.lake.rows(name)
        return rows.to_table().to_pylist() if rows is not None else []

    def _story_and(self, what):
        return "\n".join([*self.story, str(what)])


def _by_id(rows):
    return sorted((row["id"], row["g"], row["v"]) for row in rows)
