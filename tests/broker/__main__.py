"""Run a broker in the foreground, as `make kafka` does."""

import argparse
import signal
import sys
from pathlib import Path

from tests.broker import CACHE, Broker, BrokerError

READY = """\
Kafka is ready on {bootstrap}; topics are not created by themselves.
Data and broker.log: {directory}. Ctrl-C stops it, the data stays.

Next, in another terminal (README.md, "An afternoon of operating it", says what comes after):
    .venv/bin/liquidator topics create --config deploy/demo.toml --shards 2
    .venv/bin/liquidator run --config deploy/demo.toml
"""


def main() -> int:
    """Fetch the jars and, unless told to stop there, run until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m tests.broker", description=__doc__)
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--directory", type=Path, default=CACHE / "broker")
    parser.add_argument("--fetch", action="store_true", help="only fetch the jars")
    options = parser.parse_args()

    # Both, since a shell starts what it puts in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Broker.fetch()
        if options.fetch:
            return 0
        print("Starting Kafka ...", flush=True)
        with Broker(options.directory, options.port) as broker:
            print(READY.format(bootstrap=broker.bootstrap, directory=broker.directory), flush=True)
            try:
                code = broker.wait()
            except KeyboardInterrupt:
                print("\nStopping Kafka ...", flush=True)
                return 0
        print(f"Kafka ended with exit code {code}; see {broker.log}", file=sys.stderr)
        return 1
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
