"""The commands that measure, `imgscan evaluate|calibrate|bench`: their flags.  No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imgscan import DEFAULT_MODEL, completion
from imgscan.completion import BEYOND, PARTS, among, data_sets, tables
from imgscan.errors import ExitCode, InputError
from imgscan.exits import exits
from imgscan.flags import (
    AcceptLicence,
    Batch,
    Cluster,
    ClusterSeconds,
    Compat,
    Config,
    Device,
    Grid,
    Jobs,
    ModelFlag,
    NoConfig,
    Protocol,
    Roots,
    Side,
)


@exits
def evaluate(
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder with images/ and masks/, one of untouched pictures, a data set by name (its test split), or a list; "
            "repeatable.",
            autocompletion=data_sets,
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Models as for scan --model; 'a|b' and 'a&b' measure the union and the intersection of two models' masks.",
            autocompletion=completion.models,
        ),
    ] = None,
    roots: Roots = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Fill a table of the papers (focal-1, cfl-net-2, ncl-3, ...), a grid, or a grid's file, with the data sets of "
            "--data-root; MODELs are the weights to take, others come from --runs.",
            autocompletion=tables,
        ),
    ] = None,
    runs: Annotated[
        list[Path] | None, typer.Option(help="With --table: a folder of training runs to look for weights in; repeatable.")
    ] = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option(
            help="Also measure another tool's predictions: a folder of PNG or npz maps named after the pictures; repeatable."
        ),
    ] = None,
    protocol: Protocol = "native",
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="Also after an attack: all, a group (jpeg, blur, ...), a suite (ncl-3, sweep, social) or one; repeatable."
        ),
    ] = None,
    device: Device = "auto",
    jobs: Jobs = None,
    batch: Batch = None,
    cluster: Cluster = None,
    grid: Grid = None,
    cluster_seconds: ClusterSeconds = 1.0,
    compat: Compat = None,
    accept_licence: AcceptLicence = False,
    side: Side = None,
    beyond: Annotated[str | None, typer.Option(help="Larger pictures: tile, shrink or both.", autocompletion=among(BEYOND))] = None,
    out: Annotated[
        Path, typer.Option(help="Folder that remembers what was measured (measured.jsonl) and receives --figures.")
    ] = Path("imgscan-evaluation"),
    force: Annotated[bool, typer.Option("--force", help="Measure again what --out remembers.")] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw contact sheets, ROC, robustness and t-SNE (needs imgscan[figures]).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line per model and set in place of the tables.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Also write every metric of every picture to this file.")] = None,
    no_config: NoConfig = False,
    config: Config = None,
) -> ExitCode:
    """Measure models: localization with intervals and baselines, false alarms, image level, robustness."""
    from imgscan.commands.evaluate import evaluate_command
    from imgscan.commands.evaluate_options import EvaluateOptions

    options = EvaluateOptions(
        models=models or [],
        data=data or [],
        roots=roots or [],
        masks=masks or [],
        protocol=protocol,
        attacks=attack or [],
        out=out,
        force=force,
        figures=figures,
        device=device,
        jobs=jobs,
        batch=batch,
        cluster=cluster,
        grid=grid,
        cluster_seconds=cluster_seconds,
        compat=compat,
        accept_licence=accept_licence,
        side=side,
        beyond=beyond,
        as_json=as_json,
        csv=csv,
    )
    if table is not None:
        from imgscan.commands.table import table_command

        return table_command(table, options, runs or [])
    if runs:
        raise InputError("--runs is where --table looks for weights; without it give MODELs, NAME@FILE")
    return evaluate_command(options)


@exits
def calibrate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Models as for scan --model; what several have in common is computed once (on a CPU).",
            autocompletion=completion.models,
        ),
    ],
    pristine: Annotated[list[Path], typer.Option(help="Untouched pictures, like those that will be scanned; repeatable.")],
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A reviewer's decisions.jsonl: confirmed and unsure pictures are left out; false alarms from elsewhere count too, "
            "for the thresholds, not for the rates.",
        ),
    ] = None,
    copies: Annotated[bool, typer.Option("--copies", help="Also count seven copies of each: smaller, saved once more.")] = False,
    cluster: Cluster = None,
    device: Device = "auto",
    jobs: Jobs = None,
    batch: Batch = None,
    side: Side = None,
    accept_licence: AcceptLicence = False,
    csv: Annotated[Path | None, typer.Option(help="Also write the score of every picture to this file.")] = None,
    false_alarms: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Only the threshold for this share of false alarms, as 0.01; for scan --fail-on."),
    ] = None,
    no_config: NoConfig = False,
    config: Config = None,
) -> ExitCode:
    """Measure thresholds for false-alarm rates of 5 %, 2 % (the default), 1 % and 0.1 % on untouched pictures."""
    from imgscan.commands.calibrate import calibrate_command

    return calibrate_command(
        models,
        pristine=pristine,
        copies=copies,
        device=device,
        jobs=jobs,
        batch=batch,
        side=side,
        accept_licence=accept_licence,
        csv_file=csv,
        false_alarms=false_alarms,
        cluster=cluster,
        decisions=decisions,
    )


@exits
def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(metavar="PART", help=f"{', '.join(PARTS)}; else all.", autocompletion=among(PARTS)),
    ] = None,
    model: ModelFlag = DEFAULT_MODEL,
    data: Annotated[
        list[Path] | None, typer.Option(help="Pictures for scan, bf16 and training in place of made-up ones; repeatable.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="How many pictures are made up for those.")] = 300,
    most: Annotated[int, typer.Option(min=1024, help="Most points that are clustered.")] = 65_536,
    device: Device = "auto",
    jobs: Jobs = None,
    accept_licence: AcceptLicence = False,
    out: Annotated[Path | None, typer.Option("-o", help="Also write the numbers to this file, as JSON.")] = None,
    no_config: NoConfig = False,
    config: Config = None,
) -> ExitCode:
    """Measure this machine: clusterings and the scan against what they rest on, bf16, official sizes, training, memory."""
    from imgscan.commands.bench import bench_command

    return bench_command(
        parts or [],
        model=model,
        paths=data or [],
        pictures=pictures,
        most=most,
        device=device,
        jobs=jobs,
        accept_licence=accept_licence,
        out=out,
    )
