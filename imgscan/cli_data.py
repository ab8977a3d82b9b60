"""The commands `imgscan data list|check|export|synth|hard`: their flags.  No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imgscan.completion import KINDS, LISTS, SPLITS, among, data_sets
from imgscan.errors import ExitCode
from imgscan.exits import exits
from imgscan.flags import AcceptLicence, Device, Jobs, Model, Roots

data_app = typer.Typer(help="Data sets.", no_args_is_help=True, rich_markup_mode=None)


@data_app.command("list")
@exits
def data_list() -> ExitCode:
    """List the data sets: counts, licence, where to get them, their folders, splits."""
    from imgscan.commands.data import list_command

    return list_command()


@data_app.command("check")
@exits
def data_check(
    name: Annotated[
        str,
        typer.Argument(
            help="A data set (imgscan data list), a folder with images/ and masks/, one of photographs, or a list.",
            autocompletion=data_sets,
        ),
    ],
    root: Annotated[
        Path | None, typer.Argument(help="Where it is: its own folder, or one that holds it; needed for a name.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Another set, folder or list, with which it is to share no photograph; repeatable. By default its own splits are "
            "held against each other.",
            autocompletion=data_sets,
        ),
    ] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Look for pictures that have a part in common as well, which takes far longer.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=0, help="Processes for --parts; by default one a core, at most 8.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name every file, not the first five of a kind.")] = False,
) -> ExitCode:
    """Examine a data set: pairs, sizes, polarity, duplicates and photographs across splits, known bad files, counts.

    Exit status: 0 sound; 1 defects found; 2 it cannot be checked.
    """
    from imgscan.commands.data import check_command

    return check_command(name, root, against=against or [], parts=parts, jobs=jobs, verbose=verbose)


@data_app.command("export")
@exits
def data_export(
    data: Annotated[
        list[str],
        typer.Argument(
            help="A data set by name (its test split), a folder with images/ and masks/, one of untouched pictures, or a list; "
            "with --split what train --data takes. Several go into one list.",
            autocompletion=data_sets,
        ),
    ],
    list_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="Whose list: cat-net (TruFor and SAFIRE, too), cfl-net, csv (imgscan's own), focal, forensichub, imdlbenco or "
            "mvss-net.",
            autocompletion=among(LISTS),
        ),
    ],
    out: Annotated[Path, typer.Option(help="The list: .npy of focal, .json of forensichub and imdlbenco, .csv, else .txt.")],
    roots: Roots = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, val, test or all, as in training; by default the pictures that evaluate --data measures.",
            autocompletion=among(SPLITS),
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder to write the masks into as well, 0 and 255 alone, white forged; the list then names these."),
    ] = None,
    relative_to: Annotated[
        Path | None, typer.Option(help="Folder that names in the list are relative to; by default they are absolute.")
    ] = None,
) -> ExitCode:
    """Write a data set as the list of another tool, so that both are measured on the same pictures.

    Every picture and mask is read: a list says nothing of polarity, so masks that the tool would take otherwise than imgscan are
    refused without --masks. Pictures that cannot be read, and those that the format cannot hold, are named and left out.

    Exit status: 0 the list has every picture; 2 some were left out, or nothing was written.
    """
    from imgscan.commands.lists import export_command

    return export_command(data, name=list_format, out=out, roots=roots or [], split=split, masks=masks, relative_to=relative_to)


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
