"""Alike: which pictures of a batch are one photograph, and which of those are not the same everywhere.

Files of the same bytes are known by their SHA-256.  Of the others, fingerprints say which may be alike (match.py), and the pictures
themselves are looked at whether they are (compare.py), the nearest first, as long as neither is known to belong with the other.
Where one can no longer be read, as those of an earlier scan may not, fingerprints have to be nearer, and nobody says whether
they differ somewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from imgscan.alike.compare import SIDE, Compared, Grey, boxes, compare, luma
from imgscan.alike.fingerprint import words_of
from imgscan.alike.match import Match, View, match, seen
from imgscan.alike.pictures import Known, read, shown
from imgscan.pixels import as_stored, upright
from imgscan.records import Box, Kind

NEAR_UNSEEN = 48  # bits of 255 that fingerprints differ in where a picture is gone; see man/alike.md
HELD = 64  # pictures that are kept in memory while others are held against them

Tell = Callable[[int, int], None]
"""Is told how many pairs of how many were looked at."""


def untold(done: int, of: int) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Member:
    """A picture of a group."""

    picture: Known
    like: Known | None = None  # the picture that it is held against; None: it is the group's first
    kind: Kind | None = None  # None: the group's first
    view: View = field(default_factory=View)  # how it has to be turned to look like that one
    differs: tuple[Box, ...] = ()  # where; in its own pixels, in the order of the file


Group = tuple[Member, ...]
"""Pictures of one photograph, the largest first."""


def alike(
    pictures: Sequence[Known], earlier: Sequence[Known] = (), held: Mapping[str, bytes] | None = None, tell: Tell = untold
) -> list[Group]:
    """The groups of pictures that are one photograph, in the order of their first pictures.

    Args:
        pictures: of the batch.
        earlier: others, that they are held against; a group has at least one of the batch.
        held: contents of those that are no files, by their paths.
        tell: called before each pair is looked at.
    """
    files = {(one.path, one.sha256) for one in pictures}
    earlier = [one for one in earlier if (one.path, one.sha256) not in files]  # scanned once more
    twins: dict[str, list[Known]] = {}  # by content, those of the batch first
    for one in [*pictures, *earlier]:
        twins.setdefault(one.sha256, []).append(one)
    found = _Found([files[0] for files in twins.values()], len({one.sha256 for one in pictures}), held or {}, tell)
    groups = [[twin for member in tree for twin in (member, *_twins(member, twins))] for tree in found.groups()]
    return [tuple(group) for group in groups if len(group) > 1 and any(member.picture.record is None for member in group)]


def _twins(member: Member, twins: Mapping[str, Sequence[Known]]) -> list[Member]:
    """The other files of a picture's bytes."""
    return [Member(one, member.picture, "identical") for one in twins[member.picture.sha256] if one is not member.picture]


class _Found:
    """Which distinct pictures are like which."""

    def __init__(self, pictures: Sequence[Known], first: int, held: Mapping[str, bytes], tell: Tell) -> None:
        self._pictures = pictures
        self._look = lru_cache(HELD)(
            lambda number: _luma_of(pictures[number], held.get(pictures[number].path) or read(pictures[number]))
        )
        self._roots = list(range(len(pictures)))
        self._links: dict[int, list[tuple[int, Match]]] = {}
        telling = [number for number, one in enumerate(pictures) if one.fingerprint is not None]
        own = sum(number < first for number in telling)
        pairs = match(words_of([pictures[number].fingerprint or "" for number in telling]), own)
        for done, pair in enumerate(pairs):
            tell(done, len(pairs))
            one, other = telling[pair.one], telling[pair.other]
            if self._root(one) != self._root(other) and self._agree(one, other, pair):
                self._roots[self._root(other)] = self._root(one)
                self._links.setdefault(one, []).append((other, pair))
                self._links.setdefault(other, []).append((one, pair))

    def groups(self) -> Iterable[list[Member]]:
        """Each from its largest picture on, in the order of the pictures; one alone is a group of one."""
        parts: dict[int, list[int]] = {}
        for number in range(len(self._pictures)):
            parts.setdefault(self._root(number), []).append(number)
        for part in parts.values():
            yield self._tree(max(part, key=lambda number: (self._pixels(number), -number)))

    def _tree(self, root: int) -> list[Member]:
        """A group's pictures: each as it is like the first, or like the one that led to it where it has too little of the first."""
        members, waiting, done = [Member(self._pictures[root])], deque([root]), {root}
        while waiting:
            parent = waiting.popleft()
            for number, pair in sorted(self._links.get(parent, ()), key=lambda link: link[0]):
                if number not in done:
                    done.add(number)
                    waiting.append(number)
                    found = self._member(number, root, self._between(number, root)) or self._member(number, parent, pair)
                    members.append(found or Member(self._pictures[number], self._pictures[parent], "same"))
        return members

    def _between(self, one: int, other: int) -> Match | None:
        first, second = (self._pictures[number].fingerprint or "" for number in sorted((one, other)))
        return next(iter(match(words_of([first, second]))), None)

    def _member(self, number: int, parent: int, pair: Match | None) -> Member | None:
        """A picture beside another one of its group; None where these do not agree."""
        if pair is None:
            return None
        picture = self._pictures[number]
        view = pair.view if number > parent else pair.view.inverse
        one, other = self._look(number), self._look(parent)
        if one is None or other is None:
            return Member(picture, self._pictures[parent], "unseen", view) if pair.distance <= NEAR_UNSEEN else None
        compared = compare(one, seen(other, view.inverse))
        if compared is None:
            return None
        differs = _in_pixels(compared, picture)
        return Member(picture, self._pictures[parent], "differs" if differs else "same", view, differs)

    def _agree(self, one: int, other: int, pair: Match) -> bool:
        first, second = self._look(one), self._look(other)
        if first is None or second is None:
            return pair.distance <= NEAR_UNSEEN
        return compare(first, seen(second, pair.view)) is not None

    def _root(self, number: int) -> int:
        while self._roots[number] != number:
            self._roots[number] = self._roots[self._roots[number]]
            number = self._roots[number]
        return number

    def _pixels(self, number: int) -> int:
        return self._pictures[number].width * self._pictures[number].height


def _in_pixels(compared: Compared, picture: Known) -> tuple[Box, ...]:
    """Where it differs, as boxes of the picture's own pixels, in the order of the file."""
    return tuple(picture.in_pixels(box) for box in boxes(as_stored(compared.differs, "TIFF", picture.orientation)))


def _luma_of(picture: Known, content: bytes | None) -> Grey | None:
    """Luma of a picture as it is looked at, without its frame, at most SIDE pixels a side; None where it cannot be read."""
    rgb = shown(picture, content, 2 * SIDE)
    return None if rgb is None else luma(upright(rgb, picture.orientation))


def as_lines(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Groups as the summary of a record has them."""
    return [{"pictures": [_line(member, group) for member in group]} for group in groups]


def _line(member: Member, group: Group) -> dict[str, Any]:
    line = member.picture.as_line()
    if member.like is not None:
        line["like"] = next(number for number, other in enumerate(group) if other.picture is member.like)
        line |= {"kind": member.kind, "mirrored": member.view.mirrored, "turned": member.view.turned}
        line["differs"] = [list(box) for box in member.differs]
    return line
