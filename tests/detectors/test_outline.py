"""The step at the outline of what deviates, computed by hand on a row of blocks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from imgscan.detectors.outline import DEVIATING, FEWEST, fades

ROWS = 6
Blocks = NDArray[np.float64]


def columns(*values: float) -> Blocks:
    """Blocks of which each column says the same."""
    return np.tile(np.array(values), (ROWS, 1))


ODDS = columns(*[6] * 4, *[-6] * 16)
ALL = np.ones_like(ODDS)


@pytest.mark.parametrize(
    ("agreement", "step"),
    [
        (columns(*[0] * 4, *[1] * 16), 1.0),
        (columns(*[-0.3] * 4, 0.5, 0.7, *[1] * 14), 0.6),  # stranger than strange is no larger step
        (columns(*[0.2] * 4, 0.5, 0.7, *[1] * 14), 0.4),  # mean of 0.5 and 0.7 less 0.2
        (columns(*[0.2] * 4, 0.5, 0.7, *[1] * 5, *[0.5] * 9), 0.8),  # far from it only 0.5
    ],
)
def test_the_step_is_just_outside_less_inside_by_far_away(agreement: Blocks, step: float) -> None:
    assert fades(ODDS, agreement, ALL, (1, 2), step + 0.01)
    assert not fades(ODDS, agreement, ALL, (1, 2), step - 0.01)


def test_blocks_that_do_not_tell_do_not_count() -> None:
    agreement = columns(*[0] * 4, 0, 1, *[1] * 14)  # half of those just outside are like those inside
    assert fades(ODDS, agreement, ALL, (1, 2), 0.9)
    assert not fades(ODDS, agreement, ALL * columns(*[1] * 4, 0, *[1] * 15), (1, 2), 0.9)


def test_eight_blocks_away_is_far() -> None:
    """Of nine columns from there on the first agrees to 1/10: (0.1 + 8) / 9 = 0.9, as much as just outside."""
    agreement = columns(*[0] * 4, 0.9, 0.9, *[1] * 5, 0.1, *[1] * 8)
    assert fades(ODDS, agreement, ALL, (1, 2), 1.01)
    assert not fades(ODDS, agreement, ALL, (1, 2), 0.99)


def test_what_touches_by_a_corner_is_just_outside() -> None:
    """Of the 16 blocks around 9 the four at the corners do not agree: a step of 12 / 16."""
    odds = np.full((25, 25), -6.0)
    odds[11:14, 11:14] = 6
    agreement = np.ones_like(odds)
    agreement[11:14, 11:14] = 0
    agreement[np.ix_([10, 14], [10, 14])] = 0
    assert fades(odds, agreement, np.ones_like(odds), (1, 1), 0.76)
    assert not fades(odds, agreement, np.ones_like(odds), (1, 1), 0.74)


def test_where_all_that_is_outside_is_near_all_beyond_counts_as_far() -> None:
    odds, agreement = columns(*[6] * 4, *[-6] * 4), columns(*[0] * 4, 0.4, 0.4, 0.8, 0.8)
    assert fades(odds, agreement, np.ones_like(odds), (1, 2), 0.51)
    assert not fades(odds, agreement, np.ones_like(odds), (1, 2), 0.49)


@pytest.mark.parametrize(("odds", "deviates"), [(3.0, False), (3.1, True)])
def test_what_exceeds_three_nats_deviates(odds: float, deviates: bool) -> None:
    """The agreement is the same everywhere, a step of nothing."""
    assert fades(columns(*[odds] * 4, *[-6] * 16), ALL / 2, ALL, (1, 2), 0.9) == deviates


@pytest.mark.parametrize(("blocks", "tells"), [(4, False), (5, True)])
def test_five_blocks_are_a_mean(blocks: int, tells: bool) -> None:
    weight = columns(*[0] * 4, *[1] * 16)
    weight[:blocks, 0] = 1
    assert fades(ODDS, ALL / 2, weight, (1, 2), 0.9) == tells


def test_too_few_blocks_tell_nothing() -> None:
    few = np.zeros_like(ALL)
    few.flat[: FEWEST - 1] = 1
    assert not fades(ODDS, ALL, few, (1, 2), 0.9)
    assert not fades(np.full_like(ALL, DEVIATING), ALL, ALL, (1, 2), 0.9)  # nothing deviates
    assert not fades(np.full_like(ALL, 6), ALL, ALL, (1, 2), 0.9)  # everything does
