import io

import numpy as np
import pytest
from PIL import Image

from imgscan.alike.compare import _proven, boxes, compare
from tests.conftest import PHOTOS

NAMES = sorted(path.name for path in PHOTOS.glob("*.jpg"))


def photo(number: int = 0) -> Image.Image:
    return Image.open(PHOTOS / NAMES[number]).convert("RGB")


def luma(picture: Image.Image) -> np.ndarray:
    grey = picture.convert("L")
    grey.thumbnail((256, 256), Image.Resampling.BOX)
    return np.asarray(grey, np.float32)


def saved(picture: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return Image.open(content)


COPIES = {
    "saved": lambda picture: saved(picture, 40),
    "a quarter": lambda picture: picture.resize((picture.width // 4, picture.height // 4)),
    "cropped": lambda picture: picture.crop((45, 30, picture.width - 20, picture.height - 38)),
    "toned": lambda picture: picture.point(lambda level: 255 * (level / 255) ** 0.7),
    "clipped": lambda picture: picture.point(lambda level: 1.3 * (level - 128) + 140),
    "leaning": lambda picture: picture.rotate(1, Image.Resampling.BICUBIC).crop((14, 14, picture.width - 14, picture.height - 14)),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_the_same_photograph_and_differs_nowhere(copy: str) -> None:
    for one, other in ((photo(), COPIES[copy](photo())), (COPIES[copy](photo()), photo())):
        found = compare(luma(one), luma(other))
        assert found is not None
        assert not found.differs.any()


def test_a_part_from_elsewhere_is_found_also_in_a_copy_that_was_cropped_and_saved() -> None:
    altered = photo()
    altered.paste(photo(1).crop((300, 300, 420, 400)), (400, 250))
    found = compare(luma(altered), luma(saved(photo().crop((20, 20, 760, 760)), 60)))
    assert found is not None
    (box,) = boxes(found.differs)
    wanted = 400 / altered.width, 250 / altered.height, 520 / altered.width, 350 / altered.height
    assert np.allclose(box, wanted, atol=0.045), "to a cell and a half"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_another_photograph_is_none(number: int) -> None:
    assert compare(luma(photo()), luma(photo(number))) is None


def test_nor_is_the_same_one_seen_in_a_mirror_or_one_of_a_single_colour() -> None:
    one = luma(photo())
    assert compare(one, np.ascontiguousarray(one[:, ::-1])) is None
    plain = np.full((200, 256), 128, np.float32)
    assert compare(plain, plain) is None, "it says nothing"
    assert compare(one, plain) is None
    assert compare(plain, one) is None
    assert compare(np.zeros((1, 1), np.float32), np.zeros((3, 2), np.float32)) is None


def test_what_differs_is_proven_by_cells_that_touch() -> None:
    """Together 2.0 above 1, of cells that exceed 1.5."""
    ratio = np.zeros((9, 9), np.float32)
    ratio[0, 0], ratio[1, 1], ratio[2, 1] = 1.75, 1.75, 1.5  # 1.5, for the third is no more than noise
    ratio[5, 5], ratio[6, 6] = 2.0, 2.0  # 2.0, by a corner
    ratio[0, 8] = 3.0
    ratio[8, 0] = 2.75
    assert {tuple(map(int, one)) for one in np.argwhere(_proven(ratio))} == {(5, 5), (6, 6), (0, 8)}


def test_boxes_are_shares_of_the_sides_the_largest_first() -> None:
    differs = np.zeros((10, 20), bool)
    differs[0, 0] = differs[1, 1] = True  # these touch
    differs[4:8, 10:18] = True
    assert boxes(differs) == [(0.5, 0.4, 0.9, 0.8), (0.0, 0.0, 0.1, 0.2)]
    differs[:] = False
    differs[::2, ::2] = True
    assert len(boxes(differs)) == 8, "of fifty"
