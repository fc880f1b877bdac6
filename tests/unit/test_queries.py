"""How a query is looked at: the engine is asked to tell its end, each batch is told once, and a stop is heard."""

import pytest

from lakehouse.streams.queries import StopRequest, batches


def worked(number):
    return {"batchId": number, "timestamp": f"t{number}", "durationMs": {"addBatch": 1}}


class Query:
    """A query whose life is a list: at each wait or look it has done so many batches; None is its end."""

    def __init__(self, *life, problem=None):
        self.life, self.done, self.problem = list(life), 0, problem
        self.asked, self.stopped = [], False

    def _goes_on(self):
        step = self.life.pop(0) if self.life else None
        if isinstance(step, Exception):
            raise step
        self.done = self.done if step is None else step
        return step is None

    def awaitTermination(self, seconds):  # noqa: N802
        self.asked.append("end")
        ended = self._goes_on()
        if ended and self.problem:
            raise self.problem
        return ended

    @property
    def isActive(self):  # noqa: N802
        self.asked.append("active")
        return not self.stopped and bool(self.life)

    @property
    def lastProgress(self):  # noqa: N802
        self.asked.append("last")
        return worked(self.done - 1) if self.done else None

    @property
    def recentProgress(self):  # noqa: N802
        self.asked.append("all")
        return [worked(number) for number in range(self.done)]

    @property
    def status(self):
        return {"isTriggerActive": bool(self.life)}

    def exception(self):
        return self.problem

    def stop(self):
        self.stopped = True


class Elsewhere(Query):
    """One that is asked by requests."""

    __module__ = "pyspark.sql.connect.streaming.query"


def look_at(query, stop=None, ends=True, still_ours=lambda: None):
    told = {"poll_seconds": 0.001, "stop": stop or StopRequest(), "on_alive": lambda: None, "still_ours": still_ours}
    return batches(query, **told, ends=ends)


def numbers(found):
    return [progress["batchId"] for progress in found]


def test_the_engine_tells_the_end_and_is_asked_no_more_than_that():
    query = Elsewhere(0, 1, 1, 3)
    assert numbers(look_at(query)) == [0, 1, 2]
    assert query.asked == ["last", "end", "last", "end", "last", "end", "last", "end", "last", "all", "end", "last"]


def test_batches_that_were_done_before_the_first_look_are_told():
    query = Elsewhere()
    query.done = 2
    assert numbers(look_at(query)) == [0, 1]


def test_a_query_that_ended_with_an_error_raises_it_behind_its_batches():
    query = Elsewhere(1, problem=ValueError("of the query"))
    seen = []
    with pytest.raises(ValueError, match="of the query"):
        for progress in look_at(query):
            seen.append(progress["batchId"])
    assert seen == [0]


def test_a_request_that_fails_is_not_taken_for_the_end():
    query = Elsewhere(1, ConnectionError("a request"), 2)
    assert numbers(look_at(query)) == [0, 1]


def test_a_stop_is_heard_and_the_batch_that_runs_is_told():
    stop, query = StopRequest(), Elsewhere(1, 1, 1, 1)
    found = look_at(query, stop)
    assert next(found)["batchId"] == 0
    stop.ask()
    query.done = 2
    assert numbers(found) == [1]
    assert query.stopped


def test_a_writer_that_lost_its_lease_ends_at_the_next_look():
    def lost():
        raise PermissionError("the lease")

    with pytest.raises(PermissionError):
        list(look_at(Elsewhere(1, 1, 1), still_ours=lost))


@pytest.mark.parametrize(("kind", "ends"), [(Query, True), (Elsewhere, False)])
def test_one_of_this_process_or_without_an_end_is_looked_at_so_that_a_stop_is_heard_at_once(kind, ends):
    query = kind(1)
    query.done = 1
    found = look_at(query, ends=ends)
    assert next(found)["batchId"] == 0
    query.life.clear()
    assert numbers(found) == []
    assert "end" not in query.asked and "active" in query.asked
