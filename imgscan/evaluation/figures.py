"""Pictures of results: contact sheets, ROC curves, robustness curves, and t-SNE of features.  Matplotlib is an extra.

Everything is drawn from what `measure` returned; nothing is chosen by its score (a contact sheet shows pictures evenly spread
over the set).  Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgscan.errors import ConfigError
from imgscan.evaluation.attacks import ATTACKS
from imgscan.evaluation.contestants import Contestant
from imgscan.evaluation.measure import UNATTACKED, Exhibit
from imgscan.evaluation.pixel import BINS, Counts
from imgscan.evaluation.protocols import Protocol
from imgscan.evaluation.summary import SetScores
from imgscan.store import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
LONGEST = 32  # characters of a picture's name on a contact sheet
MOST_POINTS = 2000  # of a t-SNE: more say nothing more and take minutes


def need_matplotlib() -> None:
    """ConfigError when the extra is not installed; numbers need no figures."""
    if find_spec("matplotlib") is None:
        raise ConfigError("--figures needs matplotlib: pip install 'imgscan[figures]'; without --figures all numbers still come")


def contact_sheet(title: str, names: Sequence[str], exhibits: Mapping[str, Sequence[Exhibit | None]]) -> Figure:
    """A row per picture: the picture, its truth, and for every contestant its score with the outline of its mask.

    Args:
        title: of the sheet.
        names: of the pictures.
        exhibits: contestant -> one per picture; None: it was skipped.
    """
    figure = _figure(2.2 * (2 + len(exhibits)), 1.9 * len(names) + 0.6)
    axes = figure.subplots(len(names), 2 + len(exhibits), squeeze=False)
    for row, name in enumerate(names):
        shown = [some[row] for some in exhibits.values()]
        first = next((one for one in shown if one is not None), None)
        for axis in axes[row]:
            axis.set_axis_off()
        if first is None:
            continue
        axes[row][0].imshow(first.rgb)
        short = name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}...{name[-LONGEST // 2 :]}"
        axes[row][0].set_title(_plain(short), fontsize=6)
        axes[row][1].imshow(first.truth, cmap="gray", vmin=0, vmax=1)
        for axis, one in zip(axes[row][2:], shown, strict=True):
            if one is not None:
                axis.imshow(one.score, cmap="magma", vmin=0, vmax=1)
                if one.mask.any() and not one.mask.all():
                    axis.contour(one.mask, levels=[0.5], colors="#56B4E9", linewidths=1)
    for axis, text in zip(axes[0], ["", "truth", *exhibits], strict=True):
        axis.set_title(_plain(text) or axis.get_title(), fontsize=6)
    figure.suptitle(_plain(title), fontsize=9)
    return figure


def roc_points(histogram: Counts) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """False and true positive rates, BINS + 1 each from (0, 0) to (1, 1), at every threshold of a summed histogram 2 x BINS.

    Raises:
        ValueError: the histogram has no forged or no pristine pixels.
    """
    totals = histogram.sum(1)
    if histogram.shape != (2, BINS) or not totals.all():
        raise ValueError(f"histogram {histogram.shape} with {totals} pixels; wanted 2 x {BINS} and both kinds")
    rates = np.cumsum(histogram[:, ::-1], axis=1) / totals[:, None]
    false, true = np.concatenate([np.zeros((2, 1)), rates], axis=1)
    return false, true


def roc(title: str, histograms: Mapping[str, Counts], areas: Mapping[str, float | None]) -> Figure:
    """ROC over all pixels of a set; the false-alarm axis is logarithmic too, for that is the end that decides.

    Args:
        title: of the figure.
        histograms: contestant -> summed histogram.
        areas: contestant -> area under its curve.
    """
    figure = _figure(8.4, 4.2)
    linear, logarithmic = figure.subplots(1, 2)
    for (name, histogram), style in zip(histograms.items(), _styles(), strict=False):
        false, true = roc_points(histogram)
        area = areas.get(name)
        label = _plain(name if area is None else f"{name} ({area:.3f})")
        for axis in (linear, logarithmic):
            axis.plot(np.maximum(false, 1e-5), true, label=label, **style)
    for axis in (linear, logarithmic):
        axis.set_xlabel("share of pristine pixels marked")
        axis.set_ylabel("share of forged pixels marked")
        axis.grid(alpha=0.3)
    logarithmic.set_xscale("log")
    linear.legend(fontsize=6, loc="lower right", title="pooled AUC", title_fontsize=6)
    figure.suptitle(_plain(title), fontsize=9)
    return figure


def robustness(data: str, found: Mapping[str, Sequence[SetScores]], column: str) -> Figure | None:
    """A panel per group of attacks: a column of the protocol over the strength, with 95 % intervals; the dotted line is no attack.

    None when no group was tried on this set.

    Args:
        data: name of the set.
        found: attack -> scores, of any sets.
        column: of the protocol.
    """
    groups: dict[str, list[str]] = {}
    for name in found:
        if name != UNATTACKED:
            groups.setdefault(ATTACKS[name].group, []).append(name)
    models = list(dict.fromkeys(row.model for rows in found.values() for row in rows if row.data == data and row.forged))
    if not groups or not models:
        return None
    across = min(3, len(groups))
    figure = _figure(3.6 * across, 2.9 * -(-len(groups) // across) + 0.5)
    panels = figure.subplots(-(-len(groups) // across), across, squeeze=False).ravel()
    for panel, (group, names) in zip(panels, groups.items(), strict=False):
        named = group == "social"  # chains of two steps, not points of a scale
        names = names if named else sorted(names, key=lambda name: ATTACKS[name].strength)
        for model, style in zip(models, _styles(), strict=False):
            rows = {name: _one(found[name], model, data) for name in (UNATTACKED, *names)}
            before = rows[UNATTACKED]
            if before is not None and (mean := before.columns[column]) is not None:
                panel.axhline(mean.mean, color=style["color"], linestyle=":", linewidth=0.8)
            points = [
                (number if named else ATTACKS[name].strength, mean)
                for number, name in enumerate(names)
                if (row := rows[name]) is not None and (mean := row.columns[column]) is not None
            ]
            if points:
                x, y = [place for place, _ in points], [mean.mean for _, mean in points]
                low = [mean.mean - (mean.mean if mean.low is None else mean.low) for _, mean in points]
                high = [(mean.mean if mean.high is None else mean.high) - mean.mean for _, mean in points]
                panel.errorbar(x, y, [low, high], label=_plain(model), capsize=2, marker="o", markersize=3, linewidth=1.2, **style)
        panel.set_title(group, fontsize=8)
        panel.set_xlabel("" if named else ATTACKS[names[0]].unit, fontsize=7)
        panel.set_ylim(0, 1)
        panel.grid(alpha=0.3)
        panel.tick_params(labelsize=6)
        if named:
            panel.set_xticks(range(len(names)), [name.removeprefix("social-") for name in names], rotation=30, fontsize=6)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    panels[0].legend(fontsize=6)
    figure.suptitle(_plain(f"{data}: {column} after attacks (dotted: before)"), fontsize=9)
    return figure


def tsne(title: str, means: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]) -> Figure | None:
    """t-SNE of the mean features of the pristine and the forged part of every picture (CFL-Net, WACV 2023, Fig. 5).

    None for fewer than three pictures, or features of one number.

    Args:
        title: of the figure.
        means: per picture (D pristine, D forged).
    """
    if len(means) < 3 or len(means[0][0]) < 2:
        return None
    from sklearn.manifold import TSNE

    kept = means[:: -(-2 * len(means) // MOST_POINTS)]
    points = np.concatenate([np.stack([one[kind] for one in kept]) for kind in (0, 1)])
    perplexity = min(30.0, (len(points) - 1) / 3)
    placed = TSNE(perplexity=perplexity, random_state=0, init="pca", learning_rate="auto").fit_transform(points)
    figure = _figure(4.2, 4.2)
    axis = figure.subplots()
    for kind, (name, marker) in enumerate((("pristine part", "o"), ("forged part", "^"))):
        some = placed[kind * len(kept) : (kind + 1) * len(kept)]
        axis.scatter(some[:, 0], some[:, 1], s=12, marker=marker, color=COLOURS[kind], label=name, alpha=0.8)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.legend(fontsize=7)
    axis.set_title(_plain(f"{title}: t-SNE of mean features"), fontsize=8)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG; OutputError when that fails."""
    with replacing(path) as new:
        figure.savefig(new, format="png", dpi=130, bbox_inches="tight")
    return path


def draw_set(
    folder: Path,
    data: str,
    contestants: Sequence[Contestant],
    exhibits: tuple[Sequence[str], Mapping[str, Sequence[Exhibit | None]]],
    histograms: Mapping[str, Counts],
    means: Mapping[str, Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]],
    found: Mapping[str, Sequence[SetScores]],
    protocol: Protocol,
) -> Iterator[Path]:
    """Every figure of a set: FOLDER/sheet-SET.png, roc-SET.png, robustness-SET.png and tsne-SET-MODEL.png.

    Args:
        folder: where to.
        data: name of the set.
        contestants: all of them.
        exhibits: names of the pictures shown, and contestant -> exhibits.
        histograms: contestant -> summed over the forged pictures.
        means: contestant -> region means of every picture.
        found: attack -> scores.
        protocol: that they were measured under.
    """
    name = _slug(data)
    if exhibits[0]:
        yield save(contact_sheet(data, *exhibits), folder / f"sheet-{name}.png")
    curves = {one: histogram for one, histogram in histograms.items() if histogram.sum(1).all()}
    if curves:
        rows = [row for row in found.get(UNATTACKED, ()) if row.data == data]
        areas = {row.model: row.pooled_scores.auc if row.pooled_scores else None for row in rows}
        yield save(roc(f"{data}: all pixels of the forged pictures", curves, areas), folder / f"roc-{name}.png")
    column = next((c for c in ("auc", "flipped_auc", "macro_f1", "f1", "permute_f1") if c in protocol.columns), None)
    if column is not None and (figure := robustness(data, found, column)) is not None:
        yield save(figure, folder / f"robustness-{name}.png")
    for contestant in contestants:
        if (figure := tsne(f"{contestant.name} on {data}", means.get(contestant.name, ()))) is not None:
            yield save(figure, folder / f"tsne-{name}-{_slug(contestant.name)}.png")


def _one(rows: Sequence[SetScores], model: str, data: str) -> SetScores | None:
    return next((row for row in rows if row.model == model and row.data == data), None)


def _styles() -> Iterator[dict[str, Any]]:
    for dash in DASHES:
        for colour in COLOURS:
            yield {"color": colour, "linestyle": dash}


def _plain(text: str) -> str:
    """Names as they are: Matplotlib would read dollars as mathematics."""
    return text.replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    """Inches; without pyplot, which keeps every figure in memory and wants a display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _slug(text: str) -> str:
    """A file name of a set or a model; where something is lost, with a hash, so that no two have the same."""
    plain = re.sub(r"[^\w.]+", "-", text).strip("-")
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
