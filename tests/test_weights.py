from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

from imgscan import DEFAULT_MODEL, weights
from imgscan.cluster import CLUSTERINGS
from imgscan.cluster_names import HEAD, ClusterName
from imgscan.digests import file_sha256
from imgscan.drawn import DRAWN
from imgscan.errors import InputError, WeightsError
from imgscan.judge import judge  # noqa: F401 - the stages import without torch models
from imgscan.networks import load_network, load_state, save_state
from imgscan.prepare import InputPlan
from imgscan.scanner import build_scanner
from imgscan.weights import cards, find_model, read_card

POINT = '[[operating_points]]\nlevel = "likely"\nfalse_alarms = 0.01\npictures = 100\n'


@pytest.fixture
def card(tiny_weights: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the tiny HRNet's weights and card that a test may damage."""
    for path in tiny_weights["focal-hrnet"].parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / "weights.toml"


def change(card: Path, old: str, new: str) -> None:
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))


def refused(card: Path, old: str, new: str, message: str) -> None:
    """The card, changed so, is refused with its name and the message, a pattern."""
    change(card, old, new)
    with pytest.raises(WeightsError, match=rf"weights card {card}: {message}"):
        read_card(card)


def test_saved_weights_load_strictly_and_are_the_same(card: Path) -> None:
    network = load_network(read_card(card))
    stored = load_file(card.with_suffix(".safetensors"))
    assert set(stored) == set(network.state_dict())
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, stored[name].to(tensor.dtype))
    assert not network.training


def test_a_file_stands_for_its_card(card: Path) -> None:
    by_card = find_model(f"focal-hrnet@{card}")
    by_file = find_model(f"focal-hrnet@{card.with_suffix('.safetensors')}")
    assert by_card.cards == by_file.cards


def test_altered_weights_are_refused(card: Path) -> None:
    file = card.with_suffix(".safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="the file was altered"):
        load_network(read_card(card))


@pytest.mark.parametrize("damage", ["missing", "extra", "shape"])
def test_weights_of_another_network_are_refused_and_the_first_key_is_named(card: Path, damage: str) -> None:
    file = card.with_suffix(".safetensors")
    state = load_file(file)
    first = sorted(state)[0]
    if damage == "missing":
        del state[first]
    elif damage == "extra":
        state["another"] = torch.zeros(1)
        first = "another"
    else:
        state[first] = torch.zeros(3, 5, 7)
    before = file_sha256(file)
    save_file(state, file)
    change(card, before, file_sha256(file))
    with pytest.raises(WeightsError, match=first):
        load_network(read_card(card))


def test_missing_weights_name_the_file(card: Path) -> None:
    card.with_suffix(".safetensors").unlink()
    with pytest.raises(WeightsError, match=r"weights\.safetensors is missing"):
        load_network(read_card(card))


def test_no_pickle_is_ever_opened(card: Path) -> None:
    file = card.with_suffix(".safetensors")
    before = file_sha256(file)
    torch.save({"a": torch.zeros(1)}, file)
    change(card, before, file_sha256(file))
    with pytest.raises(WeightsError, match="cannot be read"):
        load_network(read_card(card))


def test_a_misspelt_key_of_a_card_names_the_near_miss(card: Path) -> None:
    change(card, 'mode = "native"', 'mode = "native"\nsied = 3')
    with pytest.raises(WeightsError, match="did you mean side"):
        read_card(card).section("input", InputPlan)


@pytest.mark.parametrize("line", ["sha256", "licence", "network"])
def test_an_incomplete_card_says_what_it_lacks(card: Path, line: str) -> None:
    change(card, f"\n{line} = ", f"\nx{line} = ")
    with pytest.raises(WeightsError, match=f"lacks {line}"):
        read_card(card)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('network = "focal-hrnet"', "network = 7", "network is 7; wanted a text"),
        ('file = "weights.safetensors"', "file = 3", "file is 3; wanted a text"),
        ('\nlicence = "', '\nlicence = []\nwas = "', r"licence is \[\]; wanted a text"),
        ("default = false", 'default = "no"', "default is 'no'; wanted true or false"),
        ("default = false", "default = false\ncommercial = 0", "commercial is 0; wanted true or false"),
        ("bf16 = true", 'bf16 = "no"', "bf16 is 'no'; wanted true or false"),
        ("[backbone]", 'backbone = "x"\n[was]', "backbone is 'x'; wanted a table"),
        ("[training]", "[training]\n[[results]]\n[compat]\nofficial = 3\n[was]", "official of compat is 3; wanted a table"),
        ("[training]", '[[operating_points]]\nlevel = "posible"\n[training]', "level in .* 'posible'; did you mean possible"),
        ("[training]", '[[operating_points]]\nscore = "0.9"\n[training]', r"score in \[operating_points\] is '0.9'; wanted a fin"),
        ("[training]", "[[operating_points]]\nscore = 0.9\n[training]", r"\[operating_points\] is incomplete"),
        ("default = false", 'use = "innit"', "unknown use 'innit'; did you mean init?"),
        ("[training]", f"{POINT}score = 5\n[training]", r"\[operating_points\]: score is 5; wanted from 0 to 1"),
        (
            "[training]",
            f"{POINT}score = 0.5\n{POINT}score = 0.6\n[training]",
            r"two \[\[operating_points\]\] have the level 'likely'",
        ),
    ],
)
def test_a_value_of_another_type_is_named_with_its_card(card: Path, old: str, new: str, message: str) -> None:
    refused(card, old, new, f".*{message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("default = false", "default = false\ncomercial = false", "unknown key or table 'comercial'; did you mean commercial?"),
        ("[training]", "[localise]\nthreshold = 0.5\n[training]", "unknown key or table 'localise'; did you mean localize?"),
        ("[training]", "[[operating_point]]\n[training]", "unknown key or table 'operating_point'; did you mean operating_points?"),
        ("[features]", "[features]\ndims = 64", r"unknown key in \[features\] 'dims'; did you mean dim?"),
        ("[training]", "[compat.oficial.input]\n[training]", r"unknown table in \[compat\] 'oficial'; did you mean official?"),
        ("[training]", "[compat.official.fused]\n[training]", r"unknown table in \[compat.official\] 'fused'; did you mean fuse?"),
        ("\nlicence = ", "\nlicense = ", "lacks licence; is license meant to be licence?"),
        ("[training]", "[training]\ncommercial = false", r"commercial stands in \[training\], where nobody reads it"),
        ("[training]", "[[results]]\nf1 = 0.5\ncommercial = false\n[training]", r"commercial stands in \[results\], where nobody"),
    ],
)
def test_what_nobody_reads_is_named(card: Path, old: str, new: str, message: str) -> None:
    """`comercial = false` passed the licence gate, and thresholds under a wrong name were no thresholds, without a word."""
    refused(card, old, new, message)


def test_what_tells_of_the_past_is_free(card: Path) -> None:
    change(card, "[training]", "[source]\nany = 1\n[recipe.anything]\nany = 2\n[[results]]\nany = 3\n[training]\nany = 4")
    card.write_bytes(b"\xef\xbb\xbf" + card.read_bytes())  # as editors on Windows save it
    assert read_card(card).data["training"]["any"] == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('mode = "native"', 'mode = "nativ"', r"unknown mode in \[input\] 'nativ'; did you mean native"),
        ('mode = "native"', 'mode = "native"\nbeyond = "bth"', r"unknown beyond in \[input\] 'bth'; did you mean both"),
        ('mode = "native"', 'mode = "native"\nresampler = "cv"', r"unknown resampler in \[input\] 'cv'; .*known: opencv, torch"),
        ('mode = "native"', 'mode = "native"\ncontrol = "30"', r"control in \[input\] is '30'; wanted a whole number"),
        ("multiple = 32", "multiple = 0", r"\[input\]: multiple is 0; wanted at least 1"),
        (
            "multiple = 32",
            "multiple = 8",
            "multiple in .* gives sides of 8 pixels; wanted multiples of 32, as its focal-hrnet takes",
        ),
        ('"tiny"\ndim = 16', '"tiny"\ndim = "16"', r"dim in \[backbone\] is '16'; wanted a whole number"),
        ('"tiny"\ndim = 16', '"tiny"\ndim = -1', r"\[backbone\] does not describe a focal-hrnet: "),
    ],
)
def test_an_input_that_does_not_fit_is_refused_before_anything_is_scanned(card: Path, old: str, new: str, message: str) -> None:
    """It changed what the network sees, and the thresholds were applied all the same."""
    change(card, old, new)
    with pytest.raises(WeightsError, match=rf"weights card {card}: .*{message}") as caught:
        load_network(read_card(card))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("localize", "threshold = 3", "threshold is 3; wanted from 0 to 1"),  # for 0.3: nothing was marked in any picture
        ("localize", "smallest = -0.1", "smallest is -0.1; wanted from 0 to 1"),
        ("clustering", "grid = 0", "grid is 0; wanted at least 8"),
        ("clustering", "neighbours = 0", "neighbours is 0; wanted at least 1"),
        ("clustering", 'method = "haed"', r"unknown method in \[clustering\] 'haed'; did you mean head?"),
        ("input", "control = 300", "control is 300; wanted from 0 to 100"),
    ],
)
def test_a_number_that_cannot_be_is_refused_before_anything_is_scanned(card: Path, table: str, line: str, message: str) -> None:
    header = f"[{table}]\n"
    if header not in card.read_text():
        change(card, "[training]", f"{header}[training]")
    change(card, header, f"{header}{line}\n")
    with pytest.raises(WeightsError, match=rf"weights card {card}: .*{message}"):
        build_scanner(find_model(f"focal-hrnet@{card}"), device=torch.device("cpu"), jobs=0)


def test_what_is_resized_has_the_side_that_counts(card: Path) -> None:
    """A side of 64 is not padded, whatever the multiple; one of 65 is, to 72 with a multiple of 8."""
    text = card.read_text().replace('mode = "native"', 'mode = "resize"').replace("multiple = 32", "multiple = 8")
    sides = [line for line in text.splitlines() if line.startswith("side = ")]
    card.write_text(text.replace(sides[0], "side = 64"))
    load_network(read_card(card))
    card.write_text(text.replace(sides[0], "side = 65"))
    with pytest.raises(WeightsError, match=r"side in \[input\] gives sides of 72 pixels; wanted multiples of 32"):
        load_network(read_card(card))


def test_a_hash_in_capitals_is_the_same_hash(card: Path) -> None:
    digest = file_sha256(card.with_suffix(".safetensors"))
    change(card, digest, digest.upper())
    load_network(read_card(card))


def test_the_folder_of_a_training_stands_for_its_card(card: Path) -> None:
    assert find_model(f"focal-hrnet@{card.parent}") == find_model(f"focal-hrnet@{card}")
    assert find_model(f"focal-hrnet@{card.parent}/") == find_model(f"focal-hrnet@{card}")
    with pytest.raises(WeightsError, match=r"w\.pth: wanted \.toml or \.safetensors, .*; see imgscan models import"):
        find_model(f"focal-hrnet@{card.parent}/w.pth")
    (card.parent / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"empty/weights\.toml: No such file"):
        find_model(f"focal-hrnet@{card.parent}/empty")


def test_a_folder_may_have_a_plus_in_its_name(card: Path) -> None:
    other = card.parent / "clone+platform" / "b+ela"
    other.mkdir(parents=True)
    for path in (card, card.with_suffix(".safetensors")):
        (other / path.name).write_bytes(path.read_bytes())
    given = [f"focal-hrnet@{other}/weights.toml", f"focal-hrnet@{card}", f"focal-hrnet@{other}"]
    assert [one.path.parent for one in find_model("+".join(given)).cards] == [other, card.parent, other]
    assert find_model(f"{given[0]}+noi1").detectors == ("noi1",)
    assert find_model(f"copy-move+{given[0]}").finders == ("copy-move",)


def test_weights_of_another_network_by_name(card: Path) -> None:
    with pytest.raises(WeightsError, match="weights of focal-hrnet, not of focal-vit"):
        find_model(f"focal-vit@{card}")


def test_unknown_models_name_the_near_miss_and_what_there_is() -> None:
    with pytest.raises(WeightsError, match="did you mean focal-fusion"):
        find_model("focal-fushion")
    with pytest.raises(WeightsError, match=r"no weights 'focal-vit@closed'; there are: focal-vit@open"):
        find_model("focal-vit@closed")


def test_fusion_is_an_alias_and_tags_go_to_every_part() -> None:
    assert find_model("focal-fusion").name == "focal-hrnet@open+focal-vit@open"
    assert find_model("focal-fusion@open") == find_model("focal-hrnet+focal-vit") == find_model("focal-fusion")
    assert find_model("focal-vit+focal-hrnet").points == ()  # another order was never measured


@pytest.mark.parametrize(("name", "networks"), [(DEFAULT_MODEL, 2), ("focal-fusion", 2), ("ensemble", 3)])
def test_what_is_fused_under_a_name_was_measured_as_it_is(name: str, networks: int) -> None:
    model = find_model(name)
    assert len(model.cards) == networks
    assert {point.level for point in model.points} >= {"possible", "default"}
    assert model.settings["clustering"]["method"] == HEAD


def test_a_finder_adds_to_a_model_and_alone_is_a_detector() -> None:
    both = find_model("focal-fusion+copy-move")
    assert both.name == "focal-hrnet@open+focal-vit@open+copy-move"
    assert (both.detectors, both.finders) == ((), ("copy-move",))
    assert both == find_model("copy-move+focal-fusion@open")
    assert find_model("focal-fusion").finders == ()
    alone = find_model("copy-move")
    assert (alone.detectors, alone.finders, alone.cards) == (("copy-move",), (), ())


def test_finders_have_one_order() -> None:
    assert find_model("adq+focal-fusion+copy-move") == find_model("focal-fusion+copy-move+adq") == find_model(DEFAULT_MODEL)
    assert find_model("focal-fusion+adq").finders == ("adq",)


def test_a_finder_leaves_the_settings_of_an_unmeasured_combination() -> None:
    assert find_model("ncl+copy-move").settings == find_model("ncl").settings
    assert find_model("ensemble+copy-move").settings == find_model("ensemble").settings
    assert find_model("ncl+copy-move").points == find_model("ensemble+copy-move").points == ()
    assert find_model("ela+copy-move").detectors == ("ela",)


def test_no_release_has_a_finder() -> None:
    with pytest.raises(WeightsError, match="copy-move needs no weights and has no release"):
        find_model("focal-fusion+copy-move", "official")


def test_no_release_is_an_ensemble() -> None:
    with pytest.raises(WeightsError, match="no release is an ensemble; wanted focal-fusion"):
        find_model("ensemble", "official")


@pytest.mark.parametrize("network", ["focal-hrnet", "focal-vit", "cfl-net", "ncl"])
def test_every_paper_has_weights_that_ship(network: str) -> None:
    assert find_model(network).name == f"{network}@open"


@pytest.mark.parametrize("card", cards(), ids=lambda c: c.full_name)
def test_every_card_that_ships_is_whole(card: weights.Card) -> None:
    """The file is there, is the one described, fits the network, and everything a reader must know is stated."""
    network = load_network(card)
    assert card.section("input", InputPlan).side > 0
    assert card.data["features"] == {"dim": getattr(network, "dim", None) or network.size.dim, "stride": network.stride}
    for section in ("training", "recipe", "results"):
        assert card.data[section], section
    for point in card.points:
        assert round(point.pictures * point.false_alarms) >= 1 or not point.false_alarms, "a rate of less than one picture"


@pytest.mark.parametrize("name", [DEFAULT_MODEL, "focal-fusion", "focal-fusion+copy-move", "ensemble", "cfl-net", "ncl"])
def test_what_ships_does_not_judge_what_is_drawn(name: str) -> None:
    assert find_model(name).settings["localize"]["drawn"] == DRAWN
    assert "drawn" not in find_model("ela").settings.get("localize", {}), "a detector that stands alone answers about everything"


def test_what_ships_stays_small() -> None:
    assert sum(card.file.stat().st_size for card in cards()) < 40e6


def test_a_grid_where_mask_heads_decide_is_refused() -> None:
    model = find_model("focal-fusion@open")
    with pytest.raises(InputError, match="--grid: mask heads decide"):
        model.with_clustering(None, 32)
    assert model.with_clustering("hdbscan", 32).settings["clustering"]["grid"] == 32
    assert model.with_clustering("kmeans", None).points == (), "the thresholds are the heads'"


def test_a_threshold_holds_for_the_clustering_it_was_measured_with(card: Path) -> None:
    point = '[[operating_points]]\nfalse_alarms = 0.02\npictures = 100\nlevel = "likely"\nscore = '
    change(card, "[training]", f'[clustering]\nmethod = "head"\n{point}0.8\n{point}0.6\ncluster = "hdbscan"\n[training]')
    model = find_model(f"focal-hrnet@{card}")
    assert [point.score for point in model.points] == [0.8]
    clustered = model.with_clustering("hdbscan", None)
    assert [(point.score, point.cluster) for point in clustered.points] == [(0.6, "hdbscan")]
    assert model.with_clustering("kmeans", None).points == (), "nobody measured these"
    assert model.with_clustering("hdbscan", 32).points == (), "nor other cells"
    assert clustered.with_clustering(None, 32).points == ()
    assert model.with_clustering(None, None).points == model.points
    change(card, 'cluster = "hdbscan"', 'cluster = "hbscan"')
    with pytest.raises(WeightsError, match="'hbscan'; did you mean hdbscan"):
        find_model(f"focal-hrnet@{card}")
    assert get_args(ClusterName) == tuple(CLUSTERINGS), "the words without torch are those of the functions"


def test_a_training_in_the_working_directory_is_named_and_not_taken(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what has a slash is a path: a folder must not hide the weights that ship."""
    monkeypatch.chdir(card.parent.parent)
    with pytest.raises(WeightsError, match=rf"did you mean focal-hrnet@\./{card.parent.name}\?"):
        find_model(f"focal-hrnet@{card.parent.name}")
    with pytest.raises(WeightsError, match=r"no weights 'focal-hrnet@nowhere'; there are: "):
        find_model("focal-hrnet@nowhere")


@pytest.mark.parametrize("said", ["", '[clustering]\nmethod = "hdbscan"\n', "[clustering]\nsmallest = 0.02\n"])
@pytest.mark.parametrize("named", ["", 'cluster = "hdbscan"\n'])
def test_to_ask_for_what_the_card_means_changes_nothing(card: Path, said: str, named: str) -> None:
    """A card that says nothing means HDBSCAN on 64 cells, and its thresholds may name that, for who measured them did."""
    point = f'[[operating_points]]\nfalse_alarms = 0.02\npictures = 100\nlevel = "likely"\nscore = 0.8\n{named}'
    change(card, "[training]", f"{said}{point}[training]")
    model = find_model(f"focal-hrnet@{card}")
    for asked in (model, model.with_clustering("hdbscan", None), model.with_clustering("hdbscan", 64)):
        assert [point.score for point in asked.points] == [0.8]
        assert asked.asked is None
    assert model.with_clustering("hdbscan", 32).points == ()
    assert model.with_clustering("kmeans", None).points == ()
    assert model.with_clustering("kmeans", None).settings["clustering"].get("smallest") == (0.02 if "smallest" in said else None)


@pytest.mark.parametrize("name", ["ncl", "cfl-net", "ela", "copy-move"])
def test_what_answers_with_a_map_of_its_own_is_not_clustered(name: str) -> None:
    """It used to lose its thresholds for the asking, and a gate with them."""
    model = find_model(name)
    for method, grid in (("hdbscan", None), (None, 32), ("kmeans", 16)):
        with pytest.raises(InputError, match="nothing is clustered; leave --cluster and --grid out"):
            model.with_clustering(method, grid)
    assert find_model("noi1+ncl").clusters, "the features of two are"


def test_written_weights_can_be_read_by_whom_other_files_can(tmp_path: Path) -> None:
    """safetensors makes files that only their owner reads; a run's folder is often shared."""
    (tmp_path / "plain").write_text("")
    save_state({"a": torch.zeros(2)}, tmp_path / "weights.safetensors", {"step": "3"})
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert torch.equal(load_state(tmp_path / "weights.safetensors")["a"], torch.zeros(2))


@pytest.mark.parametrize("name", ["focal-fusion", "focal-fusion+copy-move"])
def test_thresholds_measured_with_other_weights_do_not_hold(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the combination do."""
    measured = find_model(name)
    assert measured.points
    other = [
        (place, path, data | {"weights": data["weights"] | {next(iter(data["weights"])): "0" * 64}} if "fuses" in data else data)
        for place, path, data in weights._tables()
    ]
    monkeypatch.setattr(weights, "_tables", lambda: other)
    model = find_model(name)
    assert model.points == ()
    assert model.settings["clustering"] == measured.settings["clustering"]
