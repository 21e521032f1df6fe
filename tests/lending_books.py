"""Naive books of a lending market: who gave what to whom, of events and decisions alone.

Every amount leaves one place for another, so nothing is ever lost in them; what they say of every
place is compared with what the engine says of it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal as D
from typing import NamedTuple

from engine import decisions as d
from engine import events as e
from engine.core import Engine
from tests.shipped_market import held

Place = tuple[str, ...]
NOTHING = D(0)


class Flow(NamedTuple):
    """An amount of an asset that goes from one place to another."""

    source: Place
    target: Place
    asset: str
    amount: D


class Books:
    """A watcher that keeps books beside the engine, and compares them after every event.

    Places inside: ("cash", account, margin), ("pool", name), ("lot", name), ("fund",). Outside:
    ("world",) for accounts, ("market", pool) for liquidators, takers and keepers, ("donor",).
    """

    def __init__(self) -> None:
        self.sums: dict[tuple[Place, str], D] = defaultdict(D)
        self.lost: dict[tuple[str, str], D] = defaultdict(D)
        self.outstanding: dict[str, D] = defaultdict(D)
        self.lots: dict[str, str] = {}
        self.due = NOTHING

    def before(self, engine: Engine, event: e.AnyEvent) -> None:
        """Note what is due where an event takes no more than that."""
        if isinstance(event, e.Repay | e.Seized) and event.account in engine.accounts:
            group = engine.group_of(event.account, event.margin)
            self.due = held(engine, group, event.pool)[1]
            if isinstance(event, e.Repay):
                self.due += group.given_up.get(event.pool, NOTHING)

    def after(self, engine: Engine, event: e.AnyEvent, decided: Sequence[d.Decision]) -> None:
        """Book what happened, and compare."""
        self._book(engine, event, decided)
        self._compare(engine)

    def _book(self, engine: Engine, event: e.AnyEvent, decided: Sequence[d.Decision]) -> None:
        refused = any(isinstance(one, d.Refused | d.WithdrawalUnpaid) for one in decided)
        flows = [] if refused else list(self._told(engine, event))
        for decision in decided:
            flows += self._decided(engine, decision)
            self._lose(decision)
        for source, target, asset, amount in flows:
            assert amount >= 0
            self.sums[source, asset] -= amount
            self.sums[target, asset] += amount

    def _told(self, engine: Engine, event: e.AnyEvent) -> Iterator[Flow]:
        """Yield what an event moves."""
        if isinstance(event, e.FundMoved):
            target = ("pool", event.pool) if event.pool else ("fund",)
            yield Flow(("donor",), target, event.asset, event.amount)
        if not isinstance(event, e.AccountEvent):
            return
        cash: Place = ("cash", event.account, e.CROSS)
        if isinstance(event, e.Deposit):
            yield Flow(("world",), cash, event.asset, event.amount)
        elif isinstance(event, e.Withdrawal):
            yield Flow(cash, ("world",), event.asset, event.amount)
        elif isinstance(event, e.Seized):
            yield from self._seized(engine, event, cash)
        elif isinstance(event, e.AuctionTaken):
            pool, lot = event.auction_id.split(":")[-1], self.lots[event.auction_id]
            taker: Place = ("market", pool)
            yield Flow(("lot", lot), ("market", lot), _asset(engine, lot), event.amount)
            yield Flow(taker, ("pool", pool), _asset(engine, pool), event.paid)
        elif isinstance(event, e.LoanEvent):
            asset, fund = _asset(engine, event.pool), ("pool", event.pool)
            if isinstance(event, e.Supplied):
                yield Flow(cash, fund, asset, event.amount)
            elif isinstance(event, e.Repay):
                yield Flow(cash, fund, asset, min(event.amount, self.due))
            else:
                yield Flow(fund, cash, asset, event.amount)

    def _seized(self, engine: Engine, event: e.Seized, cash: Place) -> Iterator[Flow]:
        asset, paid = _asset(engine, event.pool), min(event.repaid, self.due)
        yield Flow(("market", event.pool), ("pool", event.pool), asset, paid)
        yield Flow(("market", event.pool), cash, asset, event.repaid - paid)
        if not event.liquidator:
            asset, out = _asset(engine, event.collateral), event.seized - event.fee
            yield Flow(("pool", event.collateral), ("market", event.collateral), asset, out)

    def _decided(self, engine: Engine, made: d.Decision) -> Iterator[Flow]:
        """Yield what the engine moved by itself."""
        if isinstance(made, d.SetOff):
            source: Place = ("cash", made.account, made.margin)
            yield Flow(source, ("pool", made.pool), _asset(engine, made.pool), made.amount)
        elif isinstance(made, d.FundDraw):
            yield Flow(("fund",), ("pool", made.market), made.asset, made.amount)
        elif isinstance(made, d.AuctionStarted):
            self.lots[made.auction_id] = lot = made.collateral
            yield Flow(("pool", lot), ("lot", lot), _asset(engine, lot), made.lot)
        elif isinstance(made, d.AuctionEnded):
            lot = self.lots[made.auction_id]
            yield Flow(("lot", lot), ("pool", lot), _asset(engine, lot), made.returned)
        if isinstance(made, d.AuctionStarted | d.AuctionReset):
            pool = made.auction_id.split(":")[-1]
            yield Flow(("pool", pool), ("market", pool), _asset(engine, pool), made.keeper_pay)

    def _lose(self, made: d.Decision) -> None:
        """Count what was lost, and who bore it."""
        layers = d.FundDraw | d.ReserveDraw | d.LossSocialised | d.BadDebt
        if isinstance(made, d.Shortfall):
            self.lost["lost", made.market] += made.amount
        elif isinstance(made, layers):
            self.lost["borne", made.market] += made.amount
        if isinstance(made, d.BadDebt):
            self.outstanding[made.market] += made.amount
        elif isinstance(made, d.BadDebtRecovered):
            assert made.outstanding <= made.amount
            self.outstanding[made.market] -= made.outstanding

    def _compare(self, engine: Engine) -> None:
        """Compare every place with what the engine has there."""
        ledger, found = engine.ledger, dict.fromkeys(self.sums, NOTHING)
        for group in engine.book.all_groups():
            for asset, amount in group.cash.items():
                found[("cash", *group.key), asset] = amount
        for name, pool in engine.markets.lending.items():
            asset = _asset(engine, name)
            found[("pool", name), asset] = pool.cash
            found[("market", name), asset] = ledger.clearing[name, asset]
            assert pool.deficit == self.outstanding[name]
            assert self.lost["lost", name] == self.lost["borne", name]
            assert ledger.bad_debt[asset, name] - ledger.recovered[asset, name] == pool.deficit
        for group in engine.liquidating:
            for auction in group.liquidation.auctions.values() if group.liquidation else ():
                place = ("lot", auction.collateral), _asset(engine, auction.collateral)
                found[place] = found.get(place, NOTHING) + auction.lot
        for asset in engine.rules.assets:
            found[("fund",), asset] = ledger.fund[asset]
            found[("donor",), asset] = -ledger.top_ups[asset]
            found[("world",), asset] = ledger.withdrawals[asset] - ledger.deposits[asset]
        differ = {
            key: (told, self.sums[key]) for key, told in found.items() if told != self.sums[key]
        }
        assert not differ, differ


def _asset(engine: Engine, pool: str) -> str:
    return engine.rules.pool(pool).asset
