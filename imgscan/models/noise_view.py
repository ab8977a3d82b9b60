"""The fixed noise view: what a forensic network should look at beside the colours.

A network that sees only RGB spends most of a short training on learning high-pass filters.  This module computes, without any
learned weight, three groups of channels from the native pixels:

* the picture itself, centred;
* three SRM residuals of the grey picture, truncated (Fridrich and Kodovsky, "Rich Models for Steganalysis", IEEE TIFS 2012; the
  three kernels as chosen by Zhou et al., "Learning Rich Features for Image Manipulation Detection", CVPR 2018);
* JPEG ghosts: the absolute change of the luma (and of the halved chroma) when its 8x8 blocks are quantised once more at a
  number of qualities (Farid, "Exposing Digital Forgeries from JPEG Ghosts", IEEE TIFS 2009).  A block that was compressed before
  at the same grid and quality barely changes.

Two more parts were tried and are not in the networks that ship (train/README.md, "The noise view"): where in its 8 x 8 block a
pixel lies, and residual filters that are learned (Bayar and Stamm, "Constrained Convolutional Neural Networks", IEEE TIFS 2018).

Everything is a block transform, so the view runs in batches on any device and needs no JPEG codec.  The blocks start at the
first pixel: the input has to be at native resolution and cut at multiples of 8, or the grid of the camera's own JPEG is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgscan.devices import whole_float32
from imgscan.errors import ConfigError, unknown
from imgscan.jpeg import quantization_table

GHOST_QUALITIES = (98, 95, 90, 85, 80, 75, 65, 50)
"""JPEG qualities of the luma ghosts, in the order of their channels."""
CHROMA_QUALITY = 90
PARTS: dict[str, int] = {"rgb": 3, "srm": 3, "luma": len(GHOST_QUALITIES), "chroma": 1, "phase": 4, "constrained": 3}
"""What a view may consist of -> channels."""
USUAL = ("rgb", "srm", "luma", "chroma")
CHANNELS = sum(PARTS[name] for name in USUAL)
LEARNED = ("constrained",)
"""Parts that every network has learned for itself."""
_SRM_LIMIT = 8.0  # grey levels; the residual of untouched sensor noise stays well below it


def _dct_basis() -> Tensor:
    """64 x 64: the orthonormal 8x8 DCT-II functions, one a row; functions and pixels are both in row-major order."""
    k = torch.arange(8, dtype=torch.float64)
    rows = torch.cos((2 * k[None, :] + 1) * k[:, None] * math.pi / 16) * math.sqrt(2 / 8)
    rows[0] /= math.sqrt(2)
    basis = torch.einsum("ux,vy->uvxy", rows, rows)
    return basis.reshape(64, 64).float()


def _srm_kernels() -> Tensor:
    """3 x 1 x 5 x 5: second order, KB 3x3 and KV 5x5 residual filters, each with its usual divisor."""
    second = torch.zeros(5, 5)
    second[2, 1:4] = torch.tensor([1.0, -2.0, 1.0])
    outer = torch.tensor([1.0, -2.0, 1.0])
    small = torch.zeros(5, 5)
    small[1:4, 1:4] = -torch.outer(outer, outer)
    large = torch.tensor(
        [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]],
        dtype=torch.float32,
    )
    return torch.stack((second / 2, small / 4, large / 12))[:, None]


class ConstrainedConv(nn.Module):
    """Three learned 5 x 5 filters on the grey picture whose middle is -1 and whose other weights sum to 1: prediction errors.

    Bayar and Stamm, IEEE TIFS 2018; the constraint is applied whenever the filters are used, not once a step.

    Input: B x 1 x H x W float, grey levels.  Output: B x 3 x H x W, grey levels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 1, 5, 5) + 0.05)
        middle = torch.zeros(5, 5)
        middle[2, 2] = 1
        self.register_buffer("middle", middle, persistent=False)

    middle: Tensor

    def forward(self, grey: Tensor) -> Tensor:
        around = self.weight * (1 - self.middle)
        total = around.sum((2, 3), keepdim=True)
        total = torch.where(total.abs() < 1e-3, torch.full_like(total, 1e-3), total)  # a filter may not run away
        return F.conv2d(F.pad(grey, (2, 2, 2, 2), mode="replicate"), around / total - self.middle)


_shared: dict[int, dict[str | tuple[str, ...], Tensor]] = {}  # by tensor: what views have shown of it, parts and whole views


@contextmanager
def shared_view(rgb: Tensor) -> Iterator[None]:
    """Within, what several networks see of this tensor (the object, not its values) is computed once.

    Fixed parts are the same for all networks.  What a view answers then belongs to nobody; nothing of it may be changed.
    """
    _shared[id(rgb)] = {}
    try:
        yield
    finally:
        del _shared[id(rgb)]


class NoiseView(nn.Module):
    """RGB in, fixed channels out; no learned weights (but for `constrained`), nothing else in the state dict.

    Input: B x 3 x H x W float, 0 to 1.  Output: B x C x H x W float32, each channel roughly of unit scale; C is CHANNELS = 15
    for the usual parts.

    Args:
        parts: of PARTS, in the order of the channels.

    Attributes:
        channels: C.

    Raises:
        ConfigError: an unknown part, or none.
    """

    dct: Tensor
    srm: Tensor
    luma_tables: Tensor
    chroma_table: Tensor

    def __init__(self, parts: Sequence[str] = USUAL) -> None:
        super().__init__()
        for name in parts:
            if name not in PARTS:
                raise ConfigError(unknown("part of the noise view", name, PARTS))
        if not parts:
            raise ConfigError(f"a noise view without parts; wanted some of {', '.join(PARTS)}")
        self.parts = tuple(parts)
        self.channels = sum(PARTS[name] for name in parts)
        self.register_buffer("dct", _dct_basis(), persistent=False)
        self.register_buffer("srm", _srm_kernels(), persistent=False)
        luma = torch.stack([torch.from_numpy(quantization_table(q)) for q in GHOST_QUALITIES]).flatten(1)
        chroma = torch.from_numpy(quantization_table(CHROMA_QUALITY, chroma=True)).flatten()[None]
        self.register_buffer("luma_tables", luma, persistent=False)
        self.register_buffer("chroma_table", chroma, persistent=False)
        self.constrained = ConstrainedConv() if "constrained" in parts else None

    def _ghosts(self, plane: Tensor, tables: Tensor) -> Tensor:
        """Absolute change of a plane when its blocks are quantised with each of K x 64 tables: B x 1 x H x W -> B x K x H x W."""
        height, width = plane.shape[-2:]
        padded = F.pad(plane, (0, -width % 8, 0, -height % 8), mode="replicate")
        batch, _, high, wide = padded.shape
        blocks = padded.reshape(batch, high // 8, 8, wide // 8, 8).transpose(2, 3).reshape(batch, 1, -1, 64)
        coefficients = blocks @ self.dct.T
        steps = tables[None, :, None, :]
        change = (coefficients / steps).round_().mul_(-steps).add_(coefficients)  # in place: they are K times the picture
        pixels = (change @ self.dct).abs_().reshape(batch, -1, high // 8, wide // 8, 8, 8).transpose(3, 4)
        return pixels.reshape(batch, -1, high, wide)[..., :height, :width]

    def _part(self, name: str, rgb: Tensor, levels: Tensor, luma: Tensor) -> Tensor:
        """One part of PARTS from B x 3 x H x W in 0..1, the same in grey levels, and B x 1 x H x W luma around 0."""
        if name == "rgb":
            return (rgb - 0.5) * 4
        if name == "srm":
            srm = F.conv2d(F.pad(levels.mean(1, keepdim=True), (2, 2, 2, 2), mode="replicate"), self.srm)
            return srm.clamp_(-_SRM_LIMIT, _SRM_LIMIT).div_(2)
        if name == "constrained":
            assert self.constrained is not None
            residuals: Tensor = self.constrained(levels.mean(1, keepdim=True))
            return residuals.clamp(-_SRM_LIMIT, _SRM_LIMIT) / 2
        if name == "phase":
            return _phase(levels)
        if name == "luma":
            return _log(self._ghosts(luma, self.luma_tables))
        red, _, blue = levels.unbind(1)
        chroma = torch.stack((0.564 * (blue - luma[:, 0] - 128), 0.713 * (red - luma[:, 0] - 128)), 1)
        halved = F.avg_pool2d(chroma, 2, ceil_mode=True)  # 4:2:0, as nearly every camera and platform stores chroma
        lost = self._ghosts(halved.flatten(0, 1)[:, None], self.chroma_table)
        # shape[0], not len(): tracing for ONNX would take that for a constant
        lost = lost.reshape(levels.shape[0], 2, *halved.shape[-2:]).mean(1, keepdim=True)
        lost = F.interpolate(lost, scale_factor=2.0, mode="nearest")[..., : levels.shape[-2], : levels.shape[-1]]
        return _log(lost)

    def forward(self, rgb: Tensor) -> Tensor:
        shown = None if torch.compiler.is_compiling() or not _shared else _shared.get(id(rgb))
        if shown is None:
            return self._view(rgb, {})
        if self.parts not in shown:
            view = self._view(rgb, shown)
            each = zip(self.parts, torch.split(view, [PARTS[name] for name in self.parts], 1), strict=True)
            shown |= {name: channels for name, channels in each if name not in LEARNED}
            if not set(self.parts) & set(LEARNED):
                shown[self.parts] = view
            return view
        return shown[self.parts]

    def _view(self, rgb: Tensor, shown: Mapping[str | tuple[str, ...], Tensor]) -> Tensor:
        """All parts; those that were shown already are not computed again."""
        # bf16 has fewer digits than a quantisation error, and TF32 than the noise of a sensor.
        with torch.autocast(rgb.device.type, enabled=False), whole_float32(rgb.device):
            rgb = rgb.float().contiguous()  # channel by channel, as all that follows
            levels = rgb * 255
            red, green, blue = levels.unbind(1)
            luma = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None] - 128
            return torch.cat([shown[name] if name in shown else self._part(name, rgb, levels, luma) for name in self.parts], 1)


def _log(change: Tensor) -> Tensor:
    """log(1 + x) of grey levels, in place, to a millionth; log1p is as exact for tiny ones, and seven times slower."""
    return change.add_(1).log_()


def _phase(pictures: Tensor) -> Tensor:
    """Where in its 8 x 8 block a pixel lies: B x 4 x H x W, cosine and sine of one turn per block, down and across."""
    turns = [torch.arange(length, device=pictures.device) * (2 * math.pi / 8) for length in pictures.shape[-2:]]
    down, across = turns[0][:, None].expand(pictures.shape[-2:]), turns[1].expand(pictures.shape[-2:])
    return torch.stack((down.cos(), down.sin(), across.cos(), across.sin())).expand(pictures.shape[0], -1, -1, -1)
