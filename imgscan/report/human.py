"""What people read in the terminal: a line per finding on stdout, the summary on stderr."""

from __future__ import annotations

from collections.abc import Sequence

from imgscan.printable import printable
from imgscan.records import Line, Timings
from imgscan.report.alike import box_text, groups_of, member_texts
from imgscan.report.jsonl import Tally
from imgscan.report.parts import part_texts, parts_of
from imgscan.report.record import Record

UNFINISHED = "the scan did not come to its end"


def passed_over_text(paths: Sequence[str]) -> str:
    """Which files were not looked at because their format is not decoded, the first of them by name."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    named = ", ".join(printable(path) for path in paths[:3])
    return f"passed over, for only JPEG, PNG, TIFF, WebP and BMP are decoded: {named}{more}"


def finding_text(line: Line) -> str:
    """A result line of the JSON Lines as one line of text: level, score, forged area, regions, name."""
    regions = len(line["regions"])
    level = line["level"] if line["level"] != "none" else "flagged" if line["flagged"] else "reported"
    where = f"{regions} region{'s' if regions != 1 else ''}"
    return f"{level:<8} {line['score']:.3f}  {100 * line['area']:5.1f} %  {where:<10}  {printable(line['name'])}"


def inside_text(line: Line) -> str:
    """Which part of the picture was looked at; "" where it was all, and in records of earlier versions."""
    if line.get("panels"):
        boxes = "; ".join(box_text(box) for box in line["panels"])
        return f"{len(line['panels'])} panels, each as a picture of its own: {boxes}"
    if not line.get("inside"):
        return ""
    return f"{box_text(line['inside'])}, not the frame or the program around it"


def review_text(line: Line) -> str:
    """What a reviewer decided, and why; "" where nobody did."""
    if not (review := line.get("review")):
        return ""
    why = f": {printable(review['note'])}" if review["note"] else ""
    return f"{review['decision']}{why}"


def dismissed_text(record: Record) -> str:
    """How many of the findings a reviewer dismissed; "" for none."""
    count = len(record.dismissed)
    return f"{count} of these {'a false alarm' if count == 1 else 'false alarms'} by decision, " if count else ""


def evidence_text(region: Line, regions: Sequence[Line]) -> str:
    """What speaks for a region, in words; with what it equals, one of `regions` or a place.  "" in records of earlier versions."""
    words = {"pixels": "traces in its pixels", "jpeg": "another JPEG history than the rest", "copy": "there twice"}
    if twin := region.get("twin"):
        number = twin_number(region, regions)
        words["copy"] = f"equals what lies at {twin[0]}, {twin[1]}" if number is None else f"equals region {number}"
        if number is not None and regions[number - 1] is region:
            words["copy"] = "holds both of two equal parts"
    return "; ".join(words[one] for one in region.get("evidence", ()))


def twin_number(region: Line, regions: Sequence[Line]) -> int | None:
    """Which of `regions`, from 1, holds most of what a region equals, itself at last; None: none does."""
    others = sorted(enumerate(regions, 1), key=lambda pair: pair[1] is region)
    return next((rank for rank, other in others if _holds(other["box"], region["twin"])), None)


def _holds(box: Sequence[int], other: Sequence[int]) -> bool:
    """Whether more than half of the other box lies in a box."""
    sides = [max(0, min(box[one + 2], other[one + 2]) - max(box[one], other[one])) for one in (0, 1)]
    return 2 * sides[0] * sides[1] > (other[2] - other[0]) * (other[3] - other[1])


def render(record: Record) -> str:
    """A line per finding and per file that was not assessed, and the counts."""
    lines = [finding_text(line) + (f"  ({said})" if (said := review_text(line)) else "") for line in record.findings]
    lines += [f"skipped  {printable(line['name'])}: {printable(line['reason'])}" for line in record.skipped]
    assessed = len(record.results) - len(record.skipped)
    more = _reported_text(len(record.findings) - record.flagged, record.flagged) + dismissed_text(record)
    drawn = f"{len(record.withheld)} not judged (drawn or typeset), " if record.withheld else ""
    old = f"{len(record.known)} known from the baseline, " if record.known else ""
    lines.append(f"{record.flagged} of {assessed} pictures flagged, {more}{old}{drawn}{len(record.skipped)} not assessed")
    lines += [passed_over_text(record.passed_over)] if record.passed_over else []
    lines += member_texts(groups_of(record)) + part_texts(parts_of(record))
    lines += [f"weights {printable(note)}" for note in record.licence_notes]
    if not record.complete:
        lines.append(UNFINISHED)
    return "".join(line + "\n" for line in lines)


def _reported_text(reported: int, flagged: int) -> str:
    """Beside the flagged ones."""
    return f"{reported} {'more ' if flagged else ''}reported, " if reported else ""


def summary_text(tally: Tally, seconds: float, out: str, reused: int = 0, told_apart: bool = True) -> str:
    """Counts and pace, in one line.

    Args:
        tally: of the scan.
        seconds: it took.
        out: the folder of the results.
        reused: pictures of an earlier scan.
        told_apart: whether there is a threshold; without one nobody can say that a picture is clean.
    """
    pace = (tally.pictures - reused) / seconds if seconds > 0 else 0.0
    pictures = f"{tally.pictures} picture{'s' if tally.pictures != 1 else ''}"
    drawn = f"{tally.withheld} not judged (drawn or typeset, see --drawn), " if tally.withheld else ""
    reported = tally.reported - tally.flagged
    more = _reported_text(reported, tally.flagged)
    known = f"{tally.known} known from the baseline, " if tally.known else ""
    clean, word = tally.clean - reported - tally.known, "clean" if told_apart else "scored"
    counts = f"{pictures}: {tally.flagged} flagged, {more}{known}{clean} {word}, {drawn}{tally.skipped} skipped"
    before = f"{reused} of them from an earlier scan; " if reused else ""
    return f"{counts}; {before}{pace:.2f} pictures/s; results in {out}"


def timing_text(timings: Timings, seconds: float, network: float | None) -> str:
    """Seconds per stage, and how busy the network was kept (-v).

    Args:
        timings: of the scan.
        seconds: of the whole scan, writing included.
        network: pictures per second of the networks with nothing else running; None: no pictures.
    """
    lines = ["stage                seconds  per picture"]
    count = max(1, len(timings.forwarded))
    for stage, spent in timings.seconds.items():
        lines.append(f"{stage:<20} {spent:7.2f}  {1000 * spent / count:8.1f} ms")
    lines.append("(seconds are summed over the worker processes, which run side by side)")
    if network is not None and seconds > 0:
        whole = count / seconds
        lines.append(
            f"the network alone: {network:.2f} pictures/s; the whole scan: {whole:.2f} pictures/s; ratio {whole / network:.2f}"
        )
    return "\n".join(lines)
