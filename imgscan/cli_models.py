"""The commands `imgscan models list|show|verify|import|export|average`: their flags.  No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imgscan.completion import DEVICES, EXPORTS, among, models
from imgscan.errors import ExitCode, InputError
from imgscan.exits import exits
from imgscan.flags import AcceptLicence, Model
from imgscan.releases.table import RELEASES

models_app = typer.Typer(help="Networks and weights.", no_args_is_help=True, rich_markup_mode=None)


@models_app.command("list")
@exits
def models_list(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line per set of weights in place of the table.")] = False,
) -> ExitCode:
    """List the weights that are installed: licence, commercial use, size, place, hash, measured results."""
    from imgscan.commands.models import list_command

    return list_command(as_json=as_json)


@models_app.command("show")
@exits
def models_show(
    name: Model,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Do not run the networks to time them.")] = False,
    cards_only: Annotated[bool, typer.Option("--cards", help="Only the cards, as they stand.")] = False,
) -> ExitCode:
    """Print the cards of a model and draw its networks: stages, shapes, parameters, multiply-adds, seconds here."""
    from imgscan.commands.models import show_command

    return show_command(name, timing=not no_timing, anatomy=not cards_only)


@models_app.command("verify")
@exits
def models_verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Models as for scan --model; else all that are installed, with --answers what a scan uses and all that ship.",
            autocompletion=models,
        ),
    ] = None,
    answers: Annotated[
        bool, typer.Option("--answers", help="Scan a few small pictures, and compare level, score and mask with what was recorded.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="With --answers: auto, cpu, cuda, cuda:N or mps.", autocompletion=among(DEVICES))
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --answers: a file of --record, in place of what ships.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --answers: compare nothing, write there what is answered here.")
    ] = None,
) -> ExitCode:
    """Check weights against the hashes on their cards, and whether they answer as they should."""
    if not answers:
        alone = next((flag for flag, value in (("device", device), ("against", against), ("record", record)) if value), None)
        if alone:
            raise InputError(f"--{alone} is about answers; add --answers, without which only hashes are checked")
        from imgscan.commands.models import verify_command

        return verify_command(names or [])
    if against is not None and record is not None:
        raise InputError("--against compares and --record does not; wanted one of them")
    from imgscan.commands.answers import check_command, record_command

    if record is not None:
        return record_command(names or [], device or "auto", record)
    return check_command(names or [], device or "auto", against)


@models_app.command("import")
@exits
def models_import(
    name: Annotated[
        str,
        typer.Argument(
            help="What it is: focal-hrnet, focal-vit, cfl-net, sam-vit-l, resnet50, resnet101, or your own network.",
            autocompletion=among(RELEASES),
        ),
    ],
    file: Annotated[Path, typer.Argument(help="The released .pth or .safetensors; of your own training its card, weights.toml.")],
    tag: Annotated[
        str | None, typer.Option(help="To be used as NAME@TAG; by default official, of your own training the card's.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace weights of the same name and tag.")] = False,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept a licence without commercial use for good, on the card.")
    ] = False,
) -> ExitCode:
    """Import weights that you have: checked key by key, nothing unpickled, written as safetensors with a card."""
    from imgscan.commands.models import import_command

    return import_command(name, file, tag=tag, force=force, accept_licence=accept_licence)


@models_app.command("export")
@exits
def models_export(
    name: Model,
    kind: Annotated[
        str,
        typer.Option("--format", help="safetensors, onnx (needs imgscan[onnx]) or torchscript.", autocompletion=among(EXPORTS)),
    ] = "safetensors",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that receives the file and the card.")] = Path("imgscan-export"),
    accept_licence: AcceptLicence = False,
) -> ExitCode:
    """Write the networks of a model for other programs; what was written is run and compared before it is kept."""
    from imgscan.commands.models import export_command

    return export_command(name, kind, out, accept_licence=accept_licence)


@models_app.command("average")
@exits
def models_average(
    models_of: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help="Two or more weights of one network; one named twice counts twice.", autocompletion=models
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that receives the weights and the card.")] = Path("imgscan-mean"),
    accept_licence: AcceptLicence = False,
) -> ExitCode:
    """Write the mean of several weights of one network, which began from the same: a model soup."""
    from imgscan.commands.models import average_command

    return average_command(models_of, out, accept_licence=accept_licence)
