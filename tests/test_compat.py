"""--compat official: the released code's input, fusion, clustering and masks, through the pipeline that scans."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from imgscan.cluster import ClusterSettings, cluster
from imgscan.errors import InputError, WeightsError
from imgscan.fuse import FuseSettings, fuse
from imgscan.localize import LocalizeSettings, localize
from imgscan.pipeline import scan
from imgscan.prepare import InputPlan, prepare
from imgscan.records import Assessed, Clusters, Features, Picture, Source
from imgscan.releases.table import RELEASES
from imgscan.scanner import Scanner, build_scanner
from imgscan.toml import to_toml
from imgscan.weights import find_model, settings

FIXTURE = Path(__file__).parents[2] / "shared" / "reference" / "parity" / "FOCAL_clustering.npz"
COMPAT = RELEASES["focal-vit"].compat


def compat_scanner(networks: tuple[nn.Module, ...], side: int) -> Scanner:
    """A scanner with the very settings that a card of a FOCAL release carries."""
    return Scanner(
        networks=networks,
        plans=tuple(InputPlan("resize", side, multiple=8) for _ in networks),
        clustering=settings("clustering", ClusterSettings, dict(COMPAT["clustering"]), "test"),
        localizing=settings("localize", LocalizeSettings, dict(COMPAT["localize"]), "test"),
        points=(),
        device=torch.device("cpu"),
        amp=False,
        fusing=settings("fuse", FuseSettings, dict(COMPAT["fuse"]), "test"),
    )


class Answers(nn.Module):
    """In place of an extractor: the features of the fixture, as unit vectors, whatever it is shown."""

    def __init__(self, features: np.ndarray) -> None:
        super().__init__()
        self.features = F.normalize(torch.from_numpy(features)[None], dim=1)

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return self.features


@pytest.fixture
def square(tmp_path: Path) -> Source:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "square.png")
    return Source(tmp_path / "square.png", "square.png")


@pytest.mark.skipif(not FIXTURE.exists(), reason="the reference fixtures are not on this machine")
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("case", "order"), [("single", "a"), ("fusion_lo_hi", "ab"), ("fusion_hi_lo", "ba")])
def test_the_scan_gives_the_released_codes_labels(case: str, order: str, number: int, square: Source) -> None:
    """From the features of the fixture to labels and mask, all through pipeline.scan.  The first network sets the grid: 8 x 8 cells
    in one order, 32 x 32 in the other."""
    fixture = np.load(FIXTURE)
    networks = tuple(Answers(fixture[f"features_{one}"][number]) for one in order)
    (result,) = scan([square], compat_scanner(networks, 64))
    assert isinstance(result, Assessed)
    wanted = fixture[f"{case}/labels"][number, 0]
    planted = fixture["planted_lo"][number] > 0
    if wanted.shape == planted.shape:  # on the other grid a few cells of the finer network differ
        assert ((wanted > 0) == (planted if planted.mean() < 0.5 else ~planted)).all(), "the smaller part is the forged one"
    assert result.clusters.method == "kmeans"
    assert result.finding.grid == wanted.shape
    assert len(result.features.vectors) == sum(fixture[f"features_{one}"].shape[1] for one in order)
    assert ((result.clusters.labels > 0) == (wanted > 0)).all()
    enlarged = F.interpolate(torch.from_numpy(wanted)[None, None].float() * 255, size=(64, 64), mode="bilinear")[0, 0]
    assert (result.mask.forged == (enlarged > 127).numpy()).all()


@pytest.mark.skipif(not FIXTURE.exists(), reason="the reference fixtures are not on this machine")
def test_dot_product_not_cosine() -> None:
    """Case `uneven`, where true cosine would agree on 97.5 %."""
    fixture = np.load(FIXTURE)
    vectors = F.normalize(torch.from_numpy(fixture["uneven/features"]), dim=1).T.reshape(-1, 20, 20)
    found = cluster(Features(vectors, (1.0, 1.0)), ClusterSettings(**COMPAT["clustering"]))
    assert ((found.labels.ravel() > 0) == fixture["uneven/labels"]).all()


def test_the_first_network_sets_the_grid_and_the_others_come_by_nearest() -> None:
    """By hand: 2 x 2 cells; of the second network's 4 x 4, nearest takes rows and columns 0 and 2."""
    first = F.normalize(torch.rand(3, 2, 2), dim=0)
    second = F.normalize(torch.rand(2, 4, 4), dim=0)
    joined = fuse([Features(first, (8.0, 8.0)), Features(second, (4.0, 4.0))], 64, FuseSettings("first"))
    torch.testing.assert_close(joined.vectors, torch.cat((first, second[:, ::2, ::2])))
    torch.testing.assert_close(joined.vectors.norm(dim=0), torch.full((2, 2), 2**0.5))
    assert joined.cell == (8.0, 8.0)
    other = fuse([Features(second, (4.0, 4.0)), Features(first, (8.0, 8.0))], 8, FuseSettings("first"))
    assert other.vectors.shape == (5, 4, 4)
    torch.testing.assert_close(other.vectors[2:], first.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_a_lone_network_keeps_its_own_grid() -> None:
    """256 x 256 cells of HRNet: no limit, where imgscan's own fusion would average them."""
    vectors = F.normalize(torch.rand(2, 300, 260), dim=0)
    assert fuse([Features(vectors, (4.0, 4.0))], 64, FuseSettings("first")).vectors.shape == (2, 300, 260)
    assert fuse([Features(vectors, (4.0, 4.0))], 64).vectors.shape[1] == 64


def test_a_pixel_is_forged_above_127_of_255() -> None:
    """Two cells over 8 pixels: bilinear gives 0, 0, 1/8, 3/8, 5/8, 7/8, 1, 1.  Over 5: 0, 0.1, 0.5, 0.9, 1, and 0.5 of 255 is above
    127, where imgscan's own rule wants more than a half.  Small regions stay."""
    labels = np.array([[0, 1]], np.int32)
    features = Features(F.normalize(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), dim=0), (4.0, 4.0))
    clusters = Clusters(labels, np.zeros((1, 2), bool), (1.0, 1.0), "kmeans")
    mask = localize(features, clusters, 4, 8, LocalizeSettings(**COMPAT["localize"]))
    assert mask.forged[0].tolist() == [False] * 4 + [True] * 4
    fifth = Features(features.vectors, (4.0, 2.5))
    assert localize(fifth, clusters, 4, 5, LocalizeSettings(**COMPAT["localize"])).forged[0].tolist() == [False] * 2 + [True] * 3
    assert localize(fifth, clusters, 4, 5, LocalizeSettings(share=1.0)).forged[0].tolist() == [False] * 3 + [True] * 2
    three = Clusters(np.array([[0, 1, 0]], np.int32), np.zeros((1, 3), bool), (1.0, 1.0), "kmeans")
    odd = Features(F.normalize(torch.rand(2, 1, 3), dim=0), (2.0, 2.0))
    thin = localize(odd, three, 2, 6, LocalizeSettings(**COMPAT["localize"]))
    assert thin.forged[0].tolist() == [False, False, True, True, False, False]
    assert localize(odd, three, 2, 6, LocalizeSettings(smallest=0.9)).forged.sum() == 0


def test_the_input_is_squeezed_without_antialiasing() -> None:
    """Stripes of one pixel, shrunk to a half: bilinear between neighbours gives grey, shrunk to a quarter without antialiasing the
    pixels between are skipped and it stays the mean of two."""
    rgb = np.zeros((64, 128, 3), np.uint8)
    rgb[:, 1::4] = 200
    picture = Picture(Source(Path("x"), "x"), rgb, "", 0, "PNG", 1, None)
    seen = prepare(picture, InputPlan("resize", 32, multiple=8)).tiles[0, 0]
    assert seen.shape == (32, 32)
    # 128 -> 32: column k is taken at 4k + 1.5, halfway between columns 4k + 1 (200) and 4k + 2 (0); antialiasing would give 50
    assert set(seen.flatten().tolist()) == {100}


@pytest.fixture
def official(tiny_weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cards focal-hrnet@official and focal-vit@official of tiny networks, with the [compat.official] of a release."""
    from imgscan.weights import read_card

    for name, path in tiny_weights.items():
        data = read_card(path).data
        file = f"{name}.official.safetensors"
        released = {"input": {"mode": "resize", "side": 64, "multiple": 32}} | {k: dict(v) for k, v in COMPAT.items()}
        table = data | {"tag": "official", "file": file, "compat": {"official": released}, "licence": "MIT", "commercial": True}
        (tmp_path / f"{name}.official.toml").write_text(to_toml(table))
        (tmp_path / file).write_bytes(path.with_suffix(".safetensors").read_bytes())
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("official")
def test_fusion_takes_the_released_order_and_settings() -> None:
    """ViT first: its grid.  In imgscan's own order, and with its own settings, without the flag."""
    model = find_model("focal-fusion@official", "official")
    assert model.name == "focal-vit@official+focal-hrnet@official"
    scanner = build_scanner(model, device=torch.device("cpu"))
    assert scanner.fusing == FuseSettings("first")
    assert (scanner.clustering.method, scanner.clustering.clusters) == ("kmeans", 2)
    assert scanner.plans == (InputPlan("resize", 64), InputPlan("resize", 64))
    assert not scanner.amp
    assert scanner.localizing == LocalizeSettings(0.0, 0.0, 1.0, grey=True)
    plain = find_model("focal-fusion@official")
    assert plain.name == "focal-hrnet@official+focal-vit@official"
    own = build_scanner(plain, device=torch.device("cpu"))
    assert own.fusing == FuseSettings()
    assert own.plans[0].mode == "native"


@pytest.mark.usefixtures("official")
def test_own_order_sets_its_own_grid(square: Source) -> None:
    """As a list in the released code would: HRNet first has 16 x 16 cells of 64 pixels, ViT first 8 x 8."""
    for text, rows in (("focal-hrnet@official+focal-vit@official", 16), ("focal-fusion@official", 8)):
        scanner = build_scanner(find_model(text, "official"), device=torch.device("cpu"), jobs=0)
        (result,) = scan([square], scanner)
        assert isinstance(result, Assessed)
        assert result.finding.grid == (rows, rows)


@pytest.mark.usefixtures("official")
def test_what_was_never_official_is_refused() -> None:
    with pytest.raises(WeightsError, match="focal-hrnet@open is not of the authors' release"):
        find_model("focal-hrnet@open", "official")
    with pytest.raises(WeightsError, match="focal-vit@open is not of the authors' release"):
        find_model("focal-hrnet@official+focal-vit@open", "official")
    with pytest.raises(WeightsError, match="noi1 needs no weights and has no release"):
        find_model("focal-hrnet@official+noi1", "official")
    with pytest.raises(InputError, match="unknown release 'offical'; did you mean official"):
        find_model("focal-hrnet@official", "offical")


@pytest.mark.usefixtures("official")
def test_the_released_clustering_is_not_to_be_mixed_with_flags() -> None:
    model = find_model("focal-fusion@official", "official")
    for method, grid in (("kmeans", None), (None, 64)):
        with pytest.raises(InputError, match="leave --cluster and --grid out"):
            model.with_clustering(method, grid)
    assert model.with_clustering(None, None) == model
