"""Groups of matches that one map explains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imgscan.detectors import keypoint_matches, small_copies
from imgscan.detectors.keypoint_matches import CONSENSUS, Consensus, Floats, similarities


def _first_members(consensus: Consensus, here: Floats, there: Floats, matrices: Floats, growth: Floats | None) -> set[int]:
    """The pairs that the first map is fitted to."""
    fitted: list[Floats] = []
    list(replace(consensus, fit=lambda some, _: fitted.append(some), groups=1).find(here, there, matrices, growth))
    return {int(np.flatnonzero((here == place).all(1))[0]) for place in fitted[0]}


def _one_by_one(consensus: Consensus, here: Floats, there: Floats, matrices: Floats, growth: Floats | None) -> set[int]:
    """The same by the definition: every pair beside every other one."""
    best: set[int] = set()
    for one in range(len(here)):
        agreeing = set()
        for other in range(len(here)):
            away = np.hypot(*(here[other] - here[one]))
            off = np.hypot(*(there[one] + matrices[one] @ (here[other] - here[one]) - there[other]))
            grows = growth is None or abs(growth[one] - growth[other]) < 0.5
            if away < consensus.reach and off < consensus.loose + consensus.drift * away and grows:
                agreeing.add(other)
        if len(agreeing) > len(best):
            best = agreeing
    return best


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("consensus", [CONSENSUS, small_copies.CONSENSUS])
def test_most_agree_with_the_first_map(consensus: Consensus, measured: bool) -> None:
    """More pairs than are compared at once, over a picture wider than a pair reaches; a third of them follow one shift."""
    rng = np.random.default_rng(5)
    count = 4 * keypoint_matches.TOGETHER - 3
    here = rng.uniform(0, 4 * consensus.reach, (count, 2))
    there = rng.uniform(0, 400, (count, 2))
    here[::3] = consensus.reach + rng.uniform(0, consensus.reach, (len(here[::3]), 2))
    there[::3] = here[::3] + np.array([70, -30]) + rng.normal(0, 1, (len(here[::3]), 2))
    matrices = similarities(rng.normal(0, 0.02, count), 1.0, flipped=False)
    growth = rng.normal(0, 0.3, count) if measured else None
    consensus = replace(consensus, proposals=count)
    wanted = _one_by_one(consensus, here, there, matrices, growth)
    assert len(wanted) > 5
    assert _first_members(consensus, here, there, matrices, growth) == wanted
