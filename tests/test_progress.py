"""Progress bars: on a terminal, beside what is told there; in no file, whatever the environment says."""

import os
import subprocess
import sys

import pytest

PROGRAM = (
    "import sys\nfrom imgscan.progress import bar\n"
    "with bar('scanning', 2) as progress:\n    progress.advance('1 flagged')\n"
    "    print('imgscan: skipped ' + 'deep/' * 40, file=sys.stderr)\n"
)
TOLD = "imgscan: skipped " + "deep/" * 40


def test_no_bar_in_a_file() -> None:
    """FORCE_COLOR is common in CI, and is about colours."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={**os.environ, "FORCE_COLOR": "1"}
    )
    assert (done.stdout, done.stderr) == ("", TOLD + "\n")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="a terminal of POSIX")
def test_on_a_terminal_a_path_stays_whole() -> None:
    main, side = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=side, stderr=side, env={**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    ):
        os.close(side)
        shown = b""
        try:
            while part := os.read(main, 4096):
                shown += part
        except OSError:  # its other side is closed
            pass
    os.close(main)
    assert TOLD.encode() in shown
    assert b"scanning" in shown
