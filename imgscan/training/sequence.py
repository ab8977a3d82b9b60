"""The endless sequence of training samples: number n is a pure function of (seed, n), so that a run can be resumed anywhere."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset, Sampler

from imgscan.datasets.augment import AUGMENTATIONS
from imgscan.datasets.entries import Entry, read_entry
from imgscan.datasets.forge import Rgb
from imgscan.datasets.synth import Sample
from imgscan.errors import InputError
from imgscan.training.recipe import DataSection, TrainSection
from imgscan.workers import end_with_parent, start_method

Labels = npt.NDArray[np.uint8]  # H x W, 0 pristine, k the k-th forged part
# rgb B x 3 x side x side uint8, labels B x side x side uint8, B remarks on what could not be read ("": nothing)
Batch = tuple[torch.Tensor, torch.Tensor, list[str]]
_TRIES = 20  # entries taken in place of one that cannot be read


class Samples(Protocol):
    """What both kinds of training data are: SynthDataset, and EntryDataset below."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


class EntryDataset(Dataset[Sample]):
    """The pictures of data sets, epoch after epoch, each epoch in an order of its own.

    Args:
        entries: of the training split.
        data: side, sides, fit, augment.
        seed: of the orders, windows and augmentations.
        length: samples in all.
        alike: how many, one after the other, are of one size, where there are several (data.sides).
    """

    def __init__(self, entries: Sequence[Entry], data: DataSection, *, seed: int, length: int, alike: int = 1) -> None:
        self.entries, self.seed, self.length, self.alike = entries, seed, length, alike
        self.turns = [replace(data, side=side) for side in data.turns]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        epoch, place = divmod(index, len(self.entries))
        rng = np.random.default_rng((self.seed, index))
        number = int(_order(self.seed, epoch, len(self.entries))[place])
        remarks: list[str] = []
        for _ in range(_TRIES):
            try:
                rgb, forged = read_entry(self.entries[number])
                break
            except InputError as error:
                remarks.append(str(error))
                number = int(rng.integers(len(self.entries)))
        else:
            raise InputError(f"{_TRIES} pictures in a row cannot be read; the last: {remarks[-1]}")
        data = self.turns[index // self.alike % len(self.turns)]
        picture, labels = AUGMENTATIONS[data.augment](rgb, forged.astype(np.uint8), data.side, rng)
        picture, labels = fit(picture, labels, data, rng)
        return to_sample(picture, labels, "\n".join(remarks))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """The order of an epoch."""
    return np.random.default_rng((seed, epoch, count)).permutation(count)


def fit(rgb: Rgb, labels: Labels, data: DataSection, rng: np.random.Generator | None) -> tuple[Rgb, Labels]:
    """Bring a picture to side x side.

    `resize` ignores the aspect and does not antialias, as the released codes of FOCAL and CFL-Net do.  `crop` keeps native pixels
    and cuts a window that starts at multiples of 8, so that JPEG blocks stay where they are; half of the windows hold a forged
    pixel drawn at random (a small forgery would hardly ever be seen otherwise).  A smaller picture is continued by reflection, and
    one whose sides are no multiples of 8 to the next, so that a window shows its last lines too.

    Args:
        rgb: H x W x 3 uint8.
        labels: H x W uint8.
        data: side, fit.
        rng: None: the window in the middle of the forged pixels, or of the picture (validation).
    """
    side = data.side
    if data.fit == "resize":
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
        small = torch.nn.functional.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)
        shrunk = Image.fromarray(labels).resize((side, side), Image.Resampling.NEAREST)
        return small[0].round().to(torch.uint8).permute(1, 2, 0).numpy(), np.array(shrunk)
    down, right = (max(side - length, -length % 8) for length in labels.shape)
    if down or right:
        rgb = np.pad(rgb, ((0, down), (0, right), (0, 0)), mode="symmetric")
        labels = np.pad(labels, ((0, down), (0, right)), mode="symmetric")
    height, width = labels.shape
    forged = np.argwhere(labels > 0)
    if rng is None:
        middle = forged[len(forged) // 2] if len(forged) else np.array([height // 2, width // 2])
        corner = middle - side // 2
    elif len(forged) and rng.random() < 0.5:
        corner = forged[rng.integers(len(forged))] - rng.integers(side - 7, size=2)  # it starts up to 7 pixels before that
    else:
        corner = rng.integers((height - side + 1, width - side + 1))
    top, left = (int(np.clip(c // 8 * 8, 0, (length - side) // 8 * 8)) for c, length in zip(corner, (height, width), strict=True))
    return rgb[top : top + side, left : left + side], labels[top : top + side, left : left + side]


def to_sample(rgb: Rgb, labels: Labels, remarks: str = "") -> Sample:
    """Arrays as the loader wants them."""
    return (
        torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))),
        torch.from_numpy(np.ascontiguousarray(labels)),
        remarks,
    )


class _Shares(Sampler[list[int]]):
    """Which samples this process takes: batch after batch, from step `first` on."""

    def __init__(self, train: TrainSection, rank: int, size: int, first: int) -> None:
        self.train, self.rank, self.size, self.first = train, rank, size, first

    def __iter__(self) -> Iterator[list[int]]:
        batch = self.train.batch
        for turn in range(self.first * self.train.accumulate, self.train.steps * self.train.accumulate):
            begin = (turn * self.size + self.rank) * batch
            yield list(range(begin, begin + batch))


def batches(
    samples: Samples, train: TrainSection, *, workers: int, rank: int, size: int, first: int, pin: bool
) -> Generator[Batch, None, None]:
    """This process' batches from step `first` on, `accumulate` of them a step; closing it ends the loader processes."""
    loader: DataLoader[Sample] = DataLoader(
        samples,  # type: ignore[arg-type]  # Dataset is not a protocol
        batch_sampler=_Shares(train, rank, size, first),
        num_workers=workers,
        multiprocessing_context=start_method() if workers else None,
        prefetch_factor=4 if workers else None,
        pin_memory=pin,
        worker_init_fn=_makes_samples,
    )
    try:
        for rgb, labels, remarks in loader:
            yield rgb, labels, list(remarks)
    except InputError as error:  # a worker's comes with its traceback
        raise InputError(str(error).strip().splitlines()[-1].removeprefix("imgscan.errors.InputError: ")) from error


def _makes_samples(_: int) -> None:
    """A loader process: one thread of linear algebra, or they all take each other's cores (two of them made no more than one).

    Terminals and batch systems signal every process of a job, and a run without its loaders saves nothing: that is left to the run.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threadpool_limits(1)
    end_with_parent()
