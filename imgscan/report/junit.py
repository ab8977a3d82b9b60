"""JUnit XML, as test reporters of Jenkins, GitLab and others read it: a test case per picture.

A finding is a failure, one that a reviewer decided to be a false alarm a skipped test with the reason; a file that could not be
assessed is an error (a skipped test where it was let through), a picture that was not judged a skipped test; a scan that did not
come to its end is an error, too.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from imgscan.printable import printable
from imgscan.records import Line
from imgscan.report.human import UNFINISHED, evidence_text, finding_text, inside_text, passed_over_text, review_text
from imgscan.report.record import Record, is_false_alarm

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0


def render(record: Record) -> str:
    """<testsuites> with one <testsuite>; seconds are those of the whole scan."""
    summary = record.summary or {}
    seconds = f"{summary.get('seconds', 0):.3f}"
    cut = int(not record.complete)
    broken = 0 if record.let_through else len(record.skipped)
    errors = broken + cut
    dismissed = sum(line["flagged"] for line in record.dismissed)
    counts = {"tests": str(len(record.results) + cut), "failures": str(record.flagged - dismissed), "errors": str(errors)}
    root = ElementTree.Element("testsuites", {"name": "imgscan", "time": seconds, **counts})
    facts = {
        "skipped": str(len(record.withheld) + dismissed + len(record.skipped) - broken),
        "timestamp": record.run["started"].removesuffix("+00:00"),
        "time": seconds,
    }
    suite = ElementTree.SubElement(root, "testsuite", {"name": "imgscan", **counts, **facts})
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("model", "version"):
        ElementTree.SubElement(properties, "property", {"name": name, "value": _text(printable(record.run[name]))})
    if record.passed_over:
        others = _text(passed_over_text(record.passed_over))
        ElementTree.SubElement(properties, "property", {"name": "passed over", "value": others})
    for note in record.licence_notes:
        ElementTree.SubElement(properties, "property", {"name": "licence", "value": _text(printable(note))})
    for line in record.results:
        name = _text(printable(line["name"]))
        case = ElementTree.SubElement(suite, "testcase", {"name": name, "classname": "imgscan.scan", "time": "0"})
        if line["status"] == "skipped":
            if record.let_through:
                ElementTree.SubElement(case, "skipped", {"message": f"not assessed: {_text(line['reason'])}"})
            else:
                ElementTree.SubElement(case, "error", {"type": "not-assessed", "message": _text(line["reason"])})
        elif line.get("withheld"):
            ElementTree.SubElement(case, "skipped", {"message": _text(line["withheld"])})
        elif line.get("flagged") and is_false_alarm(line):
            ElementTree.SubElement(case, "skipped", {"message": _text(f"{review_text(line)} ({finding_text(line)})")})
        elif line.get("flagged"):
            made = ElementTree.SubElement(case, "failure", {"type": line["level"], "message": _text(finding_text(line))})
            made.text = "\n".join([_region(one, line["regions"]) for one in line["regions"]] + _looked_at(line) + _decided(line))
        elif line.get("reported") or line.get("known"):  # a passed test that has something to say
            said = [finding_text(line), *_looked_at(line), *_decided(line), *["known from the baseline"] * line.get("known", False)]
            ElementTree.SubElement(case, "system-out").text = _text("\n".join(said))
    if not record.complete:
        case = ElementTree.SubElement(suite, "testcase", {"name": UNFINISHED, "classname": "imgscan.scan", "time": "0"})
        ElementTree.SubElement(case, "error", {"type": "not-complete", "message": UNFINISHED})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _looked_at(line: Line) -> list[str]:
    within = inside_text(line)
    return [f"looked at {within}"] if within else []


def _decided(line: Line) -> list[str]:
    said = review_text(line)
    return [_text(f"decided by a reviewer: {said}")] if said else []


def _region(region: Line, regions: list[Line]) -> str:
    why = evidence_text(region, regions)
    return f"region {regions.index(region) + 1} {region['box']} area {region['area']} strength {region['strength']}" + (
        f": {why}" if why else ""
    )


def _text(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
