"""Extract: the features of every cell of a picture, from one network or from a detector that needs no weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import nn

from imgscan.detectors import DETECTORS
from imgscan.devices import end_if_failed, free_memory, out_of_memory
from imgscan.errors import WorkerError
from imgscan.frame import cut
from imgscan.fuse import against_control, with_overview
from imgscan.jpeg import Luma, read_luma
from imgscan.models.noise_view import shared_view
from imgscan.models.segmentation import Segmentation
from imgscan.records import Features, Map, Picture, Placement, Sought, Tensor

Answer = tuple[torch.Tensor, torch.Tensor | None]  # features and, from a mask head, probabilities of B tiles, on the CPU
FINEST = 4  # pixels a side of the finest feature cells that are kept; NCL's are half as wide, and a photograph of them a gigabyte
BLOCK = 8  # pixels, of JPEG: cells of a detector that has no features of its own


def extract(network: nn.Module, inputs: Sequence[Tensor], device: torch.device, *, batch: int, amp: bool) -> list[Features]:
    """What one network says of several pictures: see `extract_each`."""
    return extract_each([network], inputs, device, batch=batch, amp=amp)[0]


@torch.inference_mode()
def extract_each(
    networks: Sequence[nn.Module], inputs: Sequence[Tensor], device: torch.device, *, batch: int, amp: bool
) -> list[list[Features]]:
    """What each network says of several pictures, in batches of tiles of equal size.

    Args:
        networks: B x 3 x h x w in 0..1 -> B x D x h/s x w/s unit vectors, or a Segmentation; in eval mode, on `device`.  What they
            all see of a tile beside its colours is computed once.
        inputs: pictures; their tiles may differ in size.
        device: of the networks.
        batch: most tiles in one forward pass.
        amp: bf16 autocast.

    Raises:
        WorkerError: a network answers what is no number, or not even one tile fits into memory.

    Returns:
        Per network and picture its features on the CPU, tiles joined; with the probability of a mask head where there is one, to
        which the picture's overview adds, and with the verdict of that, from which its control takes.
    """
    views = [view for one in inputs for view in (one, one.overview, one.control) if view is not None]
    return [_found(inputs, iter(said)) for said in _said(networks, views, device, batch, amp)]


def _found(inputs: Sequence[Tensor], said: Iterator[Features]) -> list[Features]:
    """The features of each picture, from what a network says of it, of its overview and of its control."""
    found = []
    for one in inputs:
        features = next(said)
        overview = None if one.overview is None else next(said).probability
        control = None if one.control is None else next(said)
        if features.probability is not None and overview is not None:
            features = replace(features, probability=with_overview(features.probability, overview))
        if control is not None:
            features = replace(features, control=control.vectors)
        if features.probability is not None and control is not None and control.probability is not None:
            features = replace(features, verdict=against_control(features.probability, control.probability))
        found.append(features)
    return found


def _said(
    networks: Sequence[nn.Module], inputs: Sequence[Tensor], device: torch.device, batch: int, amp: bool
) -> list[list[Features]]:
    """What each network says of the tiles of each input, joined."""
    by_size: dict[tuple[int, ...], list[tuple[int, int]]] = {}  # size -> picture number, tile number
    for number, one in enumerate(inputs):
        by_size.setdefault(tuple(one.tiles.shape[2:]), []).extend((number, t) for t in range(len(one.tiles)))
    joined = [[_Joined(one.placement) for one in inputs] for _ in networks]
    for places in by_size.values():
        for first in range(0, len(places), batch):
            chunk = places[first : first + batch]
            tiles = torch.stack([inputs[number].tiles[t] for number, t in chunk])
            for known, (vectors, masks) in zip(joined, _forward(networks, tiles, device, amp), strict=True):
                for k, (number, t) in enumerate(chunk):
                    known[number].add(t, vectors[k], None if masks is None else masks[k])
    return [[one.features() for one in known] for known in joined]


_fitting: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()  # most pixels that once fitted into the device's memory


def _forward(networks: Sequence[nn.Module], tiles: torch.Tensor, device: torch.device, amp: bool) -> list[Answer]:
    """What each network says of B tiles; what does not fit into memory together goes in halves.

    Raises:
        WorkerError: not even one tile fits.
    """
    if len(tiles) > 1 and any(tiles.numel() > _fitting.get(network, tiles.numel()) for network in networks):
        return _in_halves(networks, tiles, device, amp)
    answers: list[Answer] = []
    try:
        answers.extend(_answers(networks, tiles, device, amp))
        return answers
    except RuntimeError as error:
        if not out_of_memory(error):
            end_if_failed(device, error)
            raise
        if len(tiles) == 1:
            height, width = tiles.shape[2:]
            raise WorkerError(
                f"a tile of {width} x {height} pixels does not fit into the memory of {device}; use --device cpu"
            ) from error
        _fitting[networks[len(answers)]] = tiles.numel() // 2
    free_memory(device)
    return _in_halves(networks, tiles, device, amp)


def _answers(networks: Sequence[nn.Module], tiles: torch.Tensor, device: torch.device, amp: bool) -> Iterator[Answer]:
    """What each network says of B tiles, one after the other; nothing of it stays on the device."""
    shown = (tiles.to(device, non_blocking=True).float() / 255).contiguous(memory_format=torch.channels_last)
    with shared_view(shown) if len(networks) > 1 else nullcontext():
        for network in networks:
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                answer = network(shown)
            on_the_cpu = _on_the_cpu(answer, tiles.shape[-1])
            del answer
            yield on_the_cpu


def _on_the_cpu(answer: torch.Tensor | Segmentation, width: int) -> Answer:
    """A network's answer for tiles that are so many pixels wide; features not finer than FINEST."""
    if not isinstance(answer, Segmentation):
        return _numbers(answer.float()).cpu(), None
    features = answer.features.float()
    together = FINEST * features.shape[-1] // width
    features = F.avg_pool2d(features, together) if together > 1 else features
    features, probability = F.normalize(features, dim=1, eps=1e-6), answer.logits.float().softmax(1)[:, 1:]
    return _numbers(features).cpu(), _numbers(probability).cpu()


def _numbers(answer: torch.Tensor) -> torch.Tensor:
    """An answer as it is.  What is no number exceeds no threshold, and the picture would be called clean."""
    if not answer.sum().isfinite():  # of numbers of 1 at most; asking each takes twenty times as long
        raise WorkerError("a network answers NaN or infinity: its weights are broken, or want bf16 = false in their card")
    return answer


def _in_halves(networks: Sequence[nn.Module], tiles: torch.Tensor, device: torch.device, amp: bool) -> list[Answer]:
    half = len(tiles) // 2
    both = (_forward(networks, part, device, amp) for part in (tiles[:half], tiles[half:]))
    joined: list[Answer] = []
    for (some, some_masks), (others, other_masks) in zip(*both, strict=True):
        masks = None if some_masks is None or other_masks is None else torch.cat([some_masks, other_masks])
        joined.append((torch.cat([some, others]), masks))
    return joined


def detect(name: str, picture: Picture) -> Features:
    """What a weight-free detector says: its local features, and its score as the probability.

    Args:
        name: of detectors.DETECTORS.
        picture: decoded.

    Returns:
        D x h x w unit vectors (a detector without features: equal ones, so that only its score speaks) and H x W scores.
    """
    detector = DETECTORS[name]
    said = detector.score(picture.rgb) if detector.exact is None else detector.exact(picture.rgb, luma_of(picture))
    score = Map(torch.from_numpy(said), (1.0, 1.0))
    if detector.features is None:
        rows, columns = (max(1, length // BLOCK) for length in (picture.height, picture.width))
        return Features(torch.ones(1, rows, columns), (picture.height / rows, picture.width / columns), score)
    vectors, cell = detector.features(picture.rgb)
    return Features(torch.from_numpy(vectors), cell, score)


def seek(names: Sequence[str], picture: Picture, panels: Sequence[Picture] = ()) -> Sought:
    """What weight-free detectors add, those of detectors.DETECTORS that do: what is there twice, and log odds of blocks.

    Args:
        names: of the detectors.
        picture: decoded.
        panels: of a collage, cut out; a copy may lie in another panel, but the history of a block is compared within its own.
    """
    twins = [one for name in names if (find := DETECTORS[name].find) is not None for one in find(picture.rgb)]
    if panels:
        return Sought(tuple(twins), by_panel=tuple(_weighed(names, panel) for panel in panels))
    return Sought(tuple(twins), _weighed(names, picture))


def _weighed(names: Sequence[str], picture: Picture) -> tuple[Map, ...]:
    """The log odds of those detectors that have some for a picture."""
    weighing = [weigh for name in names if (weigh := DETECTORS[name].weigh) is not None]
    luma = luma_of(picture) if weighing else None
    weighed = [one for weigh in weighing if (one := weigh(picture.rgb, luma)).odds.any()]
    return tuple(Map(torch.from_numpy(one.odds), (float(BLOCK), float(BLOCK)), one.corner) for one in weighed)


def luma_of(picture: Picture) -> Luma | None:
    """What its file says beyond its pixels; None: it is no JPEG."""
    if picture.jpeg is None:
        return None
    luma = read_luma(picture.jpeg.content)
    return replace(luma, values=cut(luma.values, picture.jpeg.inside))


class _Joined:
    """What a network says of the tiles of an input; each is joined to those before it when it comes, for all of them together are
    twice as large as what becomes of them: of a photograph of 50 megapixels gigabytes."""

    def __init__(self, placement: Placement) -> None:
        self._vectors, self._masks = _Mean(placement), _Mean(placement)

    def add(self, number: int, vectors: torch.Tensor, mask: torch.Tensor | None) -> None:
        """The answer for the tile with this number, in the order of the numbers: D x h x w and 1 x h x w."""
        self._vectors.add(number, vectors)
        if mask is not None:
            self._masks.add(number, mask)

    def features(self) -> Features:
        """Those of the whole input, unit vectors, when all tiles are there."""
        joined, cell = self._vectors.taken()
        if self._vectors.several:
            joined /= joined.norm(dim=0, keepdim=True).clamp_min_(1e-6)
        if self._masks.total is None:
            return Features(joined, cell)
        values, their_cell = self._masks.taken()
        return Features(joined, cell, Map(values[0], their_cell))


class _Mean:
    """Maps of tiles, C x h x w, as one of C x rows x columns cells.

    Where tiles overlap, the weighted mean counts: each the more the farther the cell is from its border, for there a network sees
    less around it.  Cells that are mostly padding are left out; a cell that is half picture stays.
    """

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.several = len(placement.corners) > 1
        self.total: torch.Tensor | None = None
        self._weights, self._weight = torch.zeros(0), torch.zeros(0)  # h x w: of all tiles, of each
        self._stride = (1.0, 1.0)  # pixels of a tile a cell

    def add(self, number: int, one: torch.Tensor) -> None:
        """The map of the tile with this number."""
        total = self._begun(one) if self.total is None else self.total
        rows, columns = (
            slice(first := round(corner / stride), first + length)
            for corner, stride, length in zip(self.placement.corners[number], self._stride, one.shape[1:], strict=True)
        )
        into = total[:, rows, columns]
        high, wide = into.shape[1:]
        if not self.several:
            into.copy_(one[:, :high, :wide])
            return
        weight = self._weight[:high, :wide]
        into += one[:, :high, :wide] * weight
        self._weights[rows, columns] += weight

    def _begun(self, one: torch.Tensor) -> torch.Tensor:
        """Room for the whole; the first map says how large a cell is."""
        place = self.placement
        self._stride = (place.tile[0] / one.shape[1], place.tile[1] / one.shape[2])
        rows, columns = (
            max(1, min(round(canvas / stride), round(scaled / stride)))
            for canvas, scaled, stride in zip(place.canvas, place.scaled, self._stride, strict=True)
        )
        self.total, self._weights = one.new_zeros(one.shape[0], rows, columns), one.new_zeros(rows, columns)
        self._weight = _ramp(one.shape[1])[:, None] * _ramp(one.shape[2])[None, :]
        return self.total

    def taken(self) -> tuple[torch.Tensor, tuple[float, float]]:
        """The map and the size of a cell, pixels of the picture; nothing is kept."""
        joined, place = self.total, self.placement
        assert joined is not None
        self.total = None
        if self.several:
            joined /= self._weights
        return joined, (self._stride[0] * place.height / place.scaled[0], self._stride[1] * place.width / place.scaled[1])


def _ramp(length: int) -> torch.Tensor:
    """1, 2, ... up to the middle and down again."""
    rising = torch.arange(1, length + 1, dtype=torch.float32)
    return torch.minimum(rising, rising.flip(0))
