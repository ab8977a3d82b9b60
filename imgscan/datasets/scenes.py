"""Scenes: pictures of two splits, or of two sets, that show one photograph or have a part in common.

What a network saw in training and is measured on, it need not have understood.  Hashes of files know a file again, and nothing
that was saved once more, scaled, mirrored, cropped by a few per cent or forged; what a scan has for that does (imgscan/alike), by
fingerprints first, which take little time beside decoding.  Two squares out of one photograph, or a thing cut out of one picture
and pasted into another, have no fingerprints that are alike: keypoints know these again, which take more time than all the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from imgscan.alike.fingerprint import fingerprint
from imgscan.alike.groups import Tell, alike, untold
from imgscan.alike.pictures import Known
from imgscan.datasets.entries import read_picture
from imgscan.drawn import DRAWN, drawn
from imgscan.frame import cut, within_frame
from imgscan.printable import printable
from imgscan.report.parts import part_text

LEAST = 64  # pixels a side, under which a picture is no matter of a scan either


class Shared(NamedTuple):
    """A picture that shows what one of another side shows."""

    kind: Literal["across-sets", "one-photograph", "part-in-common"]  # the first: its file is there, byte for byte
    picture: Path
    text: str  # of which, and where


def known_in(path: Path, record: str | None = None, *, shows: bool = True) -> Known:
    """What a scan would know of a picture file, of what split or set; InputError names one that cannot be decoded.

    Without `shows`, which takes most of the time, nothing is known of what it shows.
    """
    rgb, orientation, content = read_picture(path)
    inside, told = None, None
    if shows and min(rgb.shape[:2]) >= LEAST:
        inside = within_frame(rgb)
        within = cut(rgb, inside)
        told = None if drawn(within) >= DRAWN else fingerprint(within, orientation)
    digest = hashlib.sha256(content).hexdigest()
    return Known(str(path), str(path), digest, told, rgb.shape[1], rgb.shape[0], orientation, inside, record)


def shared(
    given: Sequence[Known],
    sides: Mapping[str, Sequence[Known]],
    *,
    parts: bool = False,
    jobs: int = 0,
    tell: Tell = untold,
) -> Iterator[Shared]:
    """The pictures of the sides that show what one of those given, or of an earlier side, shows, each once.

    Args:
        given: pictures whose `record` is the name of the split or set that they are of.
        sides: those of other splits or sets, by name; none is looked for within its own.
        parts: whether to look for parts in common as well.
        jobs: worker processes for that.
        tell: is called with how many of how many pairs, or pictures, were looked at.
    """
    rank = {name: number for number, name in enumerate(sides)}
    names = {one.path: one.record or "" for one in given} | {one.path: name for name, side in sides.items() for one in side}
    asked = [one for side in list(sides.values())[::-1] for one in side]  # later ones first, as a part names its pictures
    told = set()
    if bool(given) + sum(map(bool, sides.values())) < 2:
        return
    for one in given:
        if rank.get(names[one.path]) is not None:
            told.add(one.path)
            yield Shared("across-sets", Path(one.path), f"is in {printable(one.record or '')}")
    groups = alike(asked, given, tell=tell)
    for group in groups:
        before: list[Known] = []
        for one in sorted((member.picture for member in group), key=lambda one: rank.get(names[one.path], -1)):
            others = [other for other in before if names[other.path] != names[one.path]]
            if others and names[one.path] in rank:
                told.add(one.path)
                twin = next((other for other in others if other.sha256 == one.sha256), None)
                if twin is not None:
                    yield Shared("across-sets", Path(one.path), f"the same bytes as {_named(twin, names)}")
                else:
                    yield Shared("one-photograph", Path(one.path), f"the same photograph as {_named(others[0], names)}")
            before.append(one)
    if parts:
        from imgscan.alike.partners import parts_in_common  # which loads torch

        for line in parts_in_common(asked, given, groups, jobs=jobs, tell=tell, sides=names):
            pair = [picture | {"record": names[picture["path"]]} for picture in line["pictures"]]
            if pair[0]["path"] not in told:
                told.add(pair[0]["path"])
                yield Shared("part-in-common", Path(pair[0]["path"]), part_text(line | {"pictures": pair}))


def _named(picture: Known, names: Mapping[str, str]) -> str:
    return f"{printable(picture.name)} of {printable(names[picture.path])}"
