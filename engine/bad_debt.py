"""Bad debt after it was booked: what of it is outstanding, recovered or written off.

Keys are (asset, market), amounts in the asset; docs/semantics.md, 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from engine import conditions as check
from engine import events as e
from engine.conditions import Checks
from engine.money import ZERO, plain
from engine.touch import Touch

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.ledger import Ledger

Key = tuple[str, str]


class Standing(NamedTuple):
    """What one asset and market stand at: total = outstanding + recovered + written_off of what was
    booked; `unrealised` is what groups not booked yet lack at mark."""

    total: Decimal
    outstanding: Decimal
    recovered: Decimal
    written_off: Decimal
    unrealised: Decimal


def outstanding(ledger: Ledger, key: Key) -> Decimal:
    """Return what of the bad debt of a market is neither recovered nor written off."""
    settled = ledger.recovered.get(key, ZERO) + ledger.written_off.get(key, ZERO)
    return ledger.bad_debt.get(key, ZERO) - settled


def outstanding_in(ledger: Ledger, asset: str) -> Decimal:
    """Return what of all bad debt in an asset is outstanding."""
    keys = (key for key in ledger.bad_debt if key[0] == asset)
    return sum((outstanding(ledger, key) for key in keys), ZERO)


def standings(ledger: Ledger, unrealised: Mapping[Key, Decimal]) -> dict[Key, Standing]:
    """Return what every market stands at that has bad debt, booked or (as `survey` finds it) not
    yet."""
    return {
        key: Standing(
            ledger.bad_debt.get(key, ZERO),
            outstanding(ledger, key),
            ledger.recovered.get(key, ZERO),
            ledger.written_off.get(key, ZERO),
            unrealised.get(key, ZERO),
        )
        for key in sorted({*ledger.bad_debt, *unrealised})
    }


def checks(engine: Engine, event: e.Recovered | e.WrittenOff) -> Checks:
    """Check what comes in for bad debt, or is given up of it."""
    if event.shard != engine.shard:
        return
    yield check.asset(engine, event.asset)
    yield check.positive("amount", event.amount)
    yield check.amount(engine, "amount", event.amount, event.asset)
    left = outstanding(engine.ledger, (event.asset, event.market))
    if event.amount > left:
        detail = f"{plain(left)} {event.asset} of {event.market}, not {plain(event.amount)}"
        yield "outstanding", f"bad debt outstanding is {detail}"


def recovered(engine: Engine, event: e.Recovered) -> None:
    """Book what came in: a pool gets what it lacks of it."""
    if event.shard != engine.shard:
        return
    engine.ledger.recovered[event.asset, event.market] += event.amount
    engine.ledger.top_ups[event.asset] += event.amount
    _changed(engine, event)
    if check.is_pool(engine, event.market) and engine.rules.pool(event.market).asset == event.asset:
        pool = Touch(engine, event.market)
        paid = min(event.amount, pool.state.deficit)
        pool.move(cash=paid, deficit=-paid)
        pool.close()


def written_off(engine: Engine, event: e.WrittenOff) -> None:
    """Take note of what nobody waits for any more."""
    if event.shard == engine.shard:
        engine.ledger.written_off[event.asset, event.market] += event.amount
        _changed(engine, event)


def _changed(engine: Engine, event: e.Recovered | e.WrittenOff) -> None:
    engine.funds_changed(event.asset)
    engine.changed.markets.add(event.market)
