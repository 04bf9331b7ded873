"""What training tells while it runs; the command line shows it, libraries stay silent."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from cace_qeq.training.prepare import Summary


class Reporter(Protocol):
    """Receives the events of a run. It crosses process borders before the first epoch, so it must pickle."""

    def preparing(self, n_frames: int) -> AbstractContextManager[Callable[[], None]]:
        """Entered while frames are prepared; what it gives is called after each of them."""

    def prepared(self, summary: Summary) -> None:
        """Data and model are ready."""

    def epoch_began(self, epoch: int, n_epochs: int, n_steps: int) -> None:
        """epoch  of n_epochs, counted from one"""

    def stepped(self) -> None:
        """One optimiser step is done."""

    def epoch_ended(self, record: dict[str, Any]) -> None:
        """record  the row of log.csv"""

    def ended(self) -> None:
        """No further epoch is begun, be it for an error."""


class Silent:
    """Says nothing."""

    def preparing(self, n_frames: int) -> AbstractContextManager[Callable[[], None]]:
        return nullcontext(lambda: None)

    def prepared(self, summary: Summary) -> None: ...

    def epoch_began(self, epoch: int, n_epochs: int, n_steps: int) -> None: ...

    def stepped(self) -> None: ...

    def epoch_ended(self, record: dict[str, Any]) -> None: ...

    def ended(self) -> None: ...
