"""Prices: a walk with crashes and squeezes, from several sources."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine import events
from engine.instruments import Option
from tests.histories.listing import quantity
from tests.twin.options import black_76
from tests.twin.terms import ContractTerms

if TYPE_CHECKING:
    from tests.histories.history import History, Make


class Market:
    """The index price of each coin, and what the sources say about it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.chance = history.chance
        self.prices = dict(history.listing.prices)
        self.volatility = self.chance.uniform(0.3, 1.5)

    def open(self) -> None:
        """Price everything once; now and then something is left out."""
        for coin in self.prices:
            self._tell(coin, everything=self.chance.random() < 0.9)

    def act(self) -> None:
        """Move one coin, or all of them."""
        mood = self.chance.random()
        if mood < 0.84:
            self._move(self.chance.choice(list(self.prices)), self.chance.gauss(0, 0.006))
        elif mood < 0.94:
            jump = self.chance.choice((-1, -1, 1)) * self.chance.uniform(0.02, 0.12)
            self._move(self.chance.choice(list(self.prices)), jump)
        else:
            jump = self.chance.choice((-1, -1, 1)) * self.chance.uniform(0.04, 0.25)
            for coin in self.prices:
                self._move(coin, jump * self.chance.uniform(0.6, 1.2))

    def crash(self) -> None:
        """Move everything so far that loans are worth less than what backs them."""
        jump = self.chance.choice((-1, -1, 1)) * self.chance.uniform(0.2, 0.6)
        for coin in self.prices:
            self._move(coin, jump * self.chance.uniform(0.3, 1.0))

    def misprint(self) -> None:
        """Tell a price far from what it is, and the right one after it, or the wrong one again."""
        coin = self.chance.choice(list(self.prices))
        right = self.prices[coin]
        self._move(coin, self.chance.choice((-1, 1)) * self.chance.uniform(0.05, 0.3))
        wrong = self.prices[coin]

        def back() -> events.AnyEvent:
            self.prices[coin] = right if self.chance.random() < 0.7 else wrong
            self._tell(coin, everything=True)
            return self.history.queue.popleft()()

        self.history.queue.append(back)

    def mark(self, symbol: str) -> float:
        """Return about where a derivative trades."""
        price = self.prices[self.history.listing.underlying[symbol]]
        contract = self.history.listing.contracts[symbol]
        if not isinstance(contract, Option):
            return price
        option = ContractTerms.of(contract).option
        assert option is not None
        return max(0.0, black_76(option, self.volatility, price, 1.0, self.history.now))

    def _move(self, coin: str, change: float) -> None:
        self.prices[coin] *= max(0.3, 1 + change)
        self._tell(coin, everything=False)

    def _tell(self, coin: str, *, everything: bool) -> None:
        listing = self.history.listing
        symbols = [name for name, follows in listing.underlying.items() if follows == coin]
        quotes: list[tuple[str, events.PriceKind]] = [(coin, "index")]
        quotes += [(symbol, "mark") for symbol in symbols]
        if self.chance.random() < 0.15 and symbols:
            kinds: tuple[events.PriceKind, ...] = ("index", "last")
            quotes.append((self.chance.choice(symbols), self.chance.choice(kinds)))
        for symbol, kind in quotes:
            if everything or self.chance.random() < 0.75:
                contract = listing.contracts.get(symbol)
                marked = kind == "mark" and isinstance(contract, Option)
                make = self._mark(symbol, coin) if marked else self._quote(symbol, kind, coin)
                self.history.queue.append(make)

    def _source(self, symbol: str, kind: str) -> str:
        rules = self.history.listing.profile.prices
        if self.chance.random() < 0.06:
            return "elsewhere"
        return str(rules.symbols.get(symbol) or getattr(rules, kind))

    def _mark(self, symbol: str, coin: str) -> Make:
        def make() -> events.AnyEvent:
            source = self._source(symbol, "mark")
            self.volatility *= max(0.5, self.chance.gauss(1, 0.05))
            skew = 0.0 if self.chance.random() < 0.02 else self.chance.uniform(0.9, 1.1)
            return events.OptionMark(
                time=self.history.time(),
                symbol=symbol,
                iv=quantity(self.volatility * skew, 4),
                forward=quantity(self.prices[coin] * self.chance.gauss(1, 0.001), 2),
                discount=self.chance.choice((Decimal(1), Decimal(1), Decimal("0.97"))),
                source=source,
                sequence=self.history.number(f"{source}:{symbol}"),
            )

        return make

    def _quote(self, symbol: str, kind: events.PriceKind, coin: str) -> Make:
        listing = self.history.listing
        listed = listing.assets.get(symbol) or listing.contracts[symbol]

        def make() -> events.AnyEvent:
            source = self._source(symbol, kind)
            basis = 1.0 if kind == "index" else self.chance.gauss(1, 0.001)
            price = quantity(self.prices[coin] * basis, listed.price_decimals)
            return events.PriceUpdate(
                time=self.history.time(),
                symbol=symbol,
                kind=kind,
                price=max(price, quantity(10**-listed.price_decimals, listed.price_decimals)),
                source=source,
                sequence=self.history.number(f"{source}:{symbol}"),
            )

        return make
