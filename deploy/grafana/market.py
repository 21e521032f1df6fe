"""One market, or several: its prices, what holds liquidation back there, what was lost."""

from __future__ import annotations

from deploy.grafana.parts import (
    COUNT,
    MARKET,
    MARKS,
    RATE,
    RATIO,
    SECONDS,
    Board,
    Query,
    Row,
    graph,
    number,
    states,
)

HEALTHY = Row(
    "Healthy?",
    [
        number(
            "Halted",
            "Of the markets chosen, those in which liquidation is halted.",
            COUNT,
            Query("halted", 'sum(max by (market) (liquidator_market_halted{@,market=~"$market"}))'),
            warn=1,
        ),
        number(
            "Oldest price",
            "Engine time less the time of the last price, of the market where that is most.",
            SECONDS,
            Query("age", 'max(liquidator_price_age_seconds{@,symbol=~"$market"})'),
            warn=10,
            bad=60,
        ),
        number(
            "Prices held",
            "Prices that jumped too far, and wait for a second one that agrees.",
            COUNT,
            Query("held", 'sum(liquidator_price_held{@,symbol=~"$market"}) or vector(0)'),
            warn=1,
        ),
        number(
            "Bad debt outstanding",
            "What nobody paid of a shortfall, recovered or wrote off, by asset.",
            COUNT,
            Query(
                "{{asset}}",
                'sum by (asset) (liquidator_bad_debt_outstanding{@,market=~"$market"})',
            ),
            warn=0.01,
            bad=1,
        ),
    ],
    across=4,
)

BOOK = Row(
    "Book",
    [
        graph(
            "Notional",
            "Notional of positions at mark; long and short differ where part of the book is "
            "elsewhere.",
            COUNT,
            Query(
                "{{market}} {{side}}, {{asset}}",
                'sum by (market, side, asset) (liquidator_position_notional{@,market=~"$market"})',
            ),
        ),
        graph(
            "Long less short",
            "Contracts held long less contracts held short: 0 where the whole book is here.",
            COUNT,
            Query(
                "{{market}}",
                'sum by (market) (liquidator_unmatched_open_interest{@,market=~"$market"})',
            ),
            least=None,
        ),
        graph(
            "Forced flow",
            "Forced fills of the last minute as a part of open interest. Where it passes the "
            "profile's fuse the market is halted.",
            RATIO,
            Query(
                "{{market}}",
                'max by (market) (liquidator_forced_flow_ratio{@,market=~"$market"})',
            ),
        ),
    ],
)

PRICES = Row(
    "Prices",
    [
        graph(
            "Age of prices",
            "Engine time less the time of the last price of each kind.",
            SECONDS,
            Query(
                "{{symbol}} {{kind}}",
                'max by (symbol, kind) (liquidator_price_age_seconds{@,symbol=~"$market"})',
            ),
        ),
        states(
            "Prices held",
            "When a price that jumped waited for a second one: nothing is decided on it.",
            Query(
                "{{symbol}} {{kind}}",
                'max by (symbol, kind) (liquidator_price_held{@,symbol=~"$market"}) '
                'or 0 * max by (symbol, kind) (liquidator_price_age_seconds{@,symbol=~"$market"})',
            ),
            {"0": "in force", "1": "held"},
        ),
        states(
            "Liquidation halted",
            "When liquidation was halted: groups in breach wait.",
            Query(
                "{{market}}",
                'max by (market) (liquidator_market_halted{@,market=~"$market"})',
            ),
            {"0": "open", "1": "halted"},
        ),
        graph(
            "Requirements by volatility",
            "The factor of volatility on what positions must be backed by: 1 on an ordinary day.",
            COUNT,
            Query(
                "{{market}} {{requirement}}",
                'max by (market, requirement) (liquidator_requirement_factor{@,market=~"$market"})',
            ),
        ),
        graph(
            "Volatility",
            "The volatility of a day that these factors follow.",
            RATIO,
            Query(
                "{{market}}",
                'max by (market) (liquidator_realised_volatility{@,market=~"$market"})',
            ),
        ),
        graph(
            "Jumps held, breakers tripped",
            "Prices held in a second, of all markets, by kind, and markets halted because forced "
            "fills passed their share.",
            RATE,
            Query(
                "{{kind}} jumped",
                "sum by (kind) (rate(liquidator_price_jumps_total{@}[$__rate_interval]))",
            ),
            Query(
                "breaker tripped",
                "sum(rate(liquidator_breakers_tripped_total{@}[$__rate_interval]))",
            ),
        ),
    ],
)

LOSSES = Row(
    "Losses",
    [
        graph(
            "Shortfall",
            "What liquidated groups lacked since the beginning.",
            COUNT,
            Query(
                "{{market}}, {{asset}}",
                'sum by (market, asset) (liquidator_shortfall_total{@,market=~"$market"})',
            ),
        ),
        graph(
            "Bad debt",
            "What of it nobody paid, since the beginning.",
            COUNT,
            Query(
                "{{market}}, {{asset}}",
                'sum by (market, asset) (liquidator_bad_debt_total{@,market=~"$market"})',
            ),
        ),
        graph(
            "Negative equity not booked",
            "What groups lack at mark whose liquidation is not over.",
            COUNT,
            Query(
                "{{market}}, {{asset}}",
                'sum by (market, asset) (liquidator_bad_debt_unrealised{@,market=~"$market"})',
            ),
        ),
    ],
)

BOARD = Board(
    "liquidator-market",
    "Liquidator / Market",
    "Prices, book, fuses and losses of the markets that are chosen.",
    [HEALTHY, BOOK, PRICES, LOSSES],
    variables=(MARKET,),
    marks=MARKS,
)
