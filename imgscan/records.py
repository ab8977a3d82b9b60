"""The nouns of imgscan: what each stage hands to the next.  All are frozen; nobody edits another stage's work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

Line = dict[str, Any]
"""A line of a record, as JSON has it (report/schema.py)."""
Level = Literal["none", "possible", "likely", "certain"]
Evidence = Literal["pixels", "jpeg", "copy"]
"""What speaks for a region: what networks or detectors see in its pixels; a JPEG history other than the rest's; that it is there
twice."""
Kind = Literal["identical", "same", "differs", "unseen"]
"""How a picture is like another one: byte for byte; the same photograph; the same but for a part; by its fingerprint, which is all
that is left of one of them."""
LEVELS: tuple[Level, ...] = ("none", "possible", "likely", "certain")  # rising


@dataclass(frozen=True)
class Source:
    """A file that may be a picture (find)."""

    path: Path  # to open it
    name: str  # below the scanned folder, with forward slashes: "a/b.jpg"; output files are named after it
    content: bytes | None = field(default=None, repr=False)  # of a picture that is no file (stdin); the path is then a name only


@dataclass(frozen=True)
class Remark:
    """What a file's metadata says of its history (metadata); no part of any score."""

    kind: str  # generated, thumbnail, software, dates, size, frames, provenance or broken
    text: str  # goes on after the picture's name: "was saved by ..."


Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""


class JpegFile(NamedTuple):
    """A whole JPEG file: its luma is finer than that of the pixels made from it."""

    content: bytes
    inside: Box | None = None  # what of it the picture is; None: all


@dataclass(frozen=True)
class Picture:
    """A decoded picture (decode).  Pixels are as stored: EXIF orientation is recorded, not applied, for a JPEG's blocks and the
    traces on them are where the file has them."""

    source: Source
    rgb: npt.NDArray[np.uint8]  # H x W x 3; no tensor: torch would move those between processes through /dev/shm
    sha256: str  # of the file, 64 hexadecimal digits
    bytes: int  # of the file
    format: str  # as Pillow names it: JPEG, PNG, TIFF, ...
    orientation: int  # EXIF orientation, 1..8; 1 = upright
    jpeg_quality: int | None  # estimated from the luma table; None: not a JPEG
    remarks: tuple[Remark, ...] = ()  # on the file's metadata
    drawn: float = 0.0  # 0..1: how far it looks drawn by a program and not photographed
    inside: Box | None = None  # what lies within a frame of one colour, bars or the window of a program; None: there is none
    jpeg: JpegFile | None = field(default=None, repr=False)
    fingerprint: str | None = None  # of what it shows, 64 hexadecimal digits; None: one would say nothing
    panels: tuple[Box, ...] = ()  # the photographs of a collage, within `inside`; (): it is none

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])


@dataclass(frozen=True)
class Placement:
    """The way from a network's input back to the picture (prepare)."""

    height: int  # of the picture, pixels
    width: int
    scaled: tuple[int, int]  # height, width after shrinking; equal to the picture's at native resolution
    canvas: tuple[int, int]  # height, width after padding at the bottom and right
    tile: tuple[int, int]  # height, width of one tile; equal to the canvas when there is one
    corners: tuple[tuple[int, int], ...]  # top, left of every tile on the canvas


@dataclass(frozen=True)
class Tensor:
    """A picture as one network wants it (prepare)."""

    tiles: torch.Tensor  # T x 3 x h x w uint8; T = len(placement.corners)
    placement: Placement
    overview: Tensor | None = None  # the picture once more, shrunk to one tile: a second opinion of the mask head
    control: Tensor | None = None  # a copy without traces: what the mask head suspects there it suspects for what is pictured


@dataclass(frozen=True)
class Map:
    """What a mask head or a detector says, before it is brought to the picture's size (extract)."""

    values: torch.Tensor  # h x w float32; of a mask head 0..1: forged
    cell: tuple[float, float]  # as that of Features; the map has cells of its own
    corner: tuple[int, int] = (0, 0)  # row and column of the pixel where its first cell begins


@dataclass(frozen=True)
class Features:
    """What a network says of every cell of a picture (extract, fuse)."""

    vectors: torch.Tensor  # D x h x w float32, unit vectors along D
    cell: tuple[float, float]  # height, width of a cell in pixels of the picture: h * cell[0] covers what they are of
    probability: Map | None = None  # of a network with a mask head
    verdict: Map | None = None  # the same less what is suspected in a control: what decides whether, not how far; None: no control
    inside: Box | None = None  # what of the picture it covers, and all that was made from it; None: all
    control: torch.Tensor | None = None  # as `vectors`, of the control; on a grid of its own until it is fused; None: no control


@dataclass(frozen=True)
class Clusters:
    """Which cells belong together (cluster)."""

    labels: npt.NDArray[np.int32]  # h x w; 0 = the largest cluster, 1.. the others by falling size; noise already assigned
    noise: npt.NDArray[np.bool_]  # h x w; cells the clustering itself gave to no cluster
    persistence: tuple[float, ...]  # one per cluster, 0..1; HDBSCAN's stability, 1.0 where the method has none
    method: str  # hdbscan, kmeans, mask head, or "kmeans (hdbscan found N clusters)"


@dataclass(frozen=True)
class Twins:
    """Two parts of a picture that are the same but for a shift, a turn, a scale or a mirror (seek)."""

    score: float  # 0..1: how sure it is that one was copied from the other
    parts: tuple[Part, Part]  # nobody knows which is which


@dataclass(frozen=True)
class Part:
    """Some pixels of a picture."""

    box: tuple[slice, slice]  # rows and columns
    inside: npt.NDArray[np.bool_]  # of the box


@dataclass(frozen=True)
class Sought:
    """What weight-free detectors add to what networks say (seek)."""

    twins: tuple[Twins, ...] = ()
    odds: tuple[Map, ...] = ()  # log odds that blocks have another history than the rest, nats
    by_panel: tuple[tuple[Map, ...], ...] = ()  # in place of that of a collage: of each panel, against the rest of the panel


@dataclass(frozen=True)
class Region:
    """One connected forged area (localize)."""

    box: Box
    area: int  # pixels
    strength: float  # 0..1: how far its features are from the pristine ones, or how sure the networks or a detector are of it
    evidence: tuple[Evidence, ...] = ()
    twin: Box | None = None  # what equals it, elsewhere in the picture


@dataclass(frozen=True)
class Mask:
    """Where a picture was forged (localize)."""

    probability: npt.NDArray[np.float32]  # H x W, 0..1: a ranking of pixels, at the picture's own size
    forged: npt.NDArray[np.bool_]  # H x W
    regions: tuple[Region, ...]  # by falling strength
    sources: npt.NDArray[np.bool_] | None = None  # H x W: what marked copies equal, itself not marked; None: nothing
    strongest: float = 0.0  # strength of the strongest region, marked or too weak for that; 0: there is none
    withheld: str | None = None  # why nothing is marked, whatever there is; None: what is strong enough is marked


@dataclass(frozen=True)
class Finding:
    """The verdict on one picture that was assessed (judge)."""

    picture: PictureFacts
    score: float  # 0..1, the strength of its strongest region; 0: none
    level: Level  # by the operating points of the weights; "none": below all of them
    area: float  # share of the picture that is marked as forged, 0..1
    regions: tuple[Region, ...]
    clusters: int  # groups of cells that there are; of a mask head 1 where nothing, or everything, is forged
    method: str  # of the features: a clustering, or "mask head"; "none": no network was asked
    grid: tuple[int, int]  # rows, columns the clustering saw
    mask: Mask | None = field(default=None, repr=False, compare=False)  # for users of the library; the record has a file's name
    withheld: str | None = None  # why it was not judged (score 0, nothing marked); goes on after its name: "looks drawn ..."
    inside: Box | None = None  # the part that was looked at, within a frame or the window of a program; None: all
    panels: tuple[Box, ...] = ()  # what was judged each on its own, the photographs of a collage; (): it is none


@dataclass(frozen=True)
class PictureFacts:
    """What a report says of a picture's file."""

    name: str
    path: str
    sha256: str
    bytes: int
    format: str
    width: int
    height: int
    orientation: int
    jpeg_quality: int | None
    remarks: tuple[Remark, ...] = ()
    fingerprint: str | None = None  # nearly the same for copies; None: one would say nothing


@dataclass(frozen=True)
class Skipped:
    """A file that could not be assessed: a result, not a log line."""

    source: Source
    reason: str


@dataclass(frozen=True)
class Assessed:
    """Everything the scan knows of one picture: the finding and what its files are made from."""

    finding: Finding
    mask: Mask
    picture: Picture
    features: Features | None  # None: it is a collage, or not judged, and no network was asked
    clusters: Clusters | None  # None: likewise


@dataclass
class Timings:
    """Seconds spent per stage, for -v; filled by the scan while it runs."""

    seconds: dict[str, float] = field(default_factory=dict)  # summed over worker processes
    forwarded: list[tuple[Source, float]] = field(default_factory=list)  # what went through the networks, each with its seconds

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds of a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def forward(self, pictures: Sequence[Picture], seconds: float) -> None:
        """Count pictures that went through the networks together."""
        sources = {id(picture.source): picture.source for picture in pictures}  # panels have that of their collage
        self.forwarded.extend((source, seconds / len(sources)) for source in sources.values())

    def include(self, other: Timings) -> None:
        """Add what a worker counted."""
        for stage, seconds in other.seconds.items():
            self.add(stage, seconds)
        self.forwarded.extend(other.forwarded)
