"""What the status page is told, as one document: docs/status.md says what every field means.

Sums over the shards of one process of what Prometheus is shown of each, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from engine.loan_book import UNDER_WAY
from producers.decisions_said import Noted
from producers.ladder import Drawn, Part, Picture
from producers.metric_families import GAUGES, POOL_AMOUNTS, TOTALS
from producers.view import SECOND, Samples, View

LOSSES = {
    "shortfall": "liquidator_shortfall",
    "bad_debt": "liquidator_bad_debt",
    "outstanding": "liquidator_bad_debt_outstanding",
    "recovered": "liquidator_bad_debt_recovered",
    "written_off": "liquidator_bad_debt_written_off",
    "unrealised": "liquidator_bad_debt_unrealised",
}
"""What is lost, by asset, and the metric that it is the sum of."""

Document = dict[str, Any]


class ShardStatus(NamedTuple):
    """How a shard is: `reason` says why it does not run, `lag_seconds` how far it is behind."""

    number: int
    status: str
    reason: str
    lag_seconds: float


class Seen(NamedTuple):
    """A shard's committed state as it was last looked at: `age_seconds` is how long it has been
    known to stand like this, `drawn_age_seconds` how old what is drawn of its book is."""

    view: View
    picture: Picture | None
    drawn: Drawn | None
    age_seconds: float
    drawn_age_seconds: float


def report(
    shards: Sequence[ShardStatus],
    reasons: Sequence[str],
    seen: Mapping[int, Seen],
    decisions: Iterable[Noted],
) -> Document:
    """Return the whole document but for its time."""
    sums = _Sums([one.view for one in seen.values()])
    drawn = {number: one.drawn for number, one in seen.items() if one.drawn is not None}
    return {
        "ready": not reasons,
        "reasons": list(reasons),
        "numeraire": _numeraire(seen),
        "shards": [_shard(shard, seen.get(shard.number)) for shard in shards],
        "states": {state: round(count) for (state,), count in sums.of("liquidator_accounts")},
        "book": _book(seen, drawn),
        "losses": _losses(sums),
        "funds": [
            {"asset": asset, "fund": fund, "held": held}
            for (asset, fund), held in sums.of("liquidator_insurance_fund")
        ],
        "markets": _markets(sums, seen),
        "pools": _pools(sums),
        "decisions": [noted.shown() for noted in decisions],
    }


class _Sums:
    """Samples of all shards, added up by their labels."""

    def __init__(self, views: Iterable[View]) -> None:
        self._found: Samples = {}
        for view in views:
            for name, samples in (*view.totals.items(), *view.gauges.items()):
                sums = self._found.setdefault(name, {})
                for labels, value in samples.items():
                    sums[labels] = sums.get(labels, 0.0) + value

    def of(self, name: str) -> Iterable[tuple[tuple[str, ...], float]]:
        """Return the samples of a metric, with their labels."""
        return self._found.get(name, {}).items()

    def by_asset(self, name: str) -> dict[str, float]:
        """Return the sums of a metric by asset."""
        place, found = {**TOTALS, **GAUGES}[name].labels.index("asset"), dict[str, float]()
        for labels, value in self.of(name):
            found[labels[place]] = found.get(labels[place], 0.0) + value
        return found


def _numeraire(seen: Mapping[int, Seen]) -> str:
    pictures = [one.picture for one in seen.values() if one.picture is not None]
    return pictures[0].numeraire if pictures else ""


def _shard(shard: ShardStatus, seen: Seen | None) -> Document:
    shown: Document = {
        **shard._asdict(),
        "engine_time": None,
        "groups": None,
        "age_seconds": None,
    }
    if seen is not None:
        gauges = seen.view.gauges
        shown["engine_time"] = gauges["liquidator_engine_time_seconds"][()]
        shown["groups"] = round(sum(gauges["liquidator_accounts"].values()))
        shown["under_way"] = round(
            sum(gauges["liquidator_accounts"].get((state,), 0.0) for state in UNDER_WAY)
        )
        shown["age_seconds"] = round(seen.age_seconds, 3)
    return shown


def _book(seen: Mapping[int, Seen], drawn: Mapping[int, Drawn]) -> Document | None:
    """Return bands and ladder of all shards; none while nothing is drawn yet."""
    if not drawn:
        return None
    first, *_ = books = list(drawn.values())
    held = sorted({name for one in seen.values() if one.picture for name in one.picture.held})
    return {
        "shards": sorted(drawn),
        "engine_time": max(book.time for book in books) / SECOND,
        "age_seconds": round(max(seen[number].drawn_age_seconds for number in drawn), 3),
        "held": held,
        "bands": [
            {"band": name, **_added(book.bands[name] for book in books)} for name in first.bands
        ],
        "unpriced": _added(book.unpriced for book in books),
        "exempt": _added(book.exempt for book in books),
        "idle": {"groups": sum(book.idle for book in books)},
        "ladder": [
            {"move": rungs[0].move, **_added(Part(rung.groups, rung.notional) for rung in rungs)}
            for rungs in zip(*(book.rungs for book in books), strict=True)
        ],
    }


def _added(parts: Iterable[Part]) -> Document:
    together = list(parts)
    return {
        "groups": sum(part.groups for part in together),
        "notional": sum(part.notional for part in together),
    }


def _losses(sums: _Sums) -> list[Document]:
    """Return the waterfall by asset."""
    found: dict[str, Document] = {}
    for field, name in LOSSES.items():
        for asset, value in sums.by_asset(name).items():
            of = found.setdefault(asset, {"asset": asset, **dict.fromkeys(LOSSES, 0.0), "paid": {}})
            of[field] = value
    for (_, asset, layer), paid in sums.of("liquidator_shortfall_paid"):
        by_layer = found[asset]["paid"]
        by_layer[layer] = by_layer.get(layer, 0.0) + paid
    return [found[asset] for asset in sorted(found)]


def _markets(sums: _Sums, seen: Mapping[int, Seen]) -> list[Document]:
    """Return every market; its mark is that of the shard which is furthest."""
    found: dict[str, Document] = {}
    for (market,), halted in sums.of("liquidator_market_halted"):
        found[market] = {"market": market, "asset": "", "halted": halted > 0}
        found[market] |= {"mark": None, "age_seconds": None, "long": 0.0, "short": 0.0}
    for (market, asset, side), notional in sums.of("liquidator_position_notional"):
        if market in found:
            found[market] |= {"asset": asset, side: notional}
    pictures = [(one.picture.time, number) for number, one in seen.items() if one.picture]
    if pictures:
        furthest = seen[max(pictures)[1]]
        assert furthest.picture is not None
        ages = furthest.view.gauges["liquidator_price_age_seconds"]
        for market, of in found.items():
            of["mark"] = furthest.picture.marks.get(market)
            of["age_seconds"] = ages.get((market, "mark"))
    return [found[market] for market in sorted(found)]


def _pools(sums: _Sums) -> list[Document]:
    """Return every pool of a lending market."""
    found: dict[str, Document] = {}
    for name in POOL_AMOUNTS:
        for (pool, asset), amount in sums.of(f"liquidator_pool_{name}"):
            found.setdefault(pool, {"pool": pool, "asset": asset})[name] = amount
    for (pool,), ratio in sums.of("liquidator_pool_utilization_ratio"):
        found[pool]["utilization"] = ratio
    return [found[pool] for pool in sorted(found)]
