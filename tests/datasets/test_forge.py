from __future__ import annotations

import numpy as np
import pytest

from imgscan.datasets import forge as module
from imgscan.datasets.forge import KIND_SHARES, KINDS, enhance, forge


def test_enhancement_changes_what_it_labels_and_nothing_else(photos: list[np.ndarray]) -> None:
    labelled = 0
    for seed in range(16):  # every one of the four ways is drawn
        rgb = photos[seed % 4][:256, :256].copy()
        before, labels = rgb.copy(), np.zeros((256, 256), np.int64)
        enhance(rgb, labels, np.random.default_rng(seed))
        changed = (rgb != before).any(2)
        if not labels.any():  # an empty shape, or hardly a change; forge() would draw again
            continue
        labelled += 1
        assert labels.max() == 1
        assert changed[labels == 1].mean() >= 0.5
        assert changed[labels == 0].mean() < 0.1  # soft edges reach out a little
    assert labelled >= 10


def test_enhancement_that_shows_nowhere_is_not_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, labels = np.full((128, 128, 3), 90, np.uint8), np.zeros((128, 128), np.int64)
    monkeypatch.setattr(module, "retouch", lambda part, rng: part)
    monkeypatch.setattr(module, "tone", lambda part, rng: part)
    hidden = 0
    for seed in range(12):
        canvas, marks = rgb.copy(), labels.copy()
        enhance(canvas, marks, np.random.default_rng(seed))
        assert not marks.any() or (canvas != rgb).any()
        hidden += not marks.any()
    assert 4 <= hidden <= 11  # all but those that add noise


def test_earlier_runs_draw_what_they_drew(photos: list[np.ndarray]) -> None:
    """Without a kind, the draw is that of the three kinds before enhancement existed."""
    assert dict(zip(KINDS, KIND_SHARES, strict=True))["enhancement"] == 0
    for seed in range(40):
        now = np.random.default_rng(seed).choice(KINDS, p=KIND_SHARES)
        was = np.random.default_rng(seed).choice(["splicing", "copy-move", "removal"], p=[0.65, 0.2, 0.15])
        assert now == was
    assert forge(lambda: photos[0], 96, np.random.default_rng(9)).kind in KINDS[:3]
