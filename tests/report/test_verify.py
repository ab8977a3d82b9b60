"""A record against the files it speaks of: a picture from a folder, one from stdin, and a skipped one."""

import hashlib
import json
from pathlib import Path

import pytest

from imgscan.commands.report import report_command
from imgscan.errors import ExitCode, InputError
from imgscan.report.record import read_record
from imgscan.report.verify import Checked, verify
from tests.report.test_formats import RUN, SUMMARY, assessed


def put(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a scan, seen from the folder that the scan was started in."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    lines = [dict(RUN)]
    for name, path, sha256 in (("a.jpg", "a.jpg", put(tmp_path / "a.jpg", b"picture")), ("stdin", "<stdin>", "0" * 64)):
        facts = assessed(name, path=path, sha256=sha256, flagged=name == "a.jpg", reported=name == "a.jpg")
        for kind, suffix in (("mask", "png"), ("overlay", "jpg")):
            facts[kind] = f"{kind}s/{name}.{suffix}"
            facts[f"{kind}_sha256"] = put(out / facts[kind], f"{kind} of {name}".encode())
        lines.append(facts)
    lines.append({"type": "result", "status": "skipped", "name": "b.jpg", "path": "b.jpg", "reason": "broken"})
    lines.append({**SUMMARY, "pictures": 3, "withheld": 0})
    write(out, lines)
    return out


def write(out: Path, lines: list[dict[str, object]]) -> None:
    (out / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def verified(out: Path) -> ExitCode:
    return report_command(out, outputs=[], name=None, as_schema=False, only_verify=True)


def test_all_is_as_recorded(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(verify(read_record(out / "results.jsonl")))
    assert {one.state for one in found} == {"same"}
    assert [one.kind for one in found] == ["picture", "mask", "overlay", "mask", "overlay"], "of stdin there is no file"
    assert verified(out) == ExitCode.CLEAN
    said = capsys.readouterr()
    assert said.out == ""
    own = hashlib.sha256((out / "results.jsonl").read_bytes()).hexdigest()
    assert said.err == (
        f"imgscan: {out}/results.jsonl: 1 picture, 2 masks, 2 overlays as recorded, 0 altered, 0 gone; "
        "1 skipped, which have no hash\n"
        f"imgscan: the record's own SHA-256 is {own}\n"
    )


@pytest.mark.parametrize("name", ["a.jpg", "out/masks/a.jpg.png", "out/overlays/stdin.jpg"])
def test_one_altered_byte_is_named(name: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = out.parent / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert verified(out) == ExitCode.FINDINGS
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[0] == "altered"
    assert line.endswith(name)


def test_what_is_gone_goes_before_what_was_altered(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out / "masks/a.jpg.png").unlink()
    (out.parent / "a.jpg").write_bytes(b"another")
    assert verified(out) == ExitCode.INCOMPLETE
    assert capsys.readouterr().out.splitlines() == [
        "altered  picture  a.jpg",
        f"gone     mask     {out}/masks/a.jpg.png: No such file or directory",
    ]


def test_from_another_folder_pictures_are_not_found(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(out)
    assert verified(out) == ExitCode.INCOMPLETE
    assert "pictures are looked for from here, by the names the scan was given" in capsys.readouterr().err


def test_a_line_that_was_taken_out_or_changed_is_noticed(out: Path) -> None:
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    write(out, lines[:2] + lines[3:])
    (last,) = [one for one in verify(read_record(out / "results.jsonl")) if one.state != "same"]
    assert last == Checked("record", "", "altered", "2 pictures, 3 by its summary")
    lines[1]["flagged"] = False
    write(out, lines)
    assert verified(out) == ExitCode.FINDINGS


@pytest.mark.parametrize(("name", "found"), [("pictures", 3), ("flagged", 1), ("withheld", 0), ("skipped", 1)])
def test_every_count_of_the_summary_is_that_of_the_lines(out: Path, name: str, found: int) -> None:
    *lines, summary = (json.loads(line) for line in (out / "results.jsonl").read_text().splitlines())
    write(out, [*lines, summary | {name: found + 1}])
    (last,) = [one for one in verify(read_record(out / "results.jsonl")) if one.state != "same"]
    assert last == Checked("record", "", "altered", f"{found} {name}, {found + 1} by its summary")


def test_a_scan_that_did_not_end_is_not_verified(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    write(out, lines[:-1])
    assert verified(out) == ExitCode.INCOMPLETE
    assert "the scan did not come to its end" in capsys.readouterr().err


def test_names_that_no_file_can_have_are_gone(out: Path) -> None:
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    lines[1]["path"] = "a\0b.jpg"
    write(out, lines)
    assert verified(out) == ExitCode.INCOMPLETE


def test_it_writes_no_report(out: Path) -> None:
    with pytest.raises(InputError, match="--verify writes no report"):
        report_command(out, outputs=[out / "r.html"], name=None, as_schema=False, only_verify=True)
