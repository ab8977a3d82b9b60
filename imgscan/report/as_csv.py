"""CSV: a row per picture, for spreadsheets; UTF-8, CRLF, a header (RFC 4180)."""

from __future__ import annotations

import csv
import io

from imgscan.printable import as_cell, as_utf8
from imgscan.report.alike import numbers
from imgscan.report.parts import by_picture
from imgscan.report.record import Record

COLUMNS = (
    "name",
    "status",
    "flagged",
    "reported",
    "level",
    "score",
    "area",
    "regions",
    "largest_region",
    "width",
    "height",
    "format",
    "jpeg_quality",
    "remarks",
    "sha256",
    "mask",
    "overlay",
    "path",
    "reason",
    "licence",
    "evidence",
    "withheld",
    "inside",
    "known",
    "alike",
    "decision",
    "decision_note",
    "decision_time",
    "panels",
    "parts",
)


def render(record: Record) -> str:
    """`area` is a share, 0 to 1; `regions` a count; `largest_region` left top right bottom in pixels; `licence` is
    empty unless the weights allow no commercial use; `evidence` is what speaks for any of the regions; `withheld` is why a picture
    was not judged; `inside` is left top right bottom of the part that was looked at, in pixels, where that is not all; `known` is
    1 for what would be flagged or reported, were it not in the baseline; `alike` is the number of the group of pictures that are
    one photograph; the decision is a reviewer's; `panels` are left top right bottom of each photograph of a collage; `parts` left
    top right bottom of what it has in common with another picture, and that one's name, where a scan looked for that."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    notes = {"licence": "; ".join(record.licence_notes) or None}
    groups, parts = numbers(record), by_picture(record)
    for line in record.results:
        regions = line.get("regions", [])
        largest = max(regions, key=lambda region: region["area"])["box"] if regions else []
        said = "; ".join(remark["text"] for remark in line.get("remarks", ()))
        evidence = " ".join(dict.fromkeys(one for region in regions for one in region.get("evidence", ())))
        review = line.get("review", {})
        extra = {
            "regions": len(regions),
            "largest_region": " ".join(map(str, largest)),
            "remarks": said,
            "evidence": evidence,
            "inside": " ".join(map(str, line.get("inside") or ())),
            "panels": "; ".join(" ".join(map(str, box)) for box in line.get("panels") or ()),
            "alike": groups.get(line["path"]),
            "parts": "; ".join(parts.get(line["path"], ())),
            "decision": review.get("decision"),
            "decision_note": review.get("note"),
            "decision_time": review.get("time"),
        }
        values = {**line, **extra, **notes} if line["status"] == "assessed" else {**line, **notes}
        rows.writerow([_cell(values.get(column)) for column in COLUMNS])
    return text.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return as_cell(as_utf8(value))
    return value
