import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from imgscan.losses import CONTRASTS
from imgscan.losses.focal import batched_loss, contrasts_of, draw, draw_rows, focal_loss, hold_together, info_nce

# Inputs and answers of the released FOCAL code (fixture FOCAL_losses, cases a and c).
OFFICIAL_A_QUERY = [
    [-0.3269673, -0.9743151, 0.49458775, 0.42498994, -0.44121903, -0.09967551, -1.8036922, -0.88237983],
    [0.21658812, 0.5955475, -0.008974761, -0.82275033, -0.3551098, 0.5253163, -1.366707, 1.2047733],
    [-0.22859894, -0.8050304, -1.03946, -1.1291653, 0.7629747, -1.354787, -0.84251183, 0.10194122],
    [-1.2129252, -1.1553776, 1.6878272, -0.1448518, -0.37364867, 2.1487892, 0.9965058, 0.5764316],
    [0.8677575, 0.5677176, 0.13106427, -2.3377588, 0.65007764, -0.13908204, 1.5218847, 0.99774545],
    [1.357931, -0.4024105, 0.45567125, 1.3139818, -0.99707454, -0.13498749, -0.54124594, 0.19888471],
    [-0.08134038, -0.34886238, 0.832479, 0.51667756, 0.82654697, 0.658776, -1.3154284, 0.17519034],
]
OFFICIAL_A_NEGATIVE = [
    [-0.7019448, 1.5635738, -0.07765564, 1.1173122, 0.66716856, 0.12373211, -1.3461795, -0.28017783],
    [0.3954696, 0.9547013, 1.7428396, 0.4723044, 2.090307, -0.36615026, 0.30359334, -0.35086852],
    [-0.69193643, -1.6983978, -1.8937713, 1.3705947, -1.6054375, -0.85829884, -1.2986501, 0.0037701924],
    [-1.434358, -1.3633392, 0.37717113, 0.15024897, -0.40702158, 1.1919206, 1.3915735, 0.37985206],
    [-0.74782705, 0.66718364, 0.43613642, 2.2397785, 0.40383965, 0.86820036, -0.0888207, 2.3010266],
]
OFFICIAL_C_QUERY = [[-0.3941354, -1.1059176, 0.56096286, 2.5959227], [0.4904382, -1.4180317, 0.8797889, 0.25731933]]
OFFICIAL_C_NEGATIVE = [[0.5270383, 1.8245039, -0.55854297, -2.3991692]]
FIXTURE = Path(__file__).parents[3] / "shared" / "reference" / "parity" / "FOCAL_losses.npz"


def unit(rows: list[list[float]]) -> torch.Tensor:
    return F.normalize(torch.tensor(rows), dim=1)


def test_official_values() -> None:
    a = info_nce(unit(OFFICIAL_A_QUERY), unit(OFFICIAL_A_NEGATIVE), 0.1)
    assert float(a) == pytest.approx(4.534013748168945, abs=1e-5)
    c = info_nce(unit(OFFICIAL_C_QUERY), unit(OFFICIAL_C_NEGATIVE), 0.1)
    assert float(c) == pytest.approx(6.735282568115508e-06, abs=1e-6)


@pytest.mark.skipif(not FIXTURE.exists(), reason="the reference fixtures are not on this machine")
def test_official_loss_and_gradient_of_a_batch() -> None:
    fixture = np.load(FIXTURE)
    features = torch.from_numpy(fixture["process_train/features"]).requires_grad_()
    loss = focal_loss(features, torch.from_numpy(fixture["process_train/mask"]).long())
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(float(fixture["process_train/loss"]), abs=1e-5)
    np.testing.assert_allclose(features.grad, fixture["process_train/grad"], atol=1e-5)


def test_value_by_hand() -> None:
    """Two pristine queries at cosine 0.6 to each other, one forged pixel at cosine 0 to the first and 0.8 to the second, t = 0.5.

    p = 0.6 for both; -log(e^1.2 / (e^1.2 + e^0)) = 0.26328, -log(e^1.2 / (e^1.2 + e^1.6)) = 0.91302; mean 0.58815.
    """
    queries, negatives = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[0.0, 1.0]])
    first = -math.log(math.exp(1.2) / (math.exp(1.2) + 1))
    second = -math.log(math.exp(1.2) / (math.exp(1.2) + math.exp(1.6)))
    assert float(info_nce(queries, negatives, 0.5)) == pytest.approx((first + second) / 2, abs=1e-6)
    assert (first + second) / 2 == pytest.approx(0.58815, abs=1e-4)


def test_hold_together_by_hand() -> None:
    """p = 0.6 for both, floor 0.7, t = 0.1: log(1 + e^1) = 1.31326."""
    assert float(hold_together(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), 0.7, 0.1)) == pytest.approx(1.31326, abs=1e-4)


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(4, 3, dtype=torch.float64, generator=generator).requires_grad_()
    negatives = torch.randn(3, 3, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, n: info_nce(q, n, 0.5), (queries, negatives))
    assert torch.autograd.gradcheck(lambda q: hold_together(q, 0.2, 0.5), (queries,))


def two_pictures() -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(2, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[0, :3, :3] = 1
    labels[0, 6:, 6:] = 2
    return features, labels


def test_a_picture_without_both_classes_is_skipped() -> None:
    features, labels = two_pictures()
    assert float(focal_loss(features, labels)) == pytest.approx(float(focal_loss(features[:1], labels[:1])))


@pytest.mark.parametrize("value", [0, 1, -1])
def test_a_batch_of_one_class_gives_zero_and_a_gradient(value: int) -> None:
    features = torch.randn(2, 4, 5, 5, requires_grad=True)
    loss = focal_loss(features, torch.full((2, 5, 5), value))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_one_pristine_pixel_is_no_nan() -> None:
    labels = torch.ones(1, 2, 2, dtype=torch.long)
    labels[0, 0, 0] = 0
    assert float(focal_loss(torch.randn(1, 4, 2, 2), labels, both_ways=True, floor=0.5)) == 0


def test_a_batch_is_the_mean_of_its_pictures_and_nothing_crosses_between_them() -> None:
    features, labels = two_pictures()
    labels[1, 2:5, 2:5] = 1
    alone = [focal_loss(features[k : k + 1], labels[k : k + 1]) for k in range(2)]
    assert float(focal_loss(features, labels)) == pytest.approx(float(sum(alone)) / 2, rel=1e-6)


def test_ignored_cells_do_not_count() -> None:
    features, labels = two_pictures()
    labels[0, 3, :] = -1
    changed = features.clone()
    changed[0, :, 3, :] += 7
    torch.testing.assert_close(focal_loss(features, labels), focal_loss(changed, labels))


def test_both_ways_pulls_each_part_together_on_its_own() -> None:
    """Two forged parts that are tight but far apart: as one class they would look loose, as two they are perfect."""
    vectors = torch.zeros(3, 3, 4)
    vectors[0] = 1.0
    labels = torch.zeros(3, 4, dtype=torch.long)
    for part, row in ((1, 0), (2, 2)):
        labels[row] = part
        vectors[:, row] = torch.eye(3)[part][:, None]
    apart = focal_loss(vectors[None], labels[None], both_ways=True)
    merged = focal_loss(vectors[None], labels.clamp(max=1)[None], both_ways=True)
    assert float(apart) < float(merged)


def test_floor_holds_untouched_pictures_together() -> None:
    features, labels = two_pictures()
    one = F.normalize(features[1].flatten(1).T, dim=1)
    assert float(focal_loss(features[1:], labels[1:], floor=0.7)) == pytest.approx(float(hold_together(one, 0.7)), rel=1e-6)


def test_draws_are_limited_and_repeatable() -> None:
    rows = torch.arange(50.0)[:, None]
    first = draw(rows, 10, torch.Generator().manual_seed(1))
    assert first.shape == (10, 1)
    assert len(set(first.flatten().tolist())) == 10
    torch.testing.assert_close(first, draw(rows, 10, torch.Generator().manual_seed(1)))
    assert draw(rows, 50, None).tolist() == rows.tolist()


def test_bad_shapes_raise_with_the_shape() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        info_nce(torch.rand(2, 3), torch.rand(2, 4))
    with pytest.raises(ValueError, match=r"\(1, 4, 8, 8\)"):
        focal_loss(torch.rand(1, 4, 8, 8), torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        hold_together(torch.rand(1, 3), 0.5)


@pytest.mark.parametrize("name", CONTRASTS)
def test_any_contrast_takes_the_place_of_info_nce(name: str) -> None:
    features, labels = two_pictures()
    labels[1, 2:5, 2:5] = 1
    wanted = []
    for picture, label in zip(F.normalize(features, dim=1), labels, strict=True):
        vectors = picture.flatten(1).T
        wanted.append(CONTRASTS[name](vectors[label.flatten() == 0], vectors[label.flatten() > 0], 0.2))
    torch.testing.assert_close(focal_loss(features, labels, temperature=0.2, contrast=CONTRASTS[name]), torch.stack(wanted).mean())


def test_both_ways_uses_the_same_contrast_for_the_parts() -> None:
    features, labels = two_pictures()
    seen = []

    def count(queries: torch.Tensor, negatives: torch.Tensor, temperature: float) -> torch.Tensor:
        seen.append((queries.shape[0], negatives.shape[0]))
        return info_nce(queries, negatives, temperature)

    torch.testing.assert_close(
        focal_loss(features, labels, both_ways=True, contrast=count), focal_loss(features, labels, both_ways=True)
    )
    assert seen == [(51, 13), (9, 51), (4, 51)]


def test_the_whole_batch_is_one_contrast_over_the_pictures_that_have_both_classes() -> None:
    features, labels = two_pictures()
    features, labels = torch.cat([features, features.flip(2)]), torch.cat([labels, labels])
    vectors = F.normalize(features, dim=1).permute(0, 2, 3, 1)
    used = torch.tensor([0, 2])  # 1 and 3 are untouched
    pristine, forged = vectors[used][labels[used] == 0], vectors[used][labels[used] > 0]
    torch.testing.assert_close(focal_loss(features, labels, whole_batch=True), info_nce(pristine, forged))
    assert float(focal_loss(features, labels, whole_batch=True)) != pytest.approx(float(focal_loss(features, labels)), abs=1e-3)
    torch.testing.assert_close(focal_loss(features[:1], labels[:1], whole_batch=True), focal_loss(features[:1], labels[:1]))


def test_the_whole_batch_keeps_the_parts_and_the_weight_of_untouched_pictures() -> None:
    features, labels = two_pictures()
    features, labels = torch.cat([features, features[:1] + 1]), torch.cat([labels, labels[:1]])
    vectors = F.normalize(features, dim=1).permute(0, 2, 3, 1)
    touched = torch.tensor([0, 2])
    pristine, forged = vectors[touched][labels[touched] == 0], vectors[touched][labels[touched] > 0]
    parts = torch.stack([info_nce(vectors[k][labels[k] == part], pristine) for k in (0, 2) for part in (1, 2)]).mean()
    untouched = hold_together(vectors[1].flatten(0, 1), 0.7)
    wanted = (2 * (info_nce(pristine, forged) + parts) / 2 + untouched) / 3
    torch.testing.assert_close(focal_loss(features, labels, both_ways=True, floor=0.7, whole_batch=True), wanted)


def test_the_whole_batch_of_one_class_is_zero() -> None:
    assert float(focal_loss(torch.randn(2, 4, 5, 5), torch.zeros(2, 5, 5, dtype=torch.long), whole_batch=True)) == 0


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("floor", [None, 0.7])
def test_the_batched_form_of_a_gpu_gives_the_same_loss_and_gradient(both_ways: bool, floor: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 8, 16, 16, generator=generator, requires_grad=True)
    labels = torch.zeros(6, 16, 16, dtype=torch.int64)
    labels[0, 2:5, 2:10], labels[0, 10:15, 2:4] = 1, 2  # two parts
    labels[1, :8], labels[1, 8] = 1, -1
    labels[2, 3, 3] = 1  # a part of one cell is no query
    labels[3, 0, 0] = -1  # neither forged nor untouched throughout: skipped
    labels[4] = 1  # nothing pristine: skipped; the last one is untouched

    def drawn() -> torch.Generator:
        return torch.Generator().manual_seed(1)

    expected = focal_loss(features, labels, max_keys=20, both_ways=both_ways, floor=floor, generator=drawn())
    rows = draw_rows(labels, max_keys=20, both_ways=both_ways, floor=floor is not None, generator=drawn())
    assert [one.picture for one in rows] == ([0, 1, 2] if floor is None else [0, 1, 2, 5])
    together = batched_loss(features, contrasts_of(rows), temperature=0.1, floor=floor)
    torch.testing.assert_close(together, expected)
    torch.testing.assert_close(torch.autograd.grad(together, features), torch.autograd.grad(expected, features))


def test_the_batched_form_of_untouched_pictures_alone_and_of_bfloat16() -> None:
    features = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    rows = draw_rows(labels, max_keys=20, both_ways=True, floor=True, generator=None)
    together = batched_loss(features, contrasts_of(rows), temperature=0.1, floor=0.7)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, focal_loss(features, labels, both_ways=True, floor=0.7))


def test_draws_are_spread_over_the_picture() -> None:
    """Of 1000 rows in the picture's order 100 are drawn from everywhere, others with another generator."""
    rows = torch.arange(1000.0)[:, None]
    one, other = (draw(rows, 100, torch.Generator().manual_seed(seed))[:, 0] for seed in (0, 1))
    assert len(one.unique()) == 100
    assert 400 < float(one.mean()) < 600
    assert not torch.equal(one.sort().values, other.sort().values)
