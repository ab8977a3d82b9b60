"""What reports say of pictures that have a part in common: in a sentence, pair by pair, and side by side on the page."""

from __future__ import annotations

from collections.abc import Sequence

from imgscan.printable import printable
from imgscan.records import Line
from imgscan.report.alike import NAMED, Boxed, Image, box_text, figure, more, origin, way_text
from imgscan.report.record import Record

SHOWN = 100  # pairs that the page shows; it names all
NEARLY_ALL = 0.9  # share of a picture


def parts_of(record: Record) -> list[Line]:
    """The parts of a record; none where nobody asked for them."""
    return list((record.summary or {}).get("parts", ()))


def parts_texts(record: Record, *, each: bool) -> list[str]:
    """What the terminal is told at the end of a scan: a line, and one for each part; none where there is none."""
    parts = parts_of(record)
    texts = [parts_text(parts)] * bool(parts) + (part_texts(parts) if each else [])
    return [f"imgscan: {text}" for text in texts]


def parts_text(parts: Sequence[Line]) -> str:
    """All parts in a sentence that names some of the pairs; "" where there are none."""
    pairs = list(dict.fromkeys(" and ".join(_name(one) for one in part["pictures"]) for part in parts))
    if not pairs:
        return ""
    return f"pictures with a part in common: {'; '.join([*pairs[:NAMED], *more(len(pairs), 'pair', 'and ')])}"


def part_texts(parts: Sequence[Line]) -> list[str]:
    """What every part is, a line each."""
    return [f"{_name(part['pictures'][0])}: {part_text(part)}" for part in parts]


def part_text(part: Line) -> str:
    """What a part of the first picture is in the second."""
    one, other = part["pictures"]
    return f"{_place(one)} are in {_name(other)} too, as {_place(other)}{way_text(part)}"


def by_picture(record: Record) -> dict[str, list[str]]:
    """By path what a picture of this scan shares with others, a text each: left top right bottom in pixels, the other's name."""
    found: dict[str, list[str]] = {}
    for part in parts_of(record):
        for one, other in (part["pictures"], part["pictures"][::-1]):
            if "record" not in one:
                found.setdefault(one["path"], []).append(f"{' '.join(map(str, one['box']))} {other['name']}{origin(other)}")
    return found


def section(record: Record, image: Image, boxed: Boxed) -> str:
    """The part of the page; "" where there is none."""
    parts = parts_of(record)
    if not parts:
        return ""
    lines = {line["path"]: line for line in record.results}
    rows = []
    for number, part in enumerate(parts):
        texts = part_text(part), _place(part["pictures"][1])
        cells = [
            figure(one, said, lines.get(one["path"], {}) | one, [one["box"]], image if number < SHOWN else None, boxed)
            for one, said in zip(part["pictures"], texts, strict=True)
        ]
        rows.append(f"<div class='alike'>{''.join(cells)}</div>")
    return (
        "<section><h2>Parts in common</h2><p>Each row is two pictures that are not one photograph, and framed what both have: "
        "cut out of one and put into the other, put into both, or a piece of one that is the other. Which was there first, this "
        f"does not say. None of this is in any score.</p>{''.join(rows)}</section>"
    )


def _name(member: Line) -> str:
    return printable(member["name"]) + origin(member)


def _place(member: Line) -> str:
    return ("nearly all of it, " if member["area"] >= NEARLY_ALL else "") + box_text(member["box"])
