"""JSON Schemas (2020-12) of the lines of results.jsonl, for `imgscan report --schema`."""

from __future__ import annotations

from typing import Any, get_args

from imgscan.records import Evidence, Kind
from imgscan.report.jsonl import SCHEMA

_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_LEVEL = {"enum": ["none", "possible", "likely", "certain"]}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_BOX = {"items": _COUNT, "minItems": 4, "maxItems": 4}
_REGION = _object(
    box={
        "type": "array",
        **_BOX,
        "description": "left, top, right, bottom in pixels of the file's own order; right and bottom are outside",
    },
    area=_COUNT | {"description": "pixels"},
    strength=_SHARE | {"description": "score of its strongest pixels"},
)
# Optional, as in RUN below.
_REGION["properties"] |= {
    "evidence": {
        "type": "array",
        "items": {"enum": list(get_args(Evidence))},
        "description": "what speaks for it: traces in its pixels, a JPEG history other than the rest's, that it is there twice",
    },
    "twin": {"type": ["array", "null"], **_BOX, "description": "box of what it equals, elsewhere in the picture"},
}
_GATE = {
    "type": "object",
    "properties": {"level": {"type": ["string", "null"]}, "score": {"type": ["number", "null"]}, "area": _SHARE},
}
RUN = _object(
    type={"const": "run"},
    schema={"const": SCHEMA},
    version=_TEXT,
    started=_TEXT | {"format": "date-time"},
    model=_TEXT,
    weights={"type": "object", "additionalProperties": _SHA256},
    operating_points={
        "type": "array",
        "items": _object(level={"enum": [*_LEVEL["enum"][1:], "default"]}, score=_SHARE, false_alarms=_SHARE, pictures=_COUNT),
        "description": "thresholds, and the share of so many untouched pictures that reached each",
    },
    fail_on=_GATE | {"description": "what fails the scan"},
    report_from=_GATE | {"description": "what is reported, fail_on or less"},
    key=_SHA256 | {"description": "of everything that decides a result: weights, settings, version, schema"},
    device=_TEXT,
    bf16={"type": "boolean"},
    input={"type": "array", "items": {"type": "object"}},
    clustering={"type": "object"},
    localize={"type": "object"},
)
# Optional: records of earlier scans do not have them.
RUN["properties"] |= {
    "max_unreadable": _TEXT
    | {"description": "how many pictures may be skipped in a scan that is complete: a number, a share of all (1%), or all"},
    "licences": {
        "type": "object",
        "additionalProperties": _object(licence=_TEXT, commercial={"type": ["boolean", "null"]}, accepted={"type": "boolean"}),
        "description": "of the weights; commercial null: not stated; accepted: no commercial use, and the user agreed to that",
    },
    "compat": {"type": ["string", "null"], "description": "official: settings of the authors' released code"},
    "fuse": {"type": "object"},
    "measured_sides": {
        "type": "array",
        "items": _COUNT,
        "description": "pixels at once that the thresholds were measured with where the scan had another --side, else empty",
    },
    "passed_over": {
        "type": "array",
        "items": _TEXT,
        "description": "paths in the scanned folders of pictures whose format is not decoded (GIF, HEIC, a camera's raw file, ...)",
    },
}
RUN["properties"]["operating_points"]["items"]["properties"] |= {
    "as_is": _SHARE | {"description": "share of the photographs as they are, where smaller and resaved copies of them count too"},
    "photographs": _COUNT | {"description": "how many these are"},
    "interval": {
        "type": "array",
        "items": _SHARE,
        "minItems": 2,
        "maxItems": 2,
        "description": "95 %, two-sided (Clopper-Pearson), of the rate on pictures like these, by those as they are",
    },
    "cluster": _TEXT | {"description": "the --cluster that it was measured with, where that is not the card's own"},
}
ASSESSED = _object(
    type={"const": "result"},
    status={"const": "assessed"},
    name=_TEXT,
    path=_TEXT,
    sha256=_SHA256,
    bytes=_COUNT,
    format=_TEXT,
    width={"type": "integer", "minimum": 1},
    height={"type": "integer", "minimum": 1},
    orientation={"type": "integer", "minimum": 1, "maximum": 8},
    jpeg_quality={"type": ["integer", "null"]},
    remarks={
        "type": "array",
        "items": _object(kind=_TEXT, text=_TEXT),
        "description": "what the file's metadata says of its history; no part of the score",
    },
    score=_SHARE | {"description": "of its strongest region, a ranking; 0: none"},
    level=_LEVEL,
    area=_SHARE | {"description": "share of the picture that is marked"},
    regions={"type": "array", "items": _REGION},
    clusters=_COUNT | {"description": "groups of cells that there are; of a mask head 1 where nothing, or everything, is forged"},
    method=_TEXT
    | {
        "description": "of the features: a clustering, or mask head, where networks or a detector answer with a map; none, on a "
        "grid of 0 x 0: no network was asked. What speaks for a region, be it there twice, is its evidence"
    },
    grid={"type": "array", "items": _COUNT, "minItems": 2, "maxItems": 2},
    mask=_TEXT,
    overlay=_TEXT,
    mask_sha256=_SHA256,
    overlay_sha256=_SHA256,
    flagged={"type": "boolean", "description": "at or above fail_on, and not in the baseline"},
    reported={"type": "boolean", "description": "at or above report_from, and not in the baseline"},
    known={"type": "boolean", "description": "at or above report_from, and in the baseline"},
)
ASSESSED["properties"] |= {
    "review": _object(
        decision={"enum": ["confirmed", "false alarm", "unsure"]},
        note=_TEXT,
        time=_TEXT | {"format": "date-time"},
        version=_TEXT | {"description": "of imgscan, on whose page it was decided"},
        run=_TEXT | {"description": "key of the run that the page was of"},
    )
    | {"description": "what a reviewer decided, where somebody did: of --baseline, or of imgscan report --decisions"},
    "fingerprint": {
        "type": ["string", "null"],
        "pattern": "^[0-9a-f]{64}$",
        "description": "of what it shows, nearly the same for copies (imgscan/alike/fingerprint.py); null: one would say nothing",
    },
    "withheld": {
        "type": ["string", "null"],
        "description": "why the picture was not judged (score 0, nothing marked), as a text that goes on after its name",
    },
    "inside": {
        "type": ["array", "null"],
        **_BOX,
        "description": "box, as those of regions, of the part that was looked at, within a frame or a program's window; null: all",
    },
    "panels": {
        "type": "array",
        "items": {"type": "array", **_BOX},
        "description": "boxes of the photographs of a collage or a compound figure, each judged as a picture of its own; clusters "
        "and grid are those of the finest, and features.h5 has none; empty: the picture is none",
    },
}
SKIPPED = _object(type={"const": "result"}, status={"const": "skipped"}, name=_TEXT, path=_TEXT, reason=_TEXT)
SUMMARY = _object(
    type={"const": "summary"},
    complete={"type": "boolean"},
    pictures=_COUNT,
    flagged=_COUNT,
    reported=_COUNT,
    marked=_COUNT,
    clean=_COUNT,
    skipped=_COUNT,
    known=_COUNT,
    levels={"type": "object", "additionalProperties": _COUNT},
    seconds={"type": "number", "minimum": 0},
    exit_code={"type": "integer"},
)
_ALIKE = _object(name=_TEXT, path=_TEXT, sha256=_SHA256)
_ALIKE["properties"] |= {
    "record": _TEXT | {"description": "of an earlier scan that has it; else it is this scan's"},
    **{
        name: _COUNT | {"description": "as of a result, of a picture of an earlier scan"}
        for name in ("width", "height", "orientation")
    },
    "like": _COUNT | {"description": "number, from 0, of the picture in this group that it is held against; the first has none"},
    "kind": {
        "enum": list(get_args(Kind)),
        "description": "byte for byte that one; the same photograph; the same but for a part; the same by its fingerprint alone, "
        "for one of them could not be read",
    },
    "mirrored": {"type": "boolean", "description": "first, left for right, to look like that one"},
    "turned": {"enum": [0, 90, 180, 270], "description": "then, degrees clockwise"},
    "differs": {"type": "array", "items": {"type": "array", **_BOX}, "description": "boxes, as in regions, where they differ"},
}
_SIDE = _object(name=_TEXT, path=_TEXT, sha256=_SHA256, box={"type": "array", **_BOX}, area=_SHARE)
_SIDE["properties"] |= {name: _ALIKE["properties"][name] for name in ("record", "width", "height", "orientation")}
_PART = _object(
    pictures={"type": "array", "items": _SIDE, "minItems": 2, "maxItems": 2},
    score=_SHARE | {"description": "how sure it is, as of copies within a picture"},
    mirrored={"type": "boolean", "description": "left for right, from the first picture to the second"},
    turned=_COUNT | {"maximum": 359, "description": "then, degrees clockwise"},
)
SUMMARY["properties"] |= {
    "withheld": _COUNT | {"description": "assessed and not judged; neither flagged nor clean"},
    "alike": {
        "type": "array",
        "items": _object(pictures={"type": "array", "items": _ALIKE, "minItems": 2}),
        "description": "groups of pictures that are one photograph, the largest first in each; missing where a scan did not come "
        "to its end",
    },
    "parts": {
        "type": "array",
        "items": _PART,
        "description": "of two pictures that are not one photograph the part, as its box and its share of either, that both have; "
        "missing where nobody asked for it (--parts)",
    },
}


def schema() -> dict[str, Any]:
    """Of one line, whichever it is."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        "oneOf": [RUN, ASSESSED, SKIPPED, SUMMARY],
    }
