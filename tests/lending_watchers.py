"""What must be true of a lending market after every event, watched one sentence at a time."""

from collections.abc import Mapping, Sequence
from decimal import Decimal as D
from typing import NamedTuple

from engine import decisions as d
from engine import events as e
from engine import invariants
from engine.book import Group
from engine.core import Engine
from engine.holdings import Loan
from engine.interest import INDEX_STEP
from engine.lending import WholeAccount
from engine.loan_values import indices_now
from engine.pools import Indices

ONE = D(1)


class Watched:
    """A watcher that looks at nothing."""

    def before(self, engine: Engine, event: e.AnyEvent) -> None:
        """Look at the market before an event."""

    def after(self, engine: Engine, event: e.AnyEvent, decided: Sequence[d.Decision]) -> None:
        """Look at the market after an event."""


class Invariants(Watched):
    """The engine's own sentences."""

    def after(self, engine: Engine, event: e.AnyEvent, decided: Sequence[d.Decision]) -> None:
        """Check every one of them."""
        invariants.check(engine)


class Factor(NamedTuple):
    """A health factor as the quotient that it is: what counts, and what that has to cover."""

    counted: D
    owed: D

    def falls_to(self, after: "Factor", allowed: "Factor") -> bool:
        """Tell whether it is lower after, by more than so much less counted and more owed."""
        counted, owed = after.counted + allowed.counted, max(after.owed - allowed.owed, D(0))
        return counted * self.owed < self.counted * owed


def factor_of(engine: Engine, group: Group) -> Factor:
    """Return the health factor of a group."""
    state = engine.health_of(group)
    assert state is not None
    return Factor(state.margin_equity, state.maintenance)


class Planned:
    """A seizure as it was decided, and where the group stood then."""

    def __init__(self, engine: Engine, group: Group, made: d.CollateralLiquidation) -> None:
        self.made = made
        self.factor = factor_of(engine, group)
        self.fills = 0
        self.terms = terms(engine, group)


def terms(engine: Engine, group: Group) -> tuple[int, Mapping[str, Loan], dict[str, D]]:
    """Return what a seizure was planned at: the time, the loans, and the prices."""
    prices = {name: mark.price for (name, _), mark in engine.prices.items()}
    return engine.time, group.loans, prices


class Health(Watched):
    """A seizure carried out as it was decided never lowers the health factor, unless the decision
    says that it is toxic; an auction that takes collateral and debt away does not either.

    Allowed: what rounding may take. The supply taken is rounded up by less than a unit of principal
    and what is left down by less than a unit, the debt taken down and what is left up, as much;
    where what collateral is worth is quoted down, a unit of the debt may come on top.
    """

    def __init__(self) -> None:
        self.planned: dict[str, Planned] = {}
        self.judged = 0
        self.toxic = 0
        self.fallen = 0

    def before(self, engine: Engine, event: e.AnyEvent) -> None:
        """Forget plans whose terms are no longer those of now."""
        if isinstance(event, e.Seized):
            plan = self.planned.get(event.order_id)
            group = engine.group_of(event.account, event.margin)
            if plan and plan.terms != terms(engine, group):
                del self.planned[event.order_id]

    def after(self, engine: Engine, event: e.AnyEvent, decided: Sequence[d.Decision]) -> None:
        """Judge a seizure, and what was put on auction; note what is planned."""
        refused = any(isinstance(one, d.Refused) for one in decided)
        if isinstance(event, e.Seized) and not refused:
            self._seized(engine, engine.group_of(event.account, event.margin), event.order_id)
        for made in decided:
            if isinstance(made, d.CollateralLiquidation):
                group = engine.group_of(made.account, made.margin)
                self.planned[made.order_id] = Planned(engine, group, made)
            elif isinstance(made, d.AuctionStarted):
                self._on_auction(engine, made, decided)

    def _seized(self, engine: Engine, group: Group, order_id: str) -> None:
        plan = self.planned.get(order_id)
        for other in self.planned.values():
            if (other.made.account, other.made.margin) == group.key:
                other.fills += 1
                other.terms = terms(engine, group)
        if plan is None or self._others_live(engine, group, order_id):
            return
        falls = plan.factor.falls_to(
            factor_of(engine, group), rounding(engine, plan.made, plan.fills)
        )
        assert plan.made.toxic or not falls, (plan.made, plan.factor, factor_of(engine, group))
        self.judged += 1
        self.toxic += plan.made.toxic
        self.fallen += falls

    def _others_live(self, engine: Engine, group: Group, order_id: str) -> bool:
        """Tell whether a whole account is not yet taken: its seizures are one."""
        lending = engine.rules.lending
        assert lending is not None
        if not isinstance(lending.repay, WholeAccount):
            return False
        live = group.liquidation.orders if group.liquidation else {}
        known = [name for name in live if name in self.planned]
        return order_id in live or bool(known)

    def _on_auction(
        self, engine: Engine, made: d.AuctionStarted, decided: Sequence[d.Decision]
    ) -> None:
        """Compare with the evidence of the start, where that was the last thing before."""
        about = [one for one in decided if isinstance(one, d.GroupDecision)]
        mine = [one for one in about if (one.account, one.margin) == (made.account, made.margin)]
        started = [one for one in mine if isinstance(one, d.LiquidationStarted)]
        auctions = [one for one in mine if isinstance(one, d.AuctionStarted)]
        if not started or len(auctions) > 1:
            return
        before = Factor(started[0].margin_equity, started[0].maintenance)
        after = factor_of(engine, engine.group_of(made.account, made.margin))
        falls = before.falls_to(after, rounding(engine, made, 1))
        assert made.toxic or not falls, (made, before, after)
        self.judged += 1
        self.toxic += made.toxic
        self.fallen += falls


def rounding(
    engine: Engine, made: d.CollateralLiquidation | d.AuctionStarted, fills: int
) -> Factor:
    """Return by how much less may count, and more be owed, after so many fills."""
    lending = engine.rules.lending
    assert lending is not None
    backing = engine.rules.pool(made.collateral).asset
    owing = engine.rules.pool(made.pool).asset
    units = [engine.rules.assets[asset].unit for asset in (backing, owing)]
    prices = [engine.price_of(asset) or D(0) for asset in (backing, owing)]
    supply = indices_now(made.collateral, engine.rules, engine.markets).supply
    borrow = indices_now(made.pool, engine.rules, engine.markets).borrow
    quoted = ONE if lending.quoted == "down" else D(0)
    return Factor(
        fills * (supply + 1) * units[0] * prices[0],
        fills * (borrow + 1 + quoted) * units[1] * prices[1],
    )


class Rounding(Watched):
    """What is planned is never worth more than what is repaid with its bonus, and principals go
    the pool's way when it is carried out."""

    def __init__(self) -> None:
        self.planned = 0
        self.carried_out = 0
        self.principals: tuple[Loan, Loan] = (Loan(D(0), D(0)), Loan(D(0), D(0)))

    def before(self, engine: Engine, event: e.AnyEvent) -> None:
        """Note the principals."""
        if isinstance(event, e.Seized):
            self.principals = _principals(engine, event)

    def after(self, engine: Engine, event: e.AnyEvent, decided: Sequence[d.Decision]) -> None:
        """Judge what is planned, and what was carried out."""
        for made in decided:
            if isinstance(made, d.CollateralLiquidation):
                self._judge(engine, made)
        refused = any(isinstance(one, d.Refused) for one in decided)
        moved = any(isinstance(one, d.SetOff | d.Shortfall) for one in decided)
        if isinstance(event, e.Seized) and not (refused or moved):
            self._carried_out(engine, event)

    def _judge(self, engine: Engine, made: d.CollateralLiquidation) -> None:
        lending = engine.rules.lending
        assert lending is not None
        owing = engine.rules.pool(made.pool).asset
        prices = [engine.price_of(asset) or D(0) for asset in (_backing(engine, made), owing)]
        # A worth that the rules of a market quote down costs the pool up to a unit of the debt.
        unit = engine.rules.assets[owing].unit if lending.quoted == "down" else D(0)
        paid = made.repay * prices[1] * (ONE + made.bonus) + unit * prices[1]
        worth = made.seize * prices[0]
        assert worth < paid if unit else worth <= paid, made
        assert made.fee <= made.seize
        self.planned += 1

    def _carried_out(self, engine: Engine, event: e.Seized) -> None:
        debt, collateral = self.principals
        after = _principals(engine, event)
        supply = indices_now(event.collateral, engine.rules, engine.markets).supply
        borrow = indices_now(event.pool, engine.rules, engine.markets).borrow
        taken, paid = collateral.supplied - after[1].supplied, debt.owed - after[0].owed
        if after[1].supplied:
            assert taken * supply >= event.seized
        if after[0].owed:
            assert paid * borrow <= event.repaid
        self.carried_out += 1


def _principals(engine: Engine, event: e.Seized) -> tuple[Loan, Loan]:
    group = engine.group_of(event.account, event.margin)
    return engine.book.loan_of(group, event.pool), engine.book.loan_of(group, event.collateral)


def _backing(engine: Engine, made: d.CollateralLiquidation) -> str:
    return engine.rules.pool(made.collateral).asset


class Growth(Watched):
    """Indices never fall, but for that of suppliers where they bear a loss, and then by no more
    than it and what rounding an index leaves."""

    def __init__(self) -> None:
        self.indices: dict[str, Indices] = {}
        self.socialised = 0

    def before(self, engine: Engine, event: e.AnyEvent) -> None:
        """Note the indices."""
        self.indices = _indices(engine)

    def after(self, engine: Engine, event: e.AnyEvent, decided: Sequence[d.Decision]) -> None:
        """Compare them."""
        losses: dict[str, list[d.LossSocialised]] = {}
        for made in decided:
            if isinstance(made, d.LossSocialised):
                losses.setdefault(made.market, []).append(made)
        now = _indices(engine)
        for name, before in self.indices.items():
            assert now[name].borrow >= before.borrow, name
            if name not in losses:
                assert now[name].supply >= before.supply, name
                continue
            supplied = engine.markets.lending[name].supplied
            borne = sum((made.amount + supplied * INDEX_STEP for made in losses[name]), D(0))
            assert supplied * (before.supply - now[name].supply) <= borne, losses[name]
            assert all(made.before > made.after > 0 for made in losses[name])
            assert now[name].supply == losses[name][-1].after
            self.socialised += len(losses[name])


def _indices(engine: Engine) -> dict[str, Indices]:
    """Return the indices of now of every pool that has begun."""
    names = list(engine.markets.lending)
    return {name: indices_now(name, engine.rules, engine.markets) for name in names}
