"""The command line: flags in, exit code out.  No torch here, so that --help is instant; each command imports what it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from imgscan import DEFAULT_MODEL, __version__
from imgscan.cli_data import data_app
from imgscan.cli_measure import bench, calibrate, evaluate
from imgscan.cli_models import models_app
from imgscan.cli_train import train_app
from imgscan.completion import LEVELS, among
from imgscan.config import blamed, came_from_configuration, show, weaker_of
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
    ReportFiles,
    ReportFormat,
    Results,
    Side,
    home,
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
    out: Annotated[Path, typer.Option(callback=home, help="Folder for masks, overlays, features and results.")] = Path(
        "imgscan-out"
    ),
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
        typer.Option(
            help="Record of an earlier scan, or its folder: its findings, by content, are known and change no exit code; or a "
            "reviewer's decisions.jsonl: of that the false alarms."
        ),
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RECORD",
            help="Record of an earlier scan, or its folder: pictures that it has too, in whatever form, are named; repeatable.",
        ),
    ] = None,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts", help="Also name pictures that have a part in common: cut out of one and put into another, or a crop of it."
        ),
    ] = False,
    drawn: Annotated[
        bool,
        typer.Option("--drawn", help="Judge screenshots and other drawn or typeset pictures too, as if they were photographs."),
    ] = False,
    files_from: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Also scan the paths in this file, one a line; - reads them from stdin, as they come."),
    ] = None,
    zero: Annotated[bool, typer.Option("-0", "--null", help="--files-from has paths ended by NUL bytes.")] = False,
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="In folders, scan only files like this (*.jpg); repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="In folders, leave out files and folders of which the name below the scanned folder is like this (old, "
            "'old/*.jpg'); goes before --include; repeatable.",
        ),
    ] = None,
    force_exclude: Annotated[
        bool, typer.Option("--force-exclude", help="--exclude also holds for files named on the command line.")
    ] = False,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Findings do not change the exit code.")] = False,
    allow_unreadable: Annotated[
        bool, typer.Option("--allow-unreadable", help="Unreadable pictures do not change the exit code.")
    ] = False,
    max_unreadable: Annotated[
        str | None,
        typer.Option(
            metavar="N|SHARE%",
            help="Up to so many unreadable pictures, or such a share of all (1%), do not change the exit code; with more the scan "
            "goes on, and is not complete.",
        ),
    ] = None,
    no_features: Annotated[bool, typer.Option("--no-features", help="Do not write features.h5.")] = False,
    outputs: ReportFiles = None,
    output_format: ReportFormat = None,
    only_paths: Annotated[bool, typer.Option("-l", help="Print only the paths of the findings.")] = False,
    print0: Annotated[bool, typer.Option("--print0", help="As -l, each path ended by a NUL byte in place of a newline.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Compute again what an earlier scan into --out found.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Print the time per stage, and the pace of the networks alone, which see 24 pictures twice more.",
        ),
    ] = False,
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
    from imgscan.commands.scan import scan_command
    from imgscan.commands.scan_options import ScanOptions
    from imgscan.find import Filter

    # As Paths "" and "." are the same.
    words = [word.removeprefix("--out=") for word in sys.argv]
    if "" in words and [*(paths or []), out].count(Path()) > sum(Path(word) == Path() for word in words if word):
        empty = (
            'a PATH is empty (""); wanted a picture or a folder' if Path() in (paths or []) else "--out is empty; wanted a folder"
        )
        raise InputError(f"{empty}, . for this one")
    if only_paths or print0:  # flags of this call go before a format of the configuration
        output_format = None if came_from_configuration(ctx, "output_format") else output_format
    if allow_unreadable and max_unreadable is not None:  # both of one origin are a mistake
        weaker = weaker_of(ctx, "allow_unreadable", "max_unreadable")
        allow_unreadable = weaker != "allow_unreadable"
        max_unreadable = None if weaker == "max_unreadable" else max_unreadable
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
        earlier=earlier or [],
        parts=parts,
        exit_zero=exit_zero,
        allow_unreadable=allow_unreadable,
        max_unreadable=max_unreadable,
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


# Here for their place in the help.
app.command()(evaluate)
app.command()(calibrate)


@app.command()
@exits
def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", readable=False, help="Pictures.")],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line per file.")] = False,
) -> ExitCode:
    """Show what files say of themselves: camera, dates, software, compression, thumbnail, provenance."""
    from imgscan.commands.inspect import inspect_command

    return inspect_command(files, as_json=as_json)


@app.command(epilog="Exit status of --verify: 0 all is as recorded; 1 something was altered; 2 something is gone (2 outranks 1).")
@exits
def report(
    results: Results = None,
    outputs: ReportFiles = None,
    name: ReportFormat = None,
    decisions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A reviewer's decisions, as the page saves them: put them into the report.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hold pictures, masks and overlays against their hashes.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the record's lines.")] = False,
) -> ExitCode:
    """Turn a saved scan into another format."""
    from imgscan.commands.report import report_command

    return report_command(results, outputs=outputs or [], name=name, as_schema=schema, only_verify=verify, decisions=decisions)


app.command()(bench)
