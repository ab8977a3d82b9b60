"""What reports say of pictures that are one photograph: in a sentence, picture by picture, and side by side on the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from imgscan.printable import printable
from imgscan.records import Line
from imgscan.report.record import Record

NAMED = 3  # groups, and pictures of each, that the sentence names
SHOWN, MOST = 8, 100  # pictures of a group, and groups, that the page shows; it names all
SIDE = 240  # pixels of a thumbnail

Group = Sequence[Line]
Image = Callable[[Line, int], str]
"""A picture as the address of an <img>, at most so many pixels a side; "" where it cannot be shown."""
Boxed = Callable[[Line, Sequence[int]], str]
"""Where a box of a picture's pixels lies on it, as a style."""


def groups_of(record: Record) -> list[Group]:
    """The groups of a record, each the pictures of one photograph; none in records of earlier versions or cut scans."""
    return [group["pictures"] for group in (record.summary or {}).get("alike", ())]


def alike_texts(record: Record, *, each: bool) -> list[str]:
    """What the terminal is told at the end of a scan: a line, and one for each picture; none where no photograph is there twice."""
    groups = groups_of(record)
    texts = [alike_text(groups)] * bool(groups) + (member_texts(groups) if each else [])
    return [f"imgscan: {text}" for text in texts]


def alike_text(groups: Sequence[Group]) -> str:
    """All groups in a sentence that names some of them; "" where there are none."""
    if not groups:
        return ""
    said = [few([_short(member) for member in group], " = ") for group in groups[:NAMED]]
    return f"the same photograph more than once: {'; '.join([*said, *more(len(groups), 'group', 'and ')])}"


def few(texts: Sequence[str], between: str, what: str = "") -> str:
    """Some of them, and how many more there are, of `what`."""
    return between.join([*texts[:NAMED], *more(len(texts), what)])


def more(count: int, what: str = "", before: str = "") -> list[str]:
    """How many of so many are not among the NAMED; [] where all are."""
    left = count - NAMED
    return [f"{before}{left} more" + (f" {what}{'s' if left > 1 else ''}" if what else "")] if left > 0 else []


def _short(member: Line) -> str:
    return printable(member["name"]) + origin(member) + (" (a part differs)" if member.get("kind") == "differs" else "")


def origin(member: Line) -> str:
    """Of which earlier scan a picture is; "" of this one's."""
    return f" of {printable(member['record'])}" if "record" in member else ""


def member_texts(groups: Sequence[Group]) -> list[str]:
    """What every picture but the first of its group is, a line each."""
    return [f"{printable(one['name'])}{origin(one)}: {kind_text(one, group)}" for group in groups for one in group[1:]]


def kind_text(member: Line, group: Group) -> str:
    """How a picture of a group is like the one that it was held against."""
    other = group[member["like"]]
    name = printable(other["name"]) + origin(other)
    if member["kind"] == "identical":
        return f"the same bytes as {name}"
    if member["kind"] == "unseen":
        return f"by its fingerprint the same photograph as {name}; one of them could not be read to look closer"
    if member["kind"] == "same":
        return f"the same photograph as {name}{way_text(member)}"
    places = [box_text(box) for box in member["differs"]]
    return f"the same photograph as {name}{way_text(member)}, but for {few(places, '; ', 'place')}"


def way_text(line: Line) -> str:
    """How one of two pictures, or parts, has to be turned to look like the other; "" not at all."""
    return (", mirrored" if line["mirrored"] else "") + (f", turned by {line['turned']} degrees" if line["turned"] else "")


def box_text(box: Sequence[int]) -> str:
    """A box: its size, and where it is."""
    left, top, right, bottom = box
    return f"{right - left} x {bottom - top} pixels at {left}, {top}"


def numbers(record: Record) -> dict[str, int]:
    """By path the number of the group, from 1, that a picture of this scan belongs to."""
    groups = enumerate(groups_of(record), 1)
    return {one["path"]: number for number, group in groups for one in group if "record" not in one}


def section(record: Record, image: Image, boxed: Boxed) -> str:
    """The part of the page; "" where no photograph is there twice.

    Args:
        record: of the scan.
        image, boxed: see there.
    """
    groups = groups_of(record)
    if not groups:
        return ""
    lines = {line["path"]: line for line in record.results}
    rows = []
    for number, group in enumerate(groups, 1):
        cells = [
            _cell(one, group, lines.get(one["path"], {}) | one, image, boxed, shown=rank < SHOWN and number <= MOST)
            for rank, one in enumerate(group)
        ]
        rows.append(f"<div class='alike' id='a{number}'>{''.join(cells)}</div>")
    return (
        "<section><h2>The same photograph more than once</h2><p>Each row is one photograph: saved again, at another size, toned, "
        "cut a little, mirrored or turned. Framed is where one differs from the picture that it was held against; which of the "
        f"two was altered, this does not say. None of this is in any score.</p>{''.join(rows)}</section>"
    )


def _cell(member: Line, group: Group, facts: Line, image: Image, boxed: Boxed, *, shown: bool) -> str:
    """A picture and what it is."""
    said = kind_text(member, group) if "kind" in member else "what others are held against"
    return figure(member, said, facts, member.get("differs", ()), image if shown else None, boxed)


def figure(member: Line, said: str, facts: Line, boxes: Sequence[Sequence[int]], image: Image | None, boxed: Boxed) -> str:
    """A picture with boxes framed on it, its name, and what is said of it; None: without the picture."""
    name = escape(printable(member["name"]) + origin(member), quote=True)
    address = image(facts, SIDE) if image and "orientation" in facts else ""  # or nobody knows where a box lies
    frames = "".join(f"<i style='{boxed(facts, box)}'></i>" for box in boxes if address)
    picture = f"<div class='stack'><img alt='{name}' src='{address}'>{frames}</div>" if address else ""
    return f"<figure>{picture}<figcaption><b>{name}</b><br>{escape(said)}</figcaption></figure>"
