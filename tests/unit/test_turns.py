"""Tables that have nothing to do with each other run side by side; all others in their order."""

import _thread
import contextvars
import threading
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.turns import Turns

SECONDS = 20
"""For what never comes; a test that passes does not wait."""


class World:
    """Takes down what ran when."""

    def __init__(self, *pairs, beside=lambda table, others: True):
        self.pairs, self.beside = {frozenset(pair) for pair in pairs}, beside
        self.lock, self.began, self.ended, self.most, self.threads = threading.Lock(), [], [], 0, {}
        self.asked = [threading.Event(), threading.Event()]
        self.stops = 0

    def related(self, one, other):
        return one == other or frozenset((one, other)) in self.pairs

    def stop(self):
        self.asked[self.stops].set()
        self.stops += 1

    def take(self, tables, act=lambda table: None):
        def run(table):
            with self.lock:
                self.began.append(table)
                self.threads[table] = threading.current_thread()
                running = len(self.began) - len(self.ended)
                self.most = max(self.most, running)
                others = [name for name in self.began if name not in self.ended and name != table]
                assert not any(self.related(table, name) for name in others)
            try:
                act(table)
            finally:
                with self.lock:
                    self.ended.append(table)

        Turns(tables, related=self.related, beside=self.beside, run=run, stop=self.stop).take()


def test_two_that_are_not_related_run_at_once_and_what_needs_both_afterwards():
    world, both = World("ac", "bc"), threading.Barrier(2)
    world.take("abc", lambda table: both.wait(SECONDS) if table != "c" else None)
    assert set(world.ended[:2]) == {"a", "b"} and world.ended[2] == "c"
    assert world.threads["c"] is threading.current_thread() is not world.threads["a"]


def test_related_ones_keep_the_order_in_which_they_were_named():
    world = World("ab", "bc")
    world.take("cab")
    assert world.ended.index("c") < world.ended.index("b") > world.ended.index("a")
    again = World()
    again.take("aa")
    assert again.ended == ["a", "a"]


def test_alone_a_table_is_run_by_the_thread_that_asks():
    world = World(beside=lambda table, others: not others)
    world.take("abc")
    assert (world.ended, world.most) == (["a", "b", "c"], 1)
    assert set(world.threads.values()) == {threading.current_thread()}


@given(st.integers(1, 7).flatmap(lambda many: st.tuples(
    st.permutations("abcdefg"[:many]), st.sets(st.sampled_from([*combinations("abcdefg"[:many], 2), ("a", "a")])),
    st.sets(st.sampled_from("abcdefg"[:many])),
)))  # fmt: skip
@settings(max_examples=60, database=None)
def test_each_runs_once_two_at_most_and_related_ones_in_their_order(drawn):
    tables, pairs, alone = drawn
    world = World(*pairs, beside=lambda table, others: not others or not alone & {table, *others})
    world.take(tables)
    assert sorted(world.ended) == sorted(tables) and world.most <= 2
    for one, other in combinations(tables, 2):
        if world.related(one, other):
            assert world.began.index(one) < world.began.index(other)


def test_what_one_raises_ends_the_other_and_begins_no_further_one():
    world = World()

    def act(table):
        if table == "a":
            assert world.asked[0].wait(SECONDS)
        else:
            raise ValueError(table)

    with pytest.raises(ValueError, match="b"):
        world.take("abc", act)
    assert (sorted(world.began), world.stops) == (["a", "b"], 1)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_asks_for_the_end_of_both_and_again_for_the_end_at_once(times):
    world, both = World(), threading.Barrier(2)

    def act(table):
        both.wait(SECONDS)
        for number in range(times):
            if table == "a":
                _thread.interrupt_main()
            assert world.asked[number].wait(SECONDS)

    with pytest.raises(KeyboardInterrupt):
        world.take("abc", act)
    assert (sorted(world.began), world.stops) == (["a", "b"], times)


def test_a_run_beside_another_is_in_the_context_of_the_caller():
    told, seen, both = contextvars.ContextVar("told"), {}, threading.Barrier(2)
    told.set("the span of the command")

    def act(table):
        both.wait(SECONDS)
        seen[table] = told.get()

    World().take("ab", act)
    assert set(seen.values()) == {"the span of the command"}
