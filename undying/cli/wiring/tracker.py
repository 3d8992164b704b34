"""The program `tracker`, and how the other programs of the tree tell it of endings."""

from __future__ import annotations

import random
from functools import partial

from actors.runtime import Inside
from supervision.reporting import Reporter, Tell
from supervision.tracker import Tracker
from undying.cli.wiring.environment import now_ms, open_store, read_settings
from undying.protocol.data import JsonObject


def build_tracker(settings: JsonObject, inside: Inside) -> Tracker:
    """Build the program `tracker`."""
    return Tracker(partial(open_store, read_settings(settings, inside)), random.Random())


def teller(inside: Inside) -> Tell:
    """Return how a supervisor tells the tracker of endings."""
    return Reporter(inside, random.Random(), now_ms).tell
