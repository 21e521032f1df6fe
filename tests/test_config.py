"""The daemon's file: every fault at once, no secret shown, nothing that decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers import config
from consumers.mqtt_config import Publish, Source
from consumers.risk_config import Risk
from consumers.secure_lines import Tls
from consumers.toml_file import FileFaults

EXAMPLE = Path(__file__).parents[1] / "deploy" / "liquidator.toml"


def faults(directory: Path, text: str) -> list[str]:
    """Return the faults of a file, without its name."""
    path = directory / "liquidator.toml"
    path.write_text(text)
    with pytest.raises(FileFaults) as raised:
        config.read(path)
    return [fault.removeprefix(f"{path}: ") for fault in raised.value.faults]


def test_the_example_says_the_defaults() -> None:
    assert config.read(EXAMPLE) == config.Config()


def test_the_example_names_every_key() -> None:
    text = EXAMPLE.read_text()
    sections = (config.Kafka, config.Sasl, Tls, config.Shards, config.Http, config.Status)
    sections += (config.RulesFile, config.Log, config.Mqtt, Publish, config.Bridge, Source, Risk)
    keys = [key for section in sections for key in section.__struct_fields__]
    assert [key for key in keys if f"{key} = " not in text and f".{key}]" not in text] == []


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
        [kafka]
        brokers = ["broker", "broker:9092"]
        group = ""
        session_timeout = 60
        topic_prefix = "a b"
        [shards]
        clock = "sun"
        [http]
        hots = "x"
        [extra]
        """,
    )
    assert len(found) == 7
    for part in (
        "kafka.brokers: 'broker' is not host:port",
        "kafka.group: empty",
        "kafka.session_timeout: 60 is not in [1, 45]",
        "kafka.topic_prefix: 'a b'",
        "shards.clock: ",
        "http.hots: unknown key; did you mean host?",
        "extra: unknown key",
    ):
        assert any(fault.startswith(part) for fault in found), part


def test_a_fault_of_form_hides_none_of_meaning_and_makes_none(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
        kafkaa = 1
        [kafka]
        brokers = ["nohost", "h:99999", 5]
        group = 5
        session_timeout = 100
        topic_prefix = "a b"
        [kafka.sasl]
        mechanism = "X"
        username = "u"
        password_file = 5
        [kafka.tls]
        enabled = "yes"
        cert_file = 5
        key_file = "/nowhere"
        [shards]
        clock = "moon"
        commit_interval = nan
        max_ahead = -1
        [http]
        port = 70000
        host = ""
        lag_max = "x"
        """,
    )
    assert [fault.split(": ")[0] for fault in found] == [
        "kafkaa",
        "kafka.brokers[3]",
        "kafka.group",
        "kafka.sasl.mechanism",
        "kafka.sasl.password_file",
        "kafka.tls.enabled",
        "kafka.tls.cert_file",
        "shards.clock",
        "shards.commit_interval",
        "http.lag_max",
        "kafka.brokers",
        "kafka.brokers",
        "kafka.topic_prefix",
        "kafka.session_timeout",
        "kafka.tls.key_file",
        "shards.max_ahead",
        "http.host",
        "http.port",
    ]


def test_where_nothing_of_a_list_can_be_read_it_is_not_said_to_be_empty(tmp_path: Path) -> None:
    (said,) = faults(tmp_path, "[kafka]\nbrokers = [5]")
    assert said.startswith("kafka.brokers[1]: ")
    assert len(faults(tmp_path, "kafka = 5")) == 1


@pytest.mark.parametrize(
    ("host", "broker"),
    [("0.0.0.0", "kafka-1.example:9092"), ("::", "[::1]:9092"), ("localhost", "10.0.0.1:65535")],
)
def test_addresses_of_every_kind_are_sound(tmp_path: Path, host: str, broker: str) -> None:
    path = tmp_path / "liquidator.toml"
    path.write_text(f'[kafka]\nbrokers = ["{broker}"]\n[http]\nhost = "{host}"')
    assert config.read(path).kafka.brokers == (broker,)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[kafka]\nbrokers = []", "kafka.brokers: none given"),
        ("[http]\nport = -1", "http.port: -1 is not in [0, 65535]"),
        ("[shards]\ncommit_interval = 0", "shards.commit_interval: 0 is not in [0.001, 10]"),
        ("[shards]\nmax_ahead = nan", "shards.max_ahead: nan is not a number"),
        ('[kafka]\nbrokers = ["a b:1"]', "kafka.brokers: 'a b:1' is not host:port"),
        ('[kafka]\nbrokers = ["h:\u0661"]', "kafka.brokers: 'h:\u0661' is not host:port"),
        ('[kafka]\nbrokers = ["::1:9092"]', "kafka.brokers: '::1:9092' is not host:port"),
        ('[kafka]\ngroup = "a b/c"', "kafka.group: 'a b/c' has other than letters"),
        ('[http]\nhost = ""', "http.host: '' is not the name or address of a host"),
        ('[http]\nhost = "a b"', "http.host: 'a b' is not the name or address of a host"),
        ("a = " + "[" * 100_000, "not TOML: arrays or tables are nested too deeply"),
        ("a = " + "9" * 5_000, "not TOML: Exceeds the limit"),
        ('[kafka.sasl]\npassword_env = "P"', "kafka.sasl.username: there is a password"),
        ('[kafka.sasl]\nusername = "u"', "kafka.sasl: needs password_file or password_env"),
        (
            '[kafka.sasl]\nusername = "u"\npassword_env = "LIQUIDATOR_NOT_SET"',
            "kafka.sasl.password_env: LIQUIDATOR_NOT_SET is not set",
        ),
        (
            '[kafka.sasl]\nusername = "u"\npassword_file = "/nowhere"',
            "kafka.sasl.password_file: /nowhere: No such file",
        ),
        ('[kafka.tls]\nca_file = "/nowhere"', "kafka.tls.ca_file: has no effect"),
        (
            '[kafka.tls]\nenabled = true\nkey_file = "/nowhere"',
            "kafka.tls.key_file: there is no cert_file",
        ),
    ],
)
def test_a_fault_names_its_key(tmp_path: Path, text: str, fault: str) -> None:
    assert any(found.startswith(fault) for found in faults(tmp_path, text))


def test_a_password_goes_to_the_client_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "password"
    secret.write_text("sesame\n")
    monkeypatch.setenv("LIQUIDATOR_PASSWORD", "sesame")
    path = tmp_path / "liquidator.toml"
    for where in (f'password_file = "{secret}"', 'password_env = "LIQUIDATOR_PASSWORD"'):
        path.write_text(f'[kafka.sasl]\nusername = "u"\n{where}\n[kafka.tls]\nenabled = true')
        read = config.read(path)
        client = read.client()
        assert client["sasl_plain_password"] == "sesame"
        assert client["security_protocol"] == "SASL_SSL"
        assert client["ssl_context"].check_hostname
        assert "sesame" not in repr(read)


def test_a_certificate_that_cannot_be_used_is_a_fault(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_text("not a certificate")
    path = tmp_path / "liquidator.toml"
    path.write_text(f'[kafka.tls]\nenabled = true\nca_file = "{certificate}"')
    with pytest.raises(FileFaults, match="kafka: security"):
        config.read(path).client()


def test_topics_carry_the_prefix() -> None:
    read = config.Config(kafka=config.Kafka(topic_prefix="test-"))
    assert read.topics.liquidation_orders == "test-liquidation-orders"
    assert read.client() == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "security_protocol": "PLAINTEXT",
    }


def test_faults_of_bands_are_named(tmp_path: Path) -> None:
    found = faults(
        tmp_path, "[risk]\nbands = [1.1, 1.05, 0]\nmin_interval = -1\nmax_per_second = 0"
    )
    assert found == [
        "risk.bands: 0 is not in [0.01, 1000]",
        "risk.bands: do not rise",
        "risk.min_interval: -1 is not in [0, 3600]",
        "risk.max_per_second: 0 is not in [0.1, 10000]",
    ]
    assert faults(tmp_path, "[risk]\nbands = []") == ["risk.bands: 0 bounds, not 1 to 100"]
