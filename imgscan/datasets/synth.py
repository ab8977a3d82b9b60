"""`synth`: forgeries made on the fly from a folder of pristine photographs (forge.py)."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from imgscan.datasets.forge import Rgb, forge, untouched
from imgscan.errors import InputError
from imgscan.find import PICTURE_SUFFIXES

CACHE_BYTES = 1_500_000_000  # of decoded photographs that a loader process keeps
CLEAR_FORGED, CLEAR_PRISTINE = 0.75, 0.10  # shares of forged pixels beyond which a feature cell has a label


_cache: OrderedDict[Path, Rgb] = OrderedDict()  # one per process, oldest first


def read_photo(path: Path) -> Rgb:
    """A decoded photograph, from the cache where it is; InputError names a file that is broken."""
    if path in _cache:
        _cache.move_to_end(path)
        return _cache[path]
    try:
        with Image.open(path) as picture:
            photo = np.asarray(picture.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        raise InputError(f"training photograph {path}: cannot be decoded: {error}; remove it") from error
    _cache[path] = photo
    while sum(one.nbytes for one in _cache.values()) > CACHE_BYTES and len(_cache) > 1:
        _cache.popitem(last=False)
    return photo


def find_photos(roots: list[Path]) -> list[Path]:
    """Every picture file below the folders, in stable order; InputError when a folder is missing or holds none."""
    photos: list[Path] = []
    for root in roots:
        if not root.is_dir():
            raise InputError(
                f"training photographs: {root} is not a folder; wanted a folder of pristine pictures (--data-root DIR)"
            )
        found = sorted(p for p in root.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
        if not found:
            raise InputError(f"{root}: no pictures below it; wanted .jpg, .png, .tif or .webp files")
        photos += found
    return photos


def cell_labels(labels: Tensor, stride: int) -> Tensor:
    """Pixel labels H x W -> feature-cell labels H/stride x W/stride.

    A cell is a part when at least 75 % of it is that part, pristine when at most 10 % of it is forged, and -1 (ignored by the
    loss) between: the contour belongs to both sides.
    """
    high, wide = labels.shape[0] // stride, labels.shape[1] // stride
    cells = labels[: high * stride, : wide * stride].reshape(high, stride, wide, stride).transpose(1, 2).flatten(2)
    part = cells.amax(2)
    share = (cells == part[..., None]).float().mean(2)
    forged = (cells > 0).float().mean(2)
    answer = torch.full_like(part, -1)
    answer[(part > 0) & (share >= CLEAR_FORGED)] = part[(part > 0) & (share >= CLEAR_FORGED)]
    answer[forged <= CLEAR_PRISTINE] = 0
    return answer


class SynthDataset(Dataset[tuple[Tensor, Tensor]]):
    """Forgery number i of an endless sequence: a pure function of (seed, i), whatever the number of loader processes.

    A photograph is drawn in proportion to its file's share of all pixels, so that many small pictures do not crowd out few
    large ones.  A share of the items are untouched pictures, all labels 0.

    Items are (rgb 3 x side x side uint8, cell labels side/stride x side/stride int64).
    """

    def __init__(self, roots: list[Path], *, side: int, stride: int, seed: int, length: int, untouched_share: float = 0.0) -> None:
        if side % 8 or side < 64:
            raise InputError(f"crop side is {side}; wanted a multiple of 8, at least 64")
        self.photos = find_photos(roots)
        areas = []
        for path in self.photos:
            try:
                with Image.open(path) as picture:
                    areas.append(picture.width * picture.height)
            except OSError as error:
                raise InputError(f"training photograph {path}: cannot be opened: {error}; remove it") from error
        self.edges = np.cumsum(areas) / np.sum(areas)
        self.side, self.stride, self.seed, self.length = side, stride, seed, length
        self.untouched_share = untouched_share

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, index))

        def photo() -> Rgb:
            return read_photo(self.photos[min(int(np.searchsorted(self.edges, rng.random())), len(self.photos) - 1)])

        if rng.random() < self.untouched_share:
            rgb = torch.tensor(untouched(photo, self.side, rng)).permute(2, 0, 1).contiguous()
            cells = self.side // self.stride
            return rgb, torch.zeros(cells, cells, dtype=torch.int64)
        made = forge(photo, self.side, rng)
        rgb = torch.tensor(made.rgb).permute(2, 0, 1).contiguous()
        return rgb, cell_labels(torch.from_numpy(made.labels), self.stride)
