"""The fight that is played when nothing else is asked for."""

import random

from undying.cli.demo.fight import fight
from undying.cli.demo.play import TURNS_MIN, Blow, EndTurn, Roll, Say
from undying.protocol.ids import Role


def test_one_game_master_and_four_players_with_a_character_each() -> None:
    play = fight(random.Random(1))
    assert [voice.role for voice in play.voices] == [Role.GM, *[Role.PLAYER] * 4]
    assert play.characters == (1, 2, 3, 4)
    assert len(play.turns) >= TURNS_MIN


def test_everybody_speaks_and_rolls_and_only_the_game_master_deals_blows_and_ends_turns() -> None:
    play = fight(random.Random(1))
    who = {kind: {turn.voice for turn in play.turns if isinstance(turn.action, kind)} for kind in (Say, Roll, Blow, EndTurn)}
    assert who == {Say: {0, 1, 2, 3, 4}, Roll: {1, 2, 3, 4}, Blow: {0}, EndTurn: {0}}


def test_the_same_seed_gives_the_same_fight() -> None:
    assert fight(random.Random(7)) == fight(random.Random(7))
    assert fight(random.Random(7)) != fight(random.Random(8))


def test_what_tells_blows_and_rolls_apart_is_there_once() -> None:
    actions = [turn.action for turn in fight(random.Random(1)).turns]
    marks = [
        action.reason if isinstance(action, Blow) else action.label for action in actions if isinstance(action, Blow | Roll)
    ]
    assert len(marks) == len(set(marks))
