import re
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imgscan.commands.calibrate import AS_IS, DECIDED, LEVEL_RATES, _show, threshold, threshold_of_forms, thresholds
from imgscan.datasets.entries import Entry
from imgscan.datasets.sets import names_below, read_set
from imgscan.decode import decode
from imgscan.detectors import DETECTORS
from imgscan.errors import InputError
from imgscan.evaluation import measure as measuring
from imgscan.evaluation.contestants import (
    Answer,
    Contestant,
    ModelOptions,
    _trained_on,
    combined,
    faint_predictions,
    of_masks,
    of_model,
    of_scanner,
)
from imgscan.evaluation.measure import UNATTACKED, PictureScores, Question, Task, measure, region_means
from imgscan.evaluation.protocols import PROTOCOLS, Protocol
from imgscan.evaluation.summary import summarise
from imgscan.evaluation.tables import localization_table
from imgscan.operating_points import interval_of
from imgscan.pipeline import examine
from imgscan.records import Assessed, Features, Picture, Skipped, Source
from imgscan.scanner import build_scanner
from imgscan.weights import find_model

CPU = torch.device("cpu")
HOW = ModelOptions(CPU, 0)
NATIVE = PROTOCOLS["native"]


@pytest.fixture
def benchmark(tmp_path: Path, photos: list[np.ndarray]) -> Path:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(photos[0][:96, :128]).save(tmp_path / "images" / "x.jpg")
    mask = np.zeros((96, 128), np.uint8)
    mask[10:40, 20:70] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "x.png")
    return tmp_path


def test_pairs_are_made_by_stem(benchmark: Path) -> None:
    (entry,) = read_set(str(benchmark))
    assert entry.mask == benchmark / "masks" / "x.png"
    (benchmark / "masks" / "x.png").rename(benchmark / "masks" / "y.png")
    with pytest.raises(InputError, match="no mask with this stem, or _gt, _mask or _edgemask behind it, in"):
        read_set(str(benchmark))


def test_a_folder_with_half_the_layout(benchmark: Path) -> None:
    (benchmark / "masks" / "x.png").unlink()
    (benchmark / "masks").rmdir()
    with pytest.raises(InputError, match="has images/, but no pictures in images/ with masks/ beside"):
        read_set(str(benchmark))


@pytest.mark.parametrize("names", [("Images", "MASKS"), ("tp", "gt")])
def test_folders_of_any_case_hold_forgeries_and_no_untouched_pictures(benchmark: Path, names: tuple[str, str]) -> None:
    for old, new in zip(("images", "masks"), names, strict=True):
        (benchmark / old).rename(benchmark / new)
    (entry,) = read_set(str(benchmark))
    assert (entry.image, entry.mask) == (benchmark / names[0] / "x.jpg", benchmark / names[1] / "x.png")


def test_masks_in_a_folder_of_another_name_are_not_measured_as_pictures(benchmark: Path) -> None:
    """As in Coverage's own layout, image/ and mask/, which only its name reads."""
    (benchmark / "images").rename(benchmark / "image")
    (benchmark / "masks").rename(benchmark / "mask")
    with pytest.raises(InputError, match="has mask/, but no pictures in images/"):
        read_set(str(benchmark))


def test_sets_and_halves_of_sets_are_no_untouched_pictures(benchmark: Path) -> None:
    for half in ("images", "masks"):
        with pytest.raises(InputError, match=f"{half}: is itself a half of the set in the folder above"):
            read_set(str(benchmark / half))
    (benchmark / "a" / "b").mkdir(parents=True)
    for half in ("images", "masks"):
        (benchmark / half).rename(benchmark / "a" / "b" / half)
    with pytest.raises(InputError, match="has a/b/images/"):
        read_set(str(benchmark))


def test_masks_beside_their_pictures_are_no_untouched_pictures(benchmark: Path) -> None:
    (benchmark / "masks" / "x.png").rename(benchmark / "images" / "x_mask.png")
    (benchmark / "images").rename(benchmark / "all")
    (benchmark / "masks").rmdir()
    with pytest.raises(InputError, match="has x_mask, a mask beside its picture"):
        read_set(str(benchmark / "all"))


def test_what_is_measured_is_named_set_by_set(benchmark: Path) -> None:
    for text in (f"{benchmark}*3", f"{benchmark}+casia", "casia*2"):
        with pytest.raises(InputError, match="wanted one --data for each set"):
            read_set(text)


def test_a_folder_of_pictures_is_untouched(benchmark: Path) -> None:
    (benchmark / "images").rename(benchmark / "photos")
    assert [entry.mask for entry in read_set(str(benchmark / "photos"))] == [None]
    (benchmark / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        read_set(str(benchmark / "empty"))


def ask(
    contestant: Contestant, entries: list[Entry], attack: str = UNATTACKED, protocol: Protocol = NATIVE
) -> list[PictureScores | Skipped]:
    """One contestant about every picture."""
    tasks = [Task(entry, number, (Question(attack, 0),)) for number, entry in enumerate(entries)]
    return [one.scores for (one,) in measure(tasks, [contestant], protocol, jobs=0, device=CPU)]


def measured(contestant: Contestant, entries: list[Entry], attack: str = UNATTACKED, protocol: Protocol = NATIVE) -> PictureScores:
    (row,) = ask(contestant, entries, attack, protocol)
    assert isinstance(row, PictureScores), row
    return row


def skipped(contestant: Contestant, entries: list[Entry]) -> Skipped:
    (row,) = ask(contestant, entries)
    assert isinstance(row, Skipped)
    return row


def test_a_detector_decides_at_a_half(benchmark: Path) -> None:
    row = measured(of_model("ela", HOW), read_set(str(benchmark)))
    rgb = np.asarray(Image.open(benchmark / "images" / "x.jpg"))
    assert row.area == pytest.approx((DETECTORS["ela"].score(rgb) > 0.5).mean(), abs=0.01), "but for specks"
    assert row.columns["auc"] is not None


def test_other_tools_maps_are_measured_and_a_perfect_one_is_perfect(benchmark: Path, tmp_path: Path) -> None:
    maps = of_masks(benchmark / "masks")
    row = measured(maps, read_set(str(benchmark)))
    assert row.columns["f1"] == row.columns["iou"] == row.columns["auc"] == 1.0
    assert row.area == pytest.approx(30 * 50 / (96 * 128))
    assert row.histogram[1, -1] == 30 * 50, "all forged pixels score 1"
    assert row.histogram[0, 0] == 96 * 128 - 30 * 50

    other = tmp_path / "other"
    other.mkdir()
    np.savez(other / "x.npz", np.full((96, 128), 0.7, np.float32))
    row = measured(of_masks(other), read_set(str(benchmark)))
    assert row.metrics.recall == 1.0
    assert row.columns["auc"] == 0.5
    scores = summarise(maps, "x", [row], 0, NATIVE)
    assert scores.baselines["all-forged"]["iou"] == pytest.approx(row.columns["iou"]), "marking everything is that baseline"
    assert scores.pooled is not None
    assert scores.pooled_scores is not None
    assert scores.pooled_scores.best_f1 == pytest.approx(scores.pooled.f1), "one level has one threshold"


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (None, r"looked for x\.jpg\.png, x\.jpg\.npz, x\.png, x\.npz$"),
        (np.zeros((48, 128), np.float32), "128 x 48"),
        (np.full((96, 128), 255, np.float32), "holds 255 to 255; wanted probabilities"),
        (np.full((96, 128), np.nan, np.float32), "holds nan to nan"),
    ],
)
def test_a_missing_or_misfit_prediction_is_skipped_and_named(benchmark: Path, prediction: np.ndarray | None, message: str) -> None:
    predictions = benchmark / "predictions"
    predictions.mkdir()
    if prediction is not None:
        np.savez(predictions / "x.npz", prediction)
    assert re.search(message, skipped(of_masks(predictions), read_set(str(benchmark))).reason)


def test_predictions_of_equal_names_are_told_apart_by_their_folders(tmp_path: Path, photos: list[np.ndarray]) -> None:
    for folder, level in (("a", 0.2), ("b", 0.8)):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Image.fromarray(photos[0][:96, :128]).save(tmp_path / "set" / folder / "x.png")
        (tmp_path / "maps" / folder).mkdir(parents=True)
        np.savez(tmp_path / "maps" / folder / "x.npz", np.full((96, 128), level, np.float32))
    np.savez(tmp_path / "maps" / "x.npz", np.full((96, 128), 0.5, np.float32))
    entries = read_set(str(tmp_path / "set"))
    assert names_below(entries) == ["a/x.png", "b/x.png"]
    named = zip(entries, names_below(entries), strict=True)
    asked = [Task(entry, n, (Question(UNATTACKED, 0),), name) for n, (entry, name) in enumerate(named)]

    def strengths(contestant: Contestant) -> list[object]:
        answers = [one.scores for (one,) in measure(asked, [contestant], NATIVE, jobs=0, device=CPU)]
        return [round(one.strength or 0, 3) if isinstance(one, PictureScores) else "skipped" for one in answers]

    assert strengths(of_masks(tmp_path / "maps", {"x"})) == [0.2, 0.8]
    for folder in ("a", "b"):
        (tmp_path / "maps" / folder / "x.npz").unlink()
    assert strengths(of_masks(tmp_path / "maps", {"x"})) == ["skipped", "skipped"], "x.npz could be either's"
    assert strengths(of_masks(tmp_path / "maps")) == [0.5, 0.5]


def test_a_prediction_is_not_measured_for_two_pictures_that_differ_in_their_suffix(
    tmp_path: Path, photos: list[np.ndarray]
) -> None:
    """x.png in the folder of predictions may be the answer on x.jpg or on x.png."""
    for folder in ("set", "maps"):
        (tmp_path / folder).mkdir()
    for name in ("x.jpg", "x.png", "y.jpg"):
        Image.fromarray(photos[0][:96, :128]).save(tmp_path / "set" / name)
    for name, level in (("x.png", 255), ("y.png", 51)):
        Image.fromarray(np.full((96, 128), level, np.uint8)).save(tmp_path / "maps" / name)
    maps = of_masks(tmp_path / "maps", {"x"}, {"x"})

    def strengths() -> list[object]:
        return [round(one.strength or 0, 3) if isinstance(one, PictureScores) else one.reason for one in ask(maps, entries)]

    entries = read_set(str(tmp_path / "set"))
    folder = tmp_path / "maps"
    without = [f"no prediction in {folder}: looked for {name}.png, {name}.npz" for name in ("x.jpg", "x.png")]
    assert strengths() == [*without, 0.2]
    Image.fromarray(np.full((96, 128), 102, np.uint8)).save(folder / "x.jpg.png")
    np.savez(folder / "x.png.npz", np.full((96, 128), 0.6, np.float32))
    assert strengths() == [0.4, 0.6, 0.2]


@pytest.mark.parametrize("name", ["x.jpg.npz", "x.npz", "x.jpg.png", "x.png"])
def test_a_prediction_is_called_as_its_picture_with_or_without_the_suffix(benchmark: Path, tmp_path: Path, name: str) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    if name.endswith("npz"):
        np.savez(maps / name, np.full((96, 128), 0.6, np.float32))
    else:
        Image.new("L", (128, 96), 153).save(maps / name)
    assert measured(of_masks(maps), read_set(str(benchmark))).strength == pytest.approx(0.6)


def test_a_mask_of_another_size_is_skipped_and_named(benchmark: Path) -> None:
    Image.fromarray(np.zeros((128, 96), np.uint8)).save(benchmark / "masks" / "x.png")
    assert "96 x 128" in skipped(of_model("ela", HOW), read_set(str(benchmark))).reason


def test_image_level_counts_both_kinds_and_says_what_leaks(benchmark: Path) -> None:
    """Forged pictures with strength 0.8 and 0.2, untouched ones with 0.5 and 0.1: three of four pairs are in order."""
    row = measured(of_masks(benchmark / "masks"), read_set(str(benchmark)))
    strengths = [(True, 0.8), (True, 0.2), (False, 0.5), (False, 0.1)]
    rows = [replace(row, forged=forged, strength=strength, area=strength / 10) for forged, strength in strengths]
    model = replace(of_masks(benchmark / "masks"), thresholds={"possible": 0.5})
    scores = summarise(model, "x", rows, 0, NATIVE)
    assert scores.image is not None
    assert scores.image.auc == 0.75
    assert (scores.image.decisions["possible"].tpr, scores.image.decisions["possible"].fpr) == (0.5, 0.5)
    assert scores.untouched is not None
    assert scores.untouched.area == pytest.approx(0.03)
    assert scores.leak is None, "five pictures of a class are the least it can be measured on"


@dataclass(frozen=True)
class Says:
    """A contestant that marks the columns from `first` to `last` and says so with a score."""

    first: int
    last: int
    score: float

    def __call__(self, pictures: Sequence[Picture]) -> Iterator[Answer | Skipped]:
        for picture in pictures:
            if self.score < 0:
                raise RuntimeError("no idea")
            mask = np.zeros((picture.height, picture.width), bool)
            mask[:, self.first : self.last] = True
            yield Answer(np.where(mask, np.float32(self.score), np.float32(0.1)), mask, self.score)


def test_union_and_intersection_by_hand(benchmark: Path) -> None:
    """Columns 20 to 70 of rows 10 to 40 are forged: 1,500 pixels; one marks columns 20-50, the other 40-70, all 96 rows high."""
    left, right = Contestant("left", Says(20, 50, 0.6)), Contestant("right", Says(40, 70, 0.9))
    entries = read_set(str(benchmark))
    union = measured(combined("l|r", [left, right], "union"), entries)
    assert (union.metrics.tp, union.metrics.fp) == (1500, 50 * 96 - 1500)
    assert union.strength == pytest.approx(0.9)
    both = measured(combined("l&r", [left, right], "intersection"), entries)
    assert (both.metrics.tp, both.metrics.fp) == (10 * 30, 10 * 66)
    assert both.strength == pytest.approx(0.6)


def test_the_score_of_a_picture_does_not_end_at_the_default_threshold(benchmark: Path, photos: list[np.ndarray]) -> None:
    """What calibration sees of it is what image-level numbers are made of; only the mask waits for the threshold."""
    (benchmark / "images").rename(benchmark / "photos")
    Image.fromarray(photos[1][:96, :128]).save(benchmark / "photos" / "y.png")
    model = find_model("focal-hrnet")
    never = replace(model, measured=tuple(replace(point, score=0.9999) for point in model.points))
    everything, nothing = (build_scanner(one, device=CPU, everything=all) for one, all in ((model, True), (never, False)))
    entries = read_set(str(benchmark / "photos"))
    scores = [row.strength for row in ask(of_scanner("model", nothing, ""), entries) if isinstance(row, PictureScores)]
    pictures = [decode(Source(entry.image, entry.image.name)) for entry in entries]
    wanted = [one.finding.score for one in examine(pictures, everything) if isinstance(one, Assessed)]
    assert scores == wanted
    assert max(wanted) > 0, "or the test could not fail"
    assert all(row.area == 0 for row in ask(of_scanner("model", nothing, ""), entries) if isinstance(row, PictureScores))


def test_masks_on_another_scale_than_probabilities_are_pointed_out(tmp_path: Path) -> None:
    """A perfect mask of 0 and 1 marks nothing; one of 0 and 255, and a map, say what they mean."""
    mask = np.eye(8, dtype=np.uint8)
    Image.fromarray(mask * 255).save(tmp_path / "good.png")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "map.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "nothing.png")
    Image.fromarray(mask.astype(np.uint16) * 65535).save(tmp_path / "deep.png")
    assert not faint_predictions(tmp_path)
    Image.fromarray(mask).save(tmp_path / "ones.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(mask.astype(np.uint16) * 255).save(tmp_path / "a" / "sixteen.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    assert "2 of the first 6 predictions" in faint_predictions(tmp_path)
    classes = Image.fromarray(mask)
    classes.putpalette([0, 0, 0, 128, 0, 0])  # as the tools of PASCAL VOC colour their first class
    classes.save(tmp_path / "palette.png")
    Image.fromarray(mask * np.uint8(204)).save(tmp_path / "sure.png")  # a probability of 0.8
    assert "3 of the first 8 predictions" in faint_predictions(tmp_path)


def test_maps_of_sixteen_bits_are_those_of_eight(tmp_path: Path, benchmark: Path) -> None:
    levels = np.where(np.arange(128)[None, :] < 40, 204, 51) * np.ones((96, 1), np.int64)  # 0.8 and 0.2
    Image.fromarray(levels.astype(np.uint8)).save(tmp_path / "x.png")
    (entry,) = read_set(str(benchmark))
    picture = decode(Source(entry.image, "x.jpg"))
    assert isinstance(picture, Picture)
    (shallow,) = of_masks(tmp_path).answers([picture])
    Image.fromarray((levels * 257).astype(np.uint16)).save(tmp_path / "x.png")
    (deep,) = of_masks(tmp_path).answers([picture])
    assert isinstance(shallow, Answer)
    assert isinstance(deep, Answer)
    assert shallow.score[0, 0] == pytest.approx(0.8)
    np.testing.assert_allclose(deep.score, shallow.score, atol=1e-6)


def test_a_clustering_is_for_those_that_are_clustered() -> None:
    """Of several models; the others keep their thresholds, those that are clustered have their own for it, or none."""
    clustered = replace(HOW, cluster="hdbscan")
    assert of_model("cfl-net", clustered).thresholds == of_model("cfl-net", HOW).thresholds != {}
    own = of_model("focal-hrnet", clustered).thresholds
    assert own.keys() == of_model("focal-hrnet", HOW).thresholds.keys()
    assert own != of_model("focal-hrnet", HOW).thresholds
    assert of_model("focal-hrnet", replace(HOW, cluster="kmeans")).thresholds == {}


def test_the_same_weights_in_another_network_are_measured_anew(tmp_path: Path) -> None:
    """How many tokens the ViT attends to changes no weight, and its answers."""
    shipped = find_model("focal-vit").cards[0].path
    for path in shipped.parent.glob("focal-vit.open.*"):
        shutil.copy(path, tmp_path)
    card = tmp_path / shipped.name
    before = of_model(f"focal-vit@{card}", HOW)
    text = card.read_text()
    assert "most_keys = 576" in text
    card.write_text(text.replace("most_keys = 576", "most_keys = 16"))
    after = of_model(f"focal-vit@{card}", HOW)
    assert before.weights == after.weights
    assert before.identity != after.identity


def test_the_table_counts_the_pictures_that_its_means_are_over(tmp_path: Path, photos: list[np.ndarray]) -> None:
    """TruFor's protocol erodes the truth by 15 x 15 pixels, and nothing is left of a forgery of 10 x 10."""
    for name, side in (("small", 10), ("large", 30)):
        mask = np.zeros((96, 128), np.uint8)
        mask[10 : 10 + side, 10 : 10 + side] = 255
        for folder, pixels in (("images", photos[0][:96, :128]), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    trufor, contestant = PROTOCOLS["trufor"], Contestant("left", Says(0, 50, 0.6))
    answers = ask(contestant, read_set(str(tmp_path)), protocol=trufor)
    rows = [row for row in answers if isinstance(row, PictureScores)]
    assert len(rows) == 2
    table = localization_table([summarise(contestant, "x", rows, 0, trufor)], trufor)
    assert {line[table.head.index("n")] for line in table.body} == {"1"}


@pytest.mark.parametrize(("name", "marked"), [("native", 9), ("ncl", 40), ("imdlbenco", 40), ("focal", 9)])
def test_probabilities_are_cut_where_the_paper_cuts_them(benchmark: Path, name: str, marked: int) -> None:
    """A model that marks 9 columns by a threshold of its card, with probabilities above 1/2 in 40 of them."""

    def answers(pictures: Sequence[Picture]) -> Iterator[Answer]:
        for picture in pictures:
            mask, score = np.zeros((2, picture.height, picture.width), np.float32)
            mask[:, :9], score[:, :40] = 1, 0.6
            yield Answer(score, mask > 0, 0.6, probable=True)

    row = measured(Contestant("model", answers), read_set(str(benchmark)), protocol=PROTOCOLS[name])
    assert row.area == pytest.approx(marked / 128)
    assert row.metrics.tp is not None
    assert row.metrics.fp is not None
    share = (row.metrics.tp + row.metrics.fp) / row.metrics.pixels
    assert share == pytest.approx(marked / 128, abs=0.01)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("native", {"iou": 0.0, "macro_f1": 1 / 3}), ("imdlbenco", {"iou": 0.0}), ("focal", {"iou": 0.5, "macro_f1": 2 / 3})],
)
def test_baselines_cover_the_pictures_of_the_means(
    benchmark: Path, photos: list[np.ndarray], name: str, wanted: dict[str, float]
) -> None:
    """An answer without a mark is the baseline that marks nothing, also where pictures without forged pixels count.  Half of one
    picture is forged, nothing of the other: macro F1 (1 - p) / (2 - p) = 1/3 and 1, IoU 0 and 1."""
    half = np.zeros((96, 128), np.uint8)
    half[:, :64] = 255
    Image.fromarray(half).save(benchmark / "masks" / "x.png")
    Image.fromarray(photos[1][:96, :128]).save(benchmark / "images" / "y.png")
    Image.fromarray(np.zeros((96, 128), np.uint8)).save(benchmark / "masks" / "y.png")
    silent = Contestant("silent", Says(0, 0, 0.1))
    rows = [row for row in ask(silent, read_set(str(benchmark)), protocol=PROTOCOLS[name]) if isinstance(row, PictureScores)]
    scores = summarise(silent, "x", rows, 0, PROTOCOLS[name])
    for column, value in scores.baselines["all-pristine"].items():
        mean = scores.columns[column]
        assert mean is not None
        assert mean.mean == pytest.approx(value), column
    assert {key: scores.baselines["all-pristine"][key] for key in wanted} == pytest.approx(wanted)


def test_the_name_of_a_data_set_is_the_set_though_a_folder_be_called_so(
    benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    shutil.copytree(benchmark / "images", work / "columbia")
    monkeypatch.chdir(work)
    assert len(read_set("./columbia")) == 1
    with pytest.raises(InputError, match="data set columbia is not found"):
        read_set("columbia")


def test_what_a_card_was_trained_on_is_looked_for_without_falling_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("synth", "casia", "mine"):
        (tmp_path / name).mkdir()
    plain = find_model("focal-hrnet").cards[0]
    for data, wanted in {
        "synth": [],
        "casia": [],
        "casia+mine*3": [tmp_path / "mine"],
        "/data/c++/set": [],
        "x*0": [],
        "x" * 300: [],
        None: [],
    }.items():
        card = replace(plain, data={**plain.data, "training": {"data": data}})
        assert list(_trained_on(card)) == [path.resolve() for path in wanted], data


def test_a_model_that_fails_on_a_picture_ends_nothing(benchmark: Path, photos: list[np.ndarray]) -> None:
    Image.fromarray(photos[1][:96, :128]).save(benchmark / "images" / "y.png")
    Image.fromarray(np.zeros((96, 128), np.uint8)).save(benchmark / "masks" / "y.png")
    bad, good = Contestant("bad", Says(0, 9, -1)), Contestant("good", Says(0, 9, 0.5))
    tasks = [Task(entry, n, (Question(UNATTACKED, 0), Question(UNATTACKED, 1))) for n, entry in enumerate(read_set(str(benchmark)))]
    for first, second in measure(tasks, [bad, good], NATIVE, jobs=0, device=CPU):
        assert isinstance(first.scores, Skipped)
        assert first.scores.reason == "bad failed: RuntimeError: no idea"
        assert isinstance(second.scores, PictureScores)


def test_the_way_of_a_gpu_and_of_workers_give_the_same(benchmark: Path, photos: list[np.ndarray], tiny_model: str) -> None:
    for number in range(4):
        Image.fromarray(photos[number][:96, :128]).save(benchmark / "images" / f"{number}.png")
        Image.fromarray(np.eye(96, 128, dtype=np.uint8) * 255).save(benchmark / "masks" / f"{number}.png")
    (benchmark / "images" / "3.png").write_bytes(b"nothing")
    contestants = [of_model(tiny_model, HOW), of_model("noi1", HOW)]
    questions = tuple(Question(attack, who) for attack in (UNATTACKED, "jpeg-50", "resize-0.78") for who in (0, 1))
    tasks = [Task(entry, number, questions) for number, entry in enumerate(read_set(str(benchmark)))]
    ways = [
        list(measure(tasks, contestants, NATIVE, jobs=jobs, device=device))
        for jobs, device in ((0, CPU), (2, CPU), (2, torch.device("meta")))  # anything but a CPU goes the way of a GPU
    ]
    assert [len(way) for way in ways] == [5, 5, 5]
    for some in zip(*ways, strict=True):
        for one, *others in zip(*some, strict=True):
            for other in others:
                assert other.question == one.question
                if isinstance(one.scores, Skipped):
                    assert other.scores == one.scores
                else:
                    assert isinstance(other.scores, PictureScores)
                    assert other.scores.name == one.scores.name
                    assert other.scores.metrics.auc == pytest.approx(one.scores.metrics.auc, abs=1e-3)


def test_attacks_move_the_truth_with_the_picture(benchmark: Path) -> None:
    row = measured(Contestant("all", Says(0, 999, 0.5)), read_set(str(benchmark)), "resize-0.78")
    assert row.metrics.pixels == 75 * 100
    assert row.metrics.forged == pytest.approx(0.78**2 * 1500, rel=0.05)
    assert (row.container, row.quality) == ("attacked", None)


def test_one_attack_is_held_at_a_time(benchmark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 30 of a photograph of 24 megapixels are 3 GB, in every worker process."""
    events = []
    made = measuring.attack
    monkeypatch.setattr(measuring, "attack", lambda name, *rest, **seed: (events.append(name), made(name, *rest, **seed))[1])

    def says(pictures: Sequence[Picture]) -> Iterator[Answer | Skipped]:
        events.append("asked")
        yield from Says(0, 9, 0.5)(pictures)

    attacks = ("jpeg-50", "blur-3", "noise-3")
    asked = [Task(entry, 0, tuple(Question(name, 0) for name in attacks)) for entry in read_set(str(benchmark))]
    (answers,) = measure(asked, [Contestant("says", says)], NATIVE, jobs=0, device=CPU)
    assert [one.question.attack for one in answers] == list(attacks)
    assert events == ["jpeg-50", "asked", "blur-3", "asked", "noise-3", "asked"]


def test_mean_features_of_the_two_regions_by_hand() -> None:
    """Two cells by two, the left ones forged: means over columns; a cell that is half forged is not."""
    vectors = torch.tensor([[[1.0, 3.0], [2.0, 4.0]], [[0.0, 1.0], [0.0, 1.0]]])
    truth = np.zeros((8, 8), bool)
    truth[:, :4] = True
    truth[:4, 4:6] = True
    means = region_means(Features(vectors, (4.0, 4.0)), truth)
    assert means is not None
    np.testing.assert_allclose(means[0], [3.5, 1.0])
    np.testing.assert_allclose(means[1], [1.5, 0.0])
    assert region_means(Features(vectors, (4.0, 4.0)), np.zeros((8, 8), bool)) is None
    framed = region_means(Features(vectors, (4.0, 4.0), inside=(16, 8, 24, 16)), np.pad(truth, ((8, 3), (16, 5))))
    assert framed is not None
    np.testing.assert_array_equal(framed, means)


def test_thresholds_by_hand() -> None:
    scores = [0.1] * 90 + [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    five = threshold(scores, 0.05)
    assert five == pytest.approx(0.65), "in the middle between 0.6, which must stay under it, and 0.7"
    assert sum(s >= five for s in scores) == 5
    assert threshold(scores, 0.01) == pytest.approx(0.97)
    assert threshold(scores, 0.001) is None, "100 pictures cannot show one in a thousand"
    assert threshold([], 0.05) is None
    assert threshold([0.5] * 30, 0.05) == pytest.approx(0.75), "equal scores stay under it together"


def test_copies_do_not_hide_what_pictures_as_they_are_raise() -> None:
    """Two of 20 pictures are at 0.9 and 0.8; of 60 with their copies that is the 5 % that may be, of the 20 it is 10 %."""
    as_is, copies = [0.9, 0.8] + [0.1] * 18, [0.6] + [0.1] * 39
    assert threshold(as_is + copies, 0.05) == pytest.approx(0.35)
    assert threshold_of_forms({AS_IS: as_is, "q75": copies}, 0.05) == pytest.approx(0.85)
    assert threshold_of_forms({AS_IS: copies, "q75": as_is}, 0.05) == pytest.approx(0.35)
    assert threshold_of_forms({AS_IS: as_is[:9], "q75": copies}, 0.05) == pytest.approx(0.7), "9 pictures cannot show 5 %"
    assert threshold_of_forms({AS_IS: as_is, "q75": copies}, 0.01) is None


def test_a_rarer_level_is_never_below_a_more_frequent_one() -> None:
    """200 pictures as they are show 2 % and ask for 0.5; 0.1 % they cannot show, and of all 1,200 together one may pass 0.2."""
    forms = {AS_IS: [0.0] * 200, "q75": [0.0] * 980 + [0.1] * 18 + [0.2, 0.3]}
    assert [threshold_of_forms(forms, rate) for rate in LEVEL_RATES.values()] == [0.5, 0.5, 0.5, 0.25]
    assert thresholds(forms, LEVEL_RATES) == dict.fromkeys(LEVEL_RATES, 0.5)
    assert thresholds(forms, {"default": 0.001}) == {"default": 0.25}
    few = thresholds({AS_IS: [0.1] * 20}, LEVEL_RATES)
    assert few == {"possible": 0.55, "default": None, "likely": None, "certain": None}


def test_a_rate_that_no_threshold_keeps_to_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A point that no score reaches would promise a rate of 0 and find nothing."""
    assert _show("some", {AS_IS: [1.0] * 3 + [0.5] * 97}, LEVEL_RATES, 100, copies=False, asked=None) == 1
    shown = capsys.readouterr()
    assert shown.out.count("[[operating_points]]") == 1
    assert 'level = "possible"\nscore = 0.75\nfalse_alarms = 0.0300' in shown.out
    assert "imgscan: some: default: 3 of 100 pictures have the score 1; no threshold keeps to a rate of 0.02" in shown.err


def test_an_interval_holds_though_the_threshold_was_set_on_the_same_pictures() -> None:
    """The share of all pictures above a threshold on scores that are spread evenly is 1 less the threshold."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(1000):
        scores = rng.random(60).tolist()
        at = threshold(scores, 0.05)
        low, high = interval_of(sum(score >= at for score in scores), 60)
        held.append(low <= 1 - at <= high)
    assert np.mean(held) >= 0.95


def test_decided_false_alarms_raise_a_threshold_and_are_no_sample(capsys: pytest.CaptureFixture[str]) -> None:
    """With rate 0.02 one of 60 may reach it: 0.50 and 0.51 are on either side."""
    scores = [number / 100 for number in range(-8, 52)]
    forms = {AS_IS: scores, DECIDED: [0.9, 0.8, 0.7]}
    assert threshold(scores, 0.02) == 0.505
    assert threshold_of_forms(forms, 0.02) == 0.85, "one of 63"
    assert threshold_of_forms({AS_IS: scores, DECIDED: [0.1] * 90}, 0.02) == 0.505, "three of 150 would be 0.485"
    assert threshold_of_forms({AS_IS: scores[:49], DECIDED: [0.9] * 100}, 0.02) is None, "50 are wanted that nobody chose"
    assert threshold_of_forms({"q90": scores * 7, **forms}, 0.02) == 0.85, "nor are they lost among copies"
    assert _show("some", forms, {"default": 0.02}, 60, copies=False, asked=None) == 1
    shown = capsys.readouterr().out
    assert "# of 3 decided false alarms 1 reach it; they are not in the rate" in shown
    assert "score = 0.85\nfalse_alarms = 0.0000\npictures = 60\ninterval = [0.0, 0.0596]" in shown


def test_copies_count_for_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    """0 of 60 photographs: up to 5.96 %, however many copies there are of each."""
    forms = {AS_IS: [0.5] * 60, "q90": [0.9] + [0.1] * 59}
    assert _show("some", forms, {"default": 0.02}, 60, copies=True, asked=None) == 1
    shown = capsys.readouterr().out
    assert "pictures = 120\nas_is = 0.0000\nphotographs = 60\ninterval = [0.0, 0.0596]  # 95 %, two-sided" in shown
    assert "as they are: 0 of 60" in shown
    assert tomllib.loads(shown)["operating_points"][0]["interval"] == [0, 0.0596]
    assert _show("some", {"q90": [0.1] * 60}, {"default": 0.02}, 60, copies=True, asked=None) == 1
    assert "interval" not in capsys.readouterr().out, "nothing is independent"


@pytest.mark.parametrize("rate", [0.05, 0.01, 0.37])
def test_no_more_than_the_rate_reach_a_threshold(rate: float) -> None:
    """Also where so many pictures times the rate is no whole number; and one picture more would be too many."""
    rng = np.random.default_rng(0)
    for count in (20, 30, 99, 119, 150, 199, 250):
        scores = [float(one) for one in rng.permutation(count) / (count + 1)]
        found = threshold(scores, rate)
        assert (found is None) == (count * rate < 1)
        if found is not None:
            reached = sum(score >= found for score in scores)
            assert reached / count <= rate < (reached + 1) / count
