"""Flags that several commands have.  No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Cluster = Annotated[str | None, typer.Option(help="hdbscan, kmeans, bisecting, birch or hierarchical; else as the card says.")]
Grid = Annotated[
    str | None,
    typer.Option(help="Most cells along the longer side that are clustered, 8 to 256; auto: as --cluster-seconds allow."),
]
ClusterSeconds = Annotated[float, typer.Option(min=0.01, help="With --grid auto: seconds a picture.")]
ReportFiles = Annotated[
    list[Path] | None,
    typer.Option("-o", "--output", help="Report to write: .html .sarif .junit.xml .csv .json .jsonl .txt; repeatable."),
]
ReportFormat = Annotated[
    str | None, typer.Option("--format", help="Print as human, json, jsonl, csv, sarif, junit, github or html on stdout.")
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
Roots = Annotated[list[Path] | None, typer.Option("--data-root", help="Where the data is; repeatable.")]
Compat = Annotated[
    str | None,
    typer.Option(
        help="official: weights that were imported from the authors' release answer as their code does: its input, fusion and "
        "2-means. By default imgscan's own choices."
    ),
]
AcceptLicence = Annotated[
    bool,
    typer.Option("--accept-licence", help="Use weights whose licence allows no commercial use, or is not stated; reports say so."),
]
