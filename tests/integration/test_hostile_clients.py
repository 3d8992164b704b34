"""Bad input gets a clear answer, changes nothing, and disturbs neither the server nor anybody else at the table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.integration.hostile_frames import FRAMES, STRANGERS
from tests.integration.hostile_ops import OP_ROWS
from tests.integration.hostile_rows import Acked, Ended, Row
from tests.integration.hostile_scene import Scene, expired, forgeries, healthy, snapshot
from tests.integration.raw_client import Closed, Encoding, RawClient
from tests.integration.serving import Server

pytestmark = [pytest.mark.ray, pytest.mark.store]

CASES = [(row, encoding) for row in (*FRAMES, *STRANGERS, *OP_ROWS) for encoding in row.encodings]
BOUND_S = 5.0
"""How long an honest client's op may take on a busy test machine, in the middle of an attack."""

FORGED = (
    "another secret",
    "no algorithm",
    "another algorithm",
    "another audience",
    "another issuer",
    "a role that the server keeps for itself",
    "a user that is no id",
    "no expiry",
    "tampered claims",
    "no signature",
    "a part less",
    "a header of 2,500 lists",
)
POSITIONS: dict[str, object] = {
    "text": "nowhere",
    "a map": {},
    "negative": [-1, -1],
    "a fraction": [1.5, 2],
    "true": [True, True],
    "three numbers": [1, 2, 3],
    "before everything": [0, 0],
    "an epoch that never was": [10_000, 5],
    "far ahead": [1, 2**40],
    "beyond bounds": [2**63, 2**63],
}


@pytest.fixture(scope="module", autouse=True)
def both_tables_stay_as_they_were(server: Server, scene: Scene) -> Iterator[None]:
    """Compare all that there is at both tables before and after everything in here."""

    def states() -> list[object]:
        at_tables = [snapshot(server, table.session, table.tokens["gm"]) for table in (scene.table, scene.other)]
        return [(stream, row["state"]) for streams in at_tables for stream, row in streams.items()]

    before = states()
    yield
    assert states() == before


async def check_answer(client: RawClient, row: Row) -> None:
    """Check that what comes back is what the row says."""
    if isinstance(row.expected, Ended):
        closed = await client.ended()
        assert closed.code == row.expected.close, closed
        notices = [message["error"]["code"] for message in client.heard if message["t"] == "notice"]
        assert notices == ([row.expected.code] if row.expected.code else [])
        return
    if isinstance(row.expected, Acked):
        ack = await client.until("ack", id=client.name)
        assert (ack["ok"], ack.get("error", {}).get("code")) == (False, row.expected.code), ack
        assert len(json.dumps(ack)) < 1_000  # what was sent is not sent back
    if not row.silent:
        await client.beat()


@pytest.mark.parametrize(("row", "encoding"), CASES, ids=[f"{row.name}, {encoding}" for row, encoding in CASES])
async def test_bad_input_is_answered_clearly_and_changes_nothing(
    server: Server, scene: Scene, row: Row, encoding: Encoding
) -> None:
    async with await RawClient.connect(server.url) as bystander, await RawClient.connect(server.url, encoding) as hostile:
        await bystander.join(scene.table.tokens["gm"])
        if row.who:
            await hostile.join(scene.table.tokens[row.who])
        before = await bystander.beat()
        await row.send(hostile, scene)
        await check_answer(hostile, row)
        assert await bystander.beat() == before
        started_s = time.monotonic()
        assert (await bystander.op(bystander.name, scene.table.stream, "session.resume"))["ok"]
        assert time.monotonic() - started_s < BOUND_S
        await healthy(server)


@pytest.mark.parametrize("how", FORGED)
async def test_a_forged_token_lets_nobody_in(server: Server, scene: Scene, how: str) -> None:
    async with await RawClient.connect(server.url) as hostile:
        await hostile.say({"t": "join", "token": forgeries(server, scene.table.tokens["ada"])[how]})
        assert (await hostile.ended()).code == 4001
        assert hostile.heard[-1]["error"]["code"] == "NOT_AUTHENTICATED"


@pytest.mark.parametrize(("resume", "code"), [(None, 4001), ({}, 4302)])
async def test_an_expired_token_lets_nobody_in_and_says_so(
    server: Server, scene: Scene, resume: dict[str, object] | None, code: int
) -> None:
    async with await RawClient.connect(server.url) as hostile:
        await hostile.say({"t": "join", "token": expired(server, scene.table.tokens["ada"]), "resume": resume})
        assert (await hostile.ended()).code == code
        assert hostile.heard[-1]["error"]["code"] == "TOKEN_EXPIRED"


@pytest.mark.parametrize("what", POSITIONS)
async def test_a_resume_from_nonsense_starts_from_a_snapshot_or_replays_and_names_no_other_stream(
    server: Server, scene: Scene, what: str
) -> None:
    own, position = scene.table.stream, POSITIONS[what]
    async with await RawClient.connect(server.url) as fresh, await RawClient.connect(server.url) as hostile:
        await fresh.join(scene.table.tokens["ada"])
        resume = {own: position, scene.other.stream: [1, 1], scene.foreign: [0, 0], "nonsense": position}
        welcome = await hostile.join(scene.table.tokens["ada"], resume=resume)
        assert set(welcome["streams"]) == set(fresh.joined["streams"])
        assert welcome["streams"][own]["pos"] == fresh.joined["streams"][own]["pos"]
        assert welcome["streams"][own]["mode"] in ("snapshot", "replay")


async def test_a_removed_member_comes_back_neither_by_the_old_token_nor_by_the_resume_token(server: Server) -> None:
    table = server.make_table({"ada": "player"})
    async with await RawClient.connect(server.url) as gm, await RawClient.connect(server.url) as ada:
        await gm.join(table.tokens["gm"])
        resume_token = (await ada.join(table.tokens["ada"]))["resume_token"]
        assert (await gm.op("out", table.stream, "member.remove", {"user": "ada-user"}))["ok"]
        assert (await ada.ended()).code == 4003
        for token in (table.tokens["ada"], resume_token):
            async with await RawClient.connect(server.url) as again:
                with pytest.raises(Closed) as closed:
                    await again.join(token, resume={table.stream: [1, 1]})
                assert closed.value.code == 4003
                assert [message["t"] for message in again.heard] == ["hello", "notice"]
