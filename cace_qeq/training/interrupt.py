"""Ctrl-C as a request to stop after the current step."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME = 1.0  # s, in which a signal that comes again is the same wish: terminals, launchers and parents all pass it on


class StopRequest:
    """While entered, the first signal to stop sets `requested`; a later one acts as usual.

    on_request  is told the first signal
    """

    def __init__(self, on_request: Callable[[int], None] = lambda number: None) -> None:
        self.requested = False
        self.on_request = on_request
        self._time = 0.0
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._time = True, time.monotonic()
            self.on_request(number)
        elif time.monotonic() > self._time + SAME:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
