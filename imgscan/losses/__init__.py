"""The losses: one file per paper, and one literal table of the contrasts that FOCAL's Table 3 compares.

A contrast scores ONE picture: (queries n x D unit vectors of one class, negatives m x D unit vectors of the other, temperature) ->
scalar, lower when the queries are nearer to each other than to the negatives.  focal.focal_loss takes any of them.
"""

from __future__ import annotations

from imgscan.losses import circle, dcl, focal, info_nce, triplet
from imgscan.losses.focal import Contrast

CONTRASTS: dict[str, Contrast] = {
    "info-nce++": focal.info_nce,
    "info-nce++-printed": info_nce.info_nce_printed,
    "info-nce": info_nce.info_nce_per_positive,
    "dcl": dcl.decoupled_loss,
    "triplet": triplet.triplet_loss,
    "circle": circle.circle_loss,
}
