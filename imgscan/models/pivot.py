"""NCL's pivot network: what the contour of a forgery has of the forged, and what it has of the pristine.

Zhou et al., "Pre-training-free Image Manipulation Localization through Non-Mutually Exclusive Contrastive Learning", ICCV 2023,
arXiv 2309.14900, section 3.2 and Figure 2(b).  Cells on the contour are both, so they can stand in neither class; two branches
squeeze one vector each out of all of a picture's contour cells, and the loss uses these as further queries.

Done differently: the paper flattens k vectors to one by a 1x1 convolution, which no fixed kernel can do for a varying k.  Here the
convolution keeps C channels, and the mean over a picture's vectors comes after batch norm and ReLU: a batch norm over one
vector a picture would be degenerate.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Pivot(nn.Module):
    """Two branches of equal layers, own weights each: 1x1 convolution C -> C without bias, batch norm, ReLU; for training only.

        plus_b = mean over the vectors v of picture b of relu(BN(W v))

    On single vectors a 1x1 convolution is a matrix product, so the layer is a Linear.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.plus = _Branch(channels)
        self.minus = _Branch(channels)

    def forward(self, vectors: Tensor, picture: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The pivots of a batch.

        Args:
            vectors: k x C float, the contour cells of all pictures; k may be 0.
            picture: k int64, 0..count-1: whose cell it is.
            count: B, pictures in the batch.

        Returns:
            plus: B x C float32, >= 0; 0 for a picture without contour.
            minus: the same.
            present: B bool, whether the picture has contour cells.

        Raises:
            ValueError: shapes that do not belong together, or a picture that is not in the batch.
        """
        k = vectors.shape[0]
        if vectors.ndim != 2 or vectors.shape[1] != self.channels or picture.shape != (k,):
            raise ValueError(f"vectors {tuple(vectors.shape)}, picture {tuple(picture.shape)}; wanted k x {self.channels} and k")
        if k and not 0 <= int(picture.min()) <= int(picture.max()) < count:
            raise ValueError(f"picture holds {int(picture.min())}..{int(picture.max())}; wanted 0..{count - 1}")
        with torch.autocast(vectors.device.type, enabled=False):  # k is small, and a mean over it wants digits
            belongs = (picture[None] == torch.arange(count, device=picture.device)[:, None]).float()  # B x k
            cells = belongs.sum(1)
            # A product and not index_add: the same sum on every run, also on CUDA.
            share = belongs / cells.clamp(min=1)[:, None]
            single = vectors.float()
            return share @ self.plus(single), share @ self.minus(single), cells > 0


class _Branch(nn.Module):
    """k x C -> k x C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Linear(channels, channels, bias=False)
        self.bn = nn.BatchNorm1d(channels)
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, vectors: Tensor) -> Tensor:
        bn = self.bn
        # One vector has no variance, none has no mean: such a batch is scaled by what the earlier ones had, and not counted.
        counts = self.training and vectors.shape[0] > 1
        if counts and bn.num_batches_tracked is not None:
            bn.num_batches_tracked += 1
        # Not bn(...): a loop on several devices may have made it a SyncBatchNorm, which would wait for ever where one of them has
        # contour cells and another has none.  Statistics are those of the device's own cells, of which there are thousands.
        projected = F.batch_norm(
            self.conv(vectors), bn.running_mean, bn.running_var, bn.weight, bn.bias, counts, bn.momentum or 0.0, bn.eps
        )
        return F.relu(projected)
