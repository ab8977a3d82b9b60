"""Importing: strict, by every name that circulates, and nothing half-written whatever goes wrong."""

import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from imgscan import weights
from imgscan.average import average
from imgscan.commands.calibrate import LEVEL_RATES
from imgscan.digests import file_sha256
from imgscan.errors import InputError, OutputError, WeightsError
from imgscan.export import export
from imgscan.networks import load_network
from imgscan.releases import install
from imgscan.releases.convert import looks_like, match, recognise
from imgscan.releases.install import import_weights, wanted_by
from imgscan.releases.read import StateFile
from imgscan.releases.table import RELEASES
from imgscan.scanner import build_scanner
from imgscan.weights import Model, find_model
from tests.models.parity import assert_same
from tests.releases.conftest import released, save

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
NEEDS_REFERENCE = pytest.mark.skipif(not REFERENCE.exists(), reason="the reference fixtures are not on this machine")
State = dict[str, torch.Tensor]


def bare(state: State) -> State:
    """The pruned copies: no prefix, no unused layers."""
    kept = {key: one for key, one in state.items() if not any(s in key for s in ("final_layer", "prompt_enc", "mask_dec"))}
    return {key.removeprefix("module.net.").removeprefix("image_encoder."): one for key, one in kept.items()}


def halved(state: State) -> State:
    return {key: one.half() if one.is_floating_point() else one for key, one in state.items()}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["focal-hrnet", "focal-vit", "cfl-net"])
@pytest.mark.parametrize(
    "form",
    [
        lambda state: state,
        bare,
        lambda state: {"state_dict": state, "epoch": 7},
        lambda state: {"model": {f"module.{key}": one for key, one in state.items()}},
        lambda state: {f"module.{key}" if number % 2 else key: one for number, (key, one) in enumerate(bare(state).items())},
        lambda state: {key: one for key, one in state.items() if "num_batches_tracked" not in key},
        halved,
    ],
    ids=["released", "bare", "wrapped", "wrapped, prefixed twice", "mixed prefixes", "without counters", "float16"],
)
def test_every_tensor_arrives_where_it_belongs(name: str, form: Callable[[State], object], tmp_path: Path, home: Path) -> None:
    theirs = form(released(name))
    done = import_weights(name, save(theirs, tmp_path / "their.pth"))
    card = find_model(f"{name}@official").cards[0]
    assert card == done.card
    assert card.path == home / f"{name}.official.toml"
    network = load_network(card)
    release = RELEASES[name]
    wanted = released(name)
    for key, tensor in network.state_dict().items():
        their_key = key.removeprefix("trunk.").replace(".fc1.", ".lin1.").replace(".fc2.", ".lin2.")
        prefix = "" if name == "cfl-net" else f"module.net.{release.inside}"
        value = wanted[prefix + their_key]
        if tensor.is_floating_point():
            value = value.half().float() if form is halved else value
            assert torch.equal(tensor, value), key
    assert sorted(path.name for path in home.iterdir()) == [f"{name}.official.safetensors", f"{name}.official.toml"]


@pytest.mark.usefixtures("small")
def test_the_card_says_where_the_weights_are_from(tmp_path: Path) -> None:
    file = save({"state_dict": released("focal-vit"), "epoch": 3}, tmp_path / "FOCAL_ViT_weights.pth")
    done = import_weights("focal-vit", file, tag="lab-3")
    data = tomllib.loads(done.card.path.read_text())
    assert done.card.full_name == "focal-vit@lab-3"
    assert data["source"]["file"] == "FOCAL_ViT_weights.pth"
    assert data["source"]["sha256"] == file_sha256(file)
    assert data["source"]["url"] == "https://github.com/HighwayWu/FOCAL"
    assert data["sha256"] == file_sha256(done.card.file)
    assert data["bytes"] == done.card.file.stat().st_size
    assert data["commercial"] is True
    assert data["licence"].startswith("MIT")
    assert [remark.split(",")[0] for remark in data["source"]["left_out"]] == [
        "left out: 1 tensors of prompt_encoder",
        "left out: 1 tensors of mask_decoder",
        "left out: epoch",
    ]


@pytest.mark.usefixtures("small")
def test_importing_twice_gives_the_same_file(tmp_path: Path) -> None:
    """What others can verify: the hash is a function of the weights."""
    first = import_weights("focal-hrnet", save(released("focal-hrnet"), tmp_path / "a.pth")).card.sha256
    torch.save(bare(released("focal-hrnet")), tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    assert import_weights("focal-hrnet", tmp_path / "b.pth", tag="pruned").card.sha256 == first


def broken(change: Callable[[State], object], name: str = "focal-hrnet") -> Callable[[Path], tuple[str, Path]]:
    def make(tmp_path: Path) -> tuple[str, Path]:
        state = released(name)
        answer = change(state)
        return name, save(state if answer is None else answer, tmp_path / "w.pth")

    return make


FIRST = "module.net.conv1.weight"


def drop(state: State) -> None:
    del state[FIRST]


def add(state: State) -> None:
    state["module.net.conv9.weight"] = torch.zeros(1)


def two_lines(state: State) -> None:
    state["module.conv9\n\x1b[2Jweight"] = torch.zeros(1)


def single(state: State) -> None:
    state["module.net.stage4.0.branches.0.0.conv1.weight"] = torch.tensor(1.0)


def twice(state: State) -> None:
    state["net.conv1.weight"] = state[FIRST]


def reshape(state: State) -> None:
    state[FIRST] = torch.zeros(3, 5, 7)


def whole_numbers(state: State) -> None:
    state[FIRST] = torch.zeros(state[FIRST].shape, dtype=torch.int64)


def double(state: State) -> None:
    state[FIRST] = state[FIRST].double()


def nan(state: State) -> None:
    state[FIRST][0, 0, 0, 0] = float("nan")


def infinite(state: State) -> None:
    state["module.net.bn1.running_var"][1] = float("inf")


def counted_in_floats(state: State) -> None:
    state["module.net.bn1.num_batches_tracked"] = torch.tensor(3.0)


def sparse(state: State) -> None:
    state[FIRST] = state[FIRST].to_sparse()


REFUSALS = {
    "a missing key": (broken(drop), "looks like .*; wanted FOCAL's HRNet-W32: 1 of .* keys missing, first conv1.weight"),
    "an extra key": (broken(add), "1 unknown, first module.net.conv9.weight"),
    "a key twice": (broken(twice), "module.net.conv1.weight and net.conv1.weight are both trunk.conv1.weight"),
    "another shape": (broken(reshape), "module.net.conv1.weight is 3 x 5 x 7, wanted 8 x 3 x 3 x 3"),
    "whole numbers": (broken(whole_numbers), "module.net.conv1.weight holds int64; wanted float32, float16 or bfloat16"),
    "double precision": (broken(double), "module.net.conv1.weight holds float64; wanted float32"),
    "NaN": (broken(nan), "module.net.conv1.weight holds NaN or infinity"),
    "infinity": (broken(infinite), "module.net.bn1.running_var holds NaN or infinity"),
    "a counter in floats": (broken(counted_in_floats), "num_batches_tracked holds float32; wanted whole numbers"),
    "sparse": (broken(sparse), "is torch.sparse_coo on cpu; wanted plain dense tensors"),
    "an extra key of two lines": (broken(two_lines), r"1 unknown, first module\.conv9\\n\\x1b\[2Jweight"),
    "a single number": (broken(single), "branches.0.0.conv1.weight is a single number, wanted"),
    "another network": (
        lambda tmp_path: ("focal-hrnet", save(released("cfl-net"), tmp_path / "w.pth")),
        "looks like CFL-Net; wanted FOCAL's HRNet-W32.*; try: imgscan models import cfl-net .*w.pth",
    ),
    "a truncated file": (
        lambda tmp_path: ("focal-hrnet", cut(save(released("focal-hrnet"), tmp_path / "w.pth"))),
        "w.pth: is cut off, damaged or no weights at all",
    ),
    "NCL": (
        lambda tmp_path: ("ncl", save(torch.nn.Linear(1, 1), tmp_path / "20230319-010.pth")),
        "ncl cannot be imported: the authors' file is a pickled module.* run the code inside.*; train your own: imgscan train ncl",
    ),
    "a pickled module": (
        lambda tmp_path: ("focal-hrnet", save(torch.nn.Linear(1, 1), tmp_path / "20230319-010.pth")),
        "its pickle asks for torch.nn.modules.linear.Linear: a pickled module",
    ),
    "an unknown name": (
        lambda tmp_path: ("focal-hrnett", tmp_path / "w.pth"),
        "unknown release 'focal-hrnett'; did you mean focal-hr",
    ),
    "a network nobody released": (lambda tmp_path: ("focal-mit", tmp_path / "w.pth"), "focal-mit has no release; .* give its card"),
}


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-1000])
    return path


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_wrong_is_refused_in_one_line_and_leaves_nothing(case: str, tmp_path: Path, home: Path) -> None:
    make, message = REFUSALS[case]
    name, path = make(tmp_path)
    with pytest.raises(WeightsError, match=message) as caught:
        import_weights(name, path)
    assert "\n" not in str(caught.value)
    assert not home.exists()


@pytest.mark.usefixtures("small")
def test_a_folder_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path, home: Path) -> None:
    home.parent.mkdir(parents=True)
    home.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=r"weights folder .*: cannot be written: .*; nothing was imported"):
        import_weights("focal-hrnet", save(released("focal-hrnet"), tmp_path / "w.pth"))
    assert [path.name for path in home.parent.iterdir()] == ["weights"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("step", ["save_state", "file_sha256", "to_toml", "read_card"])
def test_what_fails_while_writing_leaves_the_weights_before(
    step: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at any moment: the old weights stay whole, and no file of the new ones is there."""
    file = save(released("focal-hrnet"), tmp_path / "w.pth")
    import_weights("focal-hrnet", file)
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    real = getattr(install, step)

    def full(*args: object, **kwargs: object) -> object:
        if any(str(arg).startswith(str(home)) for arg in args) or step == "to_toml":
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(install, step, full)
    changed = released("focal-hrnet")
    changed[FIRST] += 1
    with pytest.raises(OutputError, match="No space left on device; nothing was imported"):
        import_weights("focal-hrnet", save(changed, tmp_path / "v.pth"), force=True)
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


@pytest.mark.usefixtures("small")
def test_a_tag_that_is_taken_wants_force(tmp_path: Path) -> None:
    import_weights("focal-hrnet", save(released("focal-hrnet"), tmp_path / "w.pth"))
    changed = released("focal-hrnet")
    changed[FIRST] += 1
    other = save(changed, tmp_path / "v.pth")
    with pytest.raises(
        InputError, match=r"focal-hrnet@official is there already, .*; choose another --tag, or replace it with --force"
    ):
        import_weights("focal-hrnet", other)
    import_weights("focal-hrnet", other, force=True)
    assert torch.equal(load_file(find_model("focal-hrnet@official").cards[0].file)["trunk.conv1.weight"], changed[FIRST])


@pytest.mark.usefixtures("small")
def test_force_does_not_write_what_another_card_would_hide(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said that it had, and the old weights went on answering."""
    file = save(released("focal-hrnet"), tmp_path / "w.pth")
    card = import_weights("focal-hrnet", file).card.path
    chosen = tmp_path / "chosen"
    home.rename(chosen)
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(chosen))
    with pytest.raises(InputError, match=rf"is there already, {chosen / card.name}; choose another --tag, or remove that card"):
        import_weights("focal-hrnet", file, force=True)
    assert not home.exists()
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(home))  # the user's folder itself
    import_weights("focal-hrnet", file)
    import_weights("focal-hrnet", file, force=True)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("open", "ships with imgscan"),
        ("../up", "wanted letters"),
        ("a+b", "wanted letters"),
        ("", "wanted letters"),
        (".x", "wanted letters"),
        ("x.toml", "wanted letters"),
    ],
)
def test_tags_that_cannot_be_named_are_refused(tag: str, message: str, tmp_path: Path, home: Path) -> None:
    with pytest.raises(InputError, match=message):
        import_weights("focal-hrnet", save(released("focal-hrnet"), tmp_path / "w.pth"), tag=tag, force=True)
    assert not home.exists()


@pytest.mark.usefixtures("small")
def test_segment_anythings_own_file_is_an_initialisation(tmp_path: Path) -> None:
    state = {key.removeprefix("module.net."): one for key, one in released("focal-vit").items()}
    file = save(state, tmp_path / "sam_vit_l_0b3195.pth")
    done = import_weights("focal-vit", file)
    assert done.card.full_name == "sam-vit-l@official"
    assert any("finds no forgeries" in remark for remark in done.remarks)
    assert done.card.data["use"] == "init"
    named = import_weights("focal-vit", file, tag="official")  # the user says it is FOCAL's
    assert named.card.full_name == "focal-vit@official"
    assert any("if it is that, it finds no forgeries" in remark for remark in named.remarks)


@pytest.mark.usefixtures("small")
def test_every_card_that_imgscan_writes_can_be_read(tiny_weights: dict[str, Path], headed_model: str, tmp_path: Path) -> None:
    """Of trainings, imports, exports, means, and one with what `calibrate` prints pasted into it; as records too."""
    trained = [*tiny_weights.values(), *(Path(part.partition("@")[2]) for part in headed_model.split("+"))]
    cards = [weights.read_card(path) for path in trained]
    cards += [
        import_weights(name, save(released(name), tmp_path / "w.pth")).card for name in ("focal-hrnet", "focal-vit", "cfl-net")
    ]
    cards += [one.as_released("official") for one in cards[-3:]]
    cards.append(import_weights("cfl-net", tmp_path / "w.pth", tag="mine", accept=True).card)
    cards.append(weights.read_card(export(cards[0], "safetensors", tmp_path / "out").file.with_suffix(".toml")))
    cards.append(weights.read_card(average([cards[0], cards[0]], tmp_path / "mean")))
    points = "".join(
        f'\n[[operating_points]]\nlevel = "{level}"\nscore = 1\nfalse_alarms = 0.0100\npictures = 9\n' for level in LEVEL_RATES
    )
    measured = cards[-1].path
    measured.write_text(measured.read_text() + points + "as_is = 0.0000\nphotographs = 1\ninterval = [0.0, 0.975]  # 95 %\n")
    cards.append(weights.read_card(measured))
    assert [point.level for point in cards[-1].points] == list(LEVEL_RATES)
    for card in cards:
        model = Model(card.full_name, (card,), card.points, card.data, compat="official" if card in cards[7:10] else None)
        build_scanner(model, device=torch.device("cpu"), jobs=0, accept_licence=True)


def test_own_trainings_find_a_home_too(tiny_weights: dict[str, Path], home: Path) -> None:
    done = import_weights("focal-hrnet", tiny_weights["focal-hrnet"], tag="monday")
    assert done.card.sha256 == weights.read_card(tiny_weights["focal-hrnet"]).sha256
    assert done.card.data["recipe"] == weights.read_card(tiny_weights["focal-hrnet"]).data["recipe"]
    assert find_model("focal-hrnet@monday").cards[0].file.parent == home
    with pytest.raises(WeightsError, match="of focal-hrnet, not of focal-vit; try: imgscan models import focal-hrnet"):
        import_weights("focal-vit", tiny_weights["focal-hrnet"])


def test_an_altered_training_is_not_taken(tiny_weights: dict[str, Path], tmp_path: Path, home: Path) -> None:
    for path in tiny_weights["focal-hrnet"].parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "weights.safetensors")
    save_file({key: one + 1 for key, one in state.items()}, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="the file was altered"):
        import_weights("focal-hrnet", tmp_path / "weights.safetensors")
    assert not home.exists()


@pytest.mark.parametrize(
    ("keys", "looks", "name"),
    [
        ({"patch_embed.proj.weight": (768, 3, 16, 16), "neck.0.weight": (256, 768, 1, 1)}, "Segment Anything's vit_b", None),
        ({"stage4.0.branches.0.0.conv1.weight": (48, 48, 3, 3)}, "HRNet-W48", None),
        ({"backbone.conv1.weight": (64,), "decoder.last_conv.0.weight": (1,)}, "DeepLabV3+, the base of NCL", None),
        ({"cls_token": (1,)}, "a plain ViT", None),
        ({"something": (1,)}, r"nothing known (1 tensors, first something)", None),
        ({"two\nlines\x1b[2J": (1,)}, r"first two\nlines\x1b[2J)", None),
        ({"stage4.0.branches.0.0.conv1.weight": ()}, "an HRNet", None),
        ({"patch_embed.proj.weight": (), "neck.0.weight": ()}, "Segment Anything's ViT of width 0", None),
    ],
)
def test_a_file_is_recognised_by_its_keys(keys: dict[str, tuple[int, ...]], looks: str, name: str | None) -> None:
    tensors = {key: torch.empty(shape, device="meta") for key, shape in keys.items()}
    assert looks in looks_like(tensors)
    assert recognise(tensors) == name


@pytest.mark.parametrize(("depth", "name"), [(18, None), (34, None), (50, "resnet50"), (101, "resnet101"), (152, None)])
def test_resnets_are_told_apart(depth: int, name: str | None) -> None:
    import torchvision

    with torch.device("meta"):
        state = getattr(torchvision.models, f"resnet{depth}")(weights=None).state_dict()
    assert looks_like(state) == f"ResNet-{depth} of ImageNet"
    assert recognise(state) == name


MANIFESTS = {"focal-hrnet": "FOCAL_HRNet", "focal-vit": "FOCAL_ViT", "cfl-net": "CFLNet"}


@NEEDS_REFERENCE
@pytest.mark.parametrize(("name", "used", "left"), [("focal-hrnet", 1752, 2), ("focal-vit", 345, 137), ("cfl-net", 690, 0)])
def test_every_key_of_the_released_files_is_accounted_for(name: str, used: int, left: int) -> None:
    """The full manifests against the full networks, shapes and all, without a byte of weights."""
    tools = runpy.run_path(str(REFERENCE / "refweights.py"))
    entries = tools["load_manifest"](REFERENCE / f"{MANIFESTS[name]}.state_dict.json")["entries"]
    tensors = {one["key"]: torch.empty(one["shape"], device="meta") for one in entries}
    assert recognise(tensors) == name
    wanted = wanted_by(RELEASES[name])
    found = match(StateFile(Path("x.pth"), tensors, ()), RELEASES[name], wanted)
    assert (len(found.origin), sum(found.left_out.values()), found.counters) == (used, left, ())
    for ours, theirs in found.origin.items():
        assert wanted[ours].shape == tensors[theirs].shape


@NEEDS_REFERENCE
@pytest.mark.parametrize("name", ["focal-hrnet", "cfl-net"])
def test_imported_weights_give_the_official_numbers(name: str, tmp_path: Path) -> None:
    """refweights -> .pth -> import -> card -> network: the features that the released code answers, float32."""
    tools = runpy.run_path(str(REFERENCE / "refweights.py"))
    filled = tools["fill"](tools["load_manifest"](REFERENCE / f"{MANIFESTS[name]}.state_dict.json"))
    file = save(tools["to_torch"](filled), tmp_path / "released.pth")
    fixture = np.load(REFERENCE / "parity" / {"focal-hrnet": "FOCAL_HRNet_256.npz", "cfl-net": "CFLNet_224.npz"}[name])
    assert tools["digest"](filled) == str(fixture["weights_digest"])
    del filled
    import_weights(name, file)
    file.unlink()
    network = load_network(find_model(f"{name}@official").cards[0])
    picture = torch.from_numpy(tools["image"](*map(int, fixture["image_args"])))
    answers: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        if name == "focal-hrnet":
            network.trunk.register_forward_hook(lambda module, given, answer: answers.update(features=answer[0]))
            unit = network(picture)
            torch.testing.assert_close(unit, torch.nn.functional.normalize(answers["features"], dim=1))
        else:
            # The fixture was made on the picture as it is: without the statistics, and its channels are the network's own order.
            network.scale = torch.nn.Identity()
            network.decoder.register_forward_hook(lambda module, given, answer: answers.update(logits=answer))
            answer = network(picture.flip(1))
            answers |= {"projection": answer.features, "probability": answer.logits.softmax(1)[:, 1:]}
            assert network.turned
    for key, tensor in answers.items():
        assert_same(fixture, key, tensor, 1e-3)
