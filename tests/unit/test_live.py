"""The line that tells what a silent command does."""

import io
import queue
import threading

import pytest

from lakehouse.cli.live import LiveLine


class Screen(io.StringIO):
    """Standard error; each text that is written can be awaited."""

    def __init__(self, terminal):
        super().__init__()
        self._terminal, self.written = terminal, queue.Queue()

    def isatty(self):
        return self._terminal

    def write(self, text):
        self.written.put(text)
        return super().write(text)


def live(terminal, **more):
    screen = Screen(terminal)
    return screen, LiveLine(screen, **{"silent_seconds": 0.01, "plain_seconds": 0.01, **more})


def test_on_a_terminal_the_line_is_written_over_and_gone_before_anything_else():
    screen, line = live(terminal=True)
    with line:
        line.doing("bronze.x: checking it")
        assert screen.written.get(timeout=30) == "\r\x1b[2K bronze.x: checking it, 0 s"
        line.clear()
        assert "\n" not in screen.getvalue()
        assert screen.getvalue().endswith("\r\x1b[2K")
    assert screen.getvalue().endswith("\r\x1b[2K")


def test_elsewhere_lines_come_one_after_the_other_without_marks_of_terminals():
    screen, line = live(terminal=False)
    with line:
        line.doing("a key \x1b[31m")
        assert [screen.written.get(timeout=30) for _ in range(2)] == [" a key \\x1b[31m, 0 s\n"] * 2


@pytest.mark.parametrize("terminal", [True, False])
def test_a_quick_command_and_one_that_says_nothing_write_no_line(terminal):
    screen, line = live(terminal, silent_seconds=3600, plain_seconds=3600)
    with line:
        line.doing("quick")
    assert screen.getvalue() == ""
    screen, line = live(terminal)
    with line:
        line.doing("")
    assert screen.getvalue() == ""


def test_its_thread_ends_with_the_command():
    _, line = live(terminal=False)
    with line:
        line.doing("x")
    for thread in threading.enumerate():
        if thread.name == "live line":
            thread.join(30)
            assert not thread.is_alive()


def test_a_standard_error_that_is_closed_ends_no_command():
    screen, line = live(terminal=False)
    with line:
        screen.close()
        line.doing("x")
        line.clear()
