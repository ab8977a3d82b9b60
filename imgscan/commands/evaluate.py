"""`imgscan evaluate`: models, weight-free detectors and other tools' masks against pictures with known truth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from imgscan import __version__
from imgscan.commands.evaluate_options import EvaluateOptions, model_options
from imgscan.commands.evaluate_set import PictureSet, Results, evaluate_set, facts_of, read_pictures
from imgscan.datasets import DATASETS
from imgscan.datasets.doctor import check, first_look
from imgscan.datasets.trees import is_generic
from imgscan.errors import ExitCode, InputError
from imgscan.evaluation.attacks import find_attacks
from imgscan.evaluation.contestants import Contestant, ModelOptions, faint_predictions, of_masks, of_model
from imgscan.evaluation.ledger import Ledger
from imgscan.evaluation.measure import UNATTACKED, PictureScores, Question
from imgscan.evaluation.protocols import Protocol, find_protocol
from imgscan.evaluation.seen import seen, trained_files
from imgscan.evaluation.summary import SetScores, summarise
from imgscan.evaluation.tables import (
    Row,
    attack_table,
    image_table,
    localization_table,
    seeds_table,
    show,
    untouched_table,
    write_csv,
)
from imgscan.find import can_be_made, real
from imgscan.printable import printable, say
from imgscan.progress import bar

TOGETHER = "all together"
EXHIBITS = 12  # pictures of a set on a contact sheet, evenly spread over it


def evaluate_command(options: EvaluateOptions) -> ExitCode:
    """Measure every contestant on every set; tables, or a JSON line per row, on stdout."""
    if not options.models and not options.masks:
        raise InputError("nothing to measure: give models, or --masks DIR of another tool")
    if not options.data:
        raise InputError("nothing to measure on: give --data, a folder or a data set by name (repeatable), or --table")
    if options.figures:
        from imgscan.evaluation.figures import need_matplotlib

        need_matplotlib()
    protocol = find_protocol(options.protocol)
    attacks = [UNATTACKED, *dict.fromkeys(name for text in options.attacks for name in find_attacks(text))]
    if options.csv is not None and not can_be_made(options.csv):  # before hours of measuring, not after
        raise InputError(f"--csv {options.csv}: cannot be written there; wanted a file in a folder of yours")
    sets = [read_pictures(text, options.roots) for text in _different(options.data)]
    how = model_options(options)
    contestants = _contestants(options, sets, len(attacks) > 1, how)
    for one in sets:
        examine_set(one)
    for contestant in contestants:
        _tell_what_was_seen(contestant, sets)
    found: dict[str, list[SetScores]] = {name: [] for name in attacks}
    everything: list[tuple[Contestant, PictureSet, str, list[PictureScores]]] = []
    drawn: list[tuple[PictureSet, Results]] = []
    missing = [0] * len(contestants)  # answers on the pictures as they are that could not be had, of all sets
    total = sum(len(one.entries) for one in sets) * sum(1 if c.fixed else len(attacks) for c in contestants)
    with Ledger(options.out / "measured.jsonl", force=options.force) as ledger, bar("evaluating", total) as progress:
        for pictures in sets:
            results = evaluate_set(
                pictures, contestants, attacks, protocol, ledger, how, options.figures, exhibits=EXHIBITS, progress=progress
            )
            if options.figures:
                drawn.append((pictures, results))
            for question, rows in results.rows.items():
                contestant = contestants[question.contestant]
                ordered = [rows[number] for number in sorted(rows)]
                scores = summarise(contestant, pictures.name, ordered, results.skipped[question], protocol)
                found[question.attack].append(scores)
                missing[question.contestant] += scores.skipped if question.attack == UNATTACKED else 0
                everything.append((contestant, pictures, question.attack, ordered))
                if options.as_json:
                    print(json.dumps(line_of(scores, contestant, pictures, protocol, question.attack)), flush=True)
    everyone = zip(contestants, missing, strict=True)
    together = [_together(one, everything, skipped, protocol) for one, skipped in everyone] if len(sets) > 1 else []
    if options.as_json:
        everywhere = PictureSet(TOGETHER, [], [one for pictures in sets for one in pictures.hashes], [])
        for scores, contestant in zip(together, contestants, strict=False):
            print(json.dumps(line_of(scores, contestant, everywhere, protocol, UNATTACKED)), flush=True)
    else:
        plain = found[UNATTACKED]
        tables = [localization_table(plain, protocol), untouched_table(plain), image_table([*plain, *together])]
        tables.append(seeds_table(contestants, [*plain, *together], protocol))
        if len(attacks) > 1:
            tables.append(attack_table(found, protocol))
        for table in tables:
            if table.body:
                show(table)
    if options.csv is not None:
        lines = [
            Row(attack, contestant.name, contestant.weights, pictures.name, row)
            for contestant, pictures, attack, rows in everything
            for row in rows
        ]
        write_csv(options.csv, protocol, lines)
    for pictures, results in drawn:
        for path in _draw(options.out / "figures", contestants, pictures, results, found, protocol):
            say(f"imgscan: wrote {path}")
    return ExitCode.INCOMPLETE if any(row.skipped for rows in found.values() for row in rows) else ExitCode.CLEAN


def _contestants(options: EvaluateOptions, sets: Sequence[PictureSet], attacked: bool, how: ModelOptions) -> list[Contestant]:
    """Models and predictions; InputError for flags that none of them can follow."""
    contestants = _named(options.models, [of_model(text, how) for text in options.models])
    if contestants == [] and attacked:
        raise InputError("--attack: predictions were made of the pictures as they are; wanted a model, or no attack")
    if (options.cluster is not None or options.grid is not None) and not any(one.clusters for one in contestants):
        raise InputError(f"{', '.join(options.models) or '--masks'}: nothing is clustered; leave --cluster and --grid out")
    if (options.side is not None or options.beyond is not None) and not any(one.networks for one in contestants):
        text = "no network that could see more or less at once; leave --side and --beyond out"
        raise InputError(f"{', '.join(options.models) or '--masks'}: {text}")
    if options.masks:
        _refuse_shared_names(sets)
    names = [Path(name) for one in sets for name in one.names]
    ambiguous, alike = _twice(name.stem for name in names), _twice(str(name.with_suffix("")) for name in names)
    for folder in dict.fromkeys(options.masks):
        contestants.append(of_masks(folder, ambiguous, alike))
        if said := faint_predictions(folder):
            say(f"imgscan: {said}")
    return contestants


def _twice(texts: Iterable[str]) -> set[str]:
    """Those that are there more than once."""
    return {text for text, count in Counter(texts).items() if count > 1}


def _different(data: Sequence[str]) -> list[str]:
    """What --data says, each set once, however it is written."""
    return list({text if text in DATASETS else str(real(Path(text))): text for text in reversed(data)}.values())[::-1]


def _named(texts: Sequence[str], contestants: Sequence[Contestant]) -> list[Contestant]:
    """Each model once; two that have one name, as all of one's own trainings have, are called what was typed."""
    typed = {(one.name, one.identity or text): (text, one) for text, one in zip(texts, contestants, strict=True)}
    counts = Counter(one.name for _, one in typed.values())
    return [one if counts[one.name] == 1 else replace(one, name=text) for text, one in typed.values()]


def _tell_what_was_seen(contestant: Contestant, sets: Sequence[PictureSet]) -> None:
    """Say which sets are no test for a contestant, because it was trained on them or on some of their pictures."""
    trained = [path for card in contestant.cards for path in trained_files(card)]
    for one in sets:
        if real(Path(one.name)) in contestant.trained_on:
            text = f"a part of {printable(one.name)}, and all of it is measured: this is no test"
        elif found := seen([entry.image for entry in one.entries], trained):
            what = f"{len(found)} of the {len(one.entries)} pictures of {printable(one.name)}"
            text = f"{what}, {printable(str(found[0]))} for one: on them this is no test"
        else:
            continue
        say(f"imgscan: {contestant.name} was trained on {text}")


def _refuse_shared_names(sets: Sequence[PictureSet]) -> None:
    """Predictions are found by a picture's name, which may not stand for pictures of two sets."""
    owner: dict[str, str] = {}
    for one in sets:
        for name in one.names:
            plain = str(Path(name).with_suffix(""))
            if owner.setdefault(plain, one.name) != one.name:
                raise InputError(
                    f"--masks: {owner[plain]} and {one.name} both have a picture {name}, and predictions are found by "
                    "name; measure one set at a time"
                )


def line_of(scores: SetScores, contestant: Contestant, pictures: PictureSet, protocol: Protocol, attack: str) -> dict[str, Any]:
    """A row as JSON, with all that is needed to repeat it."""
    facts = facts_of(contestant, pictures, protocol, attack) | {"data_sha256": pictures.sha256, "settings": contestant.identity}
    return {"version": __version__} | facts | asdict(scores)


def examine_set(pictures: PictureSet) -> None:
    """Say what is wrong with a set before hours are spent on it: of a folder, which pictures will be skipped or count as untouched;
    of a published set or a list, what a first look at it tells."""
    text = pictures.name
    if text in DATASETS or not is_generic(Path(text)):
        for said in first_look(text, pictures.entries):
            say(f"imgscan: {text}: {said}")
        return
    for finding in check(text, scenes=False).findings:
        spoils = finding.severity == "error" and finding.kind not in ("unreadable-image", "across-splits")
        if spoils or finding.kind in ("empty-mask", "faint-mask", "coloured-mask", "unused-image"):
            files = ", ".join(str(path) for path in finding.files[:3])
            more = f" and {len(finding.files) - 3} more" if len(finding.files) > 3 else ""
            say(f"imgscan: {text}: {finding.text}: {files}{more}")


def _draw(
    folder: Path,
    contestants: Sequence[Contestant],
    pictures: PictureSet,
    results: Results,
    found: dict[str, list[SetScores]],
    protocol: Protocol,
) -> Iterator[Path]:
    """The figures of a set."""
    from imgscan.evaluation.figures import draw_set

    measured = {
        contestant.name: dict(results.measured.get(Question(UNATTACKED, index), ())) for index, contestant in enumerate(contestants)
    }
    shown = sorted({number for some in measured.values() for number, one in some.items() if one.exhibit is not None})
    exhibits = {
        name: [one.exhibit if (one := some.get(number)) is not None else None for number in shown]
        for name, some in measured.items()
    }
    histograms = {}
    for index, contestant in enumerate(contestants):
        rows = results.rows[Question(UNATTACKED, index)].values()
        counts = [row.histogram for row in rows if row.metrics.forged]
        if counts:
            histograms[contestant.name] = np.sum(counts, axis=0)
    means = {name: [one.means for one in some.values() if one.means is not None] for name, some in measured.items()}
    names = [printable(pictures.entries[number].image.name) for number in shown]
    yield from draw_set(folder, pictures.name, contestants, (names, exhibits), histograms, means, found, protocol)


def _together(
    contestant: Contestant,
    everything: Sequence[tuple[Contestant, PictureSet, str, list[PictureScores]]],
    skipped: int,
    protocol: Protocol,
) -> SetScores:
    """All sets as one, for the image level: many a folder has forged pictures only, or untouched ones."""
    rows = [row for one, _, attack, some in everything if one is contestant and attack == UNATTACKED for row in some]
    return summarise(contestant, TOGETHER, rows, skipped, protocol)
