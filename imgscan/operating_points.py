"""Operating points: the thresholds of a weights card, with what was measured of each.  No torch here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from imgscan.cluster_names import ClusterName
from imgscan.errors import InputError, WeightsError
from imgscan.typed import settings, within

DIGITS = 4  # of the shares in a card
MOST_COUNTED = 10_000  # pictures up to which a share of so many digits says how many of them it was


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold with what was measured of it; InputError for a score or a share that is none."""

    level: Literal["possible", "likely", "certain", "default"]  # default: what counts where nobody names another
    score: float  # pictures at or above it are findings of that level
    false_alarms: float  # measured share of untouched pictures at or above it
    pictures: int  # how many untouched pictures that is measured on
    # Where copies of photographs, smaller or saved once more, are among these:
    as_is: float | None = None  # share of the photographs as they are at or above it
    photographs: int | None = None  # how many photographs they are
    cluster: ClusterName | None = None  # the --cluster that it was measured with; None: with the card's own
    # Low, high: 95 %, two-sided, of the rate on pictures like those, by the ones as they are (clopper_pearson)
    interval: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        within(self, 0, 1, "score", "false_alarms", "as_is")
        within(self, 0, None, "pictures", "photographs")
        if self.interval is not None and not (len(self.interval) == 2 and 0 <= self.interval[0] <= self.interval[1] <= 1):
            raise InputError(f"interval is {list(self.interval)}; wanted [low, high], two shares from 0 to 1")

    def with_interval(self) -> OperatingPoint:
        """The same with its interval, where it has none and its shares tell how many pictures as they are reached it."""
        share, count = (self.false_alarms, self.pictures) if self.photographs is None else (self.as_is, self.photographs)
        if self.interval is not None or share is None or not 0 < count < MOST_COUNTED:
            return self
        return replace(self, interval=interval_of(round(share * count), count))


def interval_of(reached: int, pictures: int) -> tuple[float, float]:
    """The 95 % interval of a false-alarm rate, as a card has it: low, high, DIGITS digits.

    Args:
        reached: untouched pictures that reach a threshold.
        pictures: all of them, each of another photograph: copies of one are not independent.
    """
    low, high = clopper_pearson(reached, pictures)
    return round(low, DIGITS), round(high, DIGITS)


def clopper_pearson(count: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share: Clopper and Pearson, Biometrika 26 (1934), 404-413.

    Two-sided: (1 - level) / 2 lie beyond either end, so with the usual level the upper end alone is a bound of 97.5 %.  It also
    holds for the share above a threshold that was set on the same values, so long as it lies between two of them: the shares above
    these are beta distributed with the parameters below (Wilks, Ann. Math. Stat. 12 (1941), 91-96).

    Args:
        count: how many have the property, 0..of.
        of: how many there are, at least 1; independent of each other.
        level: of confidence, between 0 and 1.

    Returns:
        (low, high), 0..1; low is 0 where none has it, high is 1 where all have.

    Raises:
        ValueError: a count or a level out of range.
    """
    if not 0 <= count <= of or not of or not 0 < level < 1:
        raise ValueError(f"{count} of {of} at level {level}; wanted a count among one or more, a level between 0 and 1")
    from scipy.special import betaincinv  # scipy.stats.beta.ppf is the same, and takes seconds to load

    tail = (1 - level) / 2
    low = float(betaincinv(count, of - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - tail)) if count < of else 1.0
    return low, high


def operating_points(data: dict[str, Any], path: Path) -> tuple[OperatingPoint, ...]:
    """Those of a card's tables; WeightsError as `settings`, and for a level that is there twice."""
    tables = data.get("operating_points", ())
    points = tuple(settings("operating_points", OperatingPoint, table, f"weights card {path}") for table in tables)
    said = [f"{point.level!r}" + (f" with cluster {point.cluster!r}" if point.cluster else "") for point in points]
    if twice := next((one for one in said if said.count(one) > 1), None):
        raise WeightsError(f"weights card {path}: two [[operating_points]] have the level {twice}; remove what was measured before")
    return points
