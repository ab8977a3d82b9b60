"""What a run writes as it goes: log.csv, TensorBoard events where the package is there, the ledger of unreadable pictures."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from imgscan.errors import InputError, OutputError
from imgscan.store import replacing
from imgscan.training.world import World

COLUMNS = ("step", "epoch", "loss", "rate", "seconds", "pictures_per_second", "validation_auc")


class Log:
    """Appends; a resumed run goes on in the same files.  Use as a context manager.

    What a run that was killed logged past the step that it goes on from is taken back, for those steps come again; a run that
    begins at step 0 takes over nothing from one that ended in its folder before the first checkpoint.

    Args:
        out: the run's folder.
        most: unreadable pictures before the run ends.
        world: only the first process writes; all of them count, so that all end together.
        step: that the run goes on from; 0: it begins.

    Raises:
        OutputError: a file cannot be written.
    """

    def __init__(self, out: Path, most: int, world: World, step: int) -> None:
        self.out, self.most, self.world, self.step = out, most, world, step
        self.ledger = out / "unreadable.txt"
        self.unreadable: set[str] = set()
        self._events: Any = None

    def __enter__(self) -> Log:
        if self.step and self.ledger.exists():
            self.unreadable = set(self.ledger.read_text("utf-8").splitlines())
        if not self.world.first:
            return self
        self._take_back()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("no TensorBoard events: pip install 'imgscan[tensorboard]' (log.csv has the same numbers)", file=sys.stderr)
        else:
            try:
                self._events = SummaryWriter(str(self.out / "events"), purge_step=self.step + 1 if self.step else 0)
            except OSError as error:
                raise self._unwritable(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._events is None:
            return
        try:
            self._events.close()
        except OSError as failed:
            if error is None:
                raise self._unwritable(failed) from failed

    def _take_back(self) -> None:
        """Leave out of log.csv what comes again, and of a run that begins also the ledger."""
        path = self.out / "log.csv"
        try:
            if not self.step:
                path.unlink(missing_ok=True)
                self.ledger.unlink(missing_ok=True)
            if not path.exists():
                return
            with path.open(newline="") as file:
                rows = list(csv.reader(file))
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
        # A row that the kill cut short is none; the header is no number.
        kept = [row for row in rows if len(row) == len(COLUMNS) and not (row[0].isdecimal() and int(row[0]) > self.step)]
        if kept != rows:
            with replacing(path) as new, new.open("w", newline="") as file:
                csv.writer(file).writerows(kept)

    def line(
        self, *, step: int, epoch: int, loss: float | None, rate: float, seconds: float, pace: float, score: float | None
    ) -> None:
        """A row of log.csv."""
        if not self.world.first:
            return
        path = self.out / "log.csv"
        try:
            new = not path.exists()
            with path.open("a", newline="") as file:
                rows = csv.writer(file)
                if new:
                    rows.writerow(COLUMNS)
                scored = "" if score is None else f"{score:.4f}"
                rows.writerow(
                    [step, epoch, "" if loss is None else f"{loss:.5f}", f"{rate:.3e}", f"{seconds:.0f}", f"{pace:.2f}", scored]
                )
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
        try:
            if self._events is not None and loss is not None:
                self._events.add_scalar("train/loss", loss, step)
                self._events.add_scalar("train/rate", rate, step)
                self._events.add_scalar("train/pictures_per_second", pace, step)
            if self._events is not None and score is not None:
                self._events.add_scalar("validation/auc", score, step)
        except OSError as error:  # of an earlier line: TensorBoard writes in a thread of its own
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"{self.out / 'events'}: cannot be written: {error.strerror or error}")

    def remark(self, remarks: list[str]) -> None:
        """Enter pictures that could not be read, by any process, into the ledger; InputError when there are more than allowed.

        Every process has to call it, though it may have nothing to say.
        """
        said = [one for text in self.world.gather(remarks) for one in text.splitlines()]
        new = sorted(set(said) - self.unreadable)
        if not new:
            return
        self.unreadable.update(new)
        try:
            if self.world.first:
                with self.ledger.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.writelines(f"{one}\n" for one in new)
        except OSError as error:
            raise OutputError(f"{self.ledger}: cannot be written: {error.strerror or error}") from error
        if len(self.unreadable) > self.most:
            raise InputError(
                f"{len(self.unreadable)} pictures cannot be read, the last: {new[-1]}; all are named in {self.ledger}. Repair the "
                f"data (imgscan data check), or allow more with --set data.unreadable=N"
            )
