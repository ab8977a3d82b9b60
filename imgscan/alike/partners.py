"""Partners: the pictures of a batch that have a part in common though they are not one photograph.

Votes say which may have one (votes.py), the keypoints of the two alone whether that is likely, their pixels whether it is so
(parts.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from imgscan.alike.groups import Group, Tell, untold
from imgscan.alike.parts import SIDE, Rgb, Shared, growth, points_of, shared_parts, shrunk
from imgscan.alike.pictures import Known, read, shown
from imgscan.alike.votes import Candidate, Points, candidates
from imgscan.workers import busy, each

MOST = 16  # pictures that one is held against for a part in common
HELD = 4  # pictures that a process keeps in memory for that


def parts_in_common(
    pictures: Sequence[Known],
    earlier: Sequence[Known] = (),
    groups: Sequence[Group] = (),
    held: Mapping[str, bytes] | None = None,
    jobs: int = 0,
    tell: Tell = untold,
    sides: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The parts that pictures have in common, as the summary of a record has them, the surest first.

    Of a photograph that is there more than once the first stands for those that are the same.

    Args:
        pictures: of the batch.
        earlier: others, that they are held against.
        groups: of alike, of these pictures.
        held: contents of those that are no files, by their paths.
        jobs: worker processes.
        tell: called with how many of how many pictures, and then pairs, were looked at.
        sides: by path of what split or set a picture is; only those of two are held against each other then, each of them, for who
            asks wants to know of every one.
    """
    known = {picture: number for number, group in enumerate(groups) for picture in (member.picture for member in group)}
    spared = {member.picture for group in groups for member in group[1:] if member.kind != "differs"} if sides is None else set()
    files = {(one.path, one.sha256) for one in pictures}
    others = [one for one in earlier if (one.path, one.sha256) not in files]
    asked = [one for one in (*pictures, *others) if one.fingerprint is not None and one not in spared]
    first = sum(one.record is None for one in asked)
    held = held or {}
    _small.cache_clear()  # files may be others since
    points: list[Points | None] = []
    for number, one in enumerate(each(asked, partial(_points, held=held), busy(asked, jobs))):
        tell(number, len(asked))
        points.append(one)
    own = sum(one is not None for one in points[:first])
    seen = [(picture, told) for picture, told in zip(asked, points, strict=True) if told is not None]
    pairs = candidates([told for _, told in seen], own)
    if sides is not None:
        pairs = [pair for pair in pairs if sides[seen[pair.one][0].path] != sides[seen[pair.other][0].path]]
    pairs = _chosen(pairs, [known.get(picture) for picture, _ in seen])
    looks = [_Look(*seen[pair.one], *seen[pair.other]) for pair in pairs]
    found = []
    for number, shared in enumerate(each(looks, partial(_shared, held=held), busy(looks, jobs))):
        tell(number, len(looks))
        found += [(one.score, number, _line(looks[number], one)) for one in shared]
    return [line for _, _, line in sorted(found, key=lambda one: (-one[0], one[1]))]


@dataclass(frozen=True)
class _Look:
    """Two pictures that may have a part in common."""

    one: Known
    points: Points
    other: Known
    other_points: Points


def _chosen(found: Sequence[Candidate], groups: Sequence[int | None]) -> list[Candidate]:
    """Of each picture the MOST candidates with most votes, none of two pictures that are one photograph; side by side what is held
    against one picture."""
    count = Counter[int]()
    kept = []
    for pair in found:
        if groups[pair.one] is not None and groups[pair.one] == groups[pair.other]:
            continue
        if max(count[pair.one], count[pair.other]) < MOST:
            kept.append(pair)
            count.update((pair.one, pair.other))
    return sorted(kept, key=lambda pair: (pair.one, pair.other))


def _points(picture: Known, held: Mapping[str, bytes]) -> Points | None:
    """Of a picture; None where it cannot be read."""
    rgb = _small(picture, held.get(picture.path))
    return None if rgb is None else points_of(rgb)


def _shared(look: _Look, held: Mapping[str, bytes]) -> list[Shared]:
    larger = growth(look.points, look.other_points)
    if larger is None:
        return []
    one, other = (_small(picture, held.get(picture.path)) for picture in (look.one, look.other))
    return [] if one is None or other is None else shared_parts(one, other, larger)


@lru_cache(HELD)
def _small(picture: Known, content: bytes | None) -> Rgb | None:
    rgb = shown(picture, content or read(picture), SIDE)
    return None if rgb is None else shrunk(rgb)


def _line(look: _Look, shared: Shared) -> dict[str, Any]:
    sides = [
        picture.as_line() | {"box": list(picture.in_pixels(box)), "area": round(area, 4)}
        for picture, box, area in zip((look.one, look.other), shared.boxes, shared.areas, strict=True)
    ]
    return {"pictures": sides, "score": round(shared.score, 4), "mirrored": shared.mirrored, "turned": shared.turned}
