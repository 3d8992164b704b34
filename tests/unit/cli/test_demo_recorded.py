"""A recorded session becomes a play, or is refused with the number of the line that is none."""

import json
from pathlib import Path

import pytest

from undying.cli.demo.play import CHARACTERS_MAX, TURNS_MIN, Say, Turn
from undying.cli.demo.recorded import VOICES_MAX, read_session
from undying.protocol.fields import TEXT_MAX
from undying.protocol.ids import Role


def _file(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "evening.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def _said(speaker: str, text: str) -> dict[str, object]:
    return {"speakers": [speaker], "text": text}


def test_each_line_is_a_turn_of_its_first_speaker_and_who_speaks_most_leads(tmp_path: Path) -> None:
    lines = [_said("Sam", "Hello."), *(_said("Liz", f"Line {number}.") for number in range(TURNS_MIN))]
    play = read_session(_file(tmp_path, *lines, {"n": 9, "speakers": ["Sam", "Liz"], "text": "Both."}))
    assert [(voice.name, voice.role) for voice in play.voices] == [("Liz", Role.GM), ("Sam", Role.PLAYER)]
    assert play.turns[:2] == (Turn(1, Say("Hello.")), Turn(0, Say("Line 0.")))
    assert play.turns[-1] == Turn(1, Say("Both."))
    assert play.name == "evening"


def test_a_text_beyond_a_chat_line_becomes_several_turns_that_say_the_same(tmp_path: Path) -> None:
    long = "word " * TEXT_MAX
    play = read_session(_file(tmp_path, _said("Liz", long), *[_said("Sam", "Go on.")] * 2))
    texts = [turn.action.text for turn in play.turns if isinstance(turn.action, Say) and turn.voice == 0]
    assert "".join(texts) == long
    assert max(map(len, texts)) <= TEXT_MAX


def test_empty_lines_count_as_nothing(tmp_path: Path) -> None:
    assert len(read_session(_file(tmp_path, "", *[_said("Liz", "Yes.")] * TURNS_MIN, "  ")).turns) == TURNS_MIN


def test_no_more_voices_than_that_get_characters(tmp_path: Path) -> None:
    play = read_session(_file(tmp_path, *(_said(f"voice {number}", "Here.") for number in range(12))))
    assert play.characters == tuple(range(1, CHARACTERS_MAX + 1))


def test_somebody_who_talks_to_themselves_plays_the_character_too(tmp_path: Path) -> None:
    assert read_session(_file(tmp_path, *[_said("Liz", "Yes.")] * TURNS_MIN)).characters == (0,)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([], "has no `speakers`"),
        ({"text": "x"}, "has no `speakers`"),
        ({"speakers": [], "text": "x"}, "has no `speakers`"),
        ({"speakers": [7], "text": "x"}, "has no `speakers`"),
        ({"speakers": [" "], "text": "x"}, "a speaker's name"),
        ({"speakers": ["x" * 201], "text": "x"}, "a speaker's name"),
        ({"speakers": ["Liz"]}, "has no `text`"),
        ({"speakers": ["Liz"], "text": " \n"}, "has no `text`"),
        ({"speakers": ["Liz"], "text": "\ud800"}, "not valid Unicode"),
    ],
)
def test_a_line_that_is_no_turn_is_refused_by_its_number(tmp_path: Path, line: object, why: str) -> None:
    with pytest.raises(ValueError, match=r"evening\.jsonl, line 2: ") as refused:
        read_session(_file(tmp_path, _said("Liz", "Hello."), line))
    assert why in str(refused.value)


def test_too_few_turns_for_three_kills_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 6"):
        read_session(_file(tmp_path, *[_said("Liz", "Yes.")] * (TURNS_MIN - 1)))


def test_more_speakers_than_a_demo_seats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="speakers"):
        read_session(_file(tmp_path, *(_said(f"voice {number}", "Here.") for number in range(VOICES_MAX + 1))))
