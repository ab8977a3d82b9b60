"""The releases that imgscan knows: where their parts go in our networks, and what stands on their cards.  No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imgscan.card_keys import INITIAL


@dataclass(frozen=True)
class Release:
    """A set of weights as its authors publish it."""

    network: str  # a name of models.NETWORKS, or of resnet.TRUNKS for a part of them
    size: str  # of that network's SIZES; "" for a part
    title: str
    file: str  # what the authors call it
    url: str
    licence: str
    commercial: bool
    part: str = ""  # what our keys begin with where theirs do not
    inside: str = ""  # what their keys begin with; it goes
    spelling: tuple[tuple[str, str], ...] = ()  # theirs, ours
    unused: Mapping[str, str] = field(default_factory=dict)  # beginnings of keys (after `inside`) that are left out -> why
    backbone: Mapping[str, Any] = field(default_factory=dict)  # differences from the size
    use: str = "scan"  # or INITIAL: it only starts trainings
    starts: Mapping[str, str] = field(default_factory=dict)  # network whose training it can start -> the part it fills; "": all
    tag: str = "official"
    input: Mapping[str, Any] = field(default_factory=dict)  # [input]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # [clustering] and [localize]: imgscan's choices
    compat: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # [compat.official.*]: what the released code does


# Segment Anything's vit_l, which FOCAL's ViT is, under the same keys.
_SAM: dict[str, Any] = {
    "network": "focal-vit",
    "size": "official",
    "starts": {"focal-vit": ""},
    "inside": "image_encoder.",
    "spelling": ((".mlp.lin1.", ".mlp.fc1."), (".mlp.lin2.", ".mlp.fc2.")),
    "unused": {
        "prompt_encoder.": "of Segment Anything's prompts, which FOCAL does not use",
        "mask_decoder.": "of Segment Anything's masks, which FOCAL does not use",
    },
    "input": {"mode": "resize", "side": 1024, "multiple": 1024},
}
_FOCAL: dict[str, Any] = {
    "url": "https://github.com/HighwayWu/FOCAL",
    "licence": "MIT, that of the repository HighwayWu/FOCAL, whose README links the weights; none is stated for them alone",
    "commercial": True,
    "part": "trunk.",
    # The paper's clustering with the journal version's smallest cluster: 200 of 64 x 64 cells.
    "settings": {
        "clustering": {"method": "hdbscan", "grid": 64, "smallest": 0.0488},
        "localize": {"smallest": 0.002, "share": 0.5},
    },
    "compat": {
        "clustering": {"method": "kmeans", "grid": 256, "clusters": 2},  # the grid is the network's own, whatever it is
        "localize": {"strength": 0.0, "smallest": 0.0, "share": 1.0, "grey": True},
        "fuse": {"rule": "first"},
    },
}
_IMAGENET: dict[str, Any] = {
    "size": "",
    "url": "https://github.com/pytorch/vision",
    "licence": "BSD-3-Clause, that of torchvision; the pictures of ImageNet are for research",
    "commercial": False,
    "unused": {"fc.": "the classifier of ImageNet's thousand classes"},
    "use": INITIAL,
    "starts": {"cfl-net": "encoder", "ncl": "backbone"},  # CFL-Net's RGB stream, as its authors do
}

# name on the command line -> what it is
RELEASES: dict[str, Release] = {
    "focal-hrnet": Release(
        network="focal-hrnet",
        size="official",
        starts={"focal-hrnet": ""},
        title="FOCAL's HRNet-W32",
        file="FOCAL_HRNet_weights.pth",
        unused={"final_layer.": "the head of HRNet's key points, which FOCAL does not use"},
        input={"mode": "resize", "side": 1024, "multiple": 32},
        **_FOCAL,
    ),
    "focal-vit": Release(
        **_SAM,
        title="FOCAL's ViT (the image encoder of Segment Anything's vit_l)",
        file="FOCAL_ViT_weights.pth",
        **_FOCAL,
    ),
    "cfl-net": Release(
        network="cfl-net",
        size="official",
        starts={"cfl-net": ""},
        title="CFL-Net",
        file="the state_dict of the authors' trainer",
        url="https://github.com/niloy193/CFLNet",
        licence="not stated",
        commercial=False,
        backbone={"channel_order": "bgr"},
        input={"mode": "resize", "side": 224, "multiple": 32},
        settings={"localize": {"smallest": 0.002}},
        compat={"localize": {"strength": 0.0, "smallest": 0.0, "share": 1.0}},
    ),
    "sam-vit-l": Release(
        **_SAM,
        title="Segment Anything's vit_l",
        file="sam_vit_l_0b3195.pth",
        url="https://github.com/facebookresearch/segment-anything",
        licence="Apache-2.0",
        commercial=True,
        part="trunk.",
        use=INITIAL,
    ),
    "resnet50": Release(network="resnet50", title="ResNet-50 of ImageNet", file="resnet50-*.pth", **_IMAGENET),
    "resnet101": Release(network="resnet101", title="ResNet-101 of ImageNet", file="resnet101-*.pth", **_IMAGENET),
}

# name -> why it cannot be imported, and what to do
REFUSED = {
    "ncl": "the authors' file is a pickled module, not a state dictionary: reading it would run the code inside, and imgscan never "
    "does; train your own: imgscan train ncl",
}
