import os
import signal
from collections.abc import Iterator

import pytest

from cace_qeq.training import interrupt
from cace_qeq.training.interrupt import StopRequest


@pytest.fixture
def usual_handler() -> Iterator[None]:
    """Python's own: whoever starts the tests in the background may have told them to ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_handler")
def test_the_first_interrupt_asks_and_a_later_one_interrupts(monkeypatch):
    monkeypatch.setattr(interrupt, "SAME", 0.0)
    told = []
    with StopRequest(told.append) as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert told == [signal.SIGINT]


@pytest.mark.usefixtures("usual_handler")
def test_a_signal_that_is_passed_on_twice_is_one():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
