"""`synth`: forgeries made on the fly from a folder of pristine photographs (forge.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from imgscan.datasets.families import Families, forge_as, parse_families, untouched_as
from imgscan.datasets.forge import Photo, Rgb, forge, untouched
from imgscan.datasets.photos import read_photo
from imgscan.errors import InputError

_TRIES = 5  # photographs drawn in place of one that cannot be decoded
HARD_SHARE = 0.5  # of the untouched pictures; of the others some are hard by chance
CLEAR_FORGED, CLEAR_PRISTINE = 0.75, 0.10  # shares of forged pixels beyond which a feature cell has a label


def cell_labels(labels: Tensor, stride: int, ignore_contour: bool = True) -> Tensor:
    """Pixel labels B x H x W (integers) -> feature-cell labels B x H/stride x W/stride int64.

    A cell is a part when at least 75 % of it is that part, pristine when at most 10 % of it is forged, and -1 (ignored by the
    loss) between: the contour belongs to both sides.  Without `ignore_contour` nothing is ignored, and a cell is forged when half
    of its middle 2 x 2 pixels are: FOCAL's released code reads no others when it shrinks a mask to the grid, bilinearly.
    """
    high, wide = labels.shape[1] // stride, labels.shape[2] // stride
    squares = labels[:, : high * stride, : wide * stride].reshape(-1, high, stride, wide, stride).transpose(2, 3)
    if not ignore_contour:
        middle = slice((stride - 1) // 2, stride // 2 + 1)
        squares = squares[..., middle, middle]
    cells = squares.flatten(3)
    part = cells.amax(3).long()
    share = (cells == part[..., None]).float().mean(3)
    forged = (cells > 0).float().mean(3)
    if not ignore_contour:
        return torch.where(forged >= 0.5, part, 0)
    answer = torch.full_like(part, -1)
    clear = (part > 0) & (share >= CLEAR_FORGED)
    answer[clear] = part[clear]
    answer[forged <= CLEAR_PRISTINE] = 0
    return answer


def draw_untouched(photo: Photo, side: int, rng: np.random.Generator, families: Families) -> Rgb:
    """A picture nobody forged, side x side: by the families, or where there are none by the plain maker."""
    return untouched_as(photo, side, rng, families) if families else untouched(photo, side, rng)


def _processes() -> int:
    """How many processes like this one keep photographs on this machine: loaders, and the run that they work for, of which torchrun
    starts several."""
    info = get_worker_info()
    runs = os.environ.get("LOCAL_WORLD_SIZE", "")
    return (1 if info is None else 1 + info.num_workers) * (int(runs) if runs.isdecimal() and int(runs) else 1)


Sample = tuple[Tensor, Tensor, str]  # rgb 3 x side x side uint8; labels side x side uint8, 0 pristine, k the k-th part; remarks


class SynthDataset(Dataset[Sample]):
    """Forgery number i of an endless sequence: a pure function of (seed, i), whatever the number of loader processes.

    A photograph is drawn in proportion to its file's share of all pixels, so that many small pictures do not crowd out few
    large ones.  A share of the items are untouched pictures, all labels 0; HARD_SHARE of these are of `hard` photographs, where
    there are some, each as often.  A photograph that cannot be decoded is passed over and named in the item's remarks.

    Items are of `side`, or of the `sides` in turn, so many items `alike` one after the other (a batch holds pictures of one size).
    """

    def __init__(
        self,
        photos: list[Path],
        *,
        side: int,
        seed: int,
        length: int,
        untouched_share: float = 0.0,
        families: str = "",
        hard: Sequence[Path] = (),
        sides: Sequence[int] = (),
        alike: int = 1,
    ) -> None:
        self.sides, self.alike = tuple(sides) or (side,), alike
        for one in self.sides:
            if one % 8 or one < 64:
                raise InputError(f"crop side is {one}; wanted a multiple of 8, at least 64")
        self.photos = photos
        areas = np.zeros(len(photos))
        for number, path in enumerate(photos):
            with suppress(Exception), Image.open(path) as picture:  # Pillow raises nearly anything, over large pictures too
                areas[number] = picture.width * picture.height
        if not areas.any():
            raise InputError(f"none of {len(photos)} photographs can be opened, {photos[0]} for one; wanted pristine pictures")
        self.unreadable = [path for path, area in zip(photos, areas, strict=True) if not area]
        self.edges = np.cumsum(areas) / np.sum(areas)
        self.seed, self.length = seed, length
        self.untouched_share, self.hard = untouched_share, hard
        self.families = parse_families(families)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self.seed, index))
        side = self.sides[index // self.alike % len(self.sides)]
        remarks: list[str] = []

        def any_photo() -> Path:
            return self.photos[min(int(np.searchsorted(self.edges, rng.random())), len(self.photos) - 1)]

        def hard_photo() -> Path:
            return self.hard[int(rng.integers(len(self.hard)))]

        def photo(drawn: Callable[[], Path] = any_photo) -> Rgb:
            for _ in range(_TRIES):
                try:
                    return read_photo(drawn(), _processes())
                except InputError as error:
                    remarks.append(str(error))
            raise InputError(f"{_TRIES} photographs in a row cannot be decoded; the last: {remarks[-1]}")

        if rng.random() < self.untouched_share:
            drawn = partial(photo, hard_photo) if self.hard and rng.random() < HARD_SHARE else photo
            rgb = draw_untouched(drawn, side, rng, self.families)
            labels = np.zeros((side, side), np.uint8)
        else:
            made = forge_as(photo, side, rng, self.families) if self.families else forge(photo, side, rng)
            rgb, labels = made.rgb, made.labels.astype(np.uint8)
        return torch.tensor(rgb).permute(2, 0, 1).contiguous(), torch.from_numpy(labels), "\n".join(remarks)
