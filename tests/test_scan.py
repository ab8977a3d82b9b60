from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imgscan.datasets.forge import forge
from imgscan.errors import InputError
from imgscan.evaluation.metrics import pixel_scores
from imgscan.find import find
from imgscan.records import Assessed, Skipped
from imgscan.scan import Scanner, build_scanner, choose_device, scan
from imgscan.weights import find_model

CPU = torch.device("cpu")


def tiny_scanner(tiny_model: str, batch: int = 2, jobs: int = 0) -> Scanner:
    return build_scanner(find_model(tiny_model), device=CPU, batch=batch, jobs=jobs, amp=False)


def test_every_picture_comes_back_in_order_at_its_own_size(folder: Path, tiny_model: str) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    results = list(scan(find([folder]), tiny_scanner(tiny_model)))
    names = [r.source.name if isinstance(r, Skipped) else r.finding.picture.name for r in results]
    assert names == ["broken.jpg", "forged.png", "tall.webp", "a/b.jpg"]
    assert isinstance(results[0], Skipped)
    sizes = [r.mask.forged.shape for r in results if isinstance(r, Assessed)]
    assert sizes == [(128, 128), (160, 96), (128, 192)]
    for result in results[1:]:
        assert isinstance(result, Assessed)
        assert result.mask.probability.min() >= 0
        assert result.mask.probability.max() <= 1
        assert result.features.vectors.shape[0] == 32, "two tiny networks of 16 channels"


def test_batch_and_jobs_change_nothing(folder: Path, tiny_model: str) -> None:
    alone, together = (
        [r for r in scan(find([folder]), tiny_scanner(tiny_model, batch, jobs)) if isinstance(r, Assessed)]
        for batch, jobs in ((1, 0), (4, 2))
    )
    assert len(alone) == len(together) == 3
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.features.vectors, other.features.vectors, atol=1e-4)
        assert (one.mask.forged == other.mask.forged).mean() > 0.99


def test_nothing_to_scan(tiny_model: str) -> None:
    assert list(scan([], tiny_scanner(tiny_model))) == []


def test_timings_cover_the_stages(folder: Path, tiny_model: str) -> None:
    scanner = tiny_scanner(tiny_model)
    list(scan(find([folder]), scanner))
    assert set(scanner.timings.seconds) == {"wait for decoding", "prepare", "extract", "cluster", "wait for clusters", "localize"}
    assert scanner.timings.pictures == 3


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "tpu"])
def test_a_device_that_is_not_there_says_what_is(name: str) -> None:
    with pytest.raises(InputError, match=r"there is: auto, cpu"):
        choose_device(name)


def test_auto_is_a_device() -> None:
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    assert choose_device("cpu") == CPU


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory, photos: list[np.ndarray]) -> tuple[Path, dict[str, np.ndarray]]:
    """Eight spliced pictures of 320 x 320 with their truths, made from photographs that no shipped network has seen."""
    root = tmp_path_factory.mktemp("forged")
    truths = {}
    for number in range(8):
        rng = np.random.default_rng((4, number))
        made = forge(lambda rng=rng: photos[int(rng.integers(4))], 320, rng, "splicing")
        Image.fromarray(made.rgb).save(root / f"{number}.png")
        truths[f"{number}.png"] = made.labels > 0
    return root, truths


def test_the_weights_that_ship_find_forgeries(forged: tuple[Path, dict[str, np.ndarray]]) -> None:
    """Not a benchmark: a wrong polarity, a lost noise view or a shifted grid would leave this at 0.5."""
    root, truths = forged
    scanner = build_scanner(find_model("focal-fusion"), device=CPU, batch=4, jobs=0)
    aucs = []
    for result in scan(find([root]), scanner):
        assert isinstance(result, Assessed)
        truth = truths[result.finding.picture.name]
        auc = pixel_scores(truth, result.mask.probability, None).auc
        assert auc is not None
        aucs.append(auc)
    assert np.mean(aucs) > 0.75
