"""CASIA, as the field uses it: version 2.0 to train and validate on, version 1.0 to test on.

Layout: a folder that holds both sets, each in a folder of its own (`CASIA2.0_revised/`, `CASIA 1.0 dataset/`, any names), see
casia_v2.py and casia_v1.py; or one of them alone, which then has no test or no training split.  CASIA 1.0's untouched pictures
overlap those of 2.0 and are left out here: as negatives of a test they would be training pictures (MVSS-Net replaced them by
others for the same reason).
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.published import casia_v1, casia_v2
from imgscan.datasets.splits import BySource
from imgscan.datasets.trees import homes, is_filled
from imgscan.errors import InputError

INFO = SetInfo(
    name="casia",
    title="CASIA 2.0 (train, val) with the forgeries of CASIA 1.0 (test)",
    licence=casia_v2.INFO.licence,
    where=f"{casia_v2.INFO.where}; {casia_v1.INFO.where}",
    forged=tuple(count + casia_v1.INFO.forged[0] for count in casia_v2.INFO.forged),
    authentic=casia_v2.INFO.authentic,
    layout="CASIA 2.0's and 1.0's, each in a folder of its own",
    splits=BySource({"casia-v2": casia_v2.INFO.splits, "casia-v1": casia_v1.INFO.splits}),
    folders=("CASIA",),
    left_out=casia_v1.INFO.left_out,
    remark=casia_v2.INFO.remark,
)


def entries(root: Path) -> list[Entry]:
    """CASIA 2.0 whole and CASIA 1.0's forgeries, or the one of them that is there; InputError when neither is."""
    there = [one for one in (casia_v2, casia_v1) if any(is_filled(place, one.PARTS) for place in homes(root, one.PARTS))]
    if not there:
        raise InputError(
            f"casia: {root} and the folders in it have no casia-v2 (Tp/, Au/, CASIA 2 Groundtruth/) and no casia-v1 "
            "(Tp/CM/, Tp/Sp/, Au/, CASIA 1.0 groundtruth/)"
        )
    found = [entry for one in there for entry in one.entries(root)]
    return [entry for entry in found if entry.mask is not None or entry.source != casia_v1.INFO.name]
