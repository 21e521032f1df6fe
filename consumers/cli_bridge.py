"""The command `liquidator bridge`."""

from __future__ import annotations

from pathlib import Path

import click

from consumers import mishaps
from consumers.cli_options import config_option


@click.command()
@config_option
def bridge(config_file: Path) -> None:
    """Carry prices from MQTT to the Kafka topic `prices`, until SIGTERM or Ctrl-C.

    The sections [mqtt] and [bridge] of the daemon's file say where they come from and what the
    messages look like: `[[bridge.sources]]` names topics, such as "venue/{symbol}/mark", and where
    in the payload price, time and sequence stand.

    A message is acknowledged once Kafka has its price or a newer one, so that neither a restart nor
    a crash loses the newest price of a symbol. Under pressure older prices give way to newer ones.
    What cannot be read goes to the topic `bridge-dead-letters`, as it came, with the reason.
    Counts are served at http://127.0.0.1:9465/metrics ([bridge] http_host, http_port).
    """
    from consumers import mqtt

    try:
        with mishaps.settings(config_file) as settings:
            mqtt.run(settings)
    except mqtt.BridgeError as error:
        raise click.ClickException(f"{config_file}: {error}") from error
