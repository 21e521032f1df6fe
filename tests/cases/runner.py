"""Read cases, put each to the engine, and say what came of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, NamedTuple

from engine.money import EXACT, ZERO, exact, plain
from tests.cases.accounts import Inputs, NotExpressible, number
from tests.cases.adapters import KINDS, NOT_YET
from tests.cases.defects import Defect

Verdict = Literal["pass", "fail", "defect", "not expressible"]

TOLD: dict[Verdict, str] = {
    "pass": "passed",
    "fail": "failed",
    "defect": "defect",
    "not expressible": "not expressible",
}
"""What the summary calls each verdict; defects of venues only where there are some."""

DIGITS_SHOWN = 30

FLOAT_DIGITS = 15
"""So many digits of a float mean something: a number with more that is not text is a float's."""


class Malformed(ValueError):
    """A file is no file of cases; the message names it and says why."""


class Outcome(NamedTuple):
    """What came of one case; `said` is empty when it passes, and the arithmetic of a defect."""

    id: str
    verdict: Verdict
    said: str = ""

    def __str__(self) -> str:
        return f"{self.verdict} {self.id}" + (f": {self.said}" if self.said else "")


def read(path: str | Path) -> list[Inputs]:
    """Return the cases of a file; raises `Malformed` naming every fault, `OSError`."""
    try:
        text = Path(path).read_text()
        cases = json.loads(text, parse_float=Decimal, object_hook=Inputs)
    except ValueError as error:
        raise Malformed(f"{path}: not JSON: {error}") from error
    if not isinstance(cases, list):
        raise Malformed(f"{path}: expected an array of cases")
    if faults := list(_faults(cases)):
        raise Malformed("\n".join(f"{path}: {fault}" for fault in faults))
    return cases


def _faults(cases: list[Any]) -> Iterator[str]:
    for place, case in enumerate(cases, start=1):
        if not isinstance(case, dict):
            yield f"case {place}: expected an object"
            continue
        name = f"case {place} ({case.get('id', 'without id')})"
        for key, kind in (("id", str), ("kind", str), ("inputs", dict), ("expected", dict)):
            if not isinstance(case.get(key), kind):
                yield f"{name}: {key}: missing, or not {kind.__name__}"
    names = Counter(case["id"] for case in cases if isinstance(case, dict) and "id" in case)
    yield from (f"{name}: {count} cases of this id" for name, count in names.items() if count > 1)


@exact
def run(case: Inputs) -> Outcome:
    """Put one case to the engine and compare what comes of it with what is expected."""
    name, kind = case["id"], case["kind"]
    if kind not in KINDS:
        reason = NOT_YET.get(kind, "no rule of the engine is of this kind yet")
        return Outcome(name, "not expressible", f"{kind}: {reason}")
    try:
        tolerance = _tolerance(case.get("tolerance") or 0)
        results = KINDS[kind](case["inputs"])
    except NotExpressible as reason:
        return Outcome(name, "not expressible", str(reason))
    except Exception as error:
        # Whatever it is, the other cases have their turn.
        return Outcome(name, "fail", f"{type(error).__name__}: {error}")
    if unknown := sorted(case["expected"].keys() - results.keys()):
        return Outcome(name, "not expressible", f"{kind} does not give {', '.join(unknown)}")
    differences, defects = [], []
    for key, expected in case["expected"].items():
        got = results[key]
        if isinstance(got, Defect):
            if not [*_differences(key, expected, got.asserted, tolerance)]:
                defects.append(f"{key} {_shown(got.value)}, not {_shown(expected)}: {got.why}")
                continue
            got = got.value
        differences += _differences(key, expected, got, tolerance)
    if differences or not defects:
        return Outcome(name, "fail" if differences else "pass", "; ".join(differences))
    return Outcome(name, "defect", "; ".join(defects))


class Tolerance(NamedTuple):
    """How far a result may be off: by an amount, and by a part of what is expected."""

    amount: Decimal
    part: Decimal = ZERO

    def of(self, expected: Any, wanted: Decimal) -> Decimal:
        """Return how far off a number may be that a file has as `expected`."""
        allowed = max(self.amount, self.part * abs(wanted))
        if isinstance(expected, Decimal) and len(expected.as_tuple().digits) > FLOAT_DIGITS:
            return max(allowed, abs(wanted).scaleb(-FLOAT_DIGITS))
        return allowed


def _tolerance(told: Any) -> Tolerance:
    if isinstance(told, dict):
        return Tolerance(number(told.get("abs", 0)), number(told.get("rel", 0)))
    return Tolerance(number(told))


def _differences(key: str, expected: Any, got: Any, tolerance: Tolerance) -> Iterator[str]:
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for place, (one, other) in enumerate(zip(expected, got, strict=True), start=1):
            yield from _differences(f"{key}[{place}]", one, other, tolerance)
        return
    if isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        for name, one in expected.items():
            yield from _differences(f"{key}.{name}", one, got[name], tolerance)
        return
    if isinstance(got, bool) or not isinstance(got, Decimal | int):
        if expected != got:
            yield f"expected {key} {_shown(expected)} got {_shown(got)}"
        return
    wanted = _number_of(expected)
    if wanted is None:
        yield f"expected {key} {_shown(expected)} got {_shown(got)}"
    elif abs(got - wanted) > tolerance.of(expected, wanted):
        yield (
            f"expected {key} {_shown(wanted)} got {_shown(got)} (difference {_shown(got - wanted)})"
        )


def _number_of(expected: Any) -> Decimal | None:
    if isinstance(expected, bool) or not isinstance(expected, str | int | Decimal):
        return None
    try:
        return number(expected)
    except InvalidOperation:
        return None


def _shown(value: Any) -> str:
    """Write a value, a long number to so many digits."""
    if value is None:
        return "none"
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        return str(value).lower() if isinstance(value, bool) else str(value)
    shown = EXACT.copy()
    shown.prec, shown.traps = DIGITS_SHOWN, dict.fromkeys(shown.traps, False)
    return plain(shown.plus(Decimal(value)))


def summary(outcomes: Iterable[Outcome]) -> str:
    """Return how many of each verdict there are."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    return ", ".join(
        f"{counts[verdict]} {said}"
        for verdict, said in TOLD.items()
        if counts[verdict] or verdict != "defect"
    )
