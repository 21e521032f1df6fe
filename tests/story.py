"""Events told one after another to an engine or its twin, numbered and timed."""

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any, Protocol

from engine import events
from engine.core import Engine
from engine.decisions import Decision
from engine.instruments import Asset, Perpetual
from engine.profile import Bracket, Collateral, Requirement, RiskProfile

USDT = Asset("USDT", 8, D(10) ** 9)
BTC = Asset("BTC", 8, D(10) ** 6)


class Machine(Protocol):
    """What the numbers are asked of."""

    def apply(self, event: events.AnyEvent) -> Sequence[Decision]: ...
    def cash(self, account: str, margin: str = "cross") -> dict[str, D]: ...
    def ledger(self, name: str) -> dict[Any, D]: ...


class WholeEngine:
    """The engine, all slices at once."""

    def __init__(self) -> None:
        self.engine = Engine(shard=0)

    def apply(self, event: events.AnyEvent) -> Sequence[Decision]:
        """Return every decision of an event."""
        decided = list(self.engine.apply(event))
        while more := self.engine.proceed():
            decided += more
        return decided

    def cash(self, account: str, margin: str = "cross") -> dict[str, D]:
        """Return the cash of a group by asset, zeros left out."""
        group = self.engine.accounts[account].groups.get(margin)
        return {asset: amount for asset, amount in group.cash.items() if amount} if group else {}

    def ledger(self, name: str) -> dict[Any, D]:
        """Return one of the ledger's sums, zeros left out."""
        return {key: amount for key, amount in getattr(self.engine.ledger, name).items() if amount}

    def waits(self, account: str, margin: str) -> str:
        """Return what the liquidation of a group waits for, "" for nothing."""
        liquidation = self.engine.accounts[account].groups[margin].liquidation
        return liquidation.waits if liquidation else ""


class Story:
    """Tells events to a machine, numbering and timing them, and keeps what it decides."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.decided: list[Decision] = []
        self.sequences: dict[str, int] = {}
        self.time = 0

    def tell(self, kind: type[Any], /, **fields: Any) -> Sequence[Decision]:
        """Tell an event and return what is decided."""
        self.time += 1
        series = fields.get("account") or f"{kind.__name__} {fields.get('symbol')}"
        if "shard" in fields:
            series = "fund"  # What is moved, recovered and written off counts in one series.
        if "sequence" in kind.__struct_fields__:
            self.sequences[series] = self.sequences.get(series, 0) + 1
            fields["sequence"] = self.sequences[series]
        decided = self.machine.apply(kind(time=self.time, **fields))
        self.decided += decided
        return decided

    def rules(self, *perpetuals: Perpetual, rate: str, **fields: Any) -> None:
        """List instruments under one bracket with a maintenance `rate`."""
        bracket = Bracket(D(10) ** 9, initial_rate=D(1), maintenance_rate=D(rate))
        rules: dict[str, Any] = {
            "collateral": {"USDT": Collateral(), "BTC": Collateral()},
            **fields,
        }
        profile = RiskProfile(
            name="worked",
            numeraire="USDT",
            requirements={"*": Requirement((bracket,))},
            conversion=("USDT", "BTC"),
            **rules,
        )
        for asset in (USDT, BTC):
            self.tell(events.InstrumentListed, instrument=asset)
        self.tell(events.ProfileChanged, profile=profile)
        for perpetual in perpetuals:
            self.tell(events.InstrumentListed, instrument=perpetual)

    def deposit(self, account: str, asset: str, amount: str) -> None:
        """Bring money."""
        self.tell(events.Deposit, account=account, asset=asset, amount=D(amount))

    def fill(
        self, account: str, symbol: str, size: str, price: str, fee: str = "0", **fields: Any
    ) -> Sequence[Decision]:
        """Trade."""
        about = {"margin": "cross", "fee_asset": "USDT", "fill_id": str(self.time), **fields}
        return self.tell(
            events.Fill,
            account=account,
            symbol=symbol,
            size=D(size),
            price=D(price),
            fee=D(fee),
            **about,
        )

    def price(self, symbol: str, price: str, kind: str = "mark") -> Sequence[Decision]:
        """Quote a price."""
        return self.tell(
            events.PriceUpdate, source="venue", symbol=symbol, kind=kind, price=D(price)
        )


def engine_of(story: Story) -> Engine:
    """Return the engine that a story is told to."""
    engine: Engine = story.machine.engine
    return engine


def only(kind: type[Any], decided: Sequence[Decision]) -> Any:
    """Return the one decision of a kind."""
    (found,) = of(kind, decided)
    return found


def of(kind: type[Any], decided: Sequence[Decision]) -> list[Any]:
    """Return the decisions of a kind."""
    return [decision for decision in decided if isinstance(decision, kind)]
