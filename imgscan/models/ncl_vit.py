"""NCL on a vision transformer: the plug-in case of the paper's Table 4 and of "Backbone Architectures" in its section 4.3.

Zhou et al., arXiv 2309.14900 (see ncl.py); the encoder is Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, in timm's
words, the width of DeiT-S (Touvron et al., ICML 2021).  The paper appends NCL to the ViT of ObjectFormer, which is not public;
this is the plainest network in which its losses act as in the ResNet: a token is a patch of 16 x 16 pixels, and the first map, the
embedding of the patches, plays the part of stage 1.

The decoder is light, for tokens at stride 16 have no early map to borrow edges from: a 1x1 convolution, enlarged to H/8 and H/4,
where the auxiliary classifiers stand as in ncl.py, then one 3x3 convolution.
"""

from __future__ import annotations

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from imgscan.errors import ConfigError
from imgscan.models.aspp import kaiming
from imgscan.models.inputs import ImageNetScale, check_input
from imgscan.models.ncl_size import NCLSize
from imgscan.models.pivot import Pivot
from imgscan.models.segmentation import Segmentation, enlarge, sides

# name -> width, blocks, heads
ENCODERS: dict[str, tuple[int, int, int]] = {
    "vit-small": (384, 12, 6),
    "vit-tiny": (24, 2, 2),
}
PATCH = 16
POSITIONS = 512  # side in pixels of the position table, the paper's crop; other sizes resample it


class NCLViT(nn.Module):
    """B x 3 x H x W RGB in 0..1, sides multiples of 16 -> Segmentation; the attributes are those of ncl.NCL.

    `features` is the embedding of the patches (tap 1) or what the last block leaves (tap 5), B x D x H/16 x W/16.
    """

    multiple = stride = tap_stride = PATCH

    def __init__(self, size: NCLSize) -> None:
        super().__init__()
        if size.tap not in (1, 5):
            raise ConfigError(f"tap of {size.trunk} is {size.tap}; wanted 1 (the patch embedding) or 5 (the last block)")
        width, depth, heads = ENCODERS[size.trunk]
        self.size = size
        self.dim = width
        self.scale = ImageNetScale()
        self.backbone = VisionTransformer(
            img_size=POSITIONS,
            patch_size=PATCH,
            num_classes=0,
            global_pool="",
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            class_token=False,
            dynamic_img_size=True,
        )
        self.neck = nn.Sequential(nn.Conv2d(width, size.planes, 1, bias=False), nn.BatchNorm2d(size.planes), nn.ReLU())
        self.decoder = nn.Sequential(
            nn.Conv2d(size.planes, size.planes, 3, padding=1, bias=False),
            nn.BatchNorm2d(size.planes),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(size.planes, 2, 1),
        )
        self.aux = nn.ModuleList(nn.Conv2d(size.planes, 2, 1) for _ in range(2 * size.aux))
        for head in (self.neck, self.decoder, self.aux):
            kaiming(head)
        self.pivot = Pivot(width) if size.pivot else None

    def forward(self, rgb: Tensor) -> Segmentation:
        check_input(rgb, self.multiple)
        scaled = self.scale(rgb)
        tokens = self.backbone.forward_features(scaled)
        high, wide = sides(rgb, 1 / PATCH)
        encoded = tokens.transpose(1, 2).reshape(len(rgb), -1, high, wide)
        neck = self.neck(encoded)
        eighth = enlarge(neck, sides(rgb, 1 / 8))
        quarter = enlarge(eighth, sides(rgb, 1 / 4))
        logits = enlarge(self.decoder(quarter).float(), sides(rgb))
        aux = tuple(classify(one).float() for classify, one in zip(self.aux, (eighth, quarter), strict=False))
        # Embedding the patches once more costs a hundredth of the encoder, and timm keeps the first one to itself.
        tapped = self.backbone.patch_embed(scaled).permute(0, 3, 1, 2) if self.size.tap == 1 else encoded
        return Segmentation(logits, aux, tapped.float())
