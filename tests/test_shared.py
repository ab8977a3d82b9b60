"""Scanners side by side: what they have in common is loaded and computed once, and nobody's answer changes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imgscan import pipeline, stages
from imgscan.datasets.sets import read_set
from imgscan.decode import decode
from imgscan.evaluation.contestants import Contestant, ModelOptions, of_model
from imgscan.evaluation.measure import UNATTACKED, Question, Task, measure
from imgscan.evaluation.protocols import find_protocol
from imgscan.prepare import InputPlan
from imgscan.records import Assessed, Picture, Source
from imgscan.scanner import Scanner, build_scanner
from imgscan.shared import Shared
from imgscan.weights import find_model

CPU = torch.device("cpu")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is computed for a picture, in order."""
    done: list[str] = []
    extract, seek = stages.extract_each, stages.seek

    def counted_extract(networks: list[torch.nn.Module], *rest: object, **named: object) -> object:
        done.extend(type(network).__name__ for network in networks)
        return extract(networks, *rest, **named)  # type: ignore[arg-type]

    def counted_seek(names: tuple[str, ...], *pictures: object) -> object:
        done.extend(names)
        return seek(names, *pictures)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "extract_each", counted_extract)
    monkeypatch.setattr(stages, "seek", counted_seek)
    return done


def scanners(model: str, shared: Shared | None) -> list[Scanner]:
    """The two networks alone, fused, and fused beside what detectors add."""
    names = [*model.split("+"), model, f"{model}+adq", f"{model}+copy-move+adq"]
    return [build_scanner(find_model(name), device=CPU, jobs=0, amp=False, everything=True, shared=shared) for name in names]


def test_parts_of_several_models_are_computed_once_a_picture(folder: Path, headed_model: str, asked: list[str]) -> None:
    both = scanners(headed_model, Shared())
    for name in ("forged.png", "a/b.jpg"):
        asked.clear()
        pipeline.assess_by_each(Source(folder / name, name), both)
        assert len(asked) == len({*asked}) == 4, "two networks, copy-move and adq"


def test_what_is_shared_changes_no_answer(folder: Path, headed_model: str) -> None:
    """In whichever order the pictures come, and for one that was seen before."""
    alone, together = scanners(headed_model, None), scanners(headed_model, Shared())
    for name in ("forged.png", "a/b.jpg", "forged.png"):
        source = Source(folder / name, name)
        for one, other in zip(pipeline.assess_by_each(source, alone), pipeline.assess_by_each(source, together), strict=True):
            assert isinstance(one, Assessed)
            assert isinstance(other, Assessed)
            np.testing.assert_array_equal(one.mask.probability, other.mask.probability)
            np.testing.assert_array_equal(one.mask.forged, other.mask.forged)
            assert one.finding == other.finding


def test_another_size_of_tiles_is_another_answer(folder: Path, headed_model: str, asked: list[str]) -> None:
    shared = Shared()
    name = headed_model.split("+")[0]
    sides = [build_scanner(find_model(name), device=CPU, jobs=0, side=side, shared=shared) for side in (128, 256)]
    assert sides[0].networks[0] is sides[1].networks[0]
    pipeline.assess_by_each(Source(folder / "a" / "b.jpg", "b.jpg"), sides)
    assert len(asked) == 2


def test_a_framed_picture_is_another_answer_where_the_frame_is_seen(
    tmp_path: Path, photos: list[np.ndarray], tiny_model: str
) -> None:
    """Beside a network that always sees all of a picture, resized, the others do too."""
    path = tmp_path / "framed.png"
    Image.fromarray(np.pad(photos[0][:144, :192], ((32, 32), (48, 16), (0, 0)))).save(path)

    def both(shared: Shared | None) -> list[Scanner]:
        alone, fused = (
            build_scanner(find_model(name), device=CPU, jobs=0, amp=False, shared=shared)
            for name in (tiny_model.split("+")[0], tiny_model)
        )
        return [alone, replace(fused, plans=(fused.plans[0], InputPlan("resize", 64)))]

    answers = [pipeline.assess_by_each(Source(path, "framed.png"), both(shared)) for shared in (None, Shared())]
    for one, other in zip(*answers, strict=True):
        assert isinstance(one, Assessed)
        assert isinstance(other, Assessed)
        np.testing.assert_array_equal(one.mask.probability, other.mask.probability)
    assert [one.finding.inside for one in answers[1] if isinstance(one, Assessed)] == [(56, 40, 238, 174), None]


def test_evaluation_shares_under_every_attack(folder: Path, headed_model: str, asked: list[str]) -> None:
    how = ModelOptions(CPU, 0)
    contestants: list[Contestant] = [of_model(name, how) for name in (*headed_model.split("+"), headed_model)]
    attacks = (UNATTACKED, "jpeg-50", "noise-3")
    questions = tuple(Question(attack, number) for attack in attacks for number in range(3))
    (entry, *_) = read_set(str(folder))
    (answers,) = measure([Task(entry, 0, questions)], contestants, find_protocol("native"), jobs=0, device=CPU)
    assert [one.question for one in answers] == list(questions)
    assert len(asked) == 2 * len(attacks)


def test_a_picture_is_known_by_being_the_same_object(folder: Path) -> None:
    """Equal pixels may come from another file; and what was known is forgotten with the next picture."""
    shared, made = Shared(), iter(range(9))
    first, second = (decode(Source(folder / "forged.png", "forged.png")) for _ in range(2))
    assert isinstance(first, Picture)
    assert isinstance(second, Picture)
    assert [shared.once(one, "part", lambda: next(made)) for one in (first, first, second, first)] == [0, 0, 1, 2]
    assert shared.once(first, "another part", lambda: next(made)) == 3
    assert shared.once_each(first, ["a", "part", "b"], lambda keys: [f"{key} of {len(keys)}" for key in keys]) == [
        "a of 2",
        2,
        "b of 2",
    ]


def test_networks_go_with_their_last_scanner_and_nothing_travels_to_workers() -> None:
    shared = Shared()
    kept = shared.load("a", lambda: torch.nn.Linear(1, 1))
    assert shared.load("a", lambda: torch.nn.Linear(1, 1)) is kept
    one, other = pickle.loads(pickle.dumps([shared, shared]))
    assert one is other
    del kept
    assert shared.load("a", lambda: torch.nn.Linear(2, 2)).in_features == 2
