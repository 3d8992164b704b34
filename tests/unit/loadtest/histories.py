"""Histories of a table that is well, for tests to break."""

from undying.loadtest.history import Ack, Fact, Notes, Seen
from undying.protocol.position import Position

TABLE = "session:table"
CLIENTS = ("ann", "bob", "cat")


def fact_of(number: int) -> Fact:
    return Fact(TABLE, "chat.said", CLIENTS[number % len(CLIENTS)], f"line {number}")


def history(turns: int = 6) -> list[Notes]:
    """Turns one after the other, each 1 s long, every one at the next position, heard by all."""
    notes = [Notes(client, user) for client, user in enumerate(CLIENTS)]
    for number in range(turns):
        fact, position = fact_of(number), Position(1, number + 1)
        teller = notes[number % len(CLIENTS)]
        teller.asked[f"op{number}"] = (fact, number + 0.1)
        teller.acks.append(Ack(teller.client, fact, position, number + 0.1, number + 0.9))
        for each in notes:
            each.seen.append(Seen(fact, position))
    return notes
