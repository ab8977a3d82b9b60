"""What the names of published sets' files tell wherever they turn up: in other tools' lists, in folders of one's own.

Masks that keep their published names keep their meaning.  TruFor's and CAT-Net's lists name those of Columbia, NIST16 and DSO-1 as
they were published (`4cam_splc/edgemask/x_edgemask.jpg`, `reference/splice/mask/NC2016_2490.png`, `DSO-1-Fake-Images-Masks/x.png`),
though these tools take every level above 0 for forged; MVSS-Net's lists name Columbia's.  By the list's own rule the whole picture
would be forged, or its untouched part, or of Columbia's splices only the band along their edge.

Forgeries that keep their published names are none of the untouched pictures that a folder or a list of pictures alone stands for.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from imgscan.datasets.entries import MaskRule

# Path of a mask, in lower case with slashes, ends in -> the rule of the set that names its masks so.
_MASKS: tuple[tuple[re.Pattern[str], MaskRule], ...] = (
    (re.compile(r"_edgemask\.[a-z]+$"), "green"),  # Columbia; white is forged by it, too, where somebody made them plain
    (re.compile(r"(^|/)reference/(manipulation|splice|remov(e|al))/mask/nc2016_\d+\.png$"), "black"),  # NIST16
    (re.compile(r"(^|/)dso-1-fake-images-masks/[^/]+$"), "black"),  # DSO-1
    (re.compile(r"(^|/)(canon_60d|nikon_d90|nikon_d7000|sony_a57)/ground-truth/[^/]+$"), "any"),  # Korus, three levels
)

# Stem of a picture, in lower case -> what it is.
_FORGERIES = (
    (re.compile(r"(tp|sp)_[ds]_[a-z]{3}_"), "CASIA"),
    (re.compile(r"splicing-\d+$"), "DSO-1"),
    (re.compile(r"\d+_\d{12}\.jpg(_|$)"), "tampCOCO"),
    (re.compile(r"img_\d{7}_img_\d{7}$"), "FantasticReality"),
    (re.compile(r"glide_inpainting_"), "CocoGlide"),
    (re.compile(r"tp_c\d\d_\d{3}_(copy|gt)$"), "GRIP"),
    (re.compile(r".*\dtamp\d+$"), "MICC"),
    (re.compile(r"\d+_fake$"), "IMD2020"),
    (re.compile(r".*_edgemask(_3)?$"), "Columbia"),
)
_BESIDE = (  # end of a forgery's stem, of that of its original in the same folder, set
    (re.compile(r"(?<=\d)t$"), "", "Coverage"),
    (re.compile(r"(?<=^\d{3})_f(?=$|_)"), "_o", "CoMoFoD"),
)
_MADE = re.compile(
    r"(?<![a-z])(mask|masks|gt|forged|forgery|forgeries|tampered|tampering|spliced|splicing|splc|manipulated|fake|fakes|tp)(?![a-z])"
    r"|groundtruth|ground[ _-]truth|edgemask"
)
_NOT = re.compile(r"(?<![a-z])(no|non|not|un)[ _-]?(forge|tamper|manipulat|splice|fake)")
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def rule_of_mask(mask: Path, usual: MaskRule) -> MaskRule:
    """The rule of the published set whose masks are called so, or else the usual one."""
    name = mask.as_posix().lower()
    return next((rule for pattern, rule in _MASKS if pattern.search(name)), usual)


def forgery_of(stem: str, beside: Collection[str] = ()) -> str:
    """The published set whose forgeries or masks have such a stem; empty: none.

    Args:
        stem: of a picture.
        beside: the stems in its folder, in lower case; some forgeries are known by their originals' alone.
    """
    low = stem.lower()
    known = next((name for pattern, name in _FORGERIES if pattern.match(low)), "")
    return known or next(
        (name for end, other, name in _BESIDE if end.search(low) and end.sub(other, low) in beside),
        "",
    )


def names_forgeries(folder: str) -> bool:
    """Whether a folder's name says that forgeries or masks are in it: `ColorFakeImages`, `4cam_splc`, `CASIA 2 Groundtruth`."""
    words = _HUMPS.sub(" ", folder).lower()
    return _MADE.search(words) is not None and _NOT.search(words) is None
