"""The way in: `undying.connect`."""

from __future__ import annotations

import random
from importlib.metadata import version

from undying.client.limits import Limits
from undying.client.machine import Machine
from undying.client.table import Table
from undying.client.transport import Dial
from undying.client.websocket import dialer, websocket_url
from undying.protocol.codec import Encoding


def connect(
    url: str,
    token: str,
    *,
    encoding: Encoding = "msgpack",
    name: str = "undying-python",
    limits: Limits | None = None,
    transport: Dial | None = None,
    rng: random.Random | None = None,
) -> Table:
    """Return a seat at the table that `token` is for, to be taken with `async with`.

    `url` is the server's, as `undying new` prints it (http, https, ws or wss). `name` says which program this is, not who
    plays. `transport` opens connections in another way than by WebSocket; `rng` draws op ids and jitter, and is to be
    given only where a run must repeat exactly. Raises ValueError when the url is none.
    """
    websocket_url(url)
    limits = limits or Limits()
    rng = rng or random.SystemRandom()
    machine = Machine(token, rng, name=name, version=version("undying"), limits=limits)
    return Table(url, machine, transport or dialer(encoding), rng=rng, encoding=encoding, limits=limits)
