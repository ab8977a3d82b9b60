"""`imgscan calibrate`: thresholds for wanted false-alarm rates, measured on the user's own untouched pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from imgscan.datasets.resaved import COPIES, copy_form, resaved
from imgscan.decisions import read_decisions, remarks
from imgscan.devices import choose_device
from imgscan.digests import sha256_or_none
from imgscan.errors import ExitCode, InputError
from imgscan.evaluation.seen import seen, trained_files
from imgscan.find import find
from imgscan.judge import DEFAULT
from imgscan.operating_points import interval_of
from imgscan.pipeline import assess_by_each, scan
from imgscan.printable import say
from imgscan.progress import bar
from imgscan.records import Assessed, Skipped, Source
from imgscan.report.record import FALSE_ALARM
from imgscan.scanner import Scanner, build_scanner
from imgscan.shared import Shared
from imgscan.store import write_rows
from imgscan.weights import check_side, find_model
from imgscan.workers import busy, each

AS_IS = "as they are"  # pictures that are no copies
DECIDED = "decided"  # false alarms of a reviewer's decisions: chosen because they raised an alarm, so no sample of anything
INTERVAL = "95 %, two-sided, Clopper-Pearson, of pictures as they are"  # copies of one are not independent
# level -> share of untouched pictures that may reach it; `default` is what counts where nobody names another
LEVEL_RATES = {"possible": 0.05, DEFAULT: 0.02, "likely": 0.01, "certain": 0.001}


def threshold(scores: list[float], rate: float) -> float | None:
    """A score, to 4 digits, that at most `rate` of the untouched pictures reach.

    It lies in the middle between the highest score that has to stay under it and the next one above: right on a picture's own score
    the last digit of the arithmetic, which differs between machines, would decide about that picture.

    None when there are fewer than 1 / rate pictures: a rate that one picture already exceeds cannot be measured.  Beyond 1 when
    more than `rate` have the score 1, and no threshold keeps them under it.
    """
    if len(scores) * rate < 1:
        return None
    allowed = math.floor(len(scores) * rate)
    falling = sorted(scores, reverse=True)
    under = falling[allowed]
    above = next((score for score in reversed(falling[:allowed]) if score > under), 1.0)
    beyond = (math.floor(round(under * 10_000, 6)) + 1) / 10_000  # .0003 is 2.9999999999999996 times .0001
    return max(round((under + above) / 2, 4), beyond)


def threshold_of_forms(forms: Mapping[str, list[float]], rate: float) -> float | None:
    """A score that at most `rate` of the pictures in all forms together reach, and of those as they are at most `rate` too.

    Copies that were saved once more raise few alarms: in one count with them, pictures as they are may raise more than the rate
    that is promised.

    Decided false alarms are counted besides: they can only raise it, and make no sample large enough.

    None when all forms together are too few; where only those as they are are too few, all forms decide.
    """
    everything = [score for form, some in forms.items() if form != DECIDED for score in some]
    as_is = forms.get(AS_IS, [])
    found = [(sample, threshold(sample, rate)) for sample in (everything, as_is)]
    if found[0][1] is None:
        return None
    measured = [at for _, at in found if at is not None]
    more = [threshold([*sample, *forms.get(DECIDED, ())], rate) for sample, at in found if at is not None]
    return max(measured + [at for at in more if at is not None])


def thresholds(forms: Mapping[str, list[float]], rates: Mapping[str, float]) -> dict[str, float | None]:
    """`threshold_of_forms` of every level, a rarer one never below a more frequent one; None where the pictures are too few.

    For a rare level all forms may decide where those as they are were enough for the level before, and demanded more.
    """
    found: dict[str, float | None] = {}
    least = 0.0
    for level, rate in sorted(rates.items(), key=lambda pair: -pair[1]):
        score = threshold_of_forms(forms, rate)
        found[level] = None if score is None else (least := max(score, least))
    return found


def calibrate_command(
    models: list[str],
    *,
    pristine: list[Path],
    copies: bool,
    device: str,
    jobs: int | None,
    batch: int | None,
    side: int | None,
    accept_licence: bool,
    csv_file: Path | None,
    false_alarms: float | None = None,
    cluster: str | None = None,
    decisions: Path | None = None,
) -> ExitCode:
    """Print [[operating_points]] for a weights card, or for those of several models; a level that the sample is too small for is
    named on stderr, and how many pictures a model does not judge: they raise no alarm in a scan, and count for nothing here.

    `false_alarms` is a rate, 0..1, for which alone a threshold is wanted; None: those of all levels.

    What models have in common is computed once on a CPU.  With `copies` the pictures count in the forms of datasets.resaved too,
    smaller and saved once more: see `thresholds`.  `csv_file` receives every score.  `cluster` is a clustering in place of the
    cards' own, as for a scan; the thresholds say that they are of it.  What a reviewer's `decisions` do not clear is left out, and
    false alarms elsewhere take part in the thresholds, see threshold_of_forms, but not in the rates that are measured: they were
    chosen because they raised an alarm.
    """
    if false_alarms is not None and not 0 < false_alarms < 1:
        raise InputError(f"--false-alarms {false_alarms:g}: wanted a share of the untouched pictures, between 0 and 1: 0.01 is 1 %")
    rates = LEVEL_RATES if false_alarms is None else {DEFAULT: false_alarms}
    sources = find(pristine)
    sources, decided = (sources, []) if decisions is None else _decided(decisions, sources)
    if not sources:
        raise InputError(f"no pictures in {', '.join(map(str, pristine))}; wanted untouched pictures")
    shared = Shared()
    scanners: dict[str, Scanner] = {}
    asked: dict[str, str | None] = {}  # model -> the clustering in place of its card's
    for model in dict.fromkeys(models):
        chosen = find_model(model).with_clustering(cluster, None)
        asked[model] = chosen.asked
        check_side(chosen, side)
        scanners[model] = build_scanner(
            chosen,
            device=choose_device(device),
            batch=batch,
            jobs=jobs,
            side=side,
            everything=True,
            spares=True,
            accept_licence=accept_licence,
            shared=shared,
        )
        trained = [path for card in chosen.cards for path in trained_files(card)]
        if own := seen([source.path for source in sources], trained):
            say(
                f"imgscan: {model} was trained on {len(own)} of these {len(sources)} pictures, {own[0]} for one: "
                "they raise fewer alarms than others, and thresholds come out too low"
            )
    scores: dict[str, dict[str, list[float]]] = {model: {} for model in scanners}  # model -> form -> scores
    rows: list[tuple[str, str, str, float]] = []  # model, picture, form, score
    drawn = dict.fromkeys(scanners, 0)  # pictures that are not judged
    skipped = False
    with (
        TemporaryDirectory(prefix="imgscan-") as folder,
        bar("calibrating", len(sources) * (1 + copies * len(COPIES)) + len(decided)) as progress,
    ):
        shown = [_Shown(source.path, AS_IS, source) for source in sources]
        shown += [_Shown(source.path, DECIDED, source) for source in decided]
        if copies:
            shown += _copies(sources, Path(folder))
        answered = _scores([one.source for one in shown], list(scanners.values()))
        for one, answers in zip(shown, answered, strict=True):
            progress.advance()
            for reason in dict.fromkeys(answer for answer in answers if isinstance(answer, str)):
                skipped = True
                form = "" if one.form == AS_IS else f", {one.form}"
                say(f"imgscan: skipped {one.photograph}{form}: {reason}")
            for model, answer in zip(scanners, answers, strict=True):
                if answer is None:
                    drawn[model] += 1
                elif isinstance(answer, float):
                    scores[model].setdefault(one.form, []).append(answer)
                    rows.append((model, str(one.photograph), one.form, answer))
    for number, (model, forms) in enumerate(scores.items()):
        if len(scores) > 1:
            print(f"{'' if number == 0 else chr(10)}# {model}")
        if drawn[model]:
            say(f"imgscan: {model}: left out {drawn[model]} of {len(shown)} pictures, not judged: they look drawn or typeset")
        photographs = len({picture for one, picture, form, _ in rows if one == model and form != DECIDED})
        found = _show(model, forms, rates, photographs, copies, asked[model])
        skipped = skipped or not found
    if csv_file is not None:  # after what was measured is on stdout: the file may fail
        write_rows(csv_file, ["model", "picture", "form", "score"], rows)
    return ExitCode.INCOMPLETE if skipped else ExitCode.CLEAN


@dataclass(frozen=True)
class _Shown:
    """A photograph, or a copy of it."""

    photograph: Path
    form: str  # AS_IS, or a name of COPIES
    source: Source


def _scores(sources: Sequence[Source], scanners: Sequence[Scanner]) -> Iterator[Sequence[float | str | None]]:
    """Each scanner's score of every picture, or why it has none; None: it is not judged."""
    first = scanners[0]
    if first.device.type == "cpu":
        yield from each(sources, partial(_scores_of, scanners=scanners), busy(sources, first.jobs))
    elif len(scanners) == 1:
        yield from ([_score(one)] for one in scan(sources, first))
    else:  # one after the other, for each has its own processes
        yield from zip(*([_score(one) for one in scan(sources, scanner)] for scanner in scanners), strict=True)


def _scores_of(source: Source, scanners: Sequence[Scanner]) -> list[float | str | None]:
    return [_score(one) for one in assess_by_each(source, scanners)]


def _score(result: Assessed | Skipped) -> float | str | None:
    if isinstance(result, Skipped):
        return result.reason
    return None if result.finding.withheld else result.finding.score


def _show(
    model: str, forms: dict[str, list[float]], rates: Mapping[str, float], photographs: int, copies: bool, asked: str | None
) -> int:
    """Print the operating points of one model with the clustering that was asked for; how many there are."""
    found = 0
    levels = thresholds(forms, rates)
    decided = forms.get(DECIDED, [])
    forms = {form: some for form, some in forms.items() if form != DECIDED}
    scores = [score for some in forms.values() for score in some]
    if copies:
        complete = len(scores) == photographs * (1 + len(COPIES))  # all could be read, and none was too small
        many = f"{'' if complete else 'at most '}{len(COPIES)} copies of each"
        print(f"# {len(scores)} pictures: {photographs} photographs and {many} ({', '.join(COPIES)})")
    for level, score in levels.items():
        if score is None:
            rate = rates[level]
            few = f"{len(scores)} pictures cannot show a rate of {rate:g}; wanted at least {math.ceil(round(1 / rate, 6))}"
            say(f"imgscan: {model}: {level}: {few}")
            continue
        if score > 1:
            sure = f"{sum(s >= 1 for s in [*scores, *decided])} of {len(scores) + len(decided)} pictures have the score 1"
            say(f"imgscan: {model}: {level}: {sure}; no threshold keeps to a rate of {rates[level]:g}")
            continue
        found += 1
        reached = {form: sum(s > 0 and s >= score for s in some) for form, some in forms.items()}
        measured = sum(reached.values()) / len(scores)
        print()
        if copies:
            print("# " + ", ".join(f"{form}: {reached[form]} of {len(forms[form])}" for form in (AS_IS, *COPIES) if form in forms))
        if decided:
            print(f"# of {len(decided)} decided false alarms {sum(s >= score for s in decided)} reach it; they are not in the rate")
        print(f'[[operating_points]]\nlevel = "{level}"')
        if asked is not None:
            print(f'cluster = "{asked}"')
        print(f"score = {score}\nfalse_alarms = {measured:.4f}\npictures = {len(scores)}")
        if own := len(forms.get(AS_IS, [])):
            if copies:
                print(f"as_is = {reached[AS_IS] / own:.4f}\nphotographs = {own}")
            print(f"interval = {[*interval_of(reached[AS_IS], own)]}  # {INTERVAL}: {reached[AS_IS]} of {own}")
    return found


def _decided(file: Path, sources: list[Source]) -> tuple[list[Source], list[Source]]:
    """What a reviewer's decisions make of the sample: the sources that nobody took for forged, and the pictures elsewhere that were
    decided to be false alarms.

    Raises:
        InputError: see read_decisions.
    """
    try:
        made = read_decisions(file)
    except InputError as error:
        raise InputError(f"--decisions: {error}") from error
    for remark in remarks(made):
        say(f"imgscan: {file}: {remark}")
    digests = {source.path: sha256_or_none(source.path) for source in sources}
    doubted = {sha256 for sha256, one in made.latest.items() if one.decision != FALSE_ALARM}
    kept = [source for source in sources if digests[source.path] not in doubted]
    if len(kept) < len(sources):
        say(f"imgscan: {file}: left out {len(sources) - len(kept)} of {len(sources)} pictures, confirmed or unsure")
    there = set(digests.values())
    alarms = [one for one in made.false_alarms if one.sha256 not in there]
    found = [one for one in alarms if sha256_or_none(Path(one.path)) == one.sha256]
    if lost := [one for one in alarms if one not in found]:
        why = "what lies at their paths, from here, has not their SHA-256"
        say(f"imgscan: {file}: left out {len(lost)} of its false alarms, {why}: {lost[0].path} for one")
    return kept, [Source(Path(one.path), Path(one.path).name) for one in found]


def _copies(sources: list[Source], folder: Path) -> list[_Shown]:
    """The copies of every picture that can be opened; the scan of the original names those that cannot."""
    made: list[_Shown] = []
    for number, source in enumerate(sources):
        with suppress(Exception):  # Pillow raises nearly anything
            made += [
                _Shown(source.path, copy_form(one), Source(one, one.name)) for one in resaved(source.path, folder, str(number))
            ]
    return made
