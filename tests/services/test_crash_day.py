"""A real Prometheus sees the crash as the daemon tells it."""

from __future__ import annotations

import pytest

from tests.services.crash_day import CrashDay
from tests.services.prometheus import query

pytestmark = [pytest.mark.kafka, pytest.mark.services]


def test_prometheus_sees_the_day(crash_day: CrashDay, crash_day_prometheus: str) -> None:
    def value(expression: str) -> float:
        (found,) = query(crash_day_prometheus, expression, crash_day.ended)
        return float(found["value"][1])

    assert value("sum(liquidator_bad_debt_total)") > 0
    assert value('sum(liquidator_transfers_total{layer="adl"})') > 0
    whole = "sum(liquidator_insurance_fund)[5m:1s]"
    assert value(f"min_over_time({whole})") == 0 < value(f"max_over_time({whole})")
    assert value("sum(liquidator_shortfall_total)") == pytest.approx(
        value("sum(liquidator_shortfall_paid_total) + sum(liquidator_bad_debt_total)")
    )
