"""Dice notation as players write it (the `d20` package: `4d6kh3`, `2d20kl1+5`, `8d6mi2`, `3d6e6`), under limits of ours.

The parser, the notation and the words of the result are d20's. What rolls is ours, because d20 draws from the global random
generator and picks dice out of sets in the order of their memory addresses: here a result is a function of the expression
and the generator that is handed in. Nothing global is touched.

Limits: the length of an expression, how deep it nests, the sides of a die, how many dice are thrown in all (rerolled and
exploded ones count), and how often operations look at one (`LOOKS_MAX`). All of them together keep any roll within some two
milliseconds.

What is wrong with an expression, whatever the dice, is a `BadDice`; also that one without dice has no result. What turns out
while rolling is a `NoResult`: the next throw of the same expression may have one. The text of both is for the player.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import d20
from d20 import diceast
from lark.exceptions import LarkError

EXPR_MAX: Final = 200
DICE_MAX: Final = 500
SIDES_MAX: Final = 10_000
DEPTH_MAX: Final = 64
LOOKS_MAX: Final = 2_500
"""Dice that selectors and operators look at in one roll, summed over all of them: all 500 dice, five times."""
DETAIL_MAX: Final = 1_000
TOTAL_MAX: Final = 2**53
PARSED_MAX: Final = 512
"""Parsed expressions that are kept; a table uses a few dozen."""


_BY_VALUE: Final = frozenset({"rr", "e"})
_BY_NUMBER: Final = frozenset({"mi", "ma"})


class BadDice(Exception):
    """The expression can't be rolled; the text says why."""


class NoResult(Exception):
    """The dice were thrown and lead nowhere; the text says why."""


class TooMuch(NoResult):
    """The throw is beyond a limit."""


class Rolled(NamedTuple):
    """What came of a roll: the sum, rounded towards zero, and every die in words."""

    total: int
    detail: str


class _Throw:
    """One roll under way: where randomness comes from, how many dice were thrown, how often operations may still look."""

    __slots__ = ("looks", "rng", "thrown")

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.thrown = 0
        self.looks = LOOKS_MAX

    def draw(self, size: int | str) -> int:
        self.thrown += 1
        if self.thrown > DICE_MAX:
            raise TooMuch(f"more than {DICE_MAX} dice")
        if isinstance(size, str):  # d%: 00 to 90
            return 10 * int(self.rng.random() * 10)
        return 1 + int(self.rng.random() * size)

    def look(self, dice: int) -> None:
        self.looks -= dice
        if self.looks < 0:
            raise TooMuch("too many operations on too many dice")


class _Die(d20.Die):  # type: ignore[misc]
    """A die that draws from the throw it belongs to (d20's `_context`)."""

    __slots__ = ()

    def _add_roll(self) -> None:
        self.values.append(d20.Literal(self._context.draw(self.size)))


class _Dice(d20.Dice):  # type: ignore[misc]
    __slots__ = ()

    def roll_another(self) -> None:
        self.values.append(_Die.new(self.size, context=self._context))


class _Operator(d20.SetOperator):  # type: ignore[misc]
    """d20's operators, in the order of the dice, and each pass linear in their number."""

    __slots__ = ()

    def select(self, target: Any, max_targets: int | None = None) -> dict[Any, None]:
        """Return the selected members as keys, in order."""
        chosen: dict[Any, None] = {}
        for selector in self.sels:
            choose = {
                "l": selector.lowestn,
                "h": selector.highestn,
                "<": selector.lessthan,
                ">": selector.morethan,
                None: selector.literal,
            }[selector.cat]
            for member in choose(target):
                if max_targets is not None and len(chosen) >= max_targets:
                    return chosen
                chosen[member] = None
        return chosen

    def keep(self, target: Any) -> None:
        """Drop what is not selected."""
        chosen = self.select(target)
        for member in target.keptset:
            if member not in chosen:
                member.drop()

    def reroll(self, target: Any) -> None:
        """Roll again until no die has one of the values."""
        again: Iterable[Any] = target.keptset
        while again := [die for die in again if self._named(die)]:
            for die in again:
                die.reroll()
            self._look_again(target, len(again))

    def explode(self, target: Any) -> None:
        """Throw one more for every die that has one of the values, the new ones included."""
        fresh: Iterable[Any] = target.keptset
        while burst := [die for die in fresh if self._named(die)]:
            before = len(target.values)
            for die in burst:
                die.explode()
                target.roll_another()
            fresh = target.values[before:]
            self._look_again(target, len(burst))

    def _look_again(self, target: Any, dice: int) -> None:
        target._context.look(len(self.sels) * dice)  # noqa: SLF001 d20's name

    def _named(self, die: Any) -> bool:
        value = die.number
        for selector in self.sels:
            if (selector.cat == "<" and value < selector.num) or (selector.cat == ">" and value > selector.num):
                return True
            if selector.cat is None and value == selector.num:
                return True
        return False


class _Evaluator(d20.Roller):  # type: ignore[misc]
    """Evaluates parsed expressions with our dice. Used for one roll at a time; `throw` is the one under way."""

    def __init__(self) -> None:
        super().__init__()
        self.throw = _Throw(random.Random(0))

    def evaluate(self, tree: Any, rng: random.Random) -> Any:
        self.throw = _Throw(rng)
        return self._eval(tree)

    def _eval_dice(self, node: Any) -> _Dice:
        dice = [_Die.new(node.size, context=self.throw) for _ in range(node.num)]
        return _Dice(node.num, node.size, dice, context=self.throw)

    def _eval_operatedset(self, node: Any) -> Any:
        target = self._eval(node.value)
        for operation in node.operations:
            operator = _Operator.from_ast(operation)
            # A selector that is not on dice adds up what is below each member: all dice so far, at most.
            self.throw.look(len(operator.sels) * (len(target.values) if isinstance(target, _Dice) else self.throw.thrown))
            operator.operate(target)
            target.operations.append(operator)
        return target


class _Words(d20.SimpleStringifier):  # type: ignore[misc]
    """Says a roll in words: dropped dice in parentheses of their own, the total left to `Rolled.total`."""

    def __init__(self) -> None:
        super().__init__()
        self._nodes |= {_Dice: self._str_dice, _Die: self._str_die}

    def _stringify(self, node: Any) -> str:
        words: str = super()._stringify(node)
        return words if node.kept else f"~{words}~"

    def _str_expression(self, node: Any) -> str:
        return self._stringify(node.roll)


class DiceBox:
    """Rolls expressions. Keeps the parsed forms of recent ones, so that a common roll costs no parsing."""

    def __init__(self) -> None:
        self._parsed: dict[str, Any] = {}
        self._evaluator = _Evaluator()
        self._words = _Words()

    def roll(self, expr: str, rng: random.Random) -> Rolled:
        """Roll `expr` with randomness from `rng`. Raises BadDice or NoResult."""
        tree = self._parsed.get(expr)
        if tree is None:
            tree = self._parse(expr)
        rolled, total = self._throw(tree, rng)
        detail = self._words.stringify(rolled)
        if len(detail) > DETAIL_MAX:
            detail = detail[: DETAIL_MAX - 1] + "…"
        return Rolled(int(total), detail)

    def _throw(self, tree: Any, rng: random.Random) -> tuple[Any, float]:
        """Return what fell and the sum. Raises NoResult."""
        try:
            rolled = self._evaluator.evaluate(tree, rng)
            total = rolled.total
        except d20.RollError:
            raise NoResult("a division by zero") from None
        except OverflowError:
            raise TooMuch("the numbers are too large") from None
        if not math.isfinite(total) or abs(total) > TOTAL_MAX:
            raise TooMuch("the result is too large")
        return rolled, total

    def _parse(self, expr: str) -> Any:
        if len(expr) > EXPR_MAX:
            raise BadDice(f"longer than {EXPR_MAX} characters")
        if not expr or not expr.isascii():
            raise BadDice("no dice notation")
        try:
            tree = diceast.parser.parse(expr, start="expr")
        except LarkError as problem:
            column = getattr(problem, "column", 0)
            raise BadDice(f"can't be read from character {column} on" if column > 0 else "is not complete") from None
        if not _check(tree):
            try:
                self._throw(tree, random.Random(0))
            except NoResult as problem:
                raise BadDice(f"has no dice and no result: {problem}") from None
        if len(self._parsed) >= PARSED_MAX:
            del self._parsed[next(iter(self._parsed))]  # the oldest; a common one is parsed again soon enough
        self._parsed[expr] = tree
        return tree


def _check(tree: Any) -> int:
    """Refuse what no throw of a parsed expression could have; return how many dice it names. Raises BadDice."""
    dice = 0
    level = [tree]
    for _ in range(DEPTH_MAX):  # evaluating a level takes several stack frames
        for node in level:
            if isinstance(node, diceast.Dice):
                dice += node.num
                if node.size != "%" and not 1 <= node.size <= SIDES_MAX:
                    raise BadDice(f"a die has 1 to {SIDES_MAX} sides")
            elif isinstance(node, diceast.OperatedSet):
                _check_operations(node.operations)
        if dice > DICE_MAX:
            raise BadDice(f"more than {DICE_MAX} dice")
        level = [child for node in level for child in node.children]
        if not level:
            return dice
    raise BadDice(f"nests deeper than {DEPTH_MAX}")


def _check_operations(operations: Iterable[Any]) -> None:
    for operation in operations:
        kinds = {selector.cat for selector in operation.sels}
        if operation.op in _BY_VALUE and kinds & {"l", "h"}:
            raise BadDice("dice are rerolled and explode by value, as in rr1 or e6; not by highest or lowest")
        if operation.op in _BY_NUMBER and kinds != {None}:
            raise BadDice("a minimum or maximum is a number, as in mi2 or ma5")
