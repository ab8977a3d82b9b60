"""The weight-free detectors: one literal table name -> Detector; one file per paper.  No weights.

Most are the floor that every network has to beat: each measures one local statistic; `score` says how far it lies from the
picture's own dominant value (inconsistency.py; 1/2 is three deviations), `features` gives the same as unit vectors, for clustering
or beside a network's.  Two know what networks do not: `copy-move` finds parts that are there twice, and beside networks only adds
them; `adq` weighs blocks by their JPEG history, and beside mask heads its log odds are added to theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imgscan.detectors import adq, cfa1, copy_move, ela, noi1, noi2, noi5
from imgscan.detectors.inconsistency import Array, Features, Picture
from imgscan.jpeg import Luma
from imgscan.records import Evidence, Twins


@dataclass(frozen=True)
class Detector:
    """A statistic of a picture that needs no weights."""

    title: str  # what it looks at, a few words
    paper: str  # authors, title, venue, year
    score: Callable[[Picture], Array]  # H x W x 3 uint8 -> H x W float32, 0..1, higher = more likely forged
    features: Callable[[Picture], Features] | None  # H x W x 3 uint8 -> unit vectors D x h x w float32, cell; None: it has none
    find: Callable[[Picture], list[Twins]] | None = (
        None  # H x W x 3 uint8 -> what its score is of; where that is 0, it says nothing
    )
    weigh: Callable[[Picture, Luma | None], adq.Weighed] | None = None  # H x W x 3 uint8 -> log odds; 0: it says nothing
    evidence: Evidence = "pixels"  # of what it is, where it marks a region
    exact: Callable[[Picture, Luma | None], Array] | None = None  # its score, where a JPEG file says more than its pixels

    @property
    def adds(self) -> bool:
        """Whether beside others it adds to what they say; the rest is fused with them."""
        return self.find is not None or self.weigh is not None


DETECTORS: dict[str, Detector] = {
    "ela": Detector(
        title="error level after one more JPEG",
        paper="Krawetz, A Picture's Worth, Black Hat 2007",
        score=ela.score,  # one-sided: pasted parts mostly change more
        features=None,
    ),
    "noi1": Detector(
        title="noise level in the finest diagonal wavelet band",
        paper="Mahdian, Saic, Using noise inconsistencies for blind image forensics, Image and Vision Computing 2009",
        score=noi1.score,
        features=noi1.features,
    ),
    "cfa1": Detector(
        title="demosaicing pattern in green",
        paper="Ferrara et al., Image Forgery Localization via Fine-Grained Analysis of CFA Artifacts, TIFS 2012",
        score=cfa1.score,
        features=cfa1.features,
    ),
    "noi2": Detector(
        title="noise level from the kurtosis of DCT bands",
        paper="Lyu, Pan, Zhang, Exposing Region Splicing Forgeries with Blind Local Noise Estimation, IJCV 2014",
        score=noi2.score,
        features=noi2.features,
    ),
    "noi5": Detector(
        title="noise level from principal components, two clusters",
        paper="Zeng et al., Image splicing localization using PCA-based noise level estimation, Multimedia Tools and Appl. 2017",
        score=noi5.score,
        features=noi5.features,
    ),
    "copy-move": Detector(
        title="parts that are there twice",
        paper="Amerini et al., A SIFT-based Forensic Method for Copy-Move Attack Detection and Transformation Recovery, TIFS 2011",
        score=copy_move.score,
        features=None,
        find=copy_move.find,
        evidence="copy",
    ),
    "adq": Detector(
        title="blocks without the JPEG compression of the rest",
        paper="Bianchi, Piva, Image Forgery Localization via Block-Grained Analysis of JPEG Artifacts, TIFS 2012",
        score=adq.score,
        features=None,
        weigh=adq.weigh,
        evidence="jpeg",
        exact=adq.score,
    ),
}
