import signal
import subprocess
import sys
import threading

import pytest

from flipbench.interrupts import held_back, unheard


@pytest.fixture(autouse=True)
def heard():
    """A background job's processes ignore Ctrl-C; these hear it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_what_is_held_back_is_heard_at_the_end():
    done = []

    @held_back()
    def work():
        signal.raise_signal(signal.SIGINT)
        done.append("the import")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the import"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with held_back():
        pass


def test_an_error_within_is_not_lost():
    with pytest.raises(ValueError, match="within"), held_back():
        raise ValueError("within")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_may_hold_back():
    ended = []

    def work():
        with held_back():
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]


def test_a_process_started_unheard_outlives_what_its_parent_hears_of():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('lives')"
    with unheard():
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.communicate(timeout=60)[0] == "lives\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(KeyboardInterrupt), unheard():
        signal.raise_signal(signal.SIGINT)
