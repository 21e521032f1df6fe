"""One crisis: traders on both sides, borrowers, prices that gap, a venue that may not answer."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal as D

from engine import events as e
from tests.crises.rules import BACKSTOP, FUND, LOANS, PLEDGES, SECOND
from tests.crises.venue import ASSETS, DESK, FIRST, OPTIONS, Told, Venue

MOVES = (0.5, 0.75, 0.85, 0.93, 0.95, 0.97, 0.99, 1.01, 1.03, 1.06, 1.1, 1.3, 1.9)


class Crisis(Venue):
    """Rules, people and prices of a seed, played against one engine.

    Iterating gives each event with what was decided, after all of it was decided.
    """

    def __iter__(self) -> Iterator[Told]:
        yield from self._begin()
        if self.profile.waterfall.adl is not None:
            yield from self._squeezed()
        for _ in range(self.chance.randrange(6, 14)):
            yield from self._shock()
        for _ in range(6):
            self.time += self.chance.choice((1, 3, 6)) * SECOND
            yield self.tell(e.TimePassed)
            yield from self.answers(always=True)

    # --- the beginning

    def _begin(self) -> Iterator[Told]:
        for asset in ASSETS.values():
            yield self.tell(e.InstrumentListed, instrument=asset)
        yield self.tell(e.ProfileChanged, profile=self.profile)
        for market in self.markets.values():
            yield self.tell(e.InstrumentListed, instrument=market)
        yield self._indexed(D(20_000))
        for symbol in FIRST:
            yield from self._quoted(symbol)
        yield from self._funds()
        for name, role in ((DESK, "market_maker"), (BACKSTOP, "backstop"), (FUND, "fund")):
            yield self.tell(e.AccountOpened, account=name, role=role)
        yield self.tell(e.Deposit, account=DESK, asset="USDT", amount=D(10**8))
        yield self.tell(e.Deposit, account=BACKSTOP, asset="USDT", amount=D(5000))
        if self.profile.lending is not None:
            yield self.tell(e.Supplied, account=DESK, pool=LOANS, amount=D(3000))
        for number in range(self.chance.randrange(4, 11)):
            yield from self._trader(f"t{number}")
        for symbol in FIRST:
            size = D(self.chance.choice((0, 50, 100_000)))
            yield self.tell(e.MarketState, symbol=symbol, long_size=size, short_size=size)

    def _funds(self) -> Iterator[Told]:
        for name in ("", "X", "majors"):
            for asset, most in (("USDT", 400), ("BTC", 1)):
                amount = D(self.chance.choice((0, 10, 100))) * most / 400
                if amount:
                    yield self.tell(e.FundMoved, shard=0, asset=asset, amount=amount, fund=name)

    def _trader(self, name: str) -> Iterator[Told]:
        """Bring in a borrower, or a trader with legs of up to eight times its money each."""
        money = self.chance.choice((100, 300, 1000))
        if self.profile.lending is not None and self.chance.random() < 0.4:
            yield from self._borrower(name, D(money))
            return
        if self.chance.random() < 0.3:
            yield self.tell(e.Deposit, account=name, asset="BTC", amount=D(money) / 20_000)
        else:
            yield self.tell(e.Deposit, account=name, asset="USDT", amount=D(money))
        for symbol in self.chance.sample(sorted(self.markets), self.chance.randrange(1, 4)):
            wanted = money * self.chance.choice((1, 4, 8)) * self.chance.choice((-1, 1))
            yield from self._traded(name, symbol, wanted)

    def _borrower(self, name: str, money: D) -> Iterator[Told]:
        """Bring in a borrower near the threshold, some with a leg or with a supply of their own."""
        yield self.tell(e.Deposit, account=name, asset="BTC", amount=money / 20_000)
        yield self.tell(e.Supplied, account=name, pool=PLEDGES, amount=money / 20_000)
        owed = money * self.chance.choice((60, 70, 75)) / 100
        yield self.tell(e.Borrow, account=name, pool=LOANS, amount=owed)
        draw = self.chance.random()
        if draw < 0.7:
            yield self.tell(e.Withdrawal, account=name, asset="USDT", amount=owed)
        elif draw < 0.8:
            yield self.tell(e.Supplied, account=name, pool=LOANS, amount=owed)
        else:
            yield from self._traded(name, self.chance.choice(sorted(self.markets)), float(money))

    def _traded(self, name: str, symbol: str, worth: float) -> Iterator[Told]:
        """Trade so much of the underlying at the market's price."""
        market, price = self.markets[symbol], self.fair(symbol)
        each = 100 if market.inverse else float(self.prices[market.underlying or symbol])
        lots = int(worth / each / float(market.lot))
        if lots and price:
            other = self._somebody(name)
            yield self.fill(name, symbol, lots * market.lot, price)
            yield self.fill(other, symbol, -lots * market.lot, price)

    def _somebody(self, but: str) -> str:
        known = [one for one in self.engine.accounts if one.startswith("t") and one != but]
        return self.chance.choice(known) if known and self.chance.random() < 0.4 else DESK

    # --- bankrupts, and winners with little behind them

    def _squeezed(self) -> Iterator[Told]:
        """Let Y ruin some who hold X too: in X they are bankrupt far on the other side of a mark
        that has not moved, where those who close against them need what little they have."""
        side, worth = self.chance.choice((-1, 1)), 300
        several = self.chance.randrange(1, 4)
        for number in range(several):
            name = f"ruined{number}"
            yield self.tell(e.Deposit, account=name, asset="USDT", amount=D(worth))
            yield from self._held(name, "X", side * worth * self.chance.choice((0.3, 1)))
            yield from self._held(name, "Y", 6.0 * worth)
        for number in range(self.chance.randrange(3, 8)):
            yield from self._thin(f"thin{number}", -side * several * worth)
        self.prices["Y"] *= D(str(self.chance.choice((0.6, 0.75, 0.8, 0.82))))
        for _ in range(2):
            yield from self._quoted("Y")
        yield from self.answers()

    def _thin(self, name: str, worth: float) -> Iterator[Told]:
        """Bring in somebody with X, most on a side and in profit, some hedged, who has little more
        than the margin needed, or much more."""
        yield self.tell(e.Deposit, account=name, asset="USDT", amount=D(10_000))
        worth *= self.chance.choice((0.2, 0.3, 0.6, 0.6, -0.3))
        gain = self.chance.choice((0.02, 0.05, 0.05, 0.05, -0.03))
        yield from self._held(name, "X", worth, gain)
        if "CALL" in self.markets and self.chance.random() < 0.4:
            yield from self._held(name, "CALL", -worth)
        if state := self.engine.health_of(self.engine.group_of(name, "cross")):
            part = self.chance.choice((1.02, 1.2, 3, 8))
            spare = float(state.margin_equity) - part * float(state.maintenance)
            amount = D(str(round(spare, 2)))
            if amount > 0:
                yield self.tell(e.Withdrawal, account=name, asset="USDT", amount=amount)

    def _held(self, name: str, symbol: str, worth: float, gain: float = 0) -> Iterator[Told]:
        """Trade so much of the underlying with the desk, at a price with a gain already."""
        market, price = self.markets[symbol], float(self.fair(symbol))
        lots = int(worth / float(self.prices[market.underlying or symbol]) / float(market.lot))
        entry = price * (1 - gain if lots > 0 else 1 + gain)
        paid = D(str(entry)).quantize(market.price_unit)
        if lots and paid:
            yield self.fill(name, symbol, lots * market.lot, paid)
            yield self.fill(DESK, symbol, -lots * market.lot, paid)

    # --- what happens

    def _shock(self) -> Iterator[Told]:
        self.time += self.chance.choice((0, 1, 2, 10)) * SECOND
        symbol = self.chance.choice(sorted(FIRST))
        tick = self.markets[symbol].price_unit
        moved = self.prices[symbol] * D(str(self.chance.choice(MOVES)))
        if symbol != "I" and self.chance.random() < 0.5:
            moved = self._aimed(symbol)
        self.prices[symbol] = max(moved.quantize(tick), tick)
        yield from self._quoted(symbol)
        if self.chance.random() < 0.3:
            yield from self._quoted(symbol)
        if symbol == "I" and self.chance.random() < 0.7:
            yield self._indexed(self.prices["I"])
        if self.profile.lending is not None and self.chance.random() < 0.3:
            yield self._indexed(self._aimed_at_loans())
        yield from self.answers()
        yield from self._besides()

    def _aimed(self, symbol: str) -> D:
        """Return a price at which somebody with a leg in a linear market has but a part of the
        margin needed, as far as half or twice the last one goes."""
        price, part = self.prices[symbol], D(str(self.chance.choice((0.1, 0.3, 0.5, 0.9))))
        held = [group for group in self.engine.book.holders(symbol) if group.account.id != DESK]
        if not held:
            return price
        group = self.chance.choice(held)
        state = self.engine.health_of(group)
        if state is None:
            return price
        loss = float(state.equity - part * state.maintenance)
        moved = float(price) - loss / float(group.legs[symbol].size)
        return D(str(round(min(max(moved, float(price) / 2), 2 * float(price)), 6)))

    def _aimed_at_loans(self) -> D:
        """Return an index price of BTC at which somebody's debt is above what may be owed, or above
        all that backs it."""
        price = self.engine.prices["BTC", "index"].price
        owing = [one for one in self.engine.book.all_groups() if one.loans]
        owing = [one for one in owing if any(loan.owed for loan in one.loans.values())]
        if not owing:
            return price
        state = self.engine.health_of(self.chance.choice(owing))
        if state is None or state.margin_equity <= 0 or state.maintenance <= 0:
            return price
        part = self.chance.choice((0.6, 0.7, 0.82, 0.95, 1.1))
        moved = float(price) * part * float(state.maintenance / state.margin_equity)
        return D(str(round(min(max(moved, 1000), 100_000), 2)))

    def _indexed(self, price: D) -> Told:
        return self.tell(e.PriceUpdate, symbol="BTC", kind="index", price=price, source="venue")

    def _quoted(self, symbol: str) -> Iterator[Told]:
        """Quote a market, and after X its options."""
        price = self.prices[symbol]
        yield self.tell(e.PriceUpdate, symbol=symbol, kind="mark", price=price, source="venue")
        for option in OPTIONS:
            if symbol == "X" and option.name in self.markets:
                iv = D(str(self.chance.choice((0.5, 0.8, 1.2))))
                about = {"symbol": option.name, "iv": iv, "forward": price}
                yield self.tell(e.OptionMark, source="venue", **about)

    def _besides(self) -> Iterator[Told]:
        """Let something happen that has nothing to do with prices, now and then."""
        draw = self.chance.random()
        traders = [one for one in self.engine.accounts if one.startswith("t")]
        someone = self.chance.choice(traders)
        if draw < 0.1:
            yield self.tell(e.SessionClosed)
        elif draw < 0.2:
            yield self.tell(e.Deposit, account=someone, asset="USDT", amount=D(50))
        elif draw < 0.3:
            amount = D(20)
            yield self.tell(e.Withdrawal, account=someone, asset="USDT", amount=amount)
        elif draw < 0.4:
            symbol = self.chance.choice(sorted(FIRST))
            yield self.tell(self.chance.choice((e.Halt, e.Resume)), symbol=symbol)
        elif draw < 0.5:
            yield from self._traded(someone, self.chance.choice(sorted(self.markets)), 200)
        elif draw < 0.6:
            yield from self._settled_debts()

    def _settled_debts(self) -> Iterator[Told]:
        ledger = self.engine.ledger
        for asset, market in sorted(ledger.bad_debt):
            key = (asset, market)
            left = ledger.bad_debt[key] - ledger.recovered[key] - ledger.written_off[key]
            if left > 0:
                kind = self.chance.choice((e.Recovered, e.WrittenOff))
                yield self.tell(kind, shard=0, asset=asset, market=market, amount=left)
                return
