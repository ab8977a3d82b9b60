"""The parts of the HTML page where a reviewer decides about findings; review.js makes them work, and without it they are hidden.

What was decided before the page was made stands in it, as text and, with all that a line of decisions.jsonl needs, in `data-`
attributes.
"""

from __future__ import annotations

import json
from html import escape

from imgscan.decisions import DECISIONS, SCHEMA, TYPE
from imgscan.printable import printable
from imgscan.records import Line
from imgscan.report.human import review_text
from imgscan.report.record import Record

UNDECIDED = "undecided"


def choice(number: int, line: Line) -> str:
    """Radio buttons and a note for a finding; without JavaScript what was decided, if it was.

    With autocomplete a browser would show after a reload what was chosen before, also where the script knows nothing of it.
    """
    review = line.get("review")
    given = f" data-review='{_data(review)}'" if review else ""
    picture = _data({"path": line["path"], "sha256": line["sha256"]})
    buttons = "".join(
        f"<label><input type='radio' autocomplete='off' name='d{number}' value='{'' if name == UNDECIDED else name}'"
        f"{' checked' if name == (review or {}).get('decision', UNDECIDED) else ''}>{name}</label> "
        for name in (*DECISIONS, UNDECIDED)
    )
    said = f"<p class='still'>Decided by a reviewer: {escape(review_text(line))}</p>" if review else ""
    note = escape(printable(review["note"]) if review else "", quote=True)  # the script puts it as it is
    return (
        f"{said}<fieldset class='js review' data-picture='{picture}'{given}><legend>Decision</legend>{buttons}"
        f"<label class='note'>note <input type='text' autocomplete='off' value='{note}'></label></fieldset>"
    )


def bar(record: Record) -> str:
    """How many are decided, on to the next, and save; "" where there is nothing to decide."""
    if not record.findings:
        return ""
    head = _data({"type": TYPE, "schema": SCHEMA})
    foot = _data({"version": record.run["version"], "run": record.run.get("key", "")})
    return (
        f"<div id='decisions' class='js' role='region' aria-label='decisions' data-head='{head}' data-foot='{foot}'>"
        "<output id='decided'></output> <button type='button' id='next'>next undecided</button> "
        "<button type='button' id='save'>save decisions.jsonl</button> <span id='lost' role='alert'></span></div>"
    )


def _data(facts: Line) -> str:
    """An object in an attribute; ASCII, for a path may hold bytes that are not UTF-8."""
    return escape(json.dumps(facts, ensure_ascii=True), quote=True)
