"""The licence gate: weights that must not be used commercially are loaded only after their licence was accepted.

A card says `commercial = false` where the licence forbids it or nobody stated a licence; nothing stated on the card of one's own
training restricts nothing.  Accepted is what the flag --accept-licence, the variable IMGSCAN_ACCEPT_LICENCE, or the card (written
by `imgscan models import --accept-licence`) says.  Every report shows it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from imgscan.card_keys import INITIAL
from imgscan.errors import WeightsError
from imgscan.weights import Card

VARIABLE = "IMGSCAN_ACCEPT_LICENCE"
COMMERCIAL = {True: "yes", False: "no", None: "not stated"}  # whether commercial use is allowed, in words


def is_accepted(card: Card, flag: bool) -> bool:
    """Whether the user accepted the licence of these weights."""
    said = os.environ.get(VARIABLE, "").strip().lower()
    return flag or said in ("1", "true", "yes") or bool(card.data.get("accepted"))


def check_licences(cards: Sequence[Card], accepted: bool) -> None:
    """The gate.

    Args:
        cards: of the weights that are about to be used.
        accepted: whether --accept-licence was given.

    Raises:
        WeightsError: weights without commercial use whose licence was not accepted; names the flag.
    """
    for card in cards:
        if card.commercial is False and not is_accepted(card, accepted):
            raise WeightsError(
                f"weights {card.full_name}: no commercial use (licence: {card.licence}); "
                f"to accept that, add --accept-licence or set {VARIABLE}=1"
            )


def check_usable(cards: Sequence[Card], accepted: bool) -> None:
    """The gate, and WeightsError for weights that find no forgeries: they were made to start trainings."""
    for card in cards:
        if card.data.get("use") == INITIAL:
            raise WeightsError(
                f"weights {card.full_name} were never trained to find forgeries, they only start trainings: {start_command(card)}"
            )
    check_licences(cards, accepted)


def start_command(card: Card) -> str:
    """The training that weights of the kind INITIAL start."""
    method = "focal" if card.network.startswith("focal-") else card.network
    method = {"focal-vit": "focal --size official-vit", "resnet50": "cfl-net", "resnet101": "ncl"}.get(card.network, method)
    return f"imgscan train {method} --init {card.full_name}"


def licence_facts(cards: Sequence[Card], accepted: bool) -> dict[str, dict[str, Any]]:
    """For the run line: full name -> licence, whether commercial use is allowed (None: not stated), and whether it was accepted."""
    return {
        card.full_name: {
            "licence": card.licence,
            "commercial": card.commercial,
            "accepted": card.commercial is False and is_accepted(card, accepted),
        }
        for card in cards
    }
