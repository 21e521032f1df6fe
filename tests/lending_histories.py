"""Histories of a shipped lending market: what people do in it, drawn at random."""

from collections.abc import Sequence
from decimal import Decimal as D
from decimal import localcontext
from typing import NamedTuple

from hypothesis import strategies as st

from engine import decisions as d
from engine import events as e
from engine.money import EXACT, floor_to
from tests.shipped_market import (
    BORROWERS,
    DAY,
    HOUR,
    LENDER,
    LIQUIDATOR,
    YEAR,
    Market,
    ShippedMarket,
    Watcher,
)


class Act(NamedTuple):
    """One thing that is done: who and where by `place`, of what by `choice`, how much by `size` (a
    part of 1,000)."""

    kind: str
    place: int
    choice: int
    size: int


class Player:
    """Does what is drawn to a market, as far as that makes sense there."""

    def __init__(self, market: ShippedMarket) -> None:
        self.market = market

    def play(self, acts: Sequence[Act]) -> None:
        """Do one thing after another."""
        for act in acts:
            getattr(self, f"_{act.kind}")(act)

    def _where(self, act: Act) -> tuple[str, Market]:
        markets = self.market.markets
        return BORROWERS[act.place % len(BORROWERS)], markets[act.place % len(markets)]

    def _pool(self, names: Sequence[str], act: Act) -> str:
        return names[act.choice % len(names)]

    def _open(self, act: Act) -> None:
        """Back a loan, and open it up to its most."""
        self._supply(act)
        self._borrow(act._replace(choice=act.choice + act.place + 1, size=500))

    def _supply(self, act: Act) -> None:
        who, where = self._where(act)
        pool = self._pool(where.collaterals, act)
        amount = self.market.amount_of(pool, D(act.size * 30))
        self.market.supply(who, pool, amount, where.margin)

    def _lend(self, act: Act) -> None:
        pool = self._pool(self._where(act)[1].lends, act)
        self.market.supply(LENDER, pool, self.market.amount_of(pool, D(act.size * 30)))

    def _redeem(self, act: Act) -> None:
        who, where = self._where(act)
        self._take_back(act, who, self._pool(where.collaterals, act), where.margin)

    def _recall(self, act: Act) -> None:
        self._take_back(act, LENDER, self._pool(self._where(act)[1].lends, act), e.CROSS)

    def _take_back(self, act: Act, who: str, pool: str, margin: str) -> None:
        """Redeem a part of what was supplied, now and then more than all of it."""
        has = self.market.held(who, pool, margin)[0]
        amount = self._part(pool, has, act.size, 950)
        if not amount:
            return
        decided = self.market.loan(e.Redeemed, who, pool, amount, margin)
        if not any(isinstance(one, d.WithdrawalUnpaid | d.Refused) for one in decided):
            self.market.take_away(who, pool, amount)

    def _borrow(self, act: Act) -> None:
        """Borrow what may be opened, less of it, or twice as much; keep some of it in cash."""
        who, where = self._where(act)
        pool = self._pool(where.lends, act)
        amount = self._part(pool, self.market.room(who, pool, where.margin), act.size, 500)
        known = self.market.engine.markets.lending.get(pool)
        amount = min(amount, known.cash if known else D(0))
        if amount:
            decided = self.market.loan(e.Borrow, who, pool, amount, where.margin)
            refused = any(isinstance(one, d.Refused) for one in decided)
            if not refused and (act.choice + act.size) % 4:
                self.market.take_away(who, pool, amount)

    def _repay(self, act: Act) -> None:
        """Repay some of what is owed, or was given up, now and then more than that."""
        who, where = self._where(act)
        pool = self._pool(where.lends, act)
        given_up = self.market.group(who, where.margin).given_up.get(pool, D(0))
        owed = self.market.held(who, pool, where.margin)[1] + given_up
        amount = self._part(pool, owed, act.size, 900)
        if amount:
            self.market.repay(who, pool, amount, where.margin)

    def _part(self, pool: str, whole: D, size: int, of: int) -> D:
        with localcontext(EXACT):
            return floor_to(
                whole * size, self.market.unit(self.market.lending.pools[pool].asset), D(of)
            )

    def _drift(self, act: Act) -> None:
        """Move a price by up to a tenth."""
        self._move(act, D(9_000 + 2 * act.size) / 10_000)

    def _crash(self, act: Act) -> None:
        """Leave a part of a price, down to a thousandth of it."""
        self._move(act, D(act.size) / 1000)

    def _soar(self, act: Act) -> None:
        self._move(act, D(1000 + 2 * act.size) / 1000)

    def _move(self, act: Act, factor: D) -> None:
        asset = self.market.assets[(act.place + act.choice) % len(self.market.assets)]
        price = self.market.engine.price_of(asset)
        assert price is not None
        with localcontext(EXACT):
            self.market.worth(asset, price * factor)

    def _sink(self, act: Act) -> None:
        """Let the first collateral of a group fall to about where it is liquidated."""
        who, where = self._where(act)
        with localcontext(EXACT):
            state = self.market.engine.health_of(self.market.group(who, where.margin))
            backs = [one for one in state.loans if one.counted] if state else []
            if state is None or not backs or not state.maintenance:
                return
            most = max(backs, key=lambda loan: loan.counted)
            rest = state.margin_equity - most.counted
            left = max(state.maintenance - rest, D(0)) * (850 + act.size // 5)
            # To just under the threshold, or to 15 % below and beyond it.
            price = floor_to(left * most.price, D("1e-8"), most.counted * 1000)
        self.market.worth(most.asset, price)

    def _wait(self, act: Act) -> None:
        """Let up to a year pass, or up to a day while auctions are reset every few hours."""
        longest = (HOUR, DAY) if self.market.auctions() else (HOUR, DAY, 30 * DAY, YEAR)
        self.market.wait(longest[act.choice % len(longest)] * act.size // 1000)

    def _seize(self, act: Act) -> None:
        """Answer what is asked for: all of it or a part, paid out or as a claim."""
        for order in self.market.orders()[: 1 + act.choice % 2]:
            part = act.size if act.place % 3 == 0 else 1000
            claim = order.paid_in == "supply" or act.choice % 3 == 0
            self.market.seize(order, part, LIQUIDATOR if claim else "")

    def _take(self, act: Act) -> None:
        """Buy what is on auction, at its price or above, all of it or a part."""
        for group, auction in self.market.auctions()[: 1 + act.choice % 2]:
            part = act.size if act.place % 3 == 0 else 1000
            self.market.take(group, auction, part, over=act.choice % 3 * 5)

    def _expire(self, act: Act) -> None:
        """Let orders expire, and the venue say that they are gone."""
        decided = self.market.wait(self.market.profile.liquidation.order_ttl)
        for cancel in (one for one in decided if isinstance(one, d.CancelOrder)):
            filled = self.market.engine.find_live(cancel.account, cancel.order_id)
            self.market.tell(
                e.OrderClosed, account=cancel.account, order_id=cancel.order_id,
                filled_size=filled[1].filled if filled else D(0),
            )  # fmt: skip


KINDS = (
    *("open", "open", "supply", "lend", "redeem", "recall", "borrow", "borrow", "repay"),
    *("drift", "crash", "soar", "sink", "sink", "sink", "wait", "wait"),
    *("seize", "seize", "seize", "take", "take", "take", "expire"),
)


def acts(least: int = 4, most: int = 24) -> st.SearchStrategy[list[Act]]:
    """Return what is done in a history; it begins with two loans that are opened."""
    one = st.builds(
        Act, st.sampled_from(KINDS), st.integers(0, 5), st.integers(0, 11), st.integers(1, 1000)
    )
    opened = st.builds(
        Act, st.just("open"), st.integers(0, 5), st.integers(0, 11), st.integers(1, 1000)
    )
    return st.tuples(opened, opened, st.lists(one, min_size=least, max_size=most)).map(
        lambda drawn: [drawn[0], drawn[1], *drawn[2]]
    )


def play(name: str, done: Sequence[Act], *watchers: Watcher, decimals: int = 8) -> ShippedMarket:
    """Return a market in which all that was done."""
    market = ShippedMarket(name, *watchers, decimals=decimals)
    Player(market).play(done)
    return market
