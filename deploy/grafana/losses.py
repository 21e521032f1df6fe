"""Who bears what is lost: the waterfall layer by layer, and the bad debt at its end."""

from __future__ import annotations

from deploy.grafana.parts import (
    COUNT,
    MARKS,
    RATE,
    Board,
    Query,
    Row,
    Variable,
    graph,
    number,
    states,
)

# A market, or the pool whose loans lost something.
LOSER = Variable("market", "Market or pool", "liquidator_bad_debt_total{@}")
OF = '{@,market=~"$market"}'

HEALTHY = Row(
    "Healthy?",
    [
        number(
            "Bad debt outstanding",
            "What nobody paid of a shortfall, less what was recovered or written off since.",
            COUNT,
            Query("{{asset}}", f"sum by (asset) (liquidator_bad_debt_outstanding{OF})"),
            warn=0.01,
            bad=1,
        ),
        number(
            "Bad debt, last hour",
            "What nobody paid of the shortfalls of the last hour.",
            COUNT,
            Query("{{asset}}", f"sum by (asset) (increase(liquidator_bad_debt_total{OF}[1h]))"),
            warn=0.01,
            bad=1,
        ),
        number(
            "Insurance funds",
            "Cash of all funds. What they promised to positions taken over is still in it.",
            COUNT,
            Query("{{asset}}", "sum by (asset) (liquidator_insurance_fund{@})"),
            warn=1,
            low_is_bad=True,
        ),
        number(
            "Not accounted for",
            "Shortfall less what was paid of it and less bad debt. Anything but 0 is a bug.",
            COUNT,
            Query(
                "{{asset}}",
                f"round(sum by (asset) (liquidator_shortfall_total{OF}) "
                f"- sum by (asset) (liquidator_shortfall_paid_total{OF}) "
                f"- sum by (asset) (liquidator_bad_debt_total{OF}), 0.01)",
            ),
            bad=0.01,
        ),
    ],
    across=4,
)

WATERFALL = Row(
    "Waterfall",
    [
        graph(
            "Shortfall, by market",
            "What liquidated groups lacked since the beginning.",
            COUNT,
            Query(
                "{{market}}, {{asset}}", f"sum by (market, asset) (liquidator_shortfall_total{OF})"
            ),
            stacked=True,
        ),
        graph(
            "Who paid",
            "What was paid of it, by layer: funds, the reserve of a pool, lenders by their index, "
            "and those with open interest or today's winners.",
            COUNT,
            Query(
                "{{layer}}, {{asset}}",
                f"sum by (layer, asset) (liquidator_shortfall_paid_total{OF})",
            ),
            stacked=True,
        ),
        graph(
            "What nobody paid",
            "Bad debt since the beginning, by market.",
            COUNT,
            Query(
                "{{market}}, {{asset}}", f"sum by (market, asset) (liquidator_bad_debt_total{OF})"
            ),
            stacked=True,
        ),
        graph(
            "Insurance funds",
            "Cash of each fund.",
            COUNT,
            # The venue's own has no name.
            Query(
                "{{fund}}, {{asset}}",
                "sum by (fund, asset) "
                '(label_replace(liquidator_insurance_fund{@}, "fund", "venue", "fund", ""))',
            ),
        ),
        graph(
            "Groups charged for others",
            "Margin groups charged with a part of somebody else's loss, in a second.",
            RATE,
            Query(
                "charged",
                "sum(rate(liquidator_loss_charges_total{@}[$__rate_interval]))",
            ),
        ),
        states(
            "Withdrawals",
            "When withdrawals of an asset were to stop: more of it was unpaid than funds held.",
            Query("{{asset}}", "max by (asset) (liquidator_withdrawal_gate_closed{@})"),
            {"0": "open", "1": "to stop"},
        ),
    ],
)

BAD_DEBT = Row(
    "Bad debt",
    [
        graph(
            "Outstanding",
            "Bad debt neither recovered nor written off.",
            COUNT,
            Query(
                "{{market}}, {{asset}}",
                f"sum by (market, asset) (liquidator_bad_debt_outstanding{OF})",
            ),
            stacked=True,
        ),
        graph(
            "Recovered and written off",
            "What of it was repaid later, and what was given up for good.",
            COUNT,
            Query(
                "recovered, {{asset}}",
                "sum by (asset) (liquidator_bad_debt_recovered_total{@})",
            ),
            Query(
                "written off, {{asset}}",
                "sum by (asset) (liquidator_bad_debt_written_off_total{@})",
            ),
        ),
        graph(
            "Not booked yet",
            "What groups lack at mark whose liquidation is not over, and holes: what accounts "
            "lack that are never liquidated.",
            COUNT,
            Query("{{asset}}", f"sum by (asset) (liquidator_bad_debt_unrealised{OF})"),
            Query("holes, {{asset}}", "sum by (asset) (liquidator_bad_debt_holes{@})"),
        ),
    ],
)

TAKERS = Row(
    "Positions that the market did not take",
    [
        graph(
            "Transfers",
            "Positions to be taken without the market in a second, by who takes them: another "
            "group of the account, the fund, the backstop, or deleveraged counterparties (adl).",
            RATE,
            Query(
                "{{layer}}",
                "sum by (layer) (rate(liquidator_transfers_total{@}[$__rate_interval]))",
            ),
            stacked=True,
        ),
        graph(
            "Notional taken",
            "Notional of these at their price, in the range shown.",
            COUNT,
            Query(
                "{{layer}}, {{asset}}",
                "sum by (layer, asset) (increase(liquidator_transfer_notional_total{@}[$__range]))",
            ),
            stacked=True,
        ),
        graph(
            "What it cost",
            "What deleveraged counterparties had less than at the mark, in the range shown, and "
            "what funds paid for positions since the beginning. Both are beside the shortfall, "
            "in no sum of it.",
            COUNT,
            Query(
                "forgone, {{asset}}",
                f"sum by (asset) (increase(liquidator_deleveraging_forgone_total{OF}[$__range]))",
            ),
            Query(
                "paid for positions, {{asset}}",
                "sum by (asset) (liquidator_paid_for_positions_total{@})",
            ),
        ),
    ],
)

BOARD = Board(
    "liquidator-losses",
    "Liquidator / Waterfall and bad debt",
    "What liquidated accounts lacked, who paid for it, and what nobody paid.",
    [HEALTHY, WATERFALL, BAD_DEBT, TAKERS],
    variables=(LOSER,),
    marks=MARKS,
)
