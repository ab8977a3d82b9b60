"""The mean of weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imgscan.average import average
from imgscan.commands.models import average_command
from imgscan.digests import file_sha256
from imgscan.errors import ExitCode, InputError, OutputError
from imgscan.networks import load_network, size_of
from imgscan.weights import Card, read_card


@pytest.fixture
def cards(tiny_weights: dict[str, Path], tmp_path: Path) -> tuple[Card, Card]:
    """A network, and the same with every number three higher, and a count of its own."""
    first = read_card(tiny_weights["focal-hrnet"])
    state = load_file(first.file)
    other = {k: v + 3 if v.dtype.is_floating_point else v + 7 for k, v in state.items()}
    save_file(other, tmp_path / "other.safetensors")
    text = first.path.read_text().replace(first.sha256, file_sha256(tmp_path / "other.safetensors"))
    (tmp_path / "other.toml").write_text(text.replace(first.data["file"], "other.safetensors"))
    return first, read_card(tmp_path / "other.toml")


def test_the_mean_by_hand(cards: tuple[Card, Card], tmp_path: Path) -> None:
    made = read_card(average([*cards, cards[1]], tmp_path / "mean"))
    one, mean = load_network(cards[0]).state_dict(), load_network(made).state_dict()
    for name, tensor in one.items():
        wanted = tensor + 2 if tensor.dtype.is_floating_point else tensor  # (0 + 3 + 3) / 3; counts are the first's
        torch.testing.assert_close(mean[name], wanted, rtol=2e-3, atol=2e-3, msg=name)
    assert not made.points
    assert "recipe" not in made.data
    assert made.data["input"] == cards[0].data["input"]
    assert list(made.data["training"]["mean_of"].values()) == [str(cards[0].file), f"2 x {cards[1].file}"]


@pytest.mark.parametrize("name", ["weights.toml", "weights.safetensors"])
def test_a_mean_replaces_nothing(cards: tuple[Card, Card], tmp_path: Path, name: str) -> None:
    """Not what it is the mean of, either: what was measured of that would be gone with it."""
    first = average([cards[0], cards[0]], tmp_path / "first")
    before = {path.name: path.read_bytes() for path in first.parent.iterdir()}
    with pytest.raises(OutputError, match=r"first/weights.safetensors is there already; choose another --out"):
        average([read_card(first), cards[1]], first.parent)
    assert {path.name: path.read_bytes() for path in first.parent.iterdir()} == before
    (tmp_path / "mean").mkdir()
    (tmp_path / "mean" / name).write_text("precious")
    with pytest.raises(OutputError, match=rf"mean/{name} is there already"):
        average(cards, tmp_path / "mean")
    assert [path.read_text() for path in (tmp_path / "mean").iterdir()] == ["precious"]


def test_what_has_no_mean(cards: tuple[Card, Card], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two"):
        average(cards[:1], tmp_path)
    other = replace(cards[1], backbone=cards[1].backbone | {"dim": 1})
    with pytest.raises(InputError, match="another network"):
        average([cards[0], other], tmp_path)
    with pytest.raises(InputError, match="not one network"):
        average_command(["focal-fusion", "focal-fusion"], tmp_path, accept_licence=False)


def test_a_mean_says_what_its_parts_learned_from(cards: tuple[Card, Card], tmp_path: Path) -> None:
    """Or `evaluate` could not warn whom it measures on training data."""
    learned = [replace(card, data=card.data | {"training": some}) for card, some in zip(cards, ({"data": "a+b"}, {}), strict=True)]
    both = [*learned, replace(cards[0], data=cards[0].data | {"training": {"data": "c"}}), learned[0]]
    assert read_card(average(both, tmp_path / "mean")).data["training"]["data"] == "a+b+c"
    assert "data" not in read_card(average([learned[1], learned[1]], tmp_path / "none")).data["training"]


@pytest.mark.parametrize(
    ("allowed", "wanted"), [((True, False), False), ((False, None), False), ((True, None), None), ((True, True), True)]
)
def test_a_mean_allows_no_more_than_its_parts(
    cards: tuple[Card, Card], tmp_path: Path, allowed: tuple[bool | None, bool | None], wanted: bool | None
) -> None:
    """Whichever is named first; what was accepted of one part is not accepted of the other."""
    parts = []
    for card, one in zip(cards, allowed, strict=True):
        data = {key: value for key, value in card.data.items() if key != "commercial"}
        data |= {} if one is None else {"commercial": one}
        parts.append(replace(card, data=data, commercial=one))
    parts[0] = replace(parts[0], data=parts[0].data | {"accepted": "2026-01-01"})
    made = read_card(average(parts, tmp_path / "mean"))
    assert made.commercial is wanted
    assert ("accepted" in made.data) == (False not in allowed[1:])
    assert read_card(average(parts[::-1], tmp_path / "turned")).commercial is wanted


def test_cards_may_leave_different_things_to_the_defaults(cards: tuple[Card, Card], tmp_path: Path) -> None:
    """Older cards do not name what did not exist yet."""
    plain, named = (replace(card, backbone=card.backbone.copy()) for card in cards)
    plain.backbone.pop("parts", None)
    named.backbone["parts"] = list(size_of(plain).parts)
    assert average([plain, named], tmp_path / "mean").exists()
    with pytest.raises(InputError, match="another network"):
        average([plain, replace(named, backbone=named.backbone | {"parts": ["rgb"]})], tmp_path)


def test_a_mean_of_one_network_with_itself_is_that_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert average_command(["focal-hrnet", "focal-hrnet"], tmp_path, accept_licence=False) == ExitCode.CLEAN
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path / "weights.toml")
    assert "imgscan calibrate focal-hrnet@" in captured.err
    made = load_network(read_card(tmp_path / "weights.toml")).state_dict()
    from imgscan.weights import find_model

    for name, tensor in load_network(find_model("focal-hrnet").cards[0]).state_dict().items():
        assert torch.equal(made[name], tensor), name
