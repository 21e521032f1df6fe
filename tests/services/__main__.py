"""Run Mosquitto, Prometheus and Alertmanager in the foreground, as `make services` does.

Prometheus and Alertmanager have the shipped rules, routes and waits; what Alertmanager tells pager
and ticket queue is printed here.
"""

import contextlib
import itertools
import operator
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.services import Server, ServiceError, alertmanager, missing
from tests.services.alertmanager import Receiver, Told
from tests.services.mosquitto import mosquitto
from tests.services.prometheus import DEPLOYED

DIRECTORY = Path(__file__).parents[2] / ".kafka" / "services"
MOSQUITTO, PROMETHEUS, ALERTMANAGER = 1883, 9090, 9093

READY = f"""\
Mosquitto    127.0.0.1:{MOSQUITTO}
Prometheus   http://127.0.0.1:{PROMETHEUS}   scrapes 127.0.0.1:9464 every 15 s
Alertmanager http://127.0.0.1:{ALERTMANAGER}
Data and logs: {DIRECTORY}. Ctrl-C stops them. What the pager hears:
"""


def main() -> int:
    """Run until a signal comes."""
    # A shell starts what it puts in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if lacking := missing("mosquitto", "prometheus", "prometheus-alertmanager"):
        print(lacking, file=sys.stderr)
        return 1
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.ExitStack() as stack:
            receiver = stack.enter_context(Receiver())
            for server in _servers(receiver.port):
                stack.enter_context(server)
            print(READY, flush=True)
            _print(receiver.told)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
    return 0


def _servers(receiver: int) -> list[Server]:
    watching = [
        "prometheus",
        f"--config.file={DEPLOYED / 'prometheus.yml'}",
        f"--storage.tsdb.path={DIRECTORY / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
        "--log.level=warn",
    ]
    return [
        mosquitto(DIRECTORY / "mosquitto", port=MOSQUITTO),
        alertmanager.server(DIRECTORY, receiver, ALERTMANAGER, waits=True),
        Server(watching, DIRECTORY, PROMETHEUS),
    ]


def _print(told: list[Told]) -> None:
    """Print what is heard, as it comes: of alerts of one name the first, and how many more."""
    printed = 0
    while True:
        new = told[printed:]
        printed += len(new)
        for (path, status, alert), same in itertools.groupby(new, operator.itemgetter(0, 2, 1)):
            first, *others = same
            more = f", and {len(others)} more" if others else ""
            now = datetime.now(UTC).strftime("%H:%M:%S")
            kind = path.strip("/")
            print(f"{now}  {kind:<6}  {status:<8}  {alert}: {first.summary}{more}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
