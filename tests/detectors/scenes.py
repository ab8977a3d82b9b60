"""Synthetic scenes whose noise and history are known."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score


def dead_leaves(seed: int, side: int = 256) -> NDArray[np.float32]:
    """Overlapping discs of sizes without a scale, side x side float32, 20..235: the edges and flats of a photograph, no noise."""
    rng = np.random.default_rng(seed)
    scene = np.full((side, side), 128, np.float32)
    y, x = np.mgrid[:side, :side]
    for _ in range(side * 3):
        radius = min(3 / np.sqrt(1 - rng.random()), side / 6)
        row, column = rng.random(2) * side
        scene[(y - row) ** 2 + (x - column) ** 2 < radius**2] = rng.uniform(20, 235)
    return ndimage.gaussian_filter(scene, 0.7)


def noisy(scene: NDArray[np.float32], outside: float, inside: float, patch: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
    """The scene with Gaussian noise of one standard deviation outside the patch and another one inside."""
    return scene + np.random.default_rng(seed).normal(0, 1, scene.shape).astype(np.float32) * np.where(patch, inside, outside)


def square(side: int, top: int, left: int, size: int) -> NDArray[np.bool_]:
    patch = np.zeros((side, side), bool)
    patch[top : top + size, left : left + size] = True
    return patch


def grey(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """H x W -> H x W x 3 uint8."""
    return np.repeat(np.clip(np.round(plane), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def jpeg(rgb: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def auc(patch: NDArray[np.bool_], score: NDArray[np.float32]) -> float:
    return float(roc_auc_score(patch.ravel(), score.ravel()))
