"""Flags that several commands have.  No torch here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from imgscan.cluster_names import CLUSTERINGS
from imgscan.completion import DEVICES, FORMATS, PROTOCOLS, among, models
from imgscan.config import configure
from imgscan.errors import ExitCode, ImgscanError
from imgscan.printable import say


def _no_config(ctx: typer.Context, wanted: bool) -> bool:
    if wanted and ctx.params.get("config") is not None:
        raise typer.BadParameter("--config and --no-config exclude each other", ctx=ctx)
    return wanted


def _config(ctx: typer.Context, file: Path | None) -> Path | None:
    """Runs before all other flags are read (they are not eager), so that what the configuration says becomes their default."""
    without = ctx.params.get("no_config", False)
    if file is not None and without:
        raise typer.BadParameter("--config and --no-config exclude each other", ctx=ctx)
    if not ctx.resilient_parsing:
        try:
            configure(ctx, file=file, files=not without)
        except (ImgscanError, OSError) as error:  # OSError: the working directory is gone, or one above it may not be looked at
            said = str(error)
            if isinstance(error, OSError):
                where = "the working folder, or one above it"
                said = f"no configuration can be looked for: {error.strerror or error} ({where}); cd to another"
            say(f"imgscan: {said}")
            raise typer.Exit(int(ExitCode.INCOMPLETE)) from None
    return file


def home(value: Any) -> Any:
    """Paths whose ~ is the home folder: a shell leaves it as it is in --out=~/x, and a folder of that name is nobody's wish."""
    if isinstance(value, list):
        return [home(one) for one in value]
    return None if value is None else Path(os.path.expanduser(value))  # noqa: PTH111 - Path.expanduser raises for ~nobody


# Where both stand in a command, --no-config comes first: what is not given is looked at in the order of the signature.
NoConfig = Annotated[
    bool, typer.Option("--no-config", is_eager=True, callback=_no_config, help="Read no imgscan.toml and no pyproject.toml.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        is_eager=True,
        callback=_config,
        help="Settings, in place of the imgscan.toml or [tool.imgscan] in the working directory or above it.",
    ),
]

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", autocompletion=among(DEVICES))]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="hdbscan, kmeans, bisecting, birch or hierarchical; else as the card says.", autocompletion=among(CLUSTERINGS)
    ),
]
Grid = Annotated[
    str | None,
    typer.Option(help="Most cells along the longer side that are clustered, 8 to 256; auto: as --cluster-seconds allow."),
]
ClusterSeconds = Annotated[float, typer.Option(min=0.01, help="With --grid auto: seconds a picture.")]
Protocol = Annotated[
    str,
    typer.Option(
        help="native, or as a paper measures: focal, focal-256, cfl-net, ncl, trufor, imdlbenco.", autocompletion=among(PROTOCOLS)
    ),
]
Results = Annotated[Path | None, typer.Argument(metavar="RESULTS.jsonl", help="The record of a scan, or the folder it is in.")]
ReportFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "-o", "--output", callback=home, help="Report to write: .html .sarif .junit.xml .csv .json .jsonl .txt; repeatable."
    ),
]
ReportFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Print as human, json, jsonl, csv, sarif, junit, github or html on stdout.",
        autocompletion=among(FORMATS),
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=0,
        help="Worker processes. On the CPU each takes whole pictures, on a GPU they decode and cluster; 0: none beside the main "
        "one, which then uses all cores for one picture. By default one a core, at most 8.",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1, help="Most pictures, or tiles of large ones, in a forward pass. By default 1 on the CPU; on a GPU 32, or as fit."
    ),
]
ModelFlag = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="NAME, NAME@TAG, NAME@FILE, a+b to fuse, a+copy-move, a+adq, or ela, noi1, cfa1, noi2, noi5.",
        autocompletion=models,
    ),
]
Model = Annotated[str, typer.Argument(help="A model as for scan --model.", autocompletion=models)]
Roots = Annotated[list[Path] | None, typer.Option("--data-root", help="Where the data is; repeatable.")]
Side = Annotated[
    int | None,
    typer.Option(
        min=64,
        help="Longest side in pixels that a network sees at once; what is larger goes in tiles, and shrunk besides where the card "
        "says so. By default as the card says, with which its thresholds were measured.",
    ),
]
Compat = Annotated[
    str | None,
    typer.Option(
        help="official: weights that were imported from the authors' release answer as their code does: its input, fusion and "
        "2-means. By default imgscan's own choices.",
        autocompletion=among(("official",)),
    ),
]
AcceptLicence = Annotated[
    bool,
    typer.Option("--accept-licence", help="Use weights whose licence allows no commercial use, or is not stated; reports say so."),
]
