"""OpenCV's bilinear resizing of 8-bit pictures, to the bit, without OpenCV.

The released FOCAL and CFL-Net resize their input with `cv2.resize`.  torch's bilinear is within one grey level of it, but off
by that one on a tenth of the pixels, and a forensic network looks at the last bit.  OpenCV computes in whole numbers
(modules/imgproc/src/resize.cpp, HResizeLinear and VResizeLinear for uchar): weights in 2048ths, 11 bits kept, then cut, not rounded
after the vertical step.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ONE = 2048  # INTER_RESIZE_COEF_SCALE


def resize_bilinear(rgb: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """What `cv2.resize(rgb, (width, height))` answers, without antialiasing.

    Args:
        rgb: H x W x C uint8.
        height, width: of the answer, at least 1.

    Returns:
        height x width x C uint8.
    """
    left, right, across = _taps(rgb.shape[1], width, inside=True)
    above, below, down = _taps(rgb.shape[0], height, inside=False)
    # Only the rows that are asked for, each once.
    needed, places = np.unique(np.concatenate((above, below)), return_inverse=True)
    source = rgb[needed].astype(np.int32)
    rows = (source[:, left] * across[0][None, :, None] + source[:, right] * across[1][None, :, None]) >> 4
    top, bottom = rows[places[:height]], rows[places[height:]]
    mixed = (top * down[0][:, None, None] >> 16) + (bottom * down[1][:, None, None] >> 16)
    levels: npt.NDArray[np.uint8] = np.clip((mixed + 2) >> 2, 0, 255).astype(np.uint8)
    return levels


def _taps(old: int, new: int, *, inside: bool) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """The two neighbours of each new pixel along one side, and their weights, 2 x new.

    Beyond the first and last centre OpenCV takes the whole of the border pixel across (`inside`), and down the same pixel with both
    weights, each cut by itself.
    """
    centres = ((np.arange(new) + 0.5) * (1 / (new / old)) - 0.5).astype(np.float32)
    first = np.floor(centres).astype(np.int64)
    share = (centres - first).astype(np.float32)
    if inside:
        share[(first < 0) | (first >= old - 1)] = 0
    weights = np.rint(np.stack((1 - share, share)) * np.float32(_ONE)).astype(np.int32)
    return first.clip(0, old - 1), (first + 1).clip(0, old - 1), weights
