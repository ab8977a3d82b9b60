"""--init: the part that a file is for is filled exactly, the rest stays as it was; a file for something else is refused."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torchvision

from imgscan.errors import ConfigError, WeightsError
from imgscan.models import build_named, cfl_net, ncl
from imgscan.releases.table import RELEASES
from imgscan.training.card import keep
from imgscan.training.initial import find_start, initialise
from imgscan.training.recipe import ModelSection
from tests.releases.conftest import home, released, save, small  # noqa: F401 - fixtures


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """CFL-Net and NCL on whole ResNets, with little behind them."""
    monkeypatch.setitem(cfl_net.SIZES, "thin", cfl_net.CFLNetSize("resnet50", 32, 4, (1, 2, 3), 4))
    monkeypatch.setitem(ncl.SIZES, "thin", ncl.NCLSize("resnet101", (1, 2, 4), 4, (1, 2, 3), 4))


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize(("network", "part", "depth"), [("cfl-net", "encoder", 50), ("ncl", "backbone", 101)])
def test_imagenets_resnet_fills_the_trunk_and_nothing_else(network: str, part: str, depth: int, tmp_path: Path) -> None:
    torch.manual_seed(5)
    theirs = getattr(torchvision.models, f"resnet{depth}")(weights=None).state_dict()
    old = {key: one for key, one in theirs.items() if "num_batches_tracked" not in key}  # as in files of 2017
    file = save(old, tmp_path / "resnet.pth")
    model = build_named(network, "thin")
    before = {key: one.clone() for key, one in model.state_dict().items()}
    initialise(model, ModelSection(network, "thin", str(file)))
    filled = 0
    for key, one in model.state_dict().items():
        inner = key.removeprefix(f"{part}.")
        if inner != key and "num_batches" not in key:
            assert torch.equal(one, theirs[inner]), key
            filled += 1
        elif inner == key:
            assert torch.equal(one, before[key]), key
    assert filled == len(old) - 2  # fc


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["focal-hrnet", "focal-vit", "cfl-net", "sam-vit-l"])
def test_releases_fill_the_whole_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = released("focal-vit" if name == "sam-vit-l" else name)
    if name == "sam-vit-l":
        state = {key.removeprefix("module.net."): one for key, one in state.items()}
    # In miniature a file cannot be told by its widths.
    monkeypatch.setattr("imgscan.training.initial.recognise", lambda tensors: name)
    network = RELEASES[name].network
    monkeypatch.setitem(cfl_net.SIZES, "bare", replace(cfl_net.SIZES["bare"], channel_order="bgr"))
    model = build_named(network, "bare")
    initialise(model, ModelSection(network, "bare", str(save(state, tmp_path / "w.pth"))))
    key = {"focal-hrnet": "trunk.conv1.weight", "cfl-net": "encoder.conv1.weight"}.get(network, "trunk.pos_embed")
    theirs = {"focal-hrnet": "module.net.conv1.weight", "cfl-net": key, "sam-vit-l": "image_encoder.pos_embed"}
    assert torch.equal(model.state_dict()[key], state[theirs.get(name, "module.net.image_encoder.pos_embed")])


@pytest.mark.usefixtures("small")
def test_weights_of_the_other_order_of_colours_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They fit tensor for tensor, and would see red as blue."""
    monkeypatch.setattr("imgscan.training.initial.recognise", lambda tensors: "cfl-net")
    monkeypatch.setitem(cfl_net.SIZES, "bare-bgr", replace(cfl_net.SIZES["bare"], channel_order="bgr"))
    file = save(released("cfl-net"), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"in the order bgr, cfl-net of size bare sees rgb; wanted --set model.size=bare-bgr"):
        initialise(build_named("cfl-net", "bare"), ModelSection("cfl-net", "bare", str(file)))

    trained = keep(build_named("cfl-net", "bare-bgr").state_dict(), own_card("bgr"), tmp_path)
    for text in (f"cfl-net@{trained}", str(tmp_path / "weights.safetensors")):
        with pytest.raises(ConfigError, match="order bgr"):
            initialise(build_named("cfl-net", "bare"), ModelSection("cfl-net", "bare", text))
        initialise(build_named("cfl-net", "bare-bgr"), ModelSection("cfl-net", "bare-bgr", text))
    trained = keep(build_named("cfl-net", "bare").state_dict(), own_card("rgb"), tmp_path)
    initialise(build_named("cfl-net", "bare"), ModelSection("cfl-net", "bare", f"cfl-net@{trained}"))


def test_a_table_that_is_no_card_beside_weights_is_none(tiny_weights: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    shutil.copy(tiny_weights["focal-hrnet"].with_suffix(".safetensors"), file)
    for text in ("[train]\nsteps = 3\n", "not TOML ["):
        file.with_suffix(".toml").write_text(text)
        assert find_start(str(file)).card is None


def own_card(order: str) -> dict[str, object]:
    names = {"name": "cfl-net", "tag": "mine", "network": "cfl-net", "size": "bare", "licence": "CC0-1.0"}
    return names | {"backbone": {"channel_order": order}, "input": {"mode": "resize", "side": 224, "multiple": 16}}


def test_the_release_of_cfl_net_has_a_size_that_it_starts() -> None:
    assert asdict(cfl_net.SIZES["official-bgr"]) == asdict(cfl_net.SIZES["official"]) | dict(RELEASES["cfl-net"].backbone)


def test_own_weights_by_file_and_by_name(tiny_weights: dict[str, Path]) -> None:
    for text in (str(tiny_weights["focal-hrnet"].with_suffix(".safetensors")), f"focal-hrnet@{tiny_weights['focal-hrnet']}"):
        start = build_named("focal-hrnet", "tiny")
        initialise(start, ModelSection("focal-hrnet", "tiny", text))
        stored = torch.nn.utils.parameters_to_vector(start.parameters())
        torch.manual_seed(0)
        assert not torch.equal(stored, torch.nn.utils.parameters_to_vector(build_named("focal-hrnet", "tiny").parameters()))


@pytest.mark.parametrize(
    ("weights", "network", "size", "why"),
    [
        (
            "focal-hrnet@open",
            "focal-hrnet",
            "tiny-headed",
            r"is of size headed: it has \S+, which focal-hrnet of size tiny-headed does not",
        ),
        ("focal-hrnet@open", "focal-vit", "tiny", r"is a focal-hrnet; wanted weights of focal-vit of size tiny"),
        ("cfl-net@open", "cfl-net", "small", r"is of size compact: it lacks its conv_srm.weight \(--size\)"),
    ],
)
def test_weights_by_name_that_do_not_fit_are_not_to_be_imported(weights: str, network: str, size: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        initialise(build_named(network, size), ModelSection(network, size, weights))
    assert "import" not in str(error.value)


@pytest.mark.usefixtures("thin")
def test_a_file_for_something_else_is_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = torchvision.models.resnet50(weights=None).state_dict()
    file = str(save({key: torch.zeros(()).expand(one.shape) for key, one in shapes.items()}, tmp_path / "r.pth"))
    with pytest.raises(
        WeightsError, match=r"looks like ResNet-50 of ImageNet; focal-vit starts from FOCAL's ViT.*Segment Anything"
    ):
        initialise(build_named("focal-vit", "tiny"), ModelSection("focal-vit", "tiny", file))
    with pytest.raises(ConfigError, match="looks like ResNet-50 of ImageNet; ncl of size thin has a resnet101"):
        initialise(build_named("ncl", "thin"), ModelSection("ncl", "thin", file))


def test_another_size_of_the_same_keys_is_refused(tmp_path: Path) -> None:
    state = build_named("focal-hrnet", "tiny").state_dict()
    state["trunk.conv1.weight"] = torch.zeros(9, 15, 3, 3)
    with pytest.raises(ConfigError, match=r"trunk.conv1.weight is \(9, 15, 3, 3\), wanted \(64, 15, 3, 3\)|wanted \(8"):
        initialise(build_named("focal-hrnet", "tiny"), ModelSection("focal-hrnet", "tiny", str(save(state, tmp_path / "w.pth"))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("none.pth", "no such file; wanted a .pth or .safetensors, or weights by name"),
        ("focal-vit@none", "no weights 'focal-vit@none'"),
        ("focal-fusion", "names 2 sets of weights; wanted one"),
        ("sam-vit-l@official", "get sam_vit_l_0b3195.pth from .*, then: imgscan models import sam-vit-l FILE"),
    ],
)
def test_what_is_not_there_says_what_would_be(text: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        find_start(text)
