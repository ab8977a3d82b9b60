"""Which weights fill which cell: the rules, on cards made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgscan.datasets import DATASETS
from imgscan.errors import ConfigError
from imgscan.evaluation import cells
from imgscan.evaluation.cells import (
    MEAN,
    Candidates,
    NotRunError,
    model_texts,
    of_other_sizes,
    parse_column,
    protocol_of,
    training_command,
)
from imgscan.evaluation.papers import PaperTable, grid_names, parse_grid, read_table
from imgscan.weights import Card, Model, find_model


def card(network: str, tag: str, data: str = "synth", **recipe: dict[str, Any]) -> Card:
    table = {"training": {"data": data}, "recipe": recipe}
    return Card(network, tag, network, Path(f"/runs/{tag}/weights.toml"), Path("x"), "0" * 64, "", {}, (), table)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text leads to a card of its own path, as find_model would have it."""

    def find(text: str) -> Model:
        name, _, path = text.partition("@")
        made = card(name, Path(path).parent.name)
        return Model(text, (made,), (), {})

    monkeypatch.setattr(cells, "find_model", find)


def test_columns() -> None:
    read = parse_column("nist16 AUC jpeg-50", "ncl")
    assert (read.data, read.metric, read.attack) == ("nist16", "auc", "jpeg-50")
    assert parse_column("casia AUC", "cfl-net").metric == "flipped_auc", "the released code's AUC"
    assert parse_column("casia-v1 F1", "focal").metric == "macro_f1"
    read = parse_column("/my pictures/of 2020 best_f1", "native")
    assert (read.data, read.metric) == ("/my pictures/of 2020", "best_f1")
    with pytest.raises(ConfigError, match="did you mean iou"):
        parse_column("casia iuo", "focal")
    with pytest.raises(ConfigError, match="wanted DATASET METRIC"):
        parse_column("casia", "focal")


def test_hrnet_alone_is_measured_on_its_own_cells() -> None:
    table = read_table("focal-1")
    sides = {row.method: protocol_of(table, row.imgscan).side for row in table.rows if row.ours and row.imgscan}
    assert sides == {"FOCAL (HRNet)": 256, "FOCAL (ViT)": 64, "FOCAL (Fusion)": 64}
    assert parse_column("casia-v1 F1", "focal-256").metric == "macro_f1"


def test_weights_of_another_size_than_the_papers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_table("ncl-6")
    assert of_other_sizes(table, ["focal-hrnet|ela", "ela", "focal-hrnet+noi1", "ncl"]) == [
        "focal-hrnet@open (headed)",
        "ncl@open (compact)",
    ]
    for size, told in (("paper-stage5", False), ("paper", False), ("official-bgr", False), ("small", True), (None, False)):
        card = find_model("ncl").cards[0]
        resized = replace(card, data={**card.data, "size": size})
        monkeypatch.setattr(cells, "find_model", lambda name, resized=resized: Model(name, (resized,), (), {}))
        assert of_other_sizes(table, ["ncl"]) == (["ncl@open (small)"] if told else [])


def choose(table: PaperTable, method: str, candidates: Candidates, column: int = 0) -> str:
    return model_texts(table, table.row(method), parse_column(table.columns[column], table.protocol), candidates)[0]


@pytest.mark.usefixtures("known")
def test_a_row_takes_weights_of_its_settings_and_its_data() -> None:
    table = read_table("cfl-net-2")
    runs = (
        card("cfl-net", "casia-w", "casia", loss={"weight": 1.0}),
        card("cfl-net", "nist-wo", "nist16", loss={"weight": 0.0}),
        card("cfl-net", "nist-w", "nist16", loss={"weight": 1.0}),
    )
    candidates = Candidates(trained=runs)
    assert choose(table, "NIST w", candidates) == "cfl-net@/runs/nist-w/weights.toml"
    assert choose(table, "NIST w/o", candidates) == "cfl-net@/runs/nist-wo/weights.toml"
    assert choose(table, "CASIA w", candidates) == "cfl-net@/runs/casia-w/weights.toml"
    with pytest.raises(NotRunError, match=r"imgscan train cfl-net --data casia --set loss\.weight=0 --data-root DIR"):
        choose(table, "CASIA w/o", candidates)


@pytest.mark.usefixtures("known")
def test_weights_named_by_the_user_go_before_and_need_no_data() -> None:
    table = read_table("ncl-1")
    ncl = next(row.method for row in table.rows if row.ours)
    given = card("ncl", "given", "whatever")
    assert choose(table, ncl, Candidates(given=(given,), trained=(card("ncl", "run", "nist16"),))) == "ncl@/runs/given/weights.toml"
    each = Candidates(trained=(card("ncl", "n", "nist16"), card("ncl", "c", "casia")))
    assert choose(table, ncl, each, table.columns.index("nist16 F1")) == "ncl@/runs/n/weights.toml"
    assert choose(table, ncl, each, table.columns.index("casia AUC")) == "ncl@/runs/c/weights.toml", "weights of its own per column"
    with pytest.raises(NotRunError, match="coverage has no train split here: it is a benchmark"):
        choose(table, ncl, each, table.columns.index("coverage AUC"))


@pytest.mark.usefixtures("known")
def test_weights_are_found_whatever_row_their_folder_is_named_after() -> None:
    """Each row had a folder of its own once."""
    table = read_table("focal-4")
    runs = tuple(card(network, f"k-means-{network}", cells.CATNET) for network in ("focal-hrnet", "focal-vit"))
    wanted = "focal-hrnet@/runs/k-means-focal-hrnet/weights.toml+focal-vit@/runs/k-means-focal-vit/weights.toml"
    assert {choose(table, row.method, Candidates(trained=runs)) for row in table.rows} == {wanted}


@pytest.mark.usefixtures("known")
def test_a_cell_has_all_seeds_of_its_weights() -> None:
    def seeded(network: str, seed: int, **train: Any) -> Card:
        return card(network, f"{network}-{seed}", train={"seed": seed, **train})

    hrnet = [seeded("focal-hrnet", seed) for seed in (5, 1, 3)]
    vit = [seeded("focal-vit", seed) for seed in (5, 3)]
    other = seeded("focal-hrnet", 9, steps=1)
    trained = Candidates(trained=(*hrnet, other, *vit))
    table = read_table("fusion")

    def paths(method: str, candidates: Candidates) -> list[str]:
        column = parse_column(table.columns[0], table.protocol)
        texts = model_texts(table, table.row(method), column, candidates)
        return [text.replace("/runs/", "").replace("/weights.toml", "").replace("focal-", "") for text in texts]

    assert paths("focal-hrnet", trained) == ["hrnet@hrnet-5", "hrnet@hrnet-1", "hrnet@hrnet-3"], "the first of before stays it"
    assert paths("focal-fusion", trained) == ["hrnet@hrnet-5+vit@vit-5", "hrnet@hrnet-1+vit@vit-3"], "as many as all parts have"
    assert paths("focal-hrnet|focal-vit", trained) == ["hrnet@hrnet-5|vit@vit-5", "hrnet@hrnet-1|vit@vit-3"]
    assert paths("focal-hrnet", Candidates(given=(hrnet[2], hrnet[1]))) == ["hrnet@hrnet-3", "hrnet@hrnet-1"]
    joined = parse_grid(
        "g", {"title": "t", "protocol": "focal", "columns": ["misd F1"], "axes": {"network": ["focal-vit+noi1", "ela"]}}, "g"
    )
    column = parse_column("misd F1", "focal")
    both = model_texts(joined, joined.rows[0], column, trained)
    assert both == [f"focal-vit@/runs/focal-vit-{seed}/weights.toml+noi1" for seed in (5, 3)], "a detector has no seeds"
    assert model_texts(joined, joined.rows[1], column, trained) == ["ela"]


def test_further_seeds_count_when_their_training_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C leaves weights of the steps until then."""
    text = (
        'name = "ncl"\ntag = "mine"\nnetwork = "ncl"\nfile = "w.safetensors"\nsha256 = ""\nlicence = ""\n[backbone]\n[training]\n'
        'data = "synth"\n[recipe.train]\nseed = '
    )
    for seed, name in enumerate(("run", "run/seed-2", "run/seed-3", "seed-1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.toml").write_text(f"{text}{seed}\n")
    for name in ("run", "run/seed-3"):
        (tmp_path / name / "finished").write_text("")
    found = cells.find_candidates([], [tmp_path]).trained
    assert [str(one.path.parent.relative_to(tmp_path)) for one in found] == ["run", "run/seed-3", "seed-1"]
    assert "run/seed-2: its training has not come to its end" in capsys.readouterr().err


def test_rows_without_imgscan_and_detectors() -> None:
    table = read_table("focal-1")
    assert choose(table, "Lyu-NOI", Candidates()) == "noi2"
    with pytest.raises(NotRunError, match="no such method"):
        choose(table, "TruFor", Candidates())


@pytest.mark.usefixtures("known")
def test_a_fusion_needs_all_its_parts() -> None:
    table = read_table("fusion")
    hrnet, vit = card("focal-hrnet", "h"), card("focal-vit", "v")
    both = Candidates(shipped=(hrnet, vit))
    assert choose(table, "focal-hrnet|focal-vit", both) == "focal-hrnet@/runs/h/weights.toml|focal-vit@/runs/v/weights.toml"
    assert choose(table, "focal-fusion", both) == "focal-hrnet@/runs/h/weights.toml+focal-vit@/runs/v/weights.toml"
    with pytest.raises(NotRunError, match="--size official-vit"):
        choose(table, "focal-hrnet&focal-vit", Candidates(shipped=(hrnet,)))


def test_grids_that_ship_and_their_commands() -> None:
    assert grid_names() == ["clusterings", "contrasts", "cross", "families", "fusion", "noise"]
    for name in grid_names():
        table = read_table(name)
        for text in table.columns:
            assert parse_column(text, table.protocol).data in (*DATASETS, MEAN), text
    contrasts = read_table("contrasts")
    assert [row.method for row in contrasts.rows][:2] == ["focal-hrnet", "focal-hrnet, loss.contrast=triplet"]
    row = contrasts.row("focal-hrnet, loss.whole_batch=True")
    assert "--set loss.whole_batch=true" in training_command(contrasts, row, "focal-hrnet", "casia-v1")
    assert len(read_table("cross").rows) == 9


def test_a_grid_is_the_product_of_its_axes_or_an_error() -> None:
    grid = {
        "title": "t",
        "protocol": "native",
        "columns": ["x F1"],
        "axes": {"network": ["a", "b"], "cluster": ["kmeans", "hdbscan"]},
    }
    table = parse_grid("g", grid, "g.toml")
    assert [row.method for row in table.rows] == ["a, kmeans", "a, hdbscan", "b, kmeans", "b, hdbscan"]
    for axes, message in (
        ({"netwrk": ["a"]}, "did you mean network"),
        ({}, "network is missing"),
        ({"network": "a"}, "wanted a list"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_grid("g", grid | {"axes": axes}, "g.toml")
    for wrong in ({"protocol": 3}, {"axes": 3}, {"axes": {"network": ["a", 3]}}, {"axes": {"network": ["a"], "cluster": [3]}}):
        with pytest.raises(ConfigError, match=r"is .*3.*; wanted"):
            parse_grid("g", grid | wrong, "g.toml")
    typo = parse_grid("g", grid | {"axes": {"network": ["ela"], "cluster": ["kmean"]}}, "g.toml")
    with pytest.raises(NotRunError, match="unknown clustering 'kmean'; did you mean kmeans"):
        choose(typo, "ela, kmean", Candidates())
    typo = parse_grid("g", grid | {"axes": {"network": ["elaa"]}}, "g.toml")
    with pytest.raises(NotRunError, match="unknown network 'elaa'; did you mean ela"):
        choose(typo, "elaa", Candidates())


@pytest.mark.usefixtures("known")
def test_of_what_ships_the_name_counts_and_not_the_network() -> None:
    """focal-traces@open is a focal-hrnet; a row that says focal-hrnet does not mean it, ensemble does."""
    grid = {"title": "t", "protocol": "focal", "columns": ["columbia F1"], "axes": {"network": ["ensemble", "focal-hrnet"]}}
    table = parse_grid("g", grid, "g.toml")
    hrnet, vit = card("focal-hrnet", "open"), card("focal-vit", "open")
    traces = replace(card("focal-hrnet", "traces"), name="focal-traces")
    candidates = Candidates(shipped=(traces, hrnet, vit))
    ensemble = choose(table, table.rows[0].method, candidates)
    assert ensemble.split("+") == [
        "focal-hrnet@/runs/open/weights.toml",
        "focal-vit@/runs/open/weights.toml",
        "focal-hrnet@/runs/traces/weights.toml",
    ]
    assert choose(table, table.rows[1].method, candidates) == "focal-hrnet@/runs/open/weights.toml"
    with pytest.raises(NotRunError, match="no weights"):
        choose(table, table.rows[1].method, Candidates(shipped=(traces,)))
