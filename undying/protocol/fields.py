"""The kinds of value that op arguments are made of, each with its bounds.

Strict where a client could mean something else than it says: "7" is no number and true is no 1. Texts must survive both
encodings (no lone surrogates), numbers must be the same in every language (finite, whole ones within 2**53). Lengths are
bounded in characters, which people count, and where many things come together in bytes of UTF-8, which they cost.
Messages never repeat what was sent; they say what would have been right.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, model_validator

from undying.protocol.data import Json, JsonObject
from undying.protocol.ids import ID_PATTERN, Role, is_id, parse_role

TEXT_MAX: Final = 10_000
"""Characters of a chat line or a note; recorded turns of real tables reach a few thousand."""
NAME_MAX: Final = 200
NAME_BYTES_MAX: Final = 400
"""Bytes of a name or a label: 200 Latin, Greek or Cyrillic letters, 133 Chinese ones, 100 emoji."""
ADDRESS_MAX: Final = 2_000
WHOLE_MAX: Final = 2**53
"""Whole numbers beyond this are not the same number in JavaScript."""
COORDINATE_MAX: Final = 1_000_000
SIZE_WORD_MAX: Final = 32
AUDIENCE_MAX: Final = 64
FREE_BYTES_MAX: Final = 16_384
FREE_DEPTH_MAX: Final = 6
FREE_NODES_MAX: Final = 2_000


class Args(BaseModel):
    """Arguments of one op: what is not named is ignored, as everywhere in the protocol, and nothing is coerced."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Open(BaseModel):
    """Something that keeps, besides its fields, keys of any name with plain data, together within the bounds of `free`.

    They are shown flat beside the fields. Names in `RESERVED` are the server's own there: a client's are ignored.
    """

    model_config = ConfigDict(extra="allow")

    RESERVED: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = {key: part for key, part in value.items() if key in cls.model_fields}
        more = {key: part for key, part in value.items() if key not in cls.model_fields and key not in cls.RESERVED}
        return {**_free_map(more), **fields}

    @property
    def more(self) -> JsonObject:
        """Return the keys that are no fields."""
        return self.__pydantic_extra__ or {}


def encodable(text: str) -> str:
    """Return the text when UTF-8 can carry it. Raises ValueError for lone surrogates."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("not valid Unicode text") from None
    return text


def utf8_size(text: str) -> int:
    """Return the bytes of a text that UTF-8 can carry."""
    return len(text) if text.isascii() else len(text.encode())


def _said(text: str) -> str:
    if not text or text.isspace():
        raise ValueError("is empty")
    return encodable(text)


def _within_bytes(limit: int) -> AfterValidator:
    def check(text: str) -> str:
        if utf8_size(encodable(text)) > limit:
            raise ValueError(f"should have at most {limit} bytes")
        return text

    return AfterValidator(check)


def _number(value: object) -> int | float:
    if type(value) not in (int, float):
        raise ValueError("should be a number")
    assert isinstance(value, int | float)
    if not -COORDINATE_MAX <= value <= COORDINATE_MAX:  # also false for NaN
        raise ValueError(f"should be a number between -{COORDINATE_MAX} and {COORDINATE_MAX}")
    return value


def _size(value: object) -> int | float | str:
    if not isinstance(value, str):
        return _number(value)
    if not 0 < len(value) <= SIZE_WORD_MAX:
        raise ValueError(f"should be a number or a word of at most {SIZE_WORD_MAX} characters")
    return encodable(value)


def _visibility(value: object) -> str | list[str]:
    if value in ("public", "gm"):
        return str(value)
    if not isinstance(value, list | tuple):
        raise ValueError("should be 'public', 'gm' or a list of user ids")
    return users(value)


def users(value: object) -> list[str]:
    """Return the user ids of a list once each, sorted. Raises ValueError when it is no bounded list of ids."""
    if not isinstance(value, list | tuple) or len(value) > AUDIENCE_MAX:
        raise ValueError(f"should be a list of at most {AUDIENCE_MAX} user ids")
    if not all(is_id(user) for user in value):
        raise ValueError("should hold user ids")
    return sorted(set(value))


def _role(value: object) -> Role:
    if not isinstance(value, str) or len(value) > 16:
        raise ValueError("should be a role")
    try:
        return parse_role(value)
    except ValueError:
        raise ValueError("should be gm, player, spectator or agent") from None


def free(value: object) -> Json:
    """Return free data as plain data of our own. Raises ValueError when it is too deep, too large or not plain."""
    budget = [FREE_BYTES_MAX, FREE_NODES_MAX]
    return _free(value, FREE_DEPTH_MAX, budget)


def _free(value: object, depth: int, budget: list[int]) -> Json:
    budget[0] -= len(value) if isinstance(value, str) and value.isascii() else 8
    budget[1] -= 1
    if min(budget) < 0:
        raise ValueError(f"should hold at most {FREE_BYTES_MAX} bytes and {FREE_NODES_MAX} values")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _free_number(value)
    if isinstance(value, str):
        if not value.isascii():
            budget[0] -= len(encodable(value).encode())
        return value
    if depth == 0:
        raise ValueError(f"should nest at most {FREE_DEPTH_MAX} deep")
    if isinstance(value, list | tuple):
        return [_free(child, depth - 1, budget) for child in value]
    if isinstance(value, dict):
        return {_free_key(key, budget): _free(child, depth - 1, budget) for key, child in value.items()}
    raise ValueError("should be plain data")


def _free_number(value: int | float) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("should hold finite numbers only")
    if isinstance(value, int) and abs(value) > WHOLE_MAX:
        raise ValueError("should hold whole numbers within 2**53")
    return value


def _free_key(key: object, budget: list[int]) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= NAME_MAX:
        raise ValueError(f"should have keys of 1 to {NAME_MAX} characters")
    budget[0] -= len(encodable(key).encode())
    return key


def _free_map(value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise ValueError("should be a map")
    checked = free(value)
    assert isinstance(checked, dict)
    return checked


Id: TypeAlias = Annotated[str, Field(pattern=ID_PATTERN, max_length=64)]
Text: TypeAlias = Annotated[str, Field(max_length=TEXT_MAX), AfterValidator(encodable)]
Said: TypeAlias = Annotated[str, Field(max_length=TEXT_MAX), AfterValidator(_said)]
Name: TypeAlias = Annotated[str, Field(max_length=NAME_MAX), AfterValidator(_said), _within_bytes(NAME_BYTES_MAX)]
Label: TypeAlias = Annotated[str, Field(max_length=NAME_MAX), _within_bytes(NAME_BYTES_MAX)]
Address: TypeAlias = Annotated[str, Field(max_length=ADDRESS_MAX), _within_bytes(ADDRESS_MAX)]
Whole: TypeAlias = Annotated[int, Field(ge=-WHOLE_MAX, le=WHOLE_MAX)]
Number: TypeAlias = Annotated[int | float, PlainValidator(_number)]
Size: TypeAlias = Annotated[int | float | str, PlainValidator(_size)]
RoleWord: TypeAlias = Annotated[Role, PlainValidator(_role)]
Users: TypeAlias = Annotated[list[str], PlainValidator(users)]
Visibility: TypeAlias = Annotated[Literal["public", "gm"] | list[str], PlainValidator(_visibility)]
Free: TypeAlias = Annotated[Any, PlainValidator(free)]
FreeMap: TypeAlias = Annotated[dict[str, Any], PlainValidator(_free_map)]
