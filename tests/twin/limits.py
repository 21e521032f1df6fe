"""The limits of what an event may say."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from tests.twin.amounts import decimals_of, whole
from tests.twin.books import Account, Group, World


class RefusalError(Exception):
    """An event breaks a rule."""


def require(holds: bool, rule: str) -> None:
    """Refuse unless a rule holds."""
    if not holds:
        raise RefusalError(rule)


def require_asset(world: World, asset: str) -> None:
    """Refuse an asset that is not listed."""
    require(asset in world.assets, f"asset {asset}")


def require_contract(world: World, symbol: str, *, open_: bool = True) -> None:
    """Refuse a symbol that is not listed, or settled."""
    require(symbol in world.contracts, f"symbol {symbol}")
    require(not open_ or symbol not in world.settled, f"{symbol} is settled")


def require_amount(world: World, asset: str, amount: Decimal) -> None:
    """Refuse an amount of no asset, or finer than its unit."""
    require_asset(world, asset)
    require(whole(amount, world.unit(asset)), f"{amount} {asset}")


def require_positive(value: Decimal) -> None:
    """Refuse what is not above zero."""
    require(value > 0, f"{value} is not above zero")


def require_not_negative(value: Decimal) -> None:
    """Refuse what is below zero."""
    require(value >= 0, f"{value} is below zero")


def require_size(world: World, symbol: str, size: Decimal) -> None:
    """Refuse a size finer than its unit."""
    require(whole(size, world.contracts[symbol].size_unit), f"size {size} of {symbol}")


def require_price(world: World, symbol: str, price: Decimal) -> None:
    """Refuse a price that is none."""
    terms = world.contracts.get(symbol) or world.assets[symbol]
    require(whole(price, decimals_of(terms.price_decimals)), f"price {price} of {symbol}")
    require_positive(price)


def require_cash(world: World, group: Group | None, asset: str, change: Fraction) -> None:
    """Refuse cash that would pass its largest."""
    before = group.cash.get(asset, Fraction(0)) if group else Fraction(0)
    after, largest = abs(before + change), world.assets[asset].largest
    require(after <= largest or after <= abs(before), f"cash {asset}")


def require_leg(
    world: World,
    symbol: str,
    size: Fraction,
    cost: Fraction,
    held: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0)),
) -> None:
    terms = world.contracts[symbol]
    largest = world.assets[terms.settle].largest
    require(abs(size) <= max(terms.largest, abs(held[0])), f"size of {symbol}")
    require(abs(cost) <= max(largest, abs(held[1])), f"cost of {symbol}")


def require_margin(margin: str, symbols: Iterable[str]) -> None:
    """Refuse a margin group that is none of these."""
    require(margin in ("cross", *(f"isolated:{symbol}" for symbol in symbols)), f"margin {margin}")


def require_issued(account: Account, order_id: str, margin: str, symbol: str) -> None:
    """Refuse an order id that was never issued there."""
    if order_id:
        require(account.issued_as(order_id) == (margin, symbol), f"order {order_id}")
