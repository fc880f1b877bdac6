"""Sample orders: realistic files with known flaws, and a report that says exactly what was written.

A series is numbered files. Each file is a pure function of the seed, its number and the arguments, so the same call
writes the same bytes, and a later call with ``first_file=12`` goes on where twelve files ended.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

from lakehouse.errors import ConfigurationError

FIELDS = ("order_id", "customer_id", "order_date", "total_amount", "payment_method", "product_id", "quantity")
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
FILE_SPAN_SECONDS = 300
WATERMARK_DELAY_SECONDS = 600
WINDOW_SECONDS = 300

_PAYMENT_METHODS = ("card", "blik", "transfer", "cash")
_PAYMENT_WEIGHTS = (50, 25, 15, 10)
_PRICES_CENTS = tuple(499 + 1370 * number % 24_000 for number in range(40))
_CUSTOMERS = 500
_BAD_DATES = ('"2026-13-45 10:00:00"', '"yesterday"', '""', "null", '"01.02.2026 10:00"')

Write = Callable[[str, bytes], object]
"""Stores one file: its name (no folder) and its whole content."""


class _Order(NamedTuple):
    order_id: str
    customer_id: str
    time: datetime
    total_cents: int
    payment_method: str
    product_id: str
    quantity: int


class _Line(NamedTuple):
    kind: str  # plain, late, duplicate, bad_date, bad_line
    text: str
    time: datetime | None  # None when the text has no readable time
    new_column: bool


@dataclass(frozen=True)
class GeneratedFile:
    """One file as written.

    Attributes:
        name: Its name, without a folder.
        rows: Lines in it, bad ones included.
        size_bytes: Its length.
        bad_lines: Lines that are no valid order.
    """

    name: str
    rows: int
    size_bytes: int
    bad_lines: int


@dataclass(frozen=True)
class GeneratedOrders:
    """What one call wrote. Counts add up over the calls of one series.

    Attributes:
        seed: The seed of the series.
        files: The files in order.
        rows: Lines, bad ones included.
        size_bytes: Sum of the files' lengths.
        distinct_order_ids: Orders delivered here for the first time in the series, on valid lines.
        duplicate_rows: Lines that repeat an order of an earlier line or of the file before.
        late_rows: Valid rows older than the newest event time of the files before theirs.
        dropped_if_streamed_rows: Those late rows whose window is closed for sure when all files before theirs were
            streamed in earlier runs (watermark 10 minutes, windows of 5 minutes): silver cannot count them.
        bad_lines: Lines that are no valid order: cut off, no JSON, or with a word for the quantity.
        bad_date_rows: Valid lines without a readable ``order_date``.
        new_column_rows: Valid lines that have the new column.
        min_event_time: Oldest readable event time, UTC.
        max_event_time: Newest readable event time, UTC.
    """

    seed: int
    files: tuple[GeneratedFile, ...]
    rows: int
    size_bytes: int
    distinct_order_ids: int
    duplicate_rows: int
    late_rows: int
    dropped_if_streamed_rows: int
    bad_lines: int
    bad_date_rows: int
    new_column_rows: int
    min_event_time: datetime
    max_event_time: datetime

    def line(self) -> str:
        """The sum in one line."""
        shares = {"late": self.late_rows, "duplicate": self.duplicate_rows, "bad": self.bad_lines}
        special = "".join(f", {count:,} {name}" for name, count in shares.items() if count)
        times = f"{self.min_event_time:%Y-%m-%d %H:%M:%S} to {self.max_event_time:%H:%M:%S}"
        return f"wrote {len(self.files)} files, {self.rows:,} rows{special}, event time {times}"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: times are ISO 8601 text in UTC."""
        times = {name: f"{getattr(self, name):%Y-%m-%dT%H:%M:%SZ}" for name in ("min_event_time", "max_event_time")}
        return {**asdict(self), "files": [asdict(file) for file in self.files], **times}


def file_name(number: int) -> str:
    """``orders_stream_007.json``; from 1000 on the number simply grows longer."""
    return f"orders_stream_{number:03d}.json"


def generate_orders(
    write: Write,
    *,
    files: int = 12,
    rows_per_file: int = 250,
    seed: int = 7,
    start: str = "2026-01-01 10:00:00",
    file_span_seconds: int = FILE_SPAN_SECONDS,
    late_share: float = 0.02,
    duplicate_share: float = 0.0,
    bad_line_share: float = 0.0,
    bad_date_share: float = 0.0,
    new_column: str | None = None,
    new_column_from_file: int | None = None,
    first_file: int = 0,
) -> GeneratedOrders:
    """Writes line-delimited JSON order files, one ``write`` each, in order.

    Event time moves on by ``file_span_seconds`` a file. The last row of a file is always good and the newest, so later
    files know how far time has come. Shares are of a file's lines, spread evenly over the series; where a file is too
    short for all of them it has fewer, and the report counts what is really there.

    Args:
        write: Called with a file's name and content; the caller puts its folder in front.
        files: How many files to write.
        rows_per_file: Lines in each file.
        seed: Chooses the series; order ids of two seeds never meet.
        start: Event time of the series' first second, UTC, ``yyyy-MM-dd HH:mm:ss``.
        file_span_seconds: Event time one file covers.
        late_share: Rows that come after newer files; two of three too late for silver, the third within ten minutes.
            The first file of a series has none.
        duplicate_share: Lines sent a second time, in the same file or in the next.
        bad_line_share: Lines that are no valid order.
        bad_date_share: Valid lines whose ``order_date`` cannot be read.
        new_column: A column that appears in the data.
        new_column_from_file: The first file that has it; all files of this call when left out.
        first_file: Number of the first file to write, to continue a series with otherwise equal arguments.

    Raises:
        ConfigurationError: an argument makes no sense; nothing was written.
    """
    series = _Series(
        rows_per_file=rows_per_file,
        seed=seed,
        start=_parsed_start(start),
        file_span_seconds=file_span_seconds,
        shares={
            "late": late_share,
            "duplicate": duplicate_share,
            "bad_line": bad_line_share,
            "bad_date": bad_date_share,
        },
        new_column=new_column,
        new_column_from_file=_column_start(new_column, new_column_from_file, first_file),
    )
    _check_counts(files=files, first_file=first_file)
    series.check(last_file=first_file + files - 1)
    tally = _Tally()
    for number in range(first_file, first_file + files):
        lines = series.lines(number)
        data = "".join(f"{line.text}\n" for line in lines).encode()
        write(file_name(number), data)
        tally.add(file_name(number), data, lines, series.newest_before(number))
    return tally.report(seed)


@dataclass(frozen=True)
class _Series:
    rows_per_file: int
    seed: int
    start: datetime
    file_span_seconds: int
    shares: dict[str, float]
    new_column: str | None
    new_column_from_file: int | None

    def check(self, last_file: int) -> None:
        _check_counts(rows_per_file=self.rows_per_file, file_span_seconds=self.file_span_seconds)
        if self.seed < 0:
            _reject(f"seed is {self.seed}", "use 0 or more")
        for kind, share in self.shares.items():
            if not 0 <= share <= 1:
                _reject(f"{kind}_share is {share}", "use a share from 0 to 1")
        if sum(self.shares.values()) > 0.95:
            _reject("the shares add up to more than 0.95", "leave at least one row in twenty good")
        if self.new_column is not None:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.new_column):
                _reject(f"new_column is {self.new_column!r}", "use letters, digits and _")
            if self.new_column.lower() in FIELDS:
                _reject(f"new_column {self.new_column} is a column of every order", "choose another name")
            if (self.new_column_from_file or 0) < 0:
                _reject(f"new_column_from_file is {self.new_column_from_file}", "use 0 or more")
        try:
            first, last = self.start - timedelta(days=1), self._file_start(last_file + 1)
        except OverflowError:
            _reject(
                "the series runs past year 9999", "use fewer files, a shorter file_span_seconds or an earlier start"
            )
        if first.year < 1971 or last.year > 9999:
            _reject(f"start is {self.start:{DATE_FORMAT}}", "use a time after 1971")

    def _file_start(self, number: int) -> datetime:
        return self.start + timedelta(seconds=number * self.file_span_seconds)

    def newest_before(self, number: int) -> datetime | None:
        """Newest event time in the earlier files: that of the last row of the previous file."""
        return self._file_start(number) - timedelta(seconds=1) if number else None

    def _counts(self, number: int) -> dict[str, int]:
        """How many lines of a file are of each kind; rounded over the series: 2 % of 10 lines is not always 0."""

        def up_to(share: float, files: int) -> int:
            return math.floor(share * self.rows_per_file * files + 1e-9)

        counts = {kind: up_to(share, number + 1) - up_to(share, number) for kind, share in self.shares.items()}
        return counts if number else {**counts, "late": 0}

    def _kinds(self, number: int) -> list[str]:
        kinds = ["plain"] * self.rows_per_file
        wanted = [kind for kind, count in self._counts(number).items() for _ in range(count)]
        free = self.rows_per_file - 1  # the last row stays good: it carries the newest event time
        places = random.Random(f"{self.seed}/{number}/kinds").sample(range(free), min(len(wanted), free))
        for place, kind in zip(places, wanted, strict=False):
            kinds[place] = kind
        return kinds

    def _orders(self, number: int) -> list[_Order]:
        """One order a line, by time; flaws are put on top, so a share changes only the lines it hits."""
        rng = random.Random(f"{self.seed}/{number}/orders")
        seconds = sorted(rng.randrange(self.file_span_seconds) for _ in range(self.rows_per_file))
        seconds[-1] = self.file_span_seconds - 1
        orders = []
        for row, second in enumerate(seconds):
            product, quantity = rng.randrange(len(_PRICES_CENTS)), rng.choices((1, 2, 3, 4), (60, 25, 10, 5))[0]
            orders.append(
                _Order(
                    order_id=f"ORD-{self.seed}-{number:05d}-{row:06d}",
                    customer_id=f"CUST-{rng.randrange(_CUSTOMERS):04d}",
                    time=self._file_start(number) + timedelta(seconds=second),
                    total_cents=_PRICES_CENTS[product] * quantity,
                    payment_method=rng.choices(_PAYMENT_METHODS, _PAYMENT_WEIGHTS)[0],
                    product_id=f"PROD-{product:03d}",
                    quantity=quantity,
                )
            )
        return orders

    def _plain_lines(self, number: int) -> list[_Line]:
        orders = zip(self._orders(number), self._kinds(number), strict=True)
        return [self._line("plain", number, row, order) for row, (order, kind) in enumerate(orders) if kind == "plain"]

    def lines(self, number: int) -> list[_Line]:
        """The file's lines, flaws included."""
        rng = random.Random(f"{self.seed}/{number}/flaws")
        kinds = self._kinds(number)
        previous = self._plain_lines(number - 1) if number and "duplicate" in kinds else []
        lines: list[_Line] = []
        for row, (order, kind) in enumerate(zip(self._orders(number), kinds, strict=True)):
            if kind == "late":
                lines.append(self._line(kind, number, row, order._replace(time=self._late_time(number, row, rng))))
            elif kind == "duplicate":
                here = [line for line in lines if line.kind == "plain"]
                originals = here if here and (not previous or rng.random() < 0.5) else previous
                again = (
                    rng.choice(originals)._replace(kind=kind) if originals else self._line("plain", number, row, order)
                )
                lines.append(again)
            else:
                lines.append(self._line(kind, number, row, order))
        return lines

    def _late_time(self, number: int, row: int, rng: random.Random) -> datetime:
        newest = self._file_start(number) - timedelta(seconds=1)
        too_late = (
            WATERMARK_DELAY_SECONDS + WINDOW_SECONDS
        )  # its window ends at or before the watermark, wherever it falls
        behind = rng.randint(1, WATERMARK_DELAY_SECONDS) if row % 3 == 0 else rng.randint(too_late, 3 * too_late)
        return newest - timedelta(seconds=behind)

    def _line(self, kind: str, number: int, row: int, order: _Order) -> _Line:
        date = f'"{order.time:{DATE_FORMAT}}"' if kind != "bad_date" else _BAD_DATES[row % len(_BAD_DATES)]
        quantity = str(order.quantity) if kind != "bad_line" else '"several"'
        has_new_column = self.new_column_from_file is not None and number >= self.new_column_from_file
        text = (
            f'{{"order_id": "{order.order_id}", "customer_id": "{order.customer_id}", "order_date": {date}, '
            f'"total_amount": {order.total_cents // 100}.{order.total_cents % 100:02d}, '
            f'"payment_method": "{order.payment_method}", "product_id": "{order.product_id}", "quantity": {quantity}'
        )
        if has_new_column:
            text += f", {json.dumps(self.new_column)}: {json.dumps(f'{self.new_column}-{row % 5}')}"
        text += "}"
        if kind == "bad_line" and row % 3:
            text = text[: len(text) // 2] if row % 3 == 1 else f"ERROR order service did not answer, line {row}"
        valid = kind != "bad_line"
        time = order.time if valid and kind != "bad_date" else None
        return _Line(kind, text, time, has_new_column and valid)


class _Tally:
    """Counts lines as they are written."""

    def __init__(self) -> None:
        self.files: list[GeneratedFile] = []
        self.kinds: dict[str, int] = {}
        self.late = self.dropped = self.new_column = 0
        self.oldest, self.newest = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)

    def add(self, name: str, data: bytes, lines: list[_Line], newest_before: datetime | None) -> None:
        bad_lines = 0
        for line in lines:
            self.kinds[line.kind] = self.kinds.get(line.kind, 0) + 1
            bad_lines += line.kind == "bad_line"
            self.new_column += line.new_column
            if line.time is None:
                continue
            self.oldest, self.newest = min(self.oldest, line.time), max(self.newest, line.time)
            if newest_before is not None and line.time < newest_before:
                self.late += 1
                watermark = newest_before - timedelta(seconds=WATERMARK_DELAY_SECONDS)
                self.dropped += _window_end(line.time) <= watermark
        self.files.append(GeneratedFile(name, len(lines), len(data), bad_lines))

    def report(self, seed: int) -> GeneratedOrders:
        bad_lines, duplicates = self.kinds.get("bad_line", 0), self.kinds.get("duplicate", 0)
        rows = sum(file.rows for file in self.files)
        return GeneratedOrders(
            seed=seed,
            files=tuple(self.files),
            rows=rows,
            size_bytes=sum(file.size_bytes for file in self.files),
            distinct_order_ids=rows - bad_lines - duplicates,
            duplicate_rows=duplicates,
            late_rows=self.late,
            dropped_if_streamed_rows=self.dropped,
            bad_lines=bad_lines,
            bad_date_rows=self.kinds.get("bad_date", 0),
            new_column_rows=self.new_column,
            min_event_time=self.oldest,
            max_event_time=self.newest,
        )


def _window_end(time: datetime) -> datetime:
    seconds = int(time.timestamp())
    return datetime.fromtimestamp(seconds - seconds % WINDOW_SECONDS + WINDOW_SECONDS, UTC)


def _parsed_start(start: str) -> datetime:
    try:
        return datetime.strptime(start, DATE_FORMAT).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        _reject(f"start is {start!r}", "write it like 2026-01-01 10:00:00")


def _column_start(new_column: str | None, from_file: int | None, first_file: int) -> int | None:
    if new_column is None:
        if from_file is not None:
            _reject("new_column_from_file needs new_column", "name the column, or leave both out")
        return None
    return first_file if from_file is None else from_file


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        least = 0 if name == "first_file" else 1
        if not least <= count <= 10_000_000:
            _reject(f"{name} is {count}", f"use {least} to 10,000,000")


def _reject(what: str, next_command: str) -> NoReturn:
    raise ConfigurationError(
        f"cannot generate orders: {what}", where="sample orders", state="nothing was written", next_command=next_command
    )
