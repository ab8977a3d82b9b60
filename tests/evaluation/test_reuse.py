"""The measurement of how well copies are known again, on two photographs and two kinds."""

import numpy as np
import pytest

from imgscan.errors import InputError
from imgscan.evaluation import reuse
from tests.conftest import PHOTOS


def test_it_counts_what_is_known_again_and_what_is_said_to_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {kind: reuse.COPIES[kind] for kind in ("JPEG 75", "10 % copied")}
    monkeypatch.setattr(reuse, "COPIES", kept | {"black": lambda rgb, rng: np.zeros_like(rgb)})
    reuse.main([str(PHOTOS)])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "4 pictures, 4 with a fingerprint, 6 pairs"
    assert said[1] == "0 pairs whose fingerprints are near, 0 of them taken for one photograph"
    assert [line.split()[-7:] for line in said[2:]] == [
        ["known", "again", "1.000", "a", "part", "differs", share] if share != "-" else
        ["known", "again", "0.000", "a", "part", "differs", "0.000"]
        for share in ("0.000", "1.000", "-")
    ]  # fmt: skip


def test_folders_without_pictures_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(InputError, match="wanted folders of photographs"):
        reuse.main([str(tmp_path_factory.mktemp("none"))])
