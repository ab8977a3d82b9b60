"""The command line: flags in, exit code out.  No torch here, so that --help is instant; each command imports what it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from imgscan import DEFAULT_MODEL, __version__, completion
from imgscan.cli_data import data_app
from imgscan.cli_models import models_app
from imgscan.cli_train import train_app
from imgscan.completion import BEYOND, LEVELS, PARTS, among, data_sets, tables
from imgscan.config import blamed, came_from_configuration, show
from imgscan.errors import EXIT_STATUS, ExitCode, ImgscanError, InputError
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
    ReportFiles,
    ReportFormat,
    Results,
    Roots,
    Side,
)

app = typer.Typer(
    name="imgscan",
    help="Find tampered pictures and where they were tampered with.\n\n" + EXIT_STATUS,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(train_app, name="train")
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"imgscan {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Find tampered pictures and where they were tampered with."""


@app.command(epilog=EXIT_STATUS)
@exits
def scan(
    ctx: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", readable=False, help="Pictures and folders of pictures; - reads one from stdin."),
    ] = None,
    model: ModelFlag = DEFAULT_MODEL,
    out: Annotated[Path, typer.Option(help="Folder for masks, overlays, features and results.")] = Path("imgscan-out"),
    device: Device = "auto",
    jobs: Jobs = None,
    batch: Batch = None,
    side: Side = None,
    cluster: Cluster = None,
    grid: Grid = None,
    cluster_seconds: ClusterSeconds = 1.0,
    compat: Compat = None,
    accept_licence: AcceptLicence = False,
    fail_on: Annotated[
        str | None,
        typer.Option(
            help="possible, likely, certain, a score from 0 to 1, or never. By default the 2 % that were measured for the model.",
            autocompletion=among(LEVELS),
        ),
    ] = None,
    report_from: Annotated[
        str | None,
        typer.Option(
            help="As --fail-on, not above it: what is reported. By default what fails, or would.", autocompletion=among(LEVELS)
        ),
    ] = None,
    min_area: Annotated[
        float, typer.Option(min=0, max=1, help="A finding needs at least this share marked, --report-from's included.")
    ] = 0.0,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Record of an earlier scan, or its folder: its findings, by content, are known and change no exit code."),
    ] = None,
    drawn: Annotated[
        bool,
        typer.Option("--drawn", help="Judge screenshots and other drawn or typeset pictures too, as if they were photographs."),
    ] = False,
    files_from: Annotated[
        str | None, typer.Option(metavar="FILE", help="Also scan the paths in this file, one a line; - reads them from stdin.")
    ] = None,
    zero: Annotated[bool, typer.Option("-0", "--null", help="--files-from has paths ended by NUL bytes.")] = False,
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="In folders, scan only files like this (*.jpg); repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="In folders, leave out what is like this, also folders; goes before --include; repeatable."
        ),
    ] = None,
    force_exclude: Annotated[
        bool, typer.Option("--force-exclude", help="--exclude also holds for files named on the command line.")
    ] = False,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Findings do not change the exit code.")] = False,
    allow_unreadable: Annotated[
        bool, typer.Option("--allow-unreadable", help="Unreadable pictures do not change the exit code.")
    ] = False,
    no_features: Annotated[bool, typer.Option("--no-features", help="Do not write features.h5.")] = False,
    outputs: ReportFiles = None,
    output_format: ReportFormat = None,
    only_paths: Annotated[bool, typer.Option("-l", help="Print only the paths of the findings.")] = False,
    print0: Annotated[bool, typer.Option("--print0", help="As -l, each path ended by a NUL byte in place of a newline.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Compute again what an earlier scan into --out found.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print the time per stage.")] = False,
    no_config: NoConfig = False,
    config: Config = None,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print every setting and where it comes from, as an imgscan.toml; scan nothing.")
    ] = False,
) -> ExitCode:
    """Scan pictures: find the forged ones, mark where, judge, report."""
    if show_settings:
        for line in show(ctx):
            print(line)
        return ExitCode.CLEAN
    from imgscan.commands.scan import ScanOptions, scan_command
    from imgscan.find import Filter

    # As Paths "" and "." are the same.
    if "" in sys.argv and (paths or []).count(Path()) > sum(Path(word) == Path() for word in sys.argv if word):
        raise InputError('a PATH is empty (""); wanted a picture or a folder, . for this one')
    if only_paths or print0:  # flags of this call go before a format of the configuration
        output_format = None if came_from_configuration(ctx, "output_format") else output_format
    asked = ScanOptions(
        paths=paths or [],
        files_from=files_from,
        zero=zero,
        chosen=Filter(tuple(include or ()), tuple(exclude or ()), force_exclude),
        model=model,
        out=out,
        device=device,
        jobs=jobs,
        batch=batch,
        side=side,
        cluster=cluster,
        grid=grid,
        cluster_seconds=cluster_seconds,
        compat=compat,
        accept_licence=accept_licence,
        fail_on=fail_on,
        report_from=report_from,
        least_area=min_area,
        drawn=drawn,
        baseline=baseline,
        exit_zero=exit_zero,
        allow_unreadable=allow_unreadable,
        features=not no_features,
        verbose=verbose,
        outputs=outputs or [],
        output_format=output_format,
        only_paths=only_paths,
        print0=print0,
        force=force,
    )
    try:
        return scan_command(asked)
    except ImgscanError as error:
        raise blamed(ctx, error) from error


@app.command()
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
    from imgscan.commands.evaluate import EvaluateOptions, evaluate_command

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


@app.command()
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
    )


@app.command()
@exits
def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", readable=False, help="Pictures.")],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line per file.")] = False,
) -> ExitCode:
    """Show what files say of themselves: camera, dates, software, compression, thumbnail, provenance."""
    from imgscan.commands.inspect import inspect_command

    return inspect_command(files, as_json=as_json)


@app.command()
@exits
def report(
    results: Results = None,
    outputs: ReportFiles = None,
    name: ReportFormat = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hold pictures, masks and overlays against their hashes.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the record's lines.")] = False,
) -> ExitCode:
    """Turn a saved scan into another format.

    Exit status of --verify: 0 all is as recorded; 1 something was altered; 2 something is gone (2 outranks 1).
    """
    from imgscan.commands.report import report_command

    return report_command(results, outputs=outputs or [], name=name, as_schema=schema, only_verify=verify)


@app.command()
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
