import tomllib
from pathlib import Path

import pytest

from imgscan.cluster import CLUSTERINGS
from imgscan.commands.train_options import DEFAULT_SIZES, find_recipe
from imgscan.datasets import DATASETS
from imgscan.detectors import DETECTORS
from imgscan.errors import ConfigError
from imgscan.evaluation import papers
from imgscan.evaluation.attacks import ATTACKS
from imgscan.evaluation.papers import UNITS, PaperTable, Run, parse_table, read_table, table_names
from imgscan.evaluation.protocols import PROTOCOLS
from imgscan.losses import CONTRASTS
from imgscan.models import NETWORKS
from imgscan.training.recipe import read_recipe, with_settings
from imgscan.weights import ALIASES

# Tables in the print, and rows and columns of numbers in each.
SHAPES = {
    "cfl-net-1": (6, 3),
    "cfl-net-2": (6, 3),
    "cfl-net-3": (2, 3),
    "focal-1": (13, 14),
    "focal-2": (7, 5),
    "focal-3": (6, 5),
    "focal-4": (5, 5),
    "focal-5": (12, 6),
    "ncl-1": (13, 10),
    "ncl-2": (7, 5),
    "ncl-3": (3, 9),
    "ncl-4": (3, 10),
    "ncl-5": (6, 5),
    "ncl-6": (3, 2),
}
VENUES = {"cfl-net": ("WACV", 2023), "focal": ("arXiv 2308.09307", 2023), "ncl": ("ICCV", 2023)}

table = pytest.mark.parametrize("name", table_names())


def test_every_table_of_the_papers_is_there() -> None:
    assert table_names() == sorted(SHAPES)


@table
def test_shape_and_origin(name: str) -> None:
    read = read_table(name)
    paper, number = name.rsplit("-", 1)
    assert (len(read.rows), len(read.columns)) == SHAPES[name]
    assert all(len(row.values) == len(read.columns) for row in read.rows)
    assert (read.name, read.table) == (name, int(number))
    assert (read.paper.venue, read.paper.year) == VENUES[paper]
    assert read.protocol == (None if name == "focal-5" else paper)
    assert read.protocol is None or read.protocol in PROTOCOLS
    assert len(set(read.columns)) == len(read.columns)
    methods = [row.method for row in read.rows]
    assert len(set(methods)) == len(methods)
    assert read.notes


@table
def test_every_cell_is_a_number_of_its_unit_or_a_dash(name: str) -> None:
    read = read_table(name)
    for row in read.rows:
        for column, cell in zip(read.columns, row.values, strict=True):
            if isinstance(cell, str):
                assert cell == "-" or read.unit == "count", f"{row.method}, {column}"
            else:
                assert 0 < cell <= UNITS[read.unit], f"{row.method}, {column}"
                assert read.unit != "percent" or cell > 1, f"{row.method}, {column}: a fraction among percents"


@table
def test_columns_are_data_set_metric_and_attack(name: str) -> None:
    read = read_table(name)
    if read.unit == "count":
        return
    seen = set()
    for column in read.columns:
        data, metric, *attack = column.split(" ")
        assert data in DATASETS or data == "mean"
        assert not attack or (len(attack) == 1 and attack[0] in ATTACKS)
        seen.add(metric)
    assert seen == set(read.metric)


@table
def test_data_sets_and_rows_of_imgscan_exist(name: str) -> None:
    for row in read_table(name).rows:
        named = [*(row.training or "").split("+"), row.data or ""]
        assert {one for one in named if one} <= set(DATASETS), row.method
        if row.imgscan is not None:
            assert_runs(row.imgscan)


def assert_runs(run: Run) -> None:
    """The network exists, and the settings are legal in its recipe and lead to that network."""
    assert run.cluster is None or run.cluster in CLUSTERINGS
    if run.network in DETECTORS:
        assert not run.settings
        return
    for network in ALIASES.get(run.network, run.network).split("+"):
        if network.startswith("focal-"):
            recipe = read_recipe(find_recipe("focal", "official-vit" if network == "focal-vit" else "official-hrnet"))
        else:
            recipe = read_recipe(find_recipe(network, DEFAULT_SIZES[network]))
        for key, value in run.settings.items():
            section, name = key.split(".")
            changed = with_settings(recipe, {section: {name: value}}, "test")
            assert changed != recipe, f"{key} = {value} changes nothing"
            recipe = changed
        assert recipe.model.network == network
        assert recipe.model.size in NETWORKS[network].SIZES
        assert recipe.method != "focal" or recipe.loss.contrast in CONTRASTS


def test_ours_is_the_method_and_not_its_ablations() -> None:
    assert {name: sum(row.ours for row in read_table(name).rows) for name in table_names()} == {
        "cfl-net-1": 1,
        "cfl-net-2": 3,
        "cfl-net-3": 1,
        "focal-1": 3,
        "focal-2": 3,
        "focal-3": 1,
        "focal-4": 1,
        "focal-5": 0,
        "ncl-1": 1,
        "ncl-2": 5,
        "ncl-3": 1,
        "ncl-4": 2,
        "ncl-5": 2,
        "ncl-6": 1,
    }


# Copied from the papers' text a second time, by hand.
@pytest.mark.parametrize(
    ("name", "method", "column", "printed"),
    [
        ("focal-1", "PSCC-Net †", "casia-v1 IoU", 0.474),
        ("focal-1", "MVSS-Net", "misd F1", 0.803),
        ("focal-1", "IF-OSN", "ffpp IoU", 0.266),
        ("focal-1", "CAT-Net", "columbia IoU", 0.741),
        ("focal-1", "TruFor", "coverage IoU", 0.450),
        ("focal-1", "FOCAL (ViT)", "nist16 F1", 0.724),
        ("focal-2", "FOCAL (Single) MiT", "nist16 F1", 0.659),
        ("focal-2", "FOCAL (Single) EffNet", "ffpp F1", 0.648),
        ("focal-3", "Circle", "misd F1", 0.850),
        ("focal-3", "InfoNCE++ (Batch)", "casia-v1 F1", 0.674),
        ("focal-4", "Hierarchical", "ffpp F1", 0.875),
        ("focal-4", "B-K-means", "mean F1", 0.839),
        ("focal-5", "NIST", "count", 540),
        ("focal-5", "Coverage", "SP", ""),
        ("focal-5", "IMD2020", "resolution", "1920 \N{MULTIPLICATION SIGN} 1200"),
        ("cfl-net-1", "SPAN (ECCV'20)", "casia AUC", 83.8),
        ("cfl-net-1", "RGB-N (CVPR'18)", "imd2020 AUC", "-"),
        ("cfl-net-2", "CASIA w", "imd2020 AUC", 77.8),
        ("cfl-net-2", "IMD-20 w/o", "nist16 AUC", 74.37),
        ("cfl-net-3", "CE Loss", "casia AUC", 84.9),
        ("ncl-1", "SPAN (1)", "columbia F1", 81.5),
        ("ncl-1", "RGB-N", "coverage F1", 43.7),
        ("ncl-1", "OSN", "nist16 AUC", 76.4),
        ("ncl-1", "CFA", "columbia AUC", 72.0),
        ("ncl-1", "J-LSTM", "coverage AUC", 61.4),
        ("ncl-2", "ours (NCL), Coverage", "coverage AUC", 92.8),
        ("ncl-2", "ours (NCL), Columbia", "columbia AUC", 95.3),
        ("ncl-3", "SPAN", "nist16 AUC jpeg-50", 83.6),
        ("ncl-3", "Ours", "nist16 AUC noise-3", 79.5),
        ("ncl-3", "ManTra-Net", "nist16 AUC resize-0.25", 75.5),
        ("ncl-4", "ObjectFormer(with NCL appended)", "coverage F1", 77.4),
        ("ncl-5", "Base+Pivot, NIST16", "coverage AUC", 71.7),
        ("ncl-5", "Base, Defacto", "columbia AUC", 14.0),
        ("ncl-6", "ResNet block 2", "casia AUC", 79.0),
    ],
)
def test_spot_values(name: str, method: str, column: str, printed: float | str) -> None:
    assert read_table(name).value(method, column) == printed


# The papers print some numbers twice: an error of copying would show here, and one of theirs stands in `notes`.
@pytest.mark.parametrize("name", ["focal-1", "focal-2", "focal-3", "focal-4"])
def test_printed_means_are_the_means_of_their_row(name: str) -> None:
    read = read_table(name)
    for row in read.rows:
        for metric in read.metric:
            cells = {c.split(" ")[0]: v for c, v in zip(read.columns, row.values, strict=True) if c.endswith(f" {metric}")}
            mean = float(cells.pop("mean"))
            computed = sum(map(float, cells.values())) / len(cells)
            if (name, row.method) == ("focal-2", "FOCAL (Single) ViT"):
                assert (mean, round(computed, 3)) == (0.838, 0.835)
                assert any("0.838" in note and "0.835" in note for note in read.notes)
            else:
                assert abs(mean - computed) < 0.001, row.method


def cells(name: str, method: str) -> dict[str, float | int | str]:
    read = read_table(name)
    return dict(zip(read.columns, read.row(method).values, strict=True))


def test_gains_the_papers_name_in_their_text() -> None:
    focal = cells("focal-1", "FOCAL (Fusion)")
    others = [row for row in read_table("focal-1").rows if not row.ours]
    columns = read_table("focal-1").columns
    gains = {"coverage": 24.3, "columbia": 18.6, "ffpp": 17.5, "misd": 14.2, "casia-v1": 13.5, "nist16": 10.3}
    for data, gain in gains.items():
        best = max(float(row.values[columns.index(f"{data} IoU")]) for row in others)
        assert 100 * (float(focal[f"{data} IoU"]) - best) == pytest.approx(gain, abs=1e-9)
    mean = {row.method: float(row.values[-1]) for row in read_table("focal-3").rows}
    assert mean["InfoNCE++"] - mean["InfoNCE"] == pytest.approx(0.036)
    assert mean["InfoNCE++"] - mean["InfoNCE++ (Batch)"] == pytest.approx(0.175)
    loss = read_table("cfl-net-3")
    gain = float(loss.value("CE + CON Loss", "imd2020 AUC")) - float(loss.value("CE Loss", "imd2020 AUC"))
    assert gain == pytest.approx(4.7)


def test_tables_of_a_paper_agree_where_they_print_the_same_run() -> None:
    fusion = cells("focal-1", "FOCAL (Fusion)")
    assert cells("focal-3", "InfoNCE++") == cells("focal-4", "HDBSCAN") == cells("focal-2", "FOCAL (Fusion) HRNet+ViT")
    assert all(fusion[c] == v for c, v in cells("focal-4", "HDBSCAN").items() if not c.startswith("mean"))
    for data, column in (("NIST", "nist16 AUC"), ("CASIA", "casia AUC"), ("IMD-20", "imd2020 AUC")):
        assert cells("cfl-net-2", f"{data} w")[column] == cells("cfl-net-3", "CE + CON Loss")[column]
        assert cells("cfl-net-2", f"{data} w/o")[column] == cells("cfl-net-3", "CE Loss")[column]
    assert cells("cfl-net-1", "Ours") == cells("cfl-net-3", "CE + CON Loss")
    ours = cells("ncl-1", "ours (NCL)")
    assert ours == cells("ncl-4", "ours (NCL)")
    assert cells("ncl-1", "ObjectFormer") == cells("ncl-4", "ObjectFormer")
    assert ours["nist16 AUC"] == cells("ncl-3", "Ours")["nist16 AUC"] == cells("ncl-5", "Base+Pivot+PC, NIST16")["nist16 AUC"]
    assert cells("ncl-2", "ours (NCL), Defacto") == cells("ncl-5", "Base+Pivot+PC, Defacto")
    assert cells("ncl-6", "ResNet block 1") == {"casia F1": ours["casia F1"], "casia AUC": ours["casia AUC"]}


def test_a_near_miss_is_named() -> None:
    with pytest.raises(ConfigError, match=r"did you mean focal-1\?"):
        read_table("fokal-1")
    with pytest.raises(ConfigError, match="unknown table"):
        read_table("../focal-hrnet.official")
    with pytest.raises(ConfigError, match="did you mean Circle"):
        read_table("focal-3").row("circle")
    with pytest.raises(ConfigError, match=r"column of ncl-6 'casia IoU'; did you mean casia"):
        read_table("ncl-6").value("ResNet block 1", "casia IoU")


SMALL = """
paper = { authors = "A", title = "B", venue = "C", year = 2023 }
table = 1
title = "D"
metric = ["F1"]
unit = "fraction"
notes = []
columns = ["misd F1"]
[[rows]]
method = "E"
ours = true
values = [0.5]
"""


def parsed(text: str) -> PaperTable:
    return parse_table("small-1", tomllib.loads(text), "small-1.toml")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("values = [0.5]", "values = [0.5, 0.6]", r"small-1.toml: row 1 \(E\) has 2 values; wanted 1"),
        ('unit = "fraction"', 'unit = "fractions"', "did you mean fraction"),
        ("notes = []\n", "", "notes is missing"),
        ('title = "D"', 'titel = "D"', "unknown key 'titel'; did you mean title"),
        (
            "ours = true",
            'ours = true\nimgscan = { netwrok = "ncl" }',
            "row 1: imgscan: unknown key 'netwrok'; did you mean network",
        ),
        ("year = 2023", "yaer = 2023", "paper: unknown key 'yaer'; did you mean year"),
    ],
)
def test_a_file_of_another_format_is_refused(old: str, new: str, says: str) -> None:
    assert parsed(SMALL).value("E", "misd F1") == 0.5
    with pytest.raises(ConfigError, match=says):
        parsed(SMALL.replace(old, new))


def test_broken_files_and_a_missing_folder_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(papers, "recipes_folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match="reinstall imgscan"):
        table_names()
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "x-1.toml").write_text("table = ")
    with pytest.raises(ConfigError, match=r"x-1\.toml: not TOML"):
        read_table("x-1")
