"""What tasks leave about their files: attempts that died, batches that were cut anew, twins."""

from store.landed import ROW, SCHEMA

from lakehouse.autoloader.outcomes.receipt_log import read_receipts
from lakehouse.autoloader.outcomes.receipts import Receipt, State, TaskReceipts
from lakehouse.autoloader.reading.probe import KILLS_ITS_READER

DEADLY = b'{"a": 666}\n'


def receipts_of(lake, part="00000", plan="p"):
    return TaskReceipts(lake.store, lake.settings.bucket, "journal/", "stream", 3, part, plan)


def test_every_attempt_says_what_became_of_the_one_before_it(lake):
    assert not receipts_of(lake).begin().died
    assert receipts_of(lake).begin().died
    again = receipts_of(lake)
    again.begin()
    again.give_up()
    assert not receipts_of(lake).begin().died, "it ended with an error, not without a word"
    assert receipts_of(lake).begin().died, "but the one after it did not end"
    done = receipts_of(lake)
    done.begin()
    done.finish([Receipt(1, 0, 0, State.QUARANTINED, KILLS_ITS_READER)])
    known = receipts_of(lake).begin()
    assert not known.died
    assert [receipt.error for receipt in known.receipts] == [KILLS_ITS_READER]
    assert receipts_of(lake).begin().died


def test_a_straggler_that_gives_up_leaves_its_twins_receipts_alone(lake):
    straggler, twin = receipts_of(lake), receipts_of(lake)
    straggler.begin()
    twin.begin()
    twin.finish([Receipt(1, 0, 5, State.INGESTED)])
    straggler.give_up()
    assert [
        written.receipt.rows for written in read_receipts(lake.store, lake.settings.bucket, "journal/", "stream")
    ] == [5]


def test_a_batch_that_is_cut_anew_is_told_by_its_last_cut(world):
    world.put("large.json", ROW * 50)
    world.put("small.json", ROW)
    split = {"maxPartitionBytes": "100b", "minPartitions": "4"}
    assert len(world.run(commit=False, **split)) == 51
    stream = world.stream(**split)
    stream._source.fetcher.is_there = lambda file: False  # a HEAD that failed once: then the file is in one part
    start = world.one["start"]
    stream.fix_target()
    end = stream.next_end(start, max_files=2, max_bytes=None)
    for task in stream.parts(start, end):
        assert sum(batch.num_rows for batch in stream.read(task, SCHEMA)) in (50, 1)
    assert {name: state.rows for name, state in world.states().items()} == {"large.json": 50, "small.json": 1}


def test_a_task_that_is_done_again_leaves_out_at_once_what_was_found_to_kill_its_reader(world):
    world.put("deadly.json")
    world.put("good.json")
    world.run(commit=False)
    stream, start = world.stream(), world.one["start"]
    stream.fix_target()
    tasks = stream.parts(start, stream.next_end(start, max_files=2, max_bytes=None))
    for task in tasks:
        place = (*stream._source.journal_place, task.stream, task.end, f"{task.number:05d}", task.plan)
        deadly = [span for span in task.spans if span.key.endswith("deadly.json")]
        found = [Receipt(span.seq, span.start, 0, State.QUARANTINED, KILLS_ITS_READER) for span in deadly]
        TaskReceipts(world.lake.store, *place).finish(found or [Receipt(99, 0, 0, State.INGESTED)])
    assert [name for name, *_ in world.run()] == ["good.json"]
    assert world.states()["deadly.json"].error == KILLS_ITS_READER
