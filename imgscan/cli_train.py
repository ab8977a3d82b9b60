"""The commands `imgscan train focal|cfl-net|ncl|table`: their flags.  No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imgscan.completion import data_sets, tables
from imgscan.errors import ExitCode
from imgscan.exits import exits
from imgscan.flags import AcceptLicence, Device, Roots

TORCHRUN = "On several GPUs or machines: torchrun --nproc-per-node N -m imgscan train ..."

train_app = typer.Typer(help="Train a network.", no_args_is_help=True, rich_markup_mode=None)

Size = Annotated[str | None, typer.Option(help="Which recipe of train/; by default the paper's own. Not needed with --resume.")]
TrainData = Annotated[
    str | None,
    typer.Option(
        help="synth (by default; forgeries made on the fly from pristine photographs), a data set by name (imgscan data list), a "
        "folder with images/ and masks/, or another tool's list; a+b joins, a*40 repeats.",
        autocompletion=data_sets,
    ),
]
ValidationRoots = Annotated[
    list[Path] | None,
    typer.Option(
        "--validation-root", help="Other pictures to validate on; by default a part of the data is kept aside. Repeatable."
    ),
]
TrainOut = Annotated[Path, typer.Option("--out", help="Folder for checkpoint, log and weights.")]
Minutes = Annotated[float | None, typer.Option(min=0.01, help="Stop after this time, with a checkpoint.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="In place of the recipe's length.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting of the recipe; repeatable.")
]
Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="WEIGHTS",
        help="Start from weights: a .pth or .safetensors, or NAME@TAG; your own, FOCAL's or CFL-Net's release, Segment Anything's "
        "vit_l (focal-vit), ImageNet's ResNet-50 (cfl-net) or ResNet-101 (ncl).",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out, with its recipe and data.")]
Compat = Annotated[
    str | None, typer.Option(help="official: as the authors' released code does it, where that differs from the paper.")
]
Profile = Annotated[
    int | None,
    typer.Option(min=1, metavar="STEPS", help="Only measure seconds and memory of a step on made-up pictures; write nothing."),
]


def _trainer(method: str, summary: str) -> None:
    """The command `imgscan train METHOD`; all methods take the same flags."""

    def command(
        size: Size = None,
        data: TrainData = None,
        roots: Roots = None,
        validation: ValidationRoots = None,
        out: TrainOut = Path("imgscan-train"),
        minutes: Minutes = None,
        epochs: Epochs = None,
        settings: Settings = None,
        resume: Resume = False,
        compat: Compat = None,
        init: Init = None,
        accept_licence: AcceptLicence = False,
        device: Device = "auto",
        profile: Profile = None,
    ) -> ExitCode:
        from imgscan.commands.train import train_command
        from imgscan.commands.train_options import TrainOptions

        return train_command(
            TrainOptions(
                method=method,
                size=size,
                data=data,
                roots=roots or [],
                validation=validation or [],
                out=out,
                minutes=minutes,
                epochs=epochs,
                settings=settings or [],
                resume=resume,
                compat=compat,
                device=device,
                profile=profile,
                init=init,
                accept_licence=accept_licence,
            )
        )

    train_app.command(method, help=summary, epilog=TORCHRUN)(exits(command))


@train_app.command("table")
@exits
def train_table(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A table of the papers or a grid, as for evaluate --table.", autocompletion=tables)
    ],
    method: Annotated[str | None, typer.Option(help="Only what this method trains: focal, cfl-net or ncl.")] = None,
    size: Size = None,
    data: TrainData = None,
    roots: Roots = None,
    validation: ValidationRoots = None,
    out: TrainOut = Path("imgscan-runs"),
    seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of each, with seeds of their own; evaluate --table prints mean and deviation.")
    ] = 1,
    minutes: Minutes = None,
    epochs: Epochs = None,
    settings: Settings = None,
    compat: Compat = None,
    device: Device = "auto",
) -> ExitCode:
    """Train all weights that a table of a paper or a grid needs, each in a folder of its own under --out."""
    from imgscan.commands.train_options import TrainOptions
    from imgscan.commands.train_table import train_table_command

    return train_table_command(
        name,
        TrainOptions(
            method="",
            size=size,
            data=data,
            roots=roots or [],
            validation=validation or [],
            out=out,
            minutes=minutes,
            epochs=epochs,
            settings=settings or [],
            resume=False,
            compat=compat,
            device=device,
            profile=None,
        ),
        method,
        seeds,
    )


_trainer("focal", "Train a FOCAL extractor: contrast of pristine and forged pixels, image by image.")
_trainer("cfl-net", "Train CFL-Net: two streams, cross-entropy and a contrast of patches.")
_trainer("ncl", "Train NCL: DeepLabV3+ from scratch with the non-mutually exclusive contrast and the pivot-consistent loss.")
