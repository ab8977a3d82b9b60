"""Settings and their origins: flag > variable > file > default; what nobody knows is refused."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from imgscan.cli import app


def call(*args: str, **environment: str) -> Result:
    clean = {key: None for key in os.environ if key.startswith("IMGSCAN_")}
    return CliRunner().invoke(app, list(args), env={**clean, **environment})


def shown(*args: str, **environment: str) -> dict[str, tuple[str, str]]:
    """What --show-settings prints: key -> (value as printed, origin)."""
    done = call("scan", "--show-settings", *args, **environment)
    assert done.exit_code == 0, done.stderr
    rows = [line.removeprefix("# ").split("  # ") for line in done.stdout.splitlines()]
    return {row[0].split(" = ")[0]: (row[0].split(" = ")[1].strip(), row[1].strip()) for row in rows}


@pytest.fixture
def below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder two levels under tmp_path, as the working directory."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_a_flag_goes_before_a_variable_before_a_file_before_the_default(tmp_path: Path, below: Path) -> None:
    (tmp_path / "imgscan.toml").write_text('fail-on = "likely"\nmin-area = 0.25\njobs = 3\n')
    found = shown("--jobs", "1", IMGSCAN_MIN_AREA="0.5", IMGSCAN_JOBS="2")
    assert found["jobs"] == ("1", "flag")
    assert found["min-area"] == ("0.5", "IMGSCAN_MIN_AREA")
    assert found["fail-on"] == ('"likely"', str(tmp_path / "imgscan.toml"))
    assert found["model"] == ('"focal-fusion+copy-move+adq"', "default")
    assert found["batch"] == ("not set", "default")


def test_a_file_may_begin_with_the_mark_of_editors_on_windows(below: Path) -> None:
    (below / "imgscan.toml").write_text("jobs = 3\n", "utf-8-sig")
    assert shown()["jobs"] == ("3", str(below / "imgscan.toml"))


def test_the_nearest_file_decides_alone(tmp_path: Path, below: Path) -> None:
    (tmp_path / "imgscan.toml").write_text("jobs = 3\nmin-area = 0.5")
    (below.parent / "pyproject.toml").write_text("[tool.imgscan]\njobs = 2\n")
    (below / "pyproject.toml").write_text("tool = 5\n")  # nothing of imgscan's: looked past
    assert shown()["jobs"][0] == "2"
    (below / "pyproject.toml").write_text("[tool.other]\njobs = 1\n")
    found = shown()
    assert found["jobs"] == ("2", str(below.parent / "pyproject.toml"))
    assert found["min-area"] == ("0.0", "default")
    (below.parent / "imgscan.toml").write_text("jobs = 5")
    assert shown()["jobs"][0] == "5"
    assert shown("--no-config")["jobs"] == ("not set", "default")
    assert shown("--config", str(tmp_path / "imgscan.toml"))["jobs"][0] == "3"


def test_paths_in_a_file_are_from_its_folder_and_lists_add_nothing(tmp_path: Path, below: Path) -> None:
    (tmp_path / "imgscan.toml").write_text('out = "results"\noutput = ["a.html", "b.sarif"]\nexclude = "thumbs"\n')
    found = shown()
    assert found["out"][0] == f'"{tmp_path / "results"}"'
    assert found["output"][0] == f'["{tmp_path / "a.html"}", "{tmp_path / "b.sarif"}"]'
    assert found["exclude"][0] == '["thumbs"]'
    (tmp_path / "imgscan.toml").write_text('model = "ncl@run/weights.toml+focal-vit@open+noi1+cfl-net@/x/w.safetensors"\n')
    assert shown()["model"][0] == f'"ncl@{tmp_path / "run/weights.toml"}+focal-vit@open+noi1+cfl-net@/x/w.safetensors"'
    assert shown("--exclude", "x")["exclude"] == ('["x"]', "flag")  # a flag replaces the list, it does not extend it
    assert shown(IMGSCAN_INCLUDE=os.pathsep.join(["*.jpg", "*.png"]))["include"][0] == '["*.jpg", "*.png"]'


def test_a_path_is_what_a_shell_would_make_of_it(tmp_path: Path, below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`out = "~/results"` made a folder called ~, `out = ""` wrote into the file's own folder, and a + ended a path."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "imgscan.toml").write_text('out = "~/results"\noutput = ["~/a.html", "b.html"]\nmodel = "ncl@~/w.toml+ela"\n')
    found = shown()
    assert found["out"][0] == f'"{tmp_path / "home/results"}"'
    assert found["output"][0] == f'["{tmp_path / "home/a.html"}", "{tmp_path / "b.html"}"]'
    assert found["model"][0] == f'"ncl@{tmp_path / "home/w.toml"}+ela"'
    assert shown(IMGSCAN_OUT="~/x")["out"][0] == f'"{tmp_path / "home/x"}"'
    assert shown(IMGSCAN_OUTPUT=os.pathsep.join(["a.html", "", "b.html", ""]))["output"][0] == '["a.html", "b.html"]'
    (tmp_path / "a+b").mkdir()
    (tmp_path / "a+b" / "weights.toml").touch()
    (tmp_path / "imgscan.toml").write_text('model = "ncl@a+b/weights.toml+focal-vit@open+cfl-net@c/w.toml"\n')
    wanted = f'"ncl@{tmp_path / "a+b/weights.toml"}+focal-vit@open+cfl-net@{tmp_path / "c/w.toml"}"'
    assert shown()["model"][0] == wanted


def test_a_file_that_is_a_link_to_nowhere_is_named(below: Path) -> None:
    """Its settings were those of a file further up, or the defaults, without a word."""
    (below.parent / "imgscan.toml").write_text("jobs = 3")
    (below / "pyproject.toml").symlink_to("gone.toml")  # may have had nothing to do with imgscan
    assert shown()["jobs"][0] == "3"
    (below / "imgscan.toml").symlink_to("shared.toml")
    done = call("scan", "x")
    assert done.exit_code == 2
    assert f"{below / 'imgscan.toml'}: cannot be read: No such file" in done.stderr


def test_what_is_shown_is_a_configuration_that_says_the_same(tmp_path: Path, below: Path) -> None:
    text = call("scan", "--show-settings", "--fail-on", "0.83", "--exclude", 'a"b', "--exit-zero", "--jobs", "2").stdout
    assert tomllib.loads(text)["exclude"] == ['a"b']
    (below / "imgscan.toml").write_text(text)
    again = shown()
    assert again["fail-on"] == ('"0.83"', str(below / "imgscan.toml"))
    assert again["exit-zero"][0] == "true"
    assert again["jobs"][0] == "2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fail_onn = 1", "unknown key 'fail_onn'; did you mean fail-on?"),
        ("exit-zero = 'yes'", "imgscan.toml: exit-zero is 'yes'; wanted true or false"),
        ("jobs = -1", "imgscan.toml: jobs: Input should be greater than or equal to 0"),
        ("jobs = 'many'", "imgscan.toml: jobs: "),
        ("exclude = [[1]]", "exclude is [1]; wanted text, or a list of texts"),
        ("model = true", "model is True; wanted text or a number"),
        ("jobs = ", "not TOML"),
        ("config = 'other.toml'", "unknown key 'config'"),
        ("[scan]\njobs = 1", "unknown key 'scan'"),
        ("fail-on = 'likely'\nfail_on = 'certain'", "imgscan.toml: fail-on and fail_on are the same key; wanted one of them"),
        ("out = ''", "imgscan.toml: out is empty; wanted a path"),
        ("output = ['a.html', '']", "imgscan.toml: output is empty; wanted a path"),
        ("out = '~nobody-of-this-name/x'", "imgscan.toml: out is '~nobody-of-this-name/x': "),
    ],
)
def test_what_a_file_may_not_say(text: str, message: str, below: Path) -> None:
    (below / "imgscan.toml").write_text(text)
    done = call("scan", "x")
    assert done.exit_code == 2
    assert message in done.stderr
    assert str(below / "imgscan.toml") in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("IMGSCAN_FAIL_OM", "likely", "unknown variable 'IMGSCAN_FAIL_OM'; did you mean IMGSCAN_FAIL_ON?"),
        ("IMGSCAN_EXIT_ZERO", "perhaps", "IMGSCAN_EXIT_ZERO is 'perhaps'; wanted one of 1, true"),
        ("IMGSCAN_JOBS", "two", "IMGSCAN_JOBS: jobs: "),
    ],
)
def test_what_a_variable_may_not_say(variable: str, value: str, message: str, below: Path) -> None:
    done = call("scan", "x", **{variable: value})
    assert done.exit_code == 2
    assert message in done.stderr


def test_an_error_names_where_the_value_is_from(below: Path) -> None:
    (below / "imgscan.toml").write_text('fail-on = "likley"')
    picture = below / "a.jpg"
    picture.write_bytes(b"\xff\xd8\xff")
    assert call("scan", str(picture)).stderr.startswith(f"imgscan: {below / 'imgscan.toml'}: --fail-on: unknown level 'likley'")
    assert call("scan", str(picture), IMGSCAN_FAIL_ON="probably").stderr.startswith("imgscan: IMGSCAN_FAIL_ON: --fail-on: unknown")
    assert call("scan", str(picture), "--fail-on", "perhaps").stderr.startswith("imgscan: --fail-on: unknown level 'perhaps'")
    (below / "imgscan.toml").write_text('model = "focal-fusoin"')
    done = call("scan", str(picture))
    assert done.stderr.startswith(f"imgscan: {below / 'imgscan.toml'}: model: unknown model 'focal-fusoin'; did you mean focal-fus")
    assert call("scan", str(picture), "--model", "focal-fusoin").stderr.startswith("imgscan: unknown model 'focal-fusoin'")


def test_of_two_flags_that_say_otherwise_the_nearer_one_holds(below: Path) -> None:
    """--max-unreadable and --allow-unreadable: a flag goes before a variable, that before a file; both in one are a mistake."""
    (below / "a.jpg").write_bytes(b"\xff\xd8\xff")
    file = below / "imgscan.toml"
    scan = ("scan", "a.jpg", "-m", "ela")
    file.write_text("allow-unreadable = true")
    assert call(*scan).exit_code == 0
    assert call(*scan, "--max-unreadable", "0").exit_code == 2
    assert call(*scan, IMGSCAN_MAX_UNREADABLE="0").exit_code == 2
    file.write_text("max-unreadable = 0")
    assert call(*scan).exit_code == 2
    assert call(*scan, "--allow-unreadable").exit_code == 0
    assert call(*scan, IMGSCAN_ALLOW_UNREADABLE="1").exit_code == 0
    assert call(*scan, "--max-unreadable", "1", IMGSCAN_ALLOW_UNREADABLE="1").exit_code == 0
    file.write_text("max-unreadable = '100%'\nallow-unreadable = true")
    done = call(*scan)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"imgscan: {file}: --max-unreadable 100%: --allow-unreadable lets all of them through")
    file.write_text("max-unreadable = 0.01")
    assert f"{file}: --max-unreadable 0.01: wanted a number of pictures, or a share" in call(*scan).stderr
    assert shown("--max-unreadable", "1%")["max-unreadable"] == ('"1%"', "flag")


def test_a_variable_that_is_empty_says_nothing(below: Path) -> None:
    assert shown(IMGSCAN_FAIL_ON="")["fail-on"] == ("not set", "default")
    assert shown(IMGSCAN_EXIT_ZERO="on")["exit-zero"] == ("true", "IMGSCAN_EXIT_ZERO")


def test_other_commands_take_what_describes_the_machine_only(below: Path) -> None:
    (below / "imgscan.toml").write_text('device = "cuda:77"\nmodel = "no-such-model"\n')
    done = call("calibrate", "ela", "--pristine", str(below))
    assert "no pictures" in done.stderr  # read so far without a word about the model
    (below / "x.png").write_bytes(b"")
    assert "--device cuda:77: not on this machine" in call("calibrate", "ela", "--pristine", str(below)).stderr
    assert "not on this machine" not in call("calibrate", "ela", "--pristine", str(below), "--no-config").stderr


def test_a_file_that_is_not_there_and_both_flags(below: Path) -> None:
    assert "no.toml: cannot be read: No such file" in call("scan", "--config", "no.toml", "x").stderr
    (below / "some.toml").write_text("")
    done = call("scan", "--config", "some.toml", "--no-config", "x")
    assert done.exit_code == 2
    assert "exclude each other" in done.stderr


def test_help_does_not_need_a_sound_configuration(below: Path) -> None:
    (below / "imgscan.toml").write_text("=")
    assert call("scan", "--help").exit_code == 0
