"""One task's part of a batch: fetched ahead, parsed in large pieces, handed to Spark as Arrow batches.

Memory stays bounded whatever the files' sizes. It holds what is fetched ahead, a piece of lines, and the piece's rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import IO, Protocol

import numpy as np
import pyarrow as pa
from pyspark.sql.types import StructType

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.formats.encoding import BEGINNING_BYTES, refuse_wide
from lakehouse.autoloader.formats.rows import BadFile, PathAt, Rows, bad_table, raise_if_environment, refuse_large
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import key_uri, plain_uri
from lakehouse.autoloader.outcomes.bad_records import StagedRecords
from lakehouse.autoloader.outcomes.receipts import Receipt, State
from lakehouse.autoloader.reading.decompress import compression_of, refuse_disguised, unpack
from lakehouse.autoloader.reading.fetch import Changed, Fetcher, Vanished
from lakehouse.autoloader.reading.loaded import Loaded
from lakehouse.autoloader.schema.evolve import Learner, lines_of
from lakehouse.errors import LakehouseError, StreamFailed

_THREADS = 8
_AHEAD_BYTES = 48 << 20
_AHEAD_FILES = 256
_PIECE_BYTES = 8 << 20
_PIECE_FILES = 2_000
_IN_MEMORY_BYTES = 64 << 20
_NOT_THE_FILES_FAULT = (ImportError, NameError)


class Format(Protocol):
    """What reading needs of a file format."""

    @property
    def lines(self) -> bool:
        """Whether files are independent lines: then they can be split, packed and joined."""
        ...

    def parse_lines(self, data: bytes, path_at: PathAt) -> Rows:
        """Rows of joined lines; only for formats of lines."""
        ...

    def knowing(self, columns: StructType) -> Format:
        """The same format with these columns of files, to look at rows that are not loaded."""
        ...

    def parse_file(self, file: IO[bytes], span: Span, path: str) -> Iterator[Rows]:
        """Rows of one whole file; only for formats that are not lines."""
        ...


@dataclass
class Piece:
    """Lines of one file, and where they stand in it.

    Attributes:
        span: The file.
        data: Whole lines, each with its line feed.
        lines: How many lines those are.
        first_line: The number of the first line in its span.
    """

    span: Span
    data: bytes
    lines: int
    first_line: int = 0


@dataclass
class PartReader:
    """Reads one part; afterwards ``receipts`` says what became of each span, and ``staged`` has its bad records."""

    bucket: str
    fetcher: Fetcher
    format: Format
    options: CloudFilesOptions
    receipts: list[Receipt] = field(default_factory=list)
    learner: Learner | None = None
    staged: StagedRecords | None = None

    def read(self, spans: Sequence[Span]) -> Iterator[Loaded]:
        """The rows of all spans, in order.

        Raises:
            LakehouseError: for what concerns the whole batch; a single bad file only gets its receipt.
        """
        yield from self._read_lines(spans) if self.format.lines else self._read_files(spans)

    def _read_lines(self, spans: Sequence[Span]) -> Iterator[Loaded]:
        waiting: list[Piece] = []
        size = 0
        for span, fetched in self._ahead(spans, self._fetch_lines):
            for piece in self._guarded(span, fetched):
                waiting.append(piece)
                size += len(piece.data)
                if size >= _PIECE_BYTES or len(waiting) >= _PIECE_FILES:
                    yield from self._parse(waiting)
                    waiting, size = [], 0
        if waiting:
            yield from self._parse(waiting)

    def _fetch_lines(self, span: Span) -> Callable[[], Iterator[Piece]]:
        """Fetches now; what it returns unpacks and cuts later, in the order of the spans."""
        codec = compression_of(span.key)
        if codec is None:
            data, current, begin, too_long = self._lines_of(span)
            return lambda: self._plain(current, data, begin, too_long)
        if span.size_bytes > _IN_MEMORY_BYTES:
            return lambda: self._unpacked(*self._unpacked_large(span, codec))
        packed, current = self._whole(span)
        return lambda: self._unpacked(current, unpack([packed], codec, self._max_unpacked))

    @property
    def _max_unpacked(self) -> int:
        return self.options.max_decompressed_bytes

    def _unpacked_large(self, span: Span, codec: str) -> tuple[Span, IO[bytes]]:
        """A file that does not fit into memory; of a replaced file the newest version, as in ``_whole``."""
        while True:
            try:
                return span, unpack(self.fetcher.stream(span), codec, self._max_unpacked)
            except Changed:
                if self.options.allow_overwrites:
                    raise
                span = self.fetcher.newest(span)

    def _lines_of(self, span: Span) -> tuple[bytes, Span, int, int | None]:
        """The lines, the span they are of, where they begin, and where a line begins that is left out."""
        if span.whole:
            data, current = self._whole(span)
            return data, current, 0, None
        try:
            if span.start:
                # else only the first part would be refused
                refuse_disguised(self.fetcher.beginning(span), key_uri(self.bucket, span.key))
            data, begin, too_long = self.fetcher.lines(span, self.options.max_line_bytes)
        except (Vanished, Changed) as error:
            # its other parts may be read already: nothing of the batch may count; the next plan does not split the file
            raise StreamFailed(
                "a large file was replaced or removed while it was read",
                where=str(error),
                state="the batch was not committed",
                next_command="run again: what is there is loaded, or listed by: lakehouse files --state QUARANTINED",
            ) from None
        return data, span, begin, too_long

    def _whole(self, span: Span) -> tuple[bytes, Span]:
        """The file; of a replaced file the newest version, which no later batch would load."""
        while True:
            try:
                return self.fetcher.whole(span), span
            except Changed:
                if self.options.allow_overwrites:
                    raise
                span = self.fetcher.newest(span)

    def _plain(self, span: Span, data: bytes, begin: int, too_long: int | None) -> Iterator[Piece]:
        if span.start == 0:
            refuse_disguised(data, key_uri(self.bucket, span.key))
        if data and not data.endswith(b"\n"):
            data += b"\n"
        yield from self._pieces(span, data, begin)
        if too_long is not None:
            self._note(span, too_long, data.count(b"\n"))

    def _unpacked(self, span: Span, file: IO[bytes]) -> Iterator[Piece]:
        limit, done, number, rest = self.options.max_line_bytes, 0, 0, b""
        with file:
            refuse_wide(file.read(BEGINNING_BYTES), key_uri(self.bucket, span.key))
            file.seek(0)
            while block := file.read(_PIECE_BYTES):
                rest += block
                # whole lines can also stand before this block: those that followed a line that was skipped
                if cut := rest.rfind(b"\n") + 1:
                    whole, rest = rest[:cut], rest[cut:]
                    yield from self._pieces(span, whole, done, number)
                    done, number = done + cut, number + whole.count(b"\n")
                if len(rest) > limit:
                    self._note(span, done, number)
                    after, skipped = _after_line_feed(file)
                    done, number, rest = done + len(rest) + skipped, number + 1, after
            if rest or not number:
                whole = rest + b"\n" if rest and not rest.endswith(b"\n") else rest
                yield from self._pieces(span, whole, done, number)

    def _pieces(self, span: Span, data: bytes, offset: int, number: int = 0) -> Iterator[Piece]:
        """The lines that are not too long, each with the number that it has in the file."""
        limit, begin, at = self.options.max_line_bytes, 0, 0
        while len(data) - at > limit:
            if end := data.rfind(b"\n", at, at + limit + 1) + 1:
                at = end
                continue
            if at > begin:
                lines = data.count(b"\n", begin, at)
                yield Piece(span, data[begin:at], lines, number)
                number += lines
            self._note(span, offset + at, number)
            at = begin = data.find(b"\n", at + limit) + 1 or len(data)
            number += 1
        if begin < len(data) or not data:
            yield Piece(span, data[begin:], data.count(b"\n", begin), number)

    def _note(self, span: Span, at: int, number: int) -> None:
        text = f"the line that begins at byte {at:,} is longer than {self.options.max_line_bytes:,} bytes: left out"
        reason = f"LINE_TOO_LONG: {text}"
        bad = bad_table([(number, "", reason)]) if self.options.bad_records_path else None
        [count] = self._keep([span], bad, np.zeros(1, np.int64))
        self.receipts.append(Receipt(span.seq, at, 0, State.INGESTED, reason, bad_records=count))

    def _keep(self, spans: Sequence[Span], bad: pa.Table | None, owners: np.ndarray) -> list[int]:
        """Stages bad records; how many there are of each span."""
        if bad is None:
            return [0] * len(spans)
        if self.staged is not None:
            paths = [key_uri(self.bucket, span.key) for span in spans]
            for owner, count in self.staged.add(paths, spans, owners, bad).items():
                text = f"TEXT_CUT: of the text of {count:,} bad records only the beginning is kept"
                self.receipts.append(Receipt(spans[owner].seq, spans[owner].start, 0, State.INGESTED, text))
        return [int(count) for count in np.bincount(owners, minlength=len(spans))]

    def _parse(self, pieces: list[Piece]) -> Iterator[Loaded]:
        """Parses joined pieces. When that fails, it parses each alone, so that a bad piece cannot spoil the others."""
        try:
            loaded = self._joined(pieces)
        except (LakehouseError, *_NOT_THE_FILES_FAULT):
            raise
        except Exception as error:
            raise_if_environment(error, key_uri(self.bucket, pieces[0].span.key))
            if isinstance(error, BadFile) and error.reason == "MALFORMED":
                raise self._failfast(error) from error
            if len(pieces) == 1:
                self._bad(pieces[0].span, error)
                return
            for piece in pieces:
                yield from self._parse([piece])
            return
        counts = np.bincount(loaded.owners, minlength=len(pieces)).tolist()
        bad = self._keep(loaded.spans, loaded.bad, loaded.bad_owners)
        for at, piece in enumerate(pieces):
            done = Receipt(piece.span.seq, piece.span.start, counts[at], State.INGESTED, bad_records=bad[at])
            self.receipts.append(done)
        yield loaded

    def _joined(self, pieces: list[Piece]) -> Loaded:
        ends = np.cumsum([piece.lines for piece in pieces])
        starts = ends - np.array([piece.lines for piece in pieces])
        first = np.array([piece.first_line for piece in pieces])

        def path_at(line: int) -> str:
            return key_uri(self.bucket, pieces[int(np.searchsorted(ends, line, "right"))].span.key)

        data = pieces[0].data if len(pieces) == 1 else b"".join(piece.data for piece in pieces)
        rows = self.format.parse_lines(data, path_at)
        owners = np.searchsorted(ends, rows.records, "right")
        records = rows.records - starts[owners] + first[owners]
        if self.learner is not None:
            self.learner.look(
                rows,
                lambda row: (path_at(int(rows.records[row])), int(records[row])),
                lambda hits: lines_of(data, rows.records[hits].tolist()),
            )
            if self.learner.introduced:  # the rest may have further new columns; known columns cost nothing
                self.format = self.format.knowing(self.learner.grown)
        loaded = Loaded(rows.table, [piece.span for piece in pieces], owners, records)
        if rows.bad is None:
            return loaded
        lines = rows.bad["record"].to_numpy()
        owners = np.searchsorted(ends, lines, "right")
        bad = rows.bad.set_column(0, "record", pa.array(lines - starts[owners] + first[owners]))
        return replace(loaded, bad=bad, bad_owners=owners)

    def _read_files(self, spans: Sequence[Span]) -> Iterator[Loaded]:
        for span, fetched in self._ahead(spans, self._fetch_file):
            rows = bad = 0
            for loaded in self._guarded(span, fetched):
                rows += loaded.table.num_rows
                bad += self._keep(loaded.spans, loaded.bad, loaded.bad_owners)[0]
                yield loaded
            last = self.receipts[-1] if self.receipts else None
            if last is None or last.seq != span.seq or last.state == State.INGESTED:
                self.receipts.append(Receipt(span.seq, 0, rows, State.INGESTED, bad_records=bad))

    def _fetch_file(self, span: Span) -> Callable[[], Iterator[Loaded]]:
        codec = compression_of(span.key)
        if span.size_bytes > _IN_MEMORY_BYTES:
            return lambda: self._rows_of(*self._unpacked_large(span, codec or "none"))
        data, current = self._whole(span)
        return lambda: self._rows_of(current, unpack([data], codec or "none", self._max_unpacked))

    def _rows_of(self, span: Span, file: IO[bytes]) -> Iterator[Loaded]:
        path = key_uri(self.bucket, span.key)

        def again() -> IO[bytes]:
            file.seek(0)
            return file

        with file:
            # all of it before the first row goes on: a file can turn out bad near its end
            parsed: list[Rows] = []
            for rows in self.format.parse_file(file, span, path):
                refuse_large(rows.table, self.options.max_record_bytes)
                if span.size_bytes <= _IN_MEMORY_BYTES:
                    parsed.append(rows)
                elif rows.new_fields and not parsed:
                    parsed = [rows]
            for rows in parsed:
                self._learn(rows, path, again)
            if span.size_bytes > _IN_MEMORY_BYTES:
                again()
            for rows in parsed if span.size_bytes <= _IN_MEMORY_BYTES else self.format.parse_file(file, span, path):
                owners, bad_owners = (np.zeros(len(table or ()), np.int64) for table in (rows.table, rows.bad))
                yield Loaded(rows.table, [span], owners, rows.records, rows.bad, bad_owners)

    def _learn(self, rows: Rows, path: str, again: Callable[[], IO[bytes]]) -> None:
        if self.learner is not None:
            self.learner.look(rows, lambda row: (path, int(rows.records[row])), lambda _: again())

    def _guarded(self, span: Span, fetched: Future) -> Iterator:
        """The rows of a file; a receipt instead when it cannot be read."""
        try:
            yield from fetched.result()()
        except (LakehouseError, *_NOT_THE_FILES_FAULT):
            raise
        except Vanished:
            state = State.SKIPPED_MISSING if self.options.ignore_missing_files else State.QUARANTINED
            self.receipts.append(Receipt(span.seq, span.start, 0, state, "VANISHED: removed before it was read"))
        except Changed:
            text = "REPLACED: overwritten before it was read; the new version is loaded as a file of its own"
            self.receipts.append(Receipt(span.seq, span.start, 0, State.SKIPPED_MISSING, text))
        except Exception as error:
            raise_if_environment(error, key_uri(self.bucket, span.key))
            if isinstance(error, BadFile) and error.reason == "MALFORMED":
                raise self._failfast(error) from error
            self._bad(span, error)

    def _bad(self, span: Span, error: Exception) -> None:
        state = State.SKIPPED_CORRUPTED if self.options.ignore_corrupt_files else State.QUARANTINED
        text = str(error) if isinstance(error, BadFile) else f"UNREADABLE: {type(error).__name__}: {error}"
        self.receipts.append(Receipt(span.seq, span.start, 0, state, text[:500]))

    def _failfast(self, error: BadFile) -> LakehouseError:
        return StreamFailed(
            f"a record is malformed, and mode is FAILFAST: {error.detail}",
            where=plain_uri(self.bucket, ""),
            state="the batch was not committed",
            next_command="correct the file, or use mode PERMISSIVE with a column _corrupt_record",
        )

    def _ahead(self, spans: Sequence[Span], fetch: Callable[[Span], Callable]) -> Iterator[tuple[Span, Future]]:
        """Each span with its running or finished fetch. Spans are fetched ahead as far as there is memory for them."""
        queue: deque[tuple[Span, Future]] = deque()
        todo = deque(spans)
        ahead_bytes = 0
        with ThreadPoolExecutor(_THREADS) as pool:
            while todo or queue:
                while todo and (
                    not queue or (len(queue) < _AHEAD_FILES and ahead_bytes + todo[0].length <= _AHEAD_BYTES)
                ):
                    span = todo.popleft()
                    ahead_bytes += span.length
                    queue.append((span, pool.submit(fetch, span)))
                span, future = queue.popleft()
                yield span, future
                ahead_bytes -= span.length


def _after_line_feed(file: IO[bytes]) -> tuple[bytes, int]:
    """Skips the rest of a line. Returns what follows it in the last block, and how many bytes were skipped."""
    skipped = 0
    while block := file.read(_PIECE_BYTES):
        cut = block.find(b"\n")
        if cut >= 0:
            return block[cut + 1 :], skipped + cut + 1
        skipped += len(block)
    return b"", skipped
