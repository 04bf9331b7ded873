"""What training tells while it runs; the command line shows it, libraries stay silent."""

from typing import Any, Protocol

from cace_qeq.training.prepare import Summary


class Reporter(Protocol):
    """Receives the events of a run. It crosses process borders before the first epoch, so it must pickle."""

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

    def prepared(self, summary: Summary) -> None: ...

    def epoch_began(self, epoch: int, n_epochs: int, n_steps: int) -> None: ...

    def stepped(self) -> None: ...

    def epoch_ended(self, record: dict[str, Any]) -> None: ...

    def ended(self) -> None: ...
