"""The commands `imgscan data list|check|synth|hard`: their flags.  No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imgscan.completion import KINDS, among, data_sets
from imgscan.errors import ExitCode
from imgscan.exits import exits
from imgscan.flags import AcceptLicence, Device, Jobs, Model

data_app = typer.Typer(help="Data sets.", no_args_is_help=True, rich_markup_mode=None)


@data_app.command("list")
@exits
def data_list() -> ExitCode:
    """List the data sets: counts, splits, licence, where to get them."""
    from imgscan.commands.data import list_command

    return list_command()


@data_app.command("check")
@exits
def data_check(
    name: Annotated[
        str,
        typer.Argument(
            help="A data set (imgscan data list), a folder with images/ and masks/, or a list.", autocompletion=data_sets
        ),
    ],
    root: Annotated[
        Path | None, typer.Argument(help="Where it is: its own folder, or one that holds it; needed for a name.")
    ] = None,
) -> ExitCode:
    """Examine a data set: pairs, sizes, polarity, duplicates across splits, known bad files, counts.

    Exit status: 0 sound; 1 defects found; 2 it cannot be checked.
    """
    from imgscan.commands.data import check_command

    return check_command(name, root)


@data_app.command("synth")
@exits
def data_synth(
    data_root: Annotated[list[Path], typer.Option(help="Folder of pristine photographs; repeatable.")],
    count: Annotated[int, typer.Option(min=1, help="Forgeries to make.")] = 100,
    side: Annotated[int, typer.Option(help="Pixels a side, a multiple of 8.")] = 512,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="splicing, copy-move, removal or enhancement; repeatable. By default the first three, as in training.",
            autocompletion=among(KINDS),
        ),
    ] = None,
    families: Annotated[
        str, typer.Option(help="Families of forgeries, as in a recipe: all, or names joined by +.", show_default=False)
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other forgeries.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=0, help="Processes, which changes no file; by default one a core, at most 8, where that helps."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for images/, masks/ and manifest.csv.")] = Path("imgscan-synth"),
) -> ExitCode:
    """Write forgeries made from pristine photographs, with their masks.

    The same call goes on where an earlier one was cut short, and with a higher --count adds to what is there; other settings want
    another --out.
    """
    from imgscan.commands.synth import synth_command

    return synth_command(
        roots=data_root, count=count, side=side, kinds=kind or [], families=families, seed=seed, out=out, jobs=jobs
    )


@data_app.command("hard")
@exits
def data_hard(
    model: Model,
    data_root: Annotated[list[Path], typer.Option(help="Folder of pristine photographs that are trained on; repeatable.")],
    windows: Annotated[int, typer.Option(min=1, help="Untouched windows of each photograph to judge it by.")] = 4,
    share: Annotated[float, typer.Option(min=0.001, max=1, help="Of the photographs, to list.")] = 0.15,
    side: Annotated[int, typer.Option(help="Pixels a side, a multiple of 8; as data.side of the recipe.")] = 256,
    families: Annotated[
        str, typer.Option(help="Families whose histories the windows get, as in a recipe: all, or names joined by +.")
    ] = "all",
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other windows.")] = 0,
    device: Device = "auto",
    jobs: Jobs = None,
    accept_licence: AcceptLicence = False,
    out: Annotated[Path, typer.Option(help="The list, for --set data.hard=LIST.")] = Path("hard.csv"),
) -> ExitCode:
    """List the training photographs that a model takes for forged most readily, so that a recipe can show them more often.

    What is judged is remembered beside the list (LIST.judged.jsonl): the same call goes on where an earlier one was cut short.

    Exit status: 0 every photograph was judged; 2 some could not be, or nothing could be written.
    """
    from imgscan.commands.hard import hard_command

    return hard_command(
        model,
        roots=data_root,
        windows=windows,
        share=share,
        side=side,
        families=families,
        seed=seed,
        device=device,
        jobs=jobs,
        accept_licence=accept_licence,
        out=out,
    )
