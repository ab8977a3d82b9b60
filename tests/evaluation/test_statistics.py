import numpy as np
import pytest
from scipy import stats

from imgscan.evaluation.pixel import pixel_metrics
from imgscan.evaluation.statistics import BASELINES, Values, all_forged, all_pristine, bootstrap
from imgscan.operating_points import clopper_pearson


def test_the_interval_of_a_mean_is_near_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(0.6, 0.1, 400)
    low, high = bootstrap(values.tolist(), draws=4000) or (0, 0)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.001)
    assert high == pytest.approx(values.mean() + half, abs=0.001)


def test_it_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).random(50)
    wanted = stats.bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(2))
    ours = bootstrap(values.tolist(), draws=5000)
    assert ours == pytest.approx(tuple(wanted.confidence_interval), abs=0.01)


def test_a_statistic_of_ones_own_sees_the_same_resamples() -> None:
    def own_mean(values: Values) -> float:
        return float(np.mean(values))

    values = np.random.default_rng(1).random(30).tolist()
    assert bootstrap(values, own_mean) == pytest.approx(bootstrap(values))
    median = bootstrap(values, lambda one: float(np.median(one)))
    assert median is not None
    assert median[0] <= np.median(values) <= median[1]


def test_level_seed_and_spread() -> None:
    values = np.random.default_rng(1).random(30).tolist()
    wide, narrow = bootstrap(values, level=0.99) or (0, 0), bootstrap(values, level=0.5) or (0, 0)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3) != bootstrap(values, seed=4)
    assert bootstrap([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_resamples_in_several_rounds_are_the_number_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgscan.evaluation.statistics._AT_ONCE", 70)
    seen: list[int] = []
    bootstrap([0.0, 1.0, 2.0], lambda one: float(seen.append(one.size) or one.mean()), draws=101)
    assert seen == [3] * 101


def test_too_little_to_resample_and_bad_input() -> None:
    assert bootstrap([]) is None
    assert bootstrap([0.5]) is None
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        bootstrap([0.5, float("nan")])
    with pytest.raises(ValueError, match="level 95"):
        bootstrap([0.1, 0.2], level=95)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (0, 60, 0.0, 1 - 0.025 ** (1 / 60)),  # 5.96 %: none has it, with a probability of 2.5 %, where (1 - p)^60 = 0.025
        (60, 60, 0.025 ** (1 / 60), 1.0),
        (1, 2, 1 - 0.975**0.5, 0.975**0.5),  # at least one of two, (1 - p)^2 = 0.975; not both, p^2 = 0.975
        (1, 10, 1 - 0.975**0.1, 0.4450),  # the upper end as tables have it
    ],
)
def test_exact_intervals_by_hand(count: int, of: int, low: float, high: float) -> None:
    assert clopper_pearson(count, of) == pytest.approx((low, high), abs=5e-5)


def test_the_upper_end_of_90_percent_is_the_one_sided_bound_of_95() -> None:
    assert clopper_pearson(0, 60, level=0.9)[1] == pytest.approx(0.0487, abs=5e-5)
    assert clopper_pearson(4, 232) == pytest.approx((stats.beta.ppf(0.025, 4, 229), stats.beta.ppf(0.975, 5, 228)))
    for count, of, level in ((-1, 5, 0.95), (6, 5, 0.95), (0, 0, 0.95), (1, 2, 95)):
        with pytest.raises(ValueError, match="wanted a count among one or more"):
            clopper_pearson(count, of, level)


@pytest.mark.parametrize("forged", [0, 1, 5, 20, 99, 100])
@pytest.mark.parametrize("name", BASELINES)
def test_the_closed_forms_are_what_the_metrics_say(name: str, forged: int) -> None:
    truth = (np.arange(100) < forged).reshape(10, 10)
    answer = np.full((10, 10), name == "all-forged")
    ours, measured = BASELINES[name](forged / 100), pixel_metrics(truth, None, answer)
    for field in ("f1", "macro_f1", "permute_f1", "iou"):
        assert getattr(ours, field) == pytest.approx(getattr(measured, field)), field


@pytest.mark.parametrize(
    ("share", "macro", "binary"), [(0.01, 0.497, 0.020), (0.05, 0.487, 0.095), (0.2, 0.444, 0.333), (0.3, 0.412, 0.462)]
)
def test_published_baselines(share: float, macro: float, binary: float) -> None:
    """A blank mask in macro F1 and a full one in binary F1, as the field's arithmetic has them."""
    assert all_pristine(share).macro_f1 == pytest.approx(macro, abs=5e-4)
    assert all_forged(share).f1 == pytest.approx(binary, abs=5e-4)


def test_a_share_outside_0_to_1() -> None:
    for baseline in BASELINES.values():
        with pytest.raises(ValueError, match="forged share"):
            baseline(1.1)
