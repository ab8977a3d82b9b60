"""A set of pictures about which every contestant is asked, but for what is known already; what cannot be answered is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imgscan.datasets.entries import Entry
from imgscan.datasets.resolve import Wanted
from imgscan.datasets.sets import names_below, read_set
from imgscan.evaluation.contestants import Contestant, ModelOptions
from imgscan.evaluation.ledger import Ledger, key_of
from imgscan.evaluation.measure import UNATTACKED, Measured, PictureScores, Question, Task, entry_sha256, measure, set_sha256
from imgscan.evaluation.protocols import Protocol
from imgscan.printable import say
from imgscan.progress import Bar
from imgscan.records import Skipped


@dataclass(frozen=True)
class PictureSet:
    """A set to measure on."""

    name: str
    entries: list[Entry]
    hashes: list[str]  # entry_sha256 of each
    names: list[str]  # names_below

    @property
    def sha256(self) -> str:
        return set_sha256(self.hashes)


@dataclass
class Results:
    """What was found on one set: (attack, contestant) -> rows in the order of the pictures, and how many are missing."""

    rows: dict[Question, dict[int, PictureScores]] = field(default_factory=dict)  # by the picture's number
    skipped: dict[Question, int] = field(default_factory=dict)
    measured: dict[Question, list[tuple[int, Measured]]] = field(default_factory=dict)  # with exhibits and means, for figures


def read_pictures(text: str, roots: Sequence[Path], *, forged: bool = False, split: Wanted | None = None) -> PictureSet:
    """A set, or only its forged pictures, with its hashes; see read_set for the split and the errors."""
    entries = [entry for entry in read_set(text, roots, split) if entry.mask is not None or not forged]
    return PictureSet(text, entries, [entry_sha256(entry) for entry in entries], names_below(entries))


def evaluate_set(
    pictures: PictureSet,
    contestants: Sequence[Contestant],
    attacks: Sequence[str],
    protocol: Protocol,
    ledger: Ledger,
    how: ModelOptions,
    figures: bool = False,
    *,
    exhibits: int = 0,
    progress: Bar,
) -> Results:
    """Ask every contestant about every picture under every attack, but for what the ledger knows.

    With `figures` every unattacked answer is asked for again: numbers are in the ledger, pictures and features are not.
    """
    results = Results()
    tasks: list[Task] = []
    keys: dict[tuple[int, Question], str | None] = {}
    shown = set(range(0, len(pictures.entries), -(-len(pictures.entries) // exhibits))) if exhibits else set()
    for number, (entry, digest) in enumerate(zip(pictures.entries, pictures.hashes, strict=True)):
        open_questions = []
        for attack in attacks:
            for index, contestant in enumerate(contestants):
                if contestant.fixed and attack != UNATTACKED:
                    continue
                question = Question(attack, index)
                results.rows.setdefault(question, {})
                results.skipped.setdefault(question, 0)
                key = keys[number, question] = key_of(digest, number, attack, contestant, protocol)
                known = None if key is None or (figures and attack == UNATTACKED) else ledger.rows.get(key)
                if known is None:
                    open_questions.append(question)
                else:
                    results.rows[question][number] = replace(known, name=str(entry.image))
                    progress.advance()
        if open_questions:
            tasks.append(Task(entry, number, tuple(open_questions), pictures.names[number], number in shown))
    known_rows = sum(map(len, results.rows.values()))
    if known_rows:
        wanted = len(pictures.entries) * len(results.rows)
        text = f"{known_rows} of {wanted} answers on {pictures.name} are in {ledger.path} already"
        say(f"imgscan: {text}; --force measures them again")
    told: set[tuple[Path, str]] = set()
    answered = measure(tasks, contestants, protocol, jobs=how.jobs, device=how.device, figures=figures)
    for task, measured in zip(tasks, answered, strict=True):
        for one in measured:
            progress.advance()
            if isinstance(one.scores, Skipped):
                results.skipped[one.question] += 1
                about = (one.scores.source.path, one.scores.reason)
                if about not in told:
                    told.add(about)
                    say(f"imgscan: skipped {about[0]}: {about[1]}")
                continue
            results.rows[one.question][task.number] = one.scores
            if figures:
                results.measured.setdefault(one.question, []).append((task.number, one))
            key = keys[task.number, one.question]
            if key is not None and key not in ledger.rows:  # --figures asks again for what is known
                facts = facts_of(contestants[one.question.contestant], pictures, protocol, one.question.attack)
                ledger.add(key, facts, one.scores)
    return results


def facts_of(contestant: Contestant, pictures: PictureSet, protocol: Protocol, attack: str) -> dict[str, Any]:
    """What a row is about, for whoever reads it."""
    return {
        "model": contestant.name,
        "weights": contestant.weights,
        "data": pictures.name,
        "protocol": protocol.name,
        "attack": attack,
    }
