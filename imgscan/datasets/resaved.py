"""What happens to untouched pictures on their way: smaller copies and copies saved once more, for measuring false alarms.

A threshold that was set on camera files alone says little about pictures from the web.  These copies are no new photographs: who
counts them says how many photographs they come from.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from imgscan.decode import SMALLEST_SIDE
from imgscan.pixels import to_rgb

# name -> (longest side in pixels, None: as it is; JPEG quality, None: PNG)
COPIES: dict[str, tuple[int | None, int | None]] = {
    "q90": (None, 90),
    "q75": (None, 75),
    "512-q85": (512, 85),
    "384": (384, None),
    "384-q90": (384, 90),
    "384-q75": (384, 75),
    "256-q90": (256, 90),
}


def resaved(picture: Path, folder: Path, stem: str) -> list[Path]:
    """Write the COPIES of a picture, with Lanczos; it is never made larger, nor so small that a scan would refuse the copy.

    Args:
        picture: a file that Pillow can open.
        folder: where they go; it is there.
        stem: of their names.

    Returns:
        The files, in the order of COPIES; `copy_form` says which is which.

    Raises:
        OSError: a file that cannot be read or written.
    """
    paths = []
    with Image.open(picture) as file:
        rgb = Image.fromarray(to_rgb(file))
    for name, (side, quality) in COPIES.items():
        scale = min(1.0, side / max(rgb.size)) if side else 1.0
        size = max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))
        if min(size) < SMALLEST_SIDE <= min(rgb.size):
            continue
        copy = rgb if scale == 1 else rgb.resize(size, Image.Resampling.LANCZOS)
        path = folder / f"{stem}.{name}.{'jpg' if quality else 'png'}"
        copy.save(path, quality=quality) if quality else copy.save(path)
        paths.append(path)
    return paths


def copy_form(copy: Path) -> str:
    """The name in COPIES of a file that `resaved` wrote."""
    return copy.name.split(".")[-2]
