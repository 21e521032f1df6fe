"""Which accounts a price touches.

Floats that may only over-include. For every group that a price could take over a threshold, an
`alarm` is kept current with every price: what is missing to the threshold, with an error bound
added, so that it reaches zero before the threshold is reached. Groups whose alarm is at or above
zero are named; whether they crossed is decided exactly, elsewhere.

A group has up to two thresholds on its margin equity e and maintenance m, by what it would do next:
`rise` (m ≥ rise·e: a margin call or a breach) with the alarm m − rise·e, and `fall` (m ≤ fall·e: a
call may be forgotten, a liquidation may stop) with the relief fall·e − m. NaN: nothing to watch
for.

Where marginal brackets are all there is to a requirement, a leg's part in both is a straight line
in x, its price (inverse: one over its price), between two bracket edges: a tick costs one
multiplication and one addition a holder, and a tick that takes any holder over an edge revalues
those. Other requirements, and those of portfolios, are computed in numpy before and after; where
one may have jumped, the group is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.book import Group
from engine.leg_table import FIRST_CAPACITY
from engine.loan_watch import LoanWatch
from engine.margin import Health
from engine.pace import HELD_BACK, wait_of
from engine.portfolio_watch import PortfolioWatch
from engine.portfolios import underlying_of
from engine.risk_screen import RiskScreen
from engine.rules import Rules
from engine.screen_curve import ScreenCurve, ScreenProfit, ScreenWeight

if TYPE_CHECKING:
    from engine.book import Book
    from engine.leg_table import LegTable
    from engine.margin import LegHealth
    from engine.markets import Markets
    from engine.pools import Indices, LendingPool

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

RELATIVE_ERROR = 1e-8
"""Bound on the screens' error, as a part of the gross value of a group; a pass adds about 1e-16."""

PASSES_BEFORE_REBUILD = 1_000_000
"""Rounding errors add up with the passes; long before they matter the screens are built anew."""

STRAYED = 2.0
"""A price that left its reference by more than this factor has its holders noted again: bounds were
taken at the old prices, and a step of many magnitudes eats the digits of what it is added to."""

ROUNDINGS = 16
"""Units by which an inverse leg may be off: value and requirement are rounded to one each, and
their worth may have grown by the factor above, in its price and in its settlement asset's."""

STANDINGS = (
    "healthy", "called", "liquidating", "halted", "gap", "capped", "promised", "cooldown",
    "toxic", "unpriced"
)  # fmt: skip
"""What a margin group is counted as; a row that holds none has place 0 before them."""


class Watch:
    """The screens of one shard's book."""

    def __init__(self, book: Book, rules: Rules, markets: Markets) -> None:
        self._book = book
        self._rules = rules
        self._markets = markets
        self._passes = 0
        self._alarm = np.full(FIRST_CAPACITY, np.nan)
        self._relief = np.full(FIRST_CAPACITY, np.nan)
        self._rise = np.full(FIRST_CAPACITY, np.nan)
        self._fall = np.full(FIRST_CAPACITY, np.nan)
        self._standing = np.zeros(FIRST_CAPACITY, np.int8)
        self._net: dict[str, Floats] = {}
        self._required: dict[str, Floats] = {}
        self._concerned: dict[str, NDArray[np.bool_]] = {}
        self._holders: dict[str, Rows | None] = {}
        self._curves: dict[str, ScreenCurve] = {}
        self._weights: dict[str, ScreenWeight] = {}
        self._profit = ScreenProfit(None)
        self._references: dict[str, float] = {}
        self.portfolios = PortfolioWatch(book, rules, markets)
        self.loans = LoanWatch(book, rules, markets)
        self.risks = RiskScreen(FIRST_CAPACITY)

    def new_rules(self) -> None:
        """Take over changed rules; every group is to be noted again after."""
        profile = self._rules.in_force
        self._curves = {}
        self.portfolios.new_rules()
        self.loans.new_rules(len(self._alarm))
        self._profit = ScreenProfit(profile.profit if self._rules.weighs_profit else None)
        self._weights = {}
        for asset in self._rules.assets:
            self._weights[asset] = ScreenWeight(profile.collateral_of(asset))
            if asset != profile.numeraire and asset not in self._net:
                self._net[asset] = np.zeros(len(self._alarm))
                self._required[asset] = np.zeros(len(self._alarm))
                self._concerned[asset] = np.zeros(len(self._alarm), bool)

    def new_factor(self, symbol: str) -> None:
        """Take over a changed factor on a maintenance requirement; its holders are to be noted."""
        self._curves.pop(symbol, None)

    def curve(self, symbol: str) -> ScreenCurve:
        """Return what positions in a symbol need, in floats."""
        curve = self._curves.get(symbol)
        if curve is None:
            listed, rules = self._rules.derivatives[symbol], self._rules
            straight = listed.settle == rules.in_force.numeraire and not rules.weighs_profit
            curve = self._curves[symbol] = ScreenCurve(
                rules.curve(symbol),
                inverse=listed.inverse,
                unit=float(rules.assets[listed.settle].unit),
                factor=float(self._markets.maintenance_factor(symbol)),
                closing=float(rules.closing_rate(symbol)),
                straight=straight,
            )
        return curve

    def note(
        self, group: Group, state: Health | None, standing: str, rise: float, fall: float
    ) -> None:
        """Take over a group's exact health, its standing and its thresholds."""
        row = group.row
        if row >= len(self._alarm):
            self._grow()
        self._standing[row] = STANDINGS.index(standing) + 1
        self.risks.forget(row)
        # A group that every price is to be looked at for stays at a relief of infinity.
        self._rise[row], self._fall[row] = rise, 0.0 if math.isinf(fall) else fall
        if state is None:
            self._alarm[row] = self._relief[row] = np.nan
            return
        required = {leg.settle: 0.0 for leg in state.legs}
        loans = self.loans.note(row, state)
        gross = sum(abs(float(cash * state.prices[a])) for a, cash in state.cash.items())
        gross, rounded = gross + loans.gross, loans.rounded
        lent = {loan.asset for loan in state.loans}
        self.portfolios.note(row, state.portfolios)
        for leg in state.legs:
            if self._rules.portfolio_of(leg.symbol) is None:
                required[leg.settle] += float(leg.maintenance)
            gross += (self._worth(leg) + abs(float(leg.cost))) * float(state.prices[leg.settle])
            rounded += self._rounding(leg) * float(state.prices[leg.settle])
            self._note_leg(row, leg)
        for asset, net in self._net.items():
            amount = float(state.counted.get(asset, 0))
            needs = required.get(asset, 0.0)
            # A leg concerns its settlement asset also while what it owes or owns there is nothing.
            concerned = bool(amount or asset in required or asset in lent)
            if self._concerned[asset][row] != concerned:
                self._concerned[asset][row] = concerned
                self._holders[asset] = None
            net[row], self._required[asset][row] = amount, needs
        equity, maintenance = float(state.margin_equity), float(state.maintenance)
        error = RELATIVE_ERROR * gross + ROUNDINGS * rounded
        alarm = maintenance - rise * equity + error
        relief = math.inf if math.isinf(fall) else fall * equity - maintenance + error
        if state.loans:
            ahead = self.loans.horizon - self._markets.now
            # Where every price is looked at, so is all interest, also what is owed.
            relieving = loans.gained + (loans.raised if math.isinf(relief) else 0.0)
            for left, speed in ((-alarm, loans.raised), (-relief, relieving)):
                if speed and left <= speed * ahead:
                    self.loans.wait(group, left, speed)
            alarm += loans.raised * ahead
            relief += loans.gained * ahead
        self._alarm[row], self._relief[row] = alarm, relief
        liquidation = group.liquidation
        if liquidation is not None and standing in HELD_BACK and state.legs:
            known = math.inf if state.loans else error
            wait = wait_of(self._rules, liquidation)
            self.risks.note(row, equity, maintenance, known)
            self.risks.wait(row, wait, liquidation.awaits, group.symbols)

    def _worth(self, leg: LegHealth) -> float:
        """Return the size of the numbers that a leg's are made of: of an option its underlying's
        worth."""
        notional, inputs = float(leg.notional), self._markets.options.get(leg.symbol)
        if inputs is None:
            return notional
        table = self._book.legs[leg.symbol]
        exposure = abs(float(leg.size * table.instrument.multiplier))
        return notional + exposure * max(1.0, float(inputs.forward))

    def _rounding(self, leg: LegHealth) -> float:
        """Return by how much the exact numbers of a leg are rounded, in its settlement asset."""
        table = self._book.legs[leg.symbol]
        rounded = 0.0
        if table.instrument.inverse:
            rounded += 10.0**-table.settle.decimals * self._weights[leg.settle].owed
        if self._rules.portfolio_of(leg.symbol) is None:
            rounded += self.curve(leg.symbol).step
        return rounded

    def forget(self, group: Group) -> None:
        """Stop watching a group that is no more."""
        self.loans.forget(group)
        self.risks.forget(group.row)
        if group.row < len(self._rise):
            self._alarm[group.row] = self._relief[group.row] = np.nan
            self._rise[group.row] = self._fall[group.row] = np.nan
            self._standing[group.row] = 0

    def counts(self) -> dict[str, int]:
        """Return how many groups have each standing."""
        found = np.bincount(self._standing, minlength=len(STANDINGS) + 1)
        return {name: int(found[place]) for place, name in enumerate(STANDINGS, start=1)}

    @property
    def standings(self) -> NDArray[np.int8]:
        """What every row is counted as: places in `STANDINGS` from 1, 0 for a row without group."""
        return self._standing

    def standing_at(self, row: int) -> int:
        """Return what one row is counted as, 0 for one that was not looked at yet."""
        return int(self._standing[row]) if row < len(self._standing) else 0

    def standing(self, name: str) -> list[Group]:
        """Return the groups of a standing."""
        return self._groups(np.flatnonzero(self._standing == STANDINGS.index(name) + 1))

    def underwater(self) -> list[Group]:
        """Return every group whose equity may be negative, from the book's columns and the
        prices."""
        if self._rules.profile is None:
            return []
        size = self._book.capacity
        equity, gross, rounded = np.zeros(size), np.zeros(size), np.zeros(size)
        net = {name: c * 10.0**-decimals for name, decimals, c in self._book.cash_columns()}
        for symbol, table in self._book.legs.items():
            mark = self._markets.price(symbol, "mark")
            if mark is None or not len(table):
                continue
            rows, price = table.group[: len(table)], float(mark)
            exposure = table.exposure[: len(table)]
            value = -exposure / price if table.instrument.inverse else exposure * price
            cost = table.cost[: len(table)] * 10.0**-table.settle.decimals
            net[table.settle.name][rows] += value - cost
            worth = float(self._rules.price_of(table.settle.name, self._markets) or 0)
            gross[rows] += (np.abs(value) + np.abs(cost)) * worth
            rounded[rows] += table.instrument.inverse * worth * 10.0**-table.settle.decimals
        for asset, amounts in net.items():
            worth = float(self._rules.price_of(asset, self._markets) or 0)
            equity += amounts * worth
            gross += np.abs(amounts) * worth
        if self._book.lends:
            lent = self.loans.equity()
            equity, gross, rounded = equity + lent[0], gross + lent[1], rounded + lent[2]
        return self._groups(np.flatnonzero(equity < RELATIVE_ERROR * gross + rounded))

    def strayed(self, symbol: str, before: float, price: float) -> bool:
        """Tell whether a price went so far that everybody whom it concerns is to be noted again."""
        reference = self._references.setdefault(symbol, before)
        if reference / STRAYED < price < reference * STRAYED:
            return False
        self._references[symbol] = price
        return True

    def worn(self) -> bool:
        """Tell whether so many prices were screened that every group should be noted again."""
        return self._passes >= PASSES_BEFORE_REBUILD

    def renewed(self) -> None:
        """Take note that every group was noted again."""
        self._passes = 0

    def due(self, now: int) -> list[Group]:
        """Return the groups that interest alone may have taken over a threshold by now."""
        if not self._book.lends:
            return []
        found = self.loans.due(now)
        if now >= self.loans.horizon:
            found += self._reckon(self.loans.draw_further(now)) + self.loans.ramps_over(now)
        return found

    def pool_written(self, pool: str, state: LendingPool) -> list[Group]:
        """Return the groups that a pool's new rates may take over a threshold before long."""
        more = self.loans.written(pool, state)
        return [] if more is None else self._reckon(more)

    def pool_accrued(self, pool: str, before: Indices, after: Indices) -> list[Group]:
        """Return the groups that indices which the venue told may take over a threshold."""
        grown = (float(after.supply - before.supply), float(after.borrow - before.borrow))
        return self._reckon(self.loans.told(pool, *grown))

    def _reckon(self, more: tuple[Floats, Floats]) -> list[Group]:
        """Carry over what maintenance and margin equity may have grown, for all rows."""
        raised, gained = more
        if not raised.any() and not gained.any():
            return []
        self._alarm += np.where(raised > 0, raised, 0.0)
        self._relief += np.where(gained > 0, self._fall * gained, 0.0)
        grown = np.where(np.isinf(self._relief), raised + gained, gained)
        near = ((self._alarm >= 0) & (raised > 0)) | ((self._relief >= 0) & (grown > 0))
        return self._groups(np.flatnonzero(near))

    def mark_moved(self, symbol: str, before: float, after: float) -> list[Group]:
        """Return the groups that a new mark of `symbol` may have taken over a threshold."""
        table = self._book.legs[symbol]
        count = len(table)
        if count == 0:
            return []
        self._passes += 1
        if table.instrument.inverse:
            before, after = 1.0 / before, 1.0 / after
        if self._rules.portfolio_of(symbol) is not None:
            return self._move_in_portfolio(table, before, after)
        if not self.curve(symbol).straight:
            return self._move_by_curve(table, symbol, before, after)
        if self.risks.count:
            self._follow_risks(table, symbol, before, after)
        rows, step = table.group[:count], after - before
        crossing = None
        if not table.low_of_all < after <= table.high_of_all:
            crossing = self._cross(table, symbol, before, after)
        alarm = self._alarm[rows] + table.alarm_slope[:count] * step
        self._alarm[rows] = alarm
        found = self._groups(rows[alarm >= 0])
        if table.relieved is None:
            table.relieved = np.flatnonzero(~np.isnan(table.relief_slope[:count]))
        if len(table.relieved):
            legs = table.relieved
            rows = table.group[legs]
            relief = self._relief[rows] + table.relief_slope[legs] * step
            self._relief[rows] = relief
            found += self._groups(rows[relief >= 0])
        if crossing is not None:
            self._draw(table, symbol, crossing, after)
        return found

    def index_moved(self, asset: str, before: float, after: float) -> list[Group]:
        """Return the groups that a new price of `asset` may have taken over a threshold."""
        self._passes += 1
        rows = self._holders.get(asset)
        if rows is None:
            rows = np.flatnonzero(self._concerned[asset])
            self._holders[asset] = rows
        step = after - before
        gained = self._weights[asset].counted(self._net[asset][rows]) * step
        raised = self._required[asset][rows] * step
        if self._profit.after_requirement:
            gained += raised
        if self._book.lends:
            lent = self.loans.moved(asset, rows, step)
            if lent is None:
                return self._groups(rows)
            gained, raised = gained + lent[0], raised + lent[1]
        found = self._move(rows, gained, raised)
        for underlying, held in self.portfolios.settled_in(asset).items():
            found += self._raise_portfolio(underlying, held, np.zeros(len(held)))
        return found

    def cash_moved(self, asset: str, moved: Mapping[Group, Decimal]) -> list[Group]:
        """Return the groups that changes of their balances in an asset may have taken over a
        threshold; all of them had something in it, and still have."""
        rows = np.array([group.row for group in moved], np.int64)
        changes = np.array([float(amount) for amount in moved.values()])
        return self._move(rows, self._gained(asset, rows, changes), np.zeros(len(rows)))

    def _follow_risks(self, table: LegTable, symbol: str, before: float, after: float) -> None:
        """Carry a mark over to the risks of those who wait for room."""
        legs = np.flatnonzero(self.risks.of(table.group[: len(table)]))
        gained = table.exposure[legs] * (table.direction * (after - before))
        raised = self._raised(table, symbol, legs, before, after)
        self.risks.moved(table.group[legs], gained, raised)

    def _cross(self, table: LegTable, symbol: str, before: float, after: float) -> Rows:
        """Put right what the lines of legs that go over a bracket edge would miss; return them."""
        count, step = len(table), after - before
        legs = np.flatnonzero((after <= table.low[:count]) | (after > table.high[:count]))
        rows = table.group[legs]
        raised = self._raised(table, symbol, legs, before, after)
        gained = table.exposure[legs] * (table.direction * step)
        alarm = raised - self._rise[rows] * gained
        relief = self._fall[rows] * gained - raised
        self._alarm[rows] += alarm - table.alarm_slope[legs] * step
        self._relief[rows] += relief - table.relief_slope[legs] * step
        return legs

    def _draw(self, table: LegTable, symbol: str, legs: Rows, x: float) -> None:
        """Draw the lines of legs anew, in the brackets that hold at x."""
        count, curve = len(table), self.curve(symbol)
        size, rows = np.abs(table.exposure[legs]), table.group[legs]
        place = curve.place(size * x)
        low, high = curve.edges(place)
        table.low[legs], table.high[legs] = low / size, high / size
        gain, steepness = table.exposure[legs] * table.direction, curve.rates[place] * size
        table.alarm_slope[legs] = steepness - self._rise[rows] * gain
        table.relief_slope[legs] = self._fall[rows] * gain - steepness
        table.low_of_all = float(table.low[:count].max())
        table.high_of_all = float(table.high[:count].min())

    def _raised(
        self, table: LegTable, symbol: str, legs: Rows | slice, before: float, after: float
    ) -> Floats:
        """Return how the requirements of legs rise between two values of x."""
        curve, size = self.curve(symbol), np.abs(table.exposure[legs])
        return curve.required(size, after) - curve.required(size, before)

    def _move_by_curve(
        self, table: LegTable, symbol: str, before: float, after: float
    ) -> list[Group]:
        """The same for a requirement of any form, and where weights come between a leg's result and
        margin equity."""
        count, settle = len(table), table.settle.name
        rows, curve = table.group[:count], self.curve(symbol)
        exposure = table.exposure[:count] * table.direction
        size = np.abs(exposure)
        cost = table.cost[:count] * 10.0**-table.settle.decimals
        was, now = curve.required(size, before), curve.required(size, after)
        result = self._profit.counted(exposure * after - cost, now)
        moved = result - self._profit.counted(exposure * before - cost, was)
        raised = now - was
        gained = self._gained(table.settle.name, rows, moved)
        if settle != self._rules.in_force.numeraire:
            self._required[settle][rows] += raised
            raised = raised * self._worth_of(settle)
        if self._profit.after_requirement:
            gained = gained + raised
        found = self._move(rows, gained, raised)
        jumped = curve.jumped(size, before, after)
        return found if jumped is None else found + self._groups(rows[jumped])

    def _move_in_portfolio(self, table: LegTable, before: float, after: float) -> list[Group]:
        """The same for a leg of a portfolio."""
        count = len(table)
        rows, exposure = table.group[:count], table.exposure[:count] * table.direction
        cost, none = table.cost[:count] * 10.0**-table.settle.decimals, np.zeros(count)
        result = self._profit.counted(exposure * after - cost, none)
        moved = result - self._profit.counted(exposure * before - cost, none)
        gained = self._gained(table.settle.name, rows, moved)
        return self._raise_portfolio(underlying_of(table.instrument), rows, gained)

    def _raise_portfolio(self, underlying: str, rows: Rows, gained: Floats) -> list[Group]:
        raised = self.portfolios.raised(underlying, rows)
        if raised is None:
            return self._groups(rows)
        return self._move(rows, gained, raised)

    def _gained(self, settle: str, rows: Rows, moved: Floats) -> Floats:
        """Take results that moved into balances, and return what margin equity gained by it."""
        if settle == self._rules.in_force.numeraire:
            return moved
        net, weights = self._net[settle][rows], self._weights[settle]
        self._net[settle][rows] = net + moved
        return (weights.counted(net + moved) - weights.counted(net)) * self._worth_of(settle)

    def _worth_of(self, asset: str) -> float:
        price = self._rules.price_of(asset, self._markets)
        return float(price) if price is not None else np.nan

    def _move(self, rows: Rows, gained: Floats, raised: Floats) -> list[Group]:
        """Carry gains of margin equity and rises of maintenance over to alarm and relief."""
        if self.risks.count:
            self.risks.moved(rows, gained, raised)
        alarm = self._alarm[rows] + (raised - self._rise[rows] * gained)
        relief = self._relief[rows] + (self._fall[rows] * gained - raised)
        self._alarm[rows], self._relief[rows] = alarm, relief
        return self._groups(rows[(alarm >= 0) | (relief >= 0)])

    def _note_leg(self, row: int, leg: LegHealth) -> None:
        table = self._book.legs[leg.symbol]
        if self._rules.portfolio_of(leg.symbol) is not None:
            return
        curve = self.curve(leg.symbol)
        if not curve.straight:
            return
        place = table.row_of[row]
        exposure = float(table.exposure[place])
        size, price = abs(exposure), float(leg.mark)
        x = 1.0 / price if table.instrument.inverse else price
        rate, low, high = curve.line(size * x)
        table.low[place], table.high[place] = low / size, high / size
        table.low_of_all = max(table.low_of_all, low / size)
        table.high_of_all = min(table.high_of_all, high / size)
        gain = exposure * table.direction
        table.alarm_slope[place] = rate * size - float(self._rise[row]) * gain
        table.relief_slope[place] = float(self._fall[row]) * gain - rate * size
        table.relieved = None

    def _groups(self, rows: Rows) -> list[Group]:
        return [self._book.at(row) for row in rows.tolist()]

    def _grow(self) -> None:
        room = self._book.capacity - len(self._alarm)
        for name in ("_alarm", "_relief", "_rise", "_fall"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.full(room, np.nan)]))
        self._standing = np.concatenate([self._standing, np.zeros(room, np.int8)])
        self.loans.grow(room)
        self.risks.grow(room)
        for columns in (self._net, self._required):
            for asset, column in columns.items():
                columns[asset] = np.concatenate([column, np.zeros(room)])
        for asset, flags in self._concerned.items():
            self._concerned[asset] = np.concatenate([flags, np.zeros(room, bool)])
