"""HTML: one self-contained page for people.  It loads nothing, and without JavaScript it can be read; with it, sorted and filtered.

Per finding the picture and its overlay lie on top of each other: the overlay shows on hover and on focus, and a slider wipes
between the two.  Beside them a reviewer decides (choices.py).  Pictures are embedded as thumbnails, smaller the more findings there
are; from MOST_EMBEDDED on, the remaining findings only link to their overlay files, so that a page of thousands of rows stays
quick.
"""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image, ImageOps

from imgscan.digests import content_of
from imgscan.find import FORMATS
from imgscan.pixels import to_rgb
from imgscan.printable import name_bytes, printable
from imgscan.records import Line
from imgscan.report import alike, parts
from imgscan.report.choices import bar, choice
from imgscan.report.human import dismissed_text, evidence_text, inside_text, passed_over_text, twin_number
from imgscan.report.record import Record

SIDES = ((60, 640), (250, 400), (1000, 240))  # findings up to which thumbnails have this longest side, pixels
MOST_EMBEDDED = SIDES[-1][0]
TALLEST = 85  # percent of the window's height that a picture takes at most
DECIDERS = {"jpeg": "adq, by the JPEG history of its blocks", "copy": "copy-move, by what is there twice"}  # but for pixels
LEVEL_NAMES = {"certain": "certain", "likely": "likely", "possible": "possible", "none": "below all levels"}


def render(record: Record) -> str:
    """The page."""
    findings = record.findings
    side = next((side for most, side in SIDES if len(findings) <= most), SIDES[-1][1])
    sections = [_finding(number, line, record, side) for number, line in enumerate(findings, 1)]
    same, shared = (room.section(record, _alone, _place) for room in (alike, parts))
    all_parts = [_header(record), _table(record, findings), *sections, same, shared, _skipped(record), _footer(record), bar(record)]
    body = "\n".join(all_parts)
    here = Path(__file__).parent
    style, script, more = ((here / name).read_text("utf-8") for name in ("page.css", "page.js", "review.js"))
    return _PAGE.format(policy=_POLICY, style=style, script=script + more, body=body)


def _header(record: Record) -> str:
    run, summary = record.run, record.summary
    assessed, more = len(record.results) - len(record.skipped), len(record.findings) - record.flagged
    text = f"{record.flagged} of {assessed} pictures flagged"
    if more:
        text += f", {more} {'more ' if record.flagged else ''}reported"
    if said := dismissed_text(record):
        text += f", {said.removesuffix(', ')}"
    if record.withheld:
        text += f", {len(record.withheld)} not judged"
    if record.skipped:
        text += f", {len(record.skipped)} could not be assessed"
    if record.passed_over:
        text += f", {len(record.passed_over)} of other formats not looked at"
    drawn = "<p>Not judged are pictures that look drawn or typeset, not photographed; see --drawn.</p>" if record.withheld else ""
    state = "" if record.complete else '<p class="warn">This scan did not come to its end; what it had is below.</p>'
    copies = "" if "copy-move" in run["model"].split("+") else ", and copies within one picture, which copy-move finds"
    seconds = f" in {summary['seconds']:.0f} s" if summary else ""
    return (
        f"<header><h1>imgscan</h1><p class='sum'>{escape(text)}</p>{state}{drawn}"
        f"<p>{escape(_threshold_text(run) + _reported_text(run))}</p>"
        f"<p>Model {escape(run['model'])}, {escape(run['started'])}{seconds}. A score ranks pictures, it is not a probability: "
        f"look at the overlays, and know that fully generated pictures are mostly missed{copies}. Metadata remarks are what the "
        "files say of themselves; they are no part of any score.</p></header>"
    )


def _reported_text(run: Line) -> str:
    """What is shown though it does not fail."""
    start: Line = run.get("report_from") or run["fail_on"]
    if start == run["fail_on"]:
        return ""
    said = f"a score of {start['score']:g}" if start.get("score") is not None else f"level {start.get('level')}"
    if run["fail_on"].get("score") is None and run["fail_on"].get("level") is None:
        return f" They are reported from {said} on."
    return f" Weaker ones are reported from {said} on."


def _threshold_text(run: Line) -> str:
    """What counted as a finding, and how often untouched pictures do."""
    fail_on = run["fail_on"]
    least = f", with at least {100 * fail_on['area']:g} % of the picture marked" if fail_on.get("area") else ""
    level, score = fail_on.get("level"), fail_on.get("score")
    if level is None and score is None:
        return "Nothing fails the scan, whatever its score."
    points = run["operating_points"]
    point = next((one for one in points if (one["level"] == level if score is None else one["score"] == score)), None)
    if point is None:
        return f"A finding is {f'of level {level} or above' if score is None else f'a score of {score:g} or more'}{least}."
    name = "the default" if point["level"] == "default" else f"level {point['level']}"
    interval = [f"{100 * end:.1f}" for end in point.get("interval", ())]  # records of earlier versions do not have it
    sure = f" (95 % interval: {' to '.join(interval)} %)" if interval else ""
    share = f"{_percent(point['false_alarms'])} of {point['pictures']} untouched pictures"
    if point.get("photographs"):  # the interval is of these, for copies of one photograph are not independent
        as_is = f"{_percent(point['as_is'])} of {point['photographs']} untouched photographs{sure}"
        share = f"{as_is}, and with smaller and resaved copies of them {share},"
    else:
        share += sure
    sides = " and ".join(map(str, run.get("measured_sides", ())))
    doubt = (
        f" That was with {sides} pixels at once; this scan had another --side, and the rate may be another too." if sides else ""
    )
    return f"A finding is a score of {point['score']:g} or more ({name}), which {share} reached when it was measured{least}.{doubt}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _table(record: Record, findings: Sequence[Line]) -> str:
    places = {id(line): number for number, line in enumerate(findings, 1)}
    assessed = sorted(
        (line for line in record.results if line["status"] == "assessed"), key=lambda line: (-line["score"], line["name"])
    )
    # Where nothing was decided yet only JavaScript fills the last column.
    scripted = "" if any("review" in line for line in assessed) else " class='js'"
    rows = []
    for line in assessed:
        name = escape(printable(line["name"]))
        number = places.get(id(line))
        decision = escape(line.get("review", {}).get("decision", ""), quote=True)
        shown = f'<a href="#f{number}">{name}</a>' if number else name
        remark = ", in the baseline" if line.get("known") else ", reported only" if number and not line["flagged"] else ""
        level = "not judged" if line.get("withheld") else _level(line, record.run) + remark
        cells = (
            (list(LEVEL_NAMES).index(line["level"]), level),
            (line["score"], f"{line['score']:.3f}"),
            (line["area"], f"{100 * line['area']:.1f}"),
            (len(line["regions"]), str(len(line["regions"]))),
            (line["width"] * line["height"], f"{line['width']} x {line['height']}"),
            (len(line.get("remarks", ())), escape(", ".join(_remarks(line)))),
        )
        rows.append(
            f"<tr data-level='{line['level']}' data-flagged='{int(bool(number))}' data-decision='{decision}'><td>{shown}</td>"
            + "".join(f"<td data-v='{value}'>{text}</td>" for value, text in cells)
            + f"<td>{escape(line['format'])}</td><td{scripted}>{decision}</td></tr>"
        )
    heads = ("picture", "level", "score", "area %", "regions", "pixels", "metadata", "format", "decision")
    head = "".join(
        f"<th scope='col'{scripted if name == heads[-1] else ''}><button type='button' data-c='{column}'>{name}</button></th>"
        for column, name in enumerate(heads)
    )
    return (
        "<section><h2>Pictures</h2><form id='filter' class='js' role='search'>"
        "<label>Name contains <input id='q' type='search'></label> "
        "<label><input id='only' type='checkbox'> findings only</label> "
        "<label><input id='undecided' type='checkbox'> undecided only</label> <output id='n'></output></form>"
        f"<div class='wide'><table id='t'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _level(line: Line, run: Line) -> str:
    """A level in words; below all of them is nobody where none was measured."""
    measured = any(point["level"] in LEVEL_NAMES for point in run["operating_points"])
    return LEVEL_NAMES[line["level"]] if measured else "no level measured"


def _finding(number: int, line: Line, record: Record, side: int) -> str:
    name = escape(printable(line["name"]))
    regions = "".join(_region(rank, region, line) for rank, region in enumerate(line["regions"], 1))
    facts = {
        "score": f"{line['score']:.3f} ({_level(line, record.run)})",
        "marked": f"{100 * line['area']:.1f} % of the picture",
        "file": f"{line['format']}, {line['width']} x {line['height']}, {line['bytes']} bytes"
        + (f", JPEG quality about {line['jpeg_quality']}" if line["jpeg_quality"] else ""),
        "path": printable(line["path"]),
        "SHA-256": line["sha256"],
        "decided by": "; ".join(_deciders(line, record.run)),
    }
    if within := inside_text(line):
        facts["looked at"] = within
    for kind, text in _remarks(line).items():  # beside the pixels' verdict, never in its number
        facts[f"metadata: {kind}"] = text
    listed = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return (
        f"<section class='finding' id='f{number}'><h2>{number}. {name}</h2><div class='pair'>"
        f"{_images(number, line, record, side if number <= MOST_EMBEDDED else 0)}"
        f"<div>{choice(number, line)}<dl>{listed}</dl>"
        "<div class='wide'><table><thead><tr><th>region</th><th>size, left and top</th>"
        f"<th>pixels</th><th>score</th></tr></thead><tbody>{regions}</tbody></table></div>{_sources(line)}</div></div></section>"
    )


def _region(rank: int, region: Line, line: Line) -> str:
    """Its row, and below that why it is marked, which needs the width."""
    left, top, right, bottom = region["box"]
    why = escape(evidence_text(region, line["regions"]))
    return (
        f"<tr{' class=said' if why else ''}><td>{rank}</td><td>{right - left} x {bottom - top} at {left}, {top}</td>"
        f"<td>{region['area']}</td><td>{region['strength']:.3f}</td></tr>"
    ) + (f"<tr><td></td><td colspan='3'>{why}</td></tr>" if why else "")


def _sources(line: Line) -> str:
    """What the blue outline is, where there is one."""
    if any(region.get("twin") and twin_number(region, line["regions"]) is None for region in line["regions"]):
        return "<p>Outlined in blue: what a marked part equals, and was probably copied from.</p>"
    return ""


def _deciders(line: Line, run: Line) -> list[str]:
    """Who marked its regions, by what speaks for each; in records of earlier versions, which do not say that, the features."""
    found = dict.fromkeys(one for region in line["regions"] for one in region.get("evidence", ("pixels",)))
    return [DECIDERS.get(one) or _feature_decider(line, run) for one in found or ("pixels",)]


def _feature_decider(line: Line, run: Line) -> str:
    """The clustering with what it found, or who answered with a map of its own, which groups nothing."""
    cells = f"on {line['grid'][0]} x {line['grid'][1]} cells"
    if line["method"] != "mask head":
        return f"{line['method']}, {line['clusters']} clusters {cells}"
    return f"mask head {cells}" if run["weights"] else run["model"]  # a detector alone has no network


def _remarks(line: Line) -> dict[str, str]:
    """What the file's metadata says, by kind."""
    found: dict[str, list[str]] = {}
    for remark in line.get("remarks", ()):
        found.setdefault(remark["kind"], []).append(printable(remark["text"]))
    return {kind: "; ".join(texts) for kind, texts in found.items()}


def _images(number: int, line: Line, record: Record, side: int) -> str:
    """The picture under its overlay with the region boxes, or a link where there is no thumbnail."""
    folder = record.folder
    shaded = None if folder is None else content_of(folder / line["overlay"], line.get("overlay_sha256"))
    if folder is not None and shaded is None:  # a later scan into the folder wrote another, or removed it
        return "<div><p>The overlay is not shown: at its path nothing lies that has the SHA-256 of this record.</p></div>"
    overlay = _thumbnail(shaded, side)
    if overlay is None:
        return f"<div><p><a href='{_link(line['overlay'], record)}'>overlay</a></p></div>"
    below = _thumbnail(content_of(Path(line["path"]), line["sha256"]), side)
    turned = line["orientation"] >= 5
    width, height = (line["height"], line["width"]) if turned else (line["width"], line["height"])
    boxes = ""
    for rank, region in enumerate(line["regions"], 1):
        boxes += f"<i style='{_place(line, region['box'])}'><b>{rank}</b></i>"
    name = escape(printable(line["name"]), quote=True)
    stack = f"<div class='stack' tabindex='0' style='max-width:{TALLEST * width / height:.0f}vh'>"
    if below is None:
        gone = "<p>The picture itself is not shown: at its path nothing lies that has this SHA-256.</p>"
        return f"<div>{stack}<img alt='{name}, forged regions shaded' src='{overlay}'>{boxes}</div>{gone}</div>"
    return (
        f"<div>{stack}<img alt='{name}' src='{below}'>"
        f"<img class='over' alt='the same with forged regions shaded' src='{overlay}'>{boxes}</div>"
        f"<label class='js'>overlay <input type='range' min='0' max='100' value='0' data-f='{number}'></label></div>"
    )


def _link(name: str, record: Record) -> str:
    """From where the page will lie to a file of the scan."""
    if record.folder is None:
        return quote(name_bytes(name))
    path = record.folder.absolute() / name
    if record.target is None:
        return path.as_uri()
    return quote(os.fsencode(os.path.relpath(path, record.target)).replace(os.fsencode(os.sep), b"/"))


def upright(box: Sequence[int], width: int, height: int, orientation: int) -> tuple[int, int, int, int]:
    """A box of the stored picture (left, top, right, bottom) on the upright one: left, top, width, height.

    Args:
        box: pixels of the file's own order.
        width, height: of the file's own order.
        orientation: EXIF, 1..8.
    """
    left, top, right, bottom = box
    corners = {
        1: (left, top, right, bottom),
        2: (width - right, top, width - left, bottom),
        3: (width - right, height - bottom, width - left, height - top),
        4: (left, height - bottom, right, height - top),
        5: (top, left, bottom, right),
        6: (height - bottom, left, height - top, right),
        7: (height - bottom, width - right, height - top, width - left),
        8: (top, width - right, bottom, width - left),
    }[orientation]
    return corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1]


def _thumbnail(content: bytes | None, side: int) -> str | None:
    """A picture as a data URI, upright, at most `side` pixels; None: there is none, no room for it, or it cannot be decoded."""
    if content is None or not side:
        return None
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(content), formats=FORMATS) as file,
        ):
            file.draft("RGB", (side, side))
            ImageOps.exif_transpose(file, in_place=True)  # a copy would have no tags of a TIFF, which say what is white
            shown = Image.fromarray(to_rgb(file))
    except Exception:  # decoders raise nearly anything on broken files
        return None
    shown.thumbnail((side, side))
    data = io.BytesIO()
    shown.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def _alone(line: Line, side: int) -> str:
    """A picture without its overlay, as the address of an <img>; "" where it cannot be shown."""
    return _thumbnail(content_of(Path(line["path"]), line["sha256"]), side) or ""


def _place(line: Line, box: Sequence[int]) -> str:
    """Where a box of the stored picture lies on the upright one, as a style."""
    turned = line["orientation"] >= 5
    width, height = (line["height"], line["width"]) if turned else (line["width"], line["height"])
    x, y, w, h = upright(box, line["width"], line["height"], line["orientation"])
    place = f"left:{100 * x / width:.2f}%;top:{100 * y / height:.2f}%"
    return f"{place};width:{100 * w / width:.2f}%;height:{100 * h / height:.2f}%"


def _skipped(record: Record) -> str:
    said = passed_over_text(record.passed_over) if record.passed_over else ""
    passed = f"<section><h2>Not looked at</h2><p>{escape(said[:1].upper() + said[1:])}.</p></section>" if said else ""
    if not record.skipped:
        return passed
    cells = [(escape(printable(line["name"])), escape(printable(line["reason"]))) for line in record.skipped]
    rows = "".join(f"<tr><td>{name}</td><td>{reason}</td></tr>" for name, reason in cells)
    return (
        "<section><h2>Not assessed</h2><div class='wide'><table><thead><tr><th>file</th><th>reason</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>{passed}"
    )


def _footer(record: Record) -> str:
    licences = record.run.get("licences", {})
    weights = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(sha256)}{_licence(licences.get(name))}</dd>"
        for name, sha256 in record.run["weights"].items()
    )
    return f"<footer><p>imgscan {escape(record.run['version'])}; weights by SHA-256:</p><dl>{weights}</dl></footer>"


def _licence(facts: Line | None) -> str:
    """A set of weights' licence, and whether commercial use is allowed."""
    if facts is None:
        return ""
    use = {True: "", False: "; <strong>no commercial use</strong>, accepted by the user", None: ""}[facts["commercial"]]
    return f"<br>licence: {escape(facts['licence'])}{use}"


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>imgscan report</title><style>{style}</style></head>
<body>
{body}
<script>{script}</script></body></html>
"""
