"""Who is in the lending market of the demo: a seeded population of borrowers and lenders.

Distributions are those of docs/demo.md. Debts are spread over the quantiles of theirs, so that two
seeds differ in who is where, not in how much there is. Values are in USDT at the opening.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from random import Random
from statistics import NormalDist
from typing import NamedTuple, TypeVar

T = TypeVar("T")

DEBT_PER_BORROWER = 400_000.0
"""All debts together, USDT, per borrower."""
PARETO = 1.15
LENDER_SHARE = 0.1
"""Lenders that only lend, per borrower."""

AT_ONCE = 0.85
"""The share of loans that stand at the beginning; the others are taken over the day."""

LOOPS = 0.12
SHORTS = 0.08
"""The shares of borrowers that loop, and that owe coins against stable coins; the rest owe stable
coins against coins."""
LOOPED = (
    ("USDC", "USDT", 0.4),
    ("USDT", "USDC", 0.6),
    ("BETH", "ETH", 0.85),
    ("USDT", "USDT", 1.0),
)
"""What loops supply and what they borrow, with cumulative shares."""
LOOP_DISTANCE = 0.02
"""How far the median loop is above a health factor of 1."""
LEAST_LOOP_DISTANCE = 0.0005
DISTANCE = 1.0
DISTANCE_SIGMA = 0.8
"""The health factor of other loans is 1 + a lognormal with this median."""
LEAST_DISTANCE = 0.02

IN_USDT = 0.55
SHARES = {"BTC": 0.35, "ETH": 0.35}
"""Where collateral in coins is; the rest goes by volume."""
COIN_COUNTS = (0.7, 0.92, 1.0)
"""Cumulative shares of borrowers with 1 to 3 coins as collateral."""

UTILIZATION = {"USDT": 0.88, "USDC": 0.86, "BTC": 0.6, "ETH": 0.6}
"""What part of each pool with lenders of its own is borrowed at the beginning, at most."""
LENDING = (("USDT", 0.4), ("USDC", 0.7), ("BTC", 0.85), ("ETH", 1.0))
"""What lenders lend, with cumulative shares."""
SMALLEST_LENDING = 1_000.0
LEAVERS = 0.5
"""The share of lenders who want their money back in the crash."""


class Borrower(NamedTuple):
    """A borrower at the opening: values by asset; a loop supplies again what it borrows."""

    account: str
    at_once: bool
    supplied: dict[str, float]
    owed: dict[str, float]
    loop: bool = False


class Lender(NamedTuple):
    """A lender: what it supplies, and whether it wants it back in the crash."""

    account: str
    asset: str
    value: float
    leaves: bool


def borrowers(
    random: Random, count: int, volumes: Mapping[str, float], thresholds: Mapping[str, float]
) -> list[Borrower]:
    """Draw `count` borrowers; coins beyond BTC and ETH are chosen by `volumes`."""
    ranks = [(number + 0.5) / count for number in range(count)]
    random.shuffle(ranks)
    relative = [(1 - rank) ** (-1 / PARETO) for rank in ranks]
    scale = DEBT_PER_BORROWER * count / sum(relative)
    coins = _coin_shares(volumes)
    return [
        _borrower(random, f"borrower-{number:05d}", scale * debt, coins, thresholds)
        for number, debt in enumerate(relative, start=1)
    ]


def _coin_shares(volumes: Mapping[str, float]) -> dict[str, float]:
    rest = sum(volume for coin, volume in volumes.items() if coin not in SHARES)
    left = 1 - sum(SHARES.values())
    return {coin: SHARES.get(coin) or left * volume / rest for coin, volume in volumes.items()}


def _borrower(
    random: Random,
    account: str,
    debt: float,
    coins: Mapping[str, float],
    thresholds: Mapping[str, float],
) -> Borrower:
    kind, at_once = random.random(), random.random() < AT_ONCE
    z = NormalDist().inv_cdf(1 - random.random())
    if kind < LOOPS:
        supplied, owed = _cumulative(random, [((a, b), share) for a, b, share in LOOPED])
        health = 1 + max(LEAST_LOOP_DISTANCE, LOOP_DISTANCE * math.exp(z))
        equity = debt * (health / thresholds[supplied] - 1)
        return Borrower(account, at_once, {supplied: equity}, {owed: debt}, loop=True)
    health = 1 + max(LEAST_DISTANCE, DISTANCE * math.exp(DISTANCE_SIGMA * z))
    stable = "USDT" if random.random() < IN_USDT else "USDC"
    if kind < LOOPS + SHORTS:
        coin = "BTC" if random.random() < 0.5 else "ETH"
        return Borrower(
            account, at_once, {stable: debt * health / thresholds[stable]}, {coin: debt}
        )
    parts = _parts(random, coins)
    counted = sum(part * thresholds[coin] for coin, part in parts.items())
    value = debt * health / counted
    return Borrower(
        account, at_once, {coin: value * part for coin, part in parts.items()}, {stable: debt}
    )


def _parts(random: Random, coins: Mapping[str, float]) -> dict[str, float]:
    """Draw which coins are the collateral, and their parts of its value."""
    count = _cumulative(random, list(enumerate(COIN_COUNTS, start=1)))
    left = dict(coins)
    sizes: dict[str, float] = {}
    for _ in range(min(count, len(left))):
        coin = random.choices(list(left), list(left.values()))[0]
        del left[coin]
        sizes[coin] = -math.log(1 - random.random())
    whole = sum(sizes.values())
    return {coin: size / whole for coin, size in sizes.items()}


def _cumulative(random: Random, choices: Sequence[tuple[T, float]]) -> T:
    drawn = random.random()
    return next((choice for choice, share in choices if drawn < share), choices[-1][0])


def lenders(
    random: Random,
    count: int,
    needs: Mapping[tuple[int, str], float],
    shard_of: Callable[[str], int],
) -> list[Lender]:
    """Draw at least `count` lenders who bring `needs`, values by shard and asset.

    Each shard is a market of its own, with pools of its own: there are more lenders, where it takes
    more so that every pool has one.
    """
    drawn: dict[tuple[int, str], list[tuple[str, float, bool]]] = defaultdict(list)
    number = 0
    while number < count or any(key not in drawn for key in needs):
        number += 1
        account = f"lender-{number:04d}"
        asset = _cumulative(random, LENDING)
        weight = (1 - random.random()) ** (-1 / PARETO)
        drawn[shard_of(account), asset].append((account, weight, random.random() < LEAVERS))
    found = []
    for key, members in drawn.items():
        whole = sum(weight for _, weight, _ in members)
        each = max(needs.get(key, 0.0), SMALLEST_LENDING * len(members)) / whole
        found += [
            Lender(account, key[1], each * weight, leaves) for account, weight, leaves in members
        ]
    return sorted(found)
