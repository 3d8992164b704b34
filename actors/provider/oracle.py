"""The oracle: a narrator made of random tables, so that a table without keys or internet has one too.

It hears what kind of question it is asked (yes or no, a name, a place, a treasure, trouble, or anything else) and draws an
answer. The same question with the same generator gets the same answer. It never repeats the question, so an answer
can't carry anything that the asker did not make public themselves.
"""

from __future__ import annotations

import random
import re
from typing import Final

_YES_NO: Final = re.compile(
    r"(is|are|am|was|were|do|does|did|can|could|will|would|shall|should|may|might|must|has|have|had)(n't|nt)?\b"
)
_NAME: Final = re.compile(r"\b(who|whom|whose|names?|named|called)\b")
_PLACE: Final = re.compile(r"\b(where|places?|tavern|inn|village|town|city|ruins?|dungeon|room)\b")
_LOOT: Final = re.compile(r"\b(loot|treasure|chest|pockets?|hoard|reward|find|search)\b")
_TROUBLE: Final = re.compile(r"\b(complications?|trouble|wrong|twist|happens?|next|fail(s|ed|ure)?|fumble|encounter)\b")

_VERDICTS: Final = (
    "Yes, and",
    "Yes.",
    "Yes.",
    "Yes, but",
    "No, but",
    "No.",
    "No.",
    "No, and",
)
_AND: Final = (
    "it is larger than you thought",
    "somebody has been counting on exactly that",
    "it has already begun",
    "everyone in the room knows it but you",
    "there are two of them",
    "the old woman by the door starts to laugh",
)
_BUT: Final = (
    "not for the reason you hope",
    "it will cost more than coin",
    "only until the candles burn down",
    "somebody is watching who should not be",
    "the door locks behind you",
    "the dog growls at the one among you who said it",
)
_FIRST: Final = (
    "Maren", "Odo", "Ysolde", "Garrick", "Tamsin", "Brannoch", "Wilhelmina", "Fenn", "Aldous", "Sorcha", "Quill", "Hesper",
)  # fmt: skip
_LAST: Final = (
    "Ashdown", "Thistlewick", "of the Nine Bells", "Coldharbour", "Vance", "Mudlark", "Two-Spoons", "the Unpaid", "Greywater",
    "Halfmoon", "the Lesser", "Saltmarch",
)  # fmt: skip
_QUIRK: Final = (
    "owes money to the wrong temple",
    "answers every question with a recipe",
    "keeps a key that fits no door in town",
    "has told this story before, with a different ending",
    "was buried here three winters ago and is cross about it",
    "will not cross running water, and will not say why",
    "smiles a moment too late",
    "is, beyond any doubt, three goblins in a coat",
)
_PLACES: Final = (
    "the Drowned Lantern, an inn that floats when the river rises and is proud of it",
    "a chapel with the roof gone and the altar freshly scrubbed",
    "a mill whose wheel turns against the stream",
    "a market that opens at midnight and takes no coin that has seen the sun",
    "a stair that has one step fewer on the way back",
    "a library chained shut from the inside",
    "an orchard where every tree but one has been hanged with bells",
    "a toll bridge; the troll retired, but her nephew is keen",
)
_LOOT_TABLE: Final = (
    "eleven silver coins, and a twelfth that is warm",
    "a letter of credit from a bank that will be founded next year",
    "a fine dagger with somebody's name on it: yours",
    "a map of this very room, with one door more",
    "a jar of pickled eyes; one of them follows you",
    "half a sandwich, still good, and a ring that is not",
    "a sleeping mouse in a very small suit of armour",
)
_COMPLICATIONS: Final = (
    "The torches gutter, all at once, from the back of the room to the front.",
    "Somebody you left for dead walks in and orders a drink.",
    "The bridge you came by is not there any more. The river says it never was.",
    "A bell rings in the tower. The tower has no bell.",
    "Your guide has gone quiet. Your guide has gone, in fact.",
    "The mule speaks, once, to warn you, and denies it afterwards.",
    "Guards arrive. They are early, they are polite, and they have a list.",
    "The floor is a lid.",
)
_OMENS: Final = (
    "Three crows on the gate: two look at you, one looks at the road behind you.",
    "The milk has turned, and so has the weathervane, towards you.",
    "The smoke draws a face. It is nobody you know yet.",
    "The cards fall: the Fool, the Tower, and a receipt from the fishmonger.",
    "Far off, a dog howls your name, nearly right.",
    "The wine tastes of iron and good news, in that order.",
    "Roll the bones again, if you like. They will only repeat themselves.",
    "Somewhere a door that was shut for a hundred years is not.",
)


def answer(prompt: str, rng: random.Random) -> str:
    """Return the oracle's answer to a question, with randomness from `rng`."""
    question = prompt.strip().lower()
    if _YES_NO.match(question):
        return _verdict(rng)
    if _NAME.search(question):
        return f"{rng.choice(_FIRST)} {rng.choice(_LAST)}, who {rng.choice(_QUIRK)}."
    if _PLACE.search(question):
        return f"You come to {rng.choice(_PLACES)}."
    if _LOOT.search(question):
        return f"You find {rng.choice(_LOOT_TABLE)}."
    return rng.choice(_COMPLICATIONS if _TROUBLE.search(question) else _OMENS)


def _verdict(rng: random.Random) -> str:
    verdict = rng.choice(_VERDICTS)
    if verdict.endswith("and"):
        return f"{verdict} {rng.choice(_AND)}."
    if verdict.endswith("but"):
        return f"{verdict} {rng.choice(_BUT)}."
    return verdict
