"""The command line as its user meets it: what it says, and what it exits with."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from consumers.cli import main
from producers import audit_report, report
from tests import small_venue
from tests.broker import Broker
from tests.kafka.plant import Plant

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy" / "rules.toml"
WIDTH = 100


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the log of the small venue's morning."""
    return small_venue.write(tmp_path / "morning.jsonl.zst")


def liquidator(*arguments: object, stdin: bytes | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def said(*arguments: object) -> str:
    """Return what a command that must succeed says, its tables checked for width."""
    result = liquidator(*arguments)
    assert result.exit_code == 0, result.output
    # A path is as long as the machine has it; what we write ourselves is not.
    lines = result.output.replace(f"{ROOT}/", "").splitlines()
    assert max(map(len, lines)) <= WIDTH or "json" in str(arguments)
    return result.stdout


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


# --- help


@pytest.mark.parametrize("path", [(), *commands(main)])
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    text = said(*path, "--help")
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help, path
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, (path, parameter.name)
            assert parameter.opts[0] in text


def test_help_names_the_exit_codes_and_where_to_begin() -> None:
    text = said("--help")
    assert "liquidator demo" in text
    for code in "0123":
        assert re.search(rf"^\s+{code}  ", text, re.MULTILINE)


@pytest.mark.parametrize("arguments", [["--help"], ["replay", "--help"], ["demo", "--help"]])
def test_help_loads_neither_kafka_nor_numpy(arguments: list[str]) -> None:
    code = (
        "import sys; from consumers.cli import main; main(sys.argv[1:], standalone_mode=False);"
        "print([m for m in ('aiokafka', 'numpy', 'rich', 'aiohttp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_replay_loads_no_kafka_client(log: Path) -> None:
    code = (
        "import sys; from consumers.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print([m for m in ('aiokafka', 'aiohttp') if m in sys.modules])"
    )
    for arguments in (["replay", log], ["inspect", "--log", log]):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_console_script_and_the_module_are_the_same() -> None:
    version = [str(Path(sys.executable).with_name("liquidator")), "--version"]
    one = subprocess.run(version, capture_output=True, text=True, check=True)
    module = [sys.executable, "-m", "consumers.cli", "--version"]
    other = subprocess.run(module, capture_output=True, text=True, check=True)
    assert one.stdout.startswith("liquidator")
    assert one.stdout == other.stdout


def test_help_is_quick() -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "consumers.cli", "--help"], capture_output=True)
    # A tenth of this on an idle machine; numpy alone would not fit in on a busy one.
    assert time.monotonic() - began < 3


# --- who and why


@pytest.mark.parametrize(
    ("by", "reason", "fault"),
    [
        ("", "drill", "'--by': empty"),
        ("  ", "drill", "'--by': empty"),
        ("ana", " ", "'--reason': empty"),
        ("ana\x1b[31m", "drill", "'--by': has what cannot be printed"),
        ("ana", "one\ntwo", "'--reason': has what cannot be printed"),
    ],
)
def test_who_halts_and_why_must_be_said(tmp_path: Path, by: str, reason: str, fault: str) -> None:
    config = tmp_path / "liquidator.toml"
    config.write_text('kafka.brokers = ["127.0.0.1:9"]\n')
    result = liquidator("halt", "X", "--by", by, "--reason", reason, "--config", config)
    assert result.exit_code == 2
    assert fault in result.output


def test_an_audit_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"offset": 1, "time": 0, "written": None, "what": "Halt X", "outcome": "applied"}
    audit_report.show(report.console(), [{**row, "by": "\x1b[2Jmallory", "reason": "a\nb"}])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "�[2Jmallory" in said


# --- replay


def test_replay_tells_what_happened(log: Path) -> None:
    text = said("replay", log, "--check")
    assert re.search(r"│ Fill +│ +9 │ +9 │", text)
    assert re.search(r"│ LiquidationOrder +│ +4 │", text)
    row = r"│ BTC-PERP +│ USDT +│ +1 │ +8,882.00 │ +122.44 │ +60.00 │ +62.44 │"
    assert re.search(row, text)
    assert "Time:   2021-05-19 00:00:00 to 2021-05-19 00:01:00 UTC" in text
    assert "Invariants: held after every 10,000 events and at the end" in text
    assert "Invariants" not in said("replay", log)
    assert re.search(r"^Digest: [0-9a-f]{64}$", text, re.MULTILINE)


def test_replay_writes_its_summary_as_json(log: Path, tmp_path: Path) -> None:
    text = said("replay", log, "--summary", tmp_path / "summary.json")
    found = json.loads((tmp_path / "summary.json").read_text())
    assert f"Digest: {found['digest']}" in text
    assert len(found["shards"]) == 1
    assert found["decisions"]["BadDebt"] == 1


def test_replay_of_a_poisoned_log_says_so_in_its_exit_code(log: Path, tmp_path: Path) -> None:
    poisoned = small_venue.write(tmp_path / "poisoned")
    poisoned.write_bytes(b'{"shard":0}\n' + poisoned.read_bytes())
    result = liquidator("replay", poisoned)
    assert result.exit_code == 3
    assert "poisoned: line 1: not a line of an event log" in result.stderr
    assert "could not be read and were passed over: 1" in result.stdout
    assert result.stdout.splitlines()[-1] == said("replay", log).splitlines()[-1]


def test_replay_strict_stops(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b'{"shard":0}\n')
    result = liquidator("replay", "--strict", tmp_path / "log")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "log: line 1: " in result.stderr


def test_replay_of_nothing_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"")
    assert said("replay", tmp_path / "log").startswith("Digest: ")


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    result = liquidator("replay", tmp_path / "missing")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_a_reader_that_has_had_enough_is_no_fault(log: Path) -> None:
    replay = f"{sys.executable} -m consumers.cli replay --json {log}"
    done = subprocess.run(f"{replay} | head -n 1", shell=True, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


# --- demo


def test_options_of_the_demo_that_do_not_go_together_are_wrong_usage() -> None:
    result = liquidator("demo", "--kafka", "127.0.0.1:9", "--shards", 2)
    assert result.exit_code == 2
    assert "with --kafka the daemon has shards" in result.stderr


# --- inspect


def test_inspect_shows_the_book(log: Path) -> None:
    text = said("inspect", "--log", log)
    assert re.search(r"│ 0 +│ 2021-05-19 00:01:00 │ +36 │ +5 │", text)
    assert re.search(r"│ BTC-PERP +│ USDT +│ +122.44 │ +60.00 │ +62.44 │ +0 │", text)
    assert re.search(r"│ bob +│ cross +│ healthy +│ +3,150.00 │", text)


def test_inspect_lists_the_riskiest_first_and_says_what_is_left_out(tmp_path: Path) -> None:
    lines = small_venue.morning()
    cut = next(n for n, (_, event) in enumerate(lines) if event.time > small_venue.START + 10**7)
    path = small_venue.write(tmp_path / "cut", lines[:cut])
    text = said("inspect", "--log", path, "--limit", 2)
    listed = text[text.index("riskiest first") :]
    assert re.search(
        r"│ alice +│ cross +│ liquidating +│ +36.00 │ +36.00 │ +36.14 │ +100.4 % │", text
    )
    assert listed.index("alice") < listed.index("dave")
    assert "erin" not in listed
    assert "3 more are not shown" in flat(listed)


def test_inspect_shows_an_account(tmp_path: Path) -> None:
    lines = small_venue.morning()
    cut = next(n for n, (_, e) in enumerate(lines) if e.time > small_venue.START + 10_600_000)
    path = small_venue.write(tmp_path / "cut", lines[:cut])
    text = said("inspect", "--log", path, "alice")
    assert "Account alice (trader), shard 0, sequence 4" in text
    assert re.search(r"│ BTC-PERP │ +1 │ +9,030 │ +9,030 │ +10,000 │ +-970 │ +USDT │", text)
    assert re.search(r"9,036.2 / — │ +9,000 │", text)
    assert re.search(r"│ alice:1:1:BTC-PERP │ sell │ +1 │ +0 │ +9,004.6 │", text)
    found = json.loads(said("inspect", "--log", path, "alice", "--json"))
    (group,) = found["groups"]
    assert group["state"] == "liquidating"
    assert (group["equity"], group["maintenance"]) == ("30", "36.12")
    (leg,) = group["legs"]
    assert leg["liquidation_price_below"] == "9036.2"
    assert leg["liquidation_price_above"] is None
    assert leg["bankruptcy_price"] == "9000"
    assert group["liquidation"]["orders"][0]["limit"] == "9004.6"


def test_inspect_as_json_is_exact_and_whole(log: Path) -> None:
    found = json.loads(said("inspect", "--log", log, "--json"))
    assert found["shards"][0]["ledger"]["fees"] == {"BTC": "0.00054969", "USDT": "9.441"}
    assert {group["account"] for group in found["groups"]} == {"bob", "carol", "dave", "erin"}


def test_inspect_of_nobody_fails(log: Path) -> None:
    result = liquidator("inspect", "--log", log, "nobody")
    assert (result.exit_code, result.stderr) == (1, "Error: inspect: no account nobody\n")


@pytest.mark.parametrize("command", [["inspect"], ["explain", "a:1:1:B"]])
def test_one_source_is_needed(command: list[str], log: Path) -> None:
    for options in ([], ["--log", log, "--config", ROOT / "deploy" / "liquidator.toml"]):
        result = liquidator(*command, *options)
        assert result.exit_code == 2
        assert "give --log or --config, one of them" in result.stderr


# --- explain


def flat(text: str) -> str:
    """Return text whose lines were wrapped as one line, for reading sums across them."""
    return re.sub(r"\s+", " ", text)


def test_explain_writes_out_the_arithmetic_of_a_limit(log: Path) -> None:
    text = flat(said("explain", "--log", log, "alice:1:1:BTC-PERP"))
    assert "margin equity 36 USDT did not cover maintenance 36.144 USDT" in text
    assert "│ mark BTC-PERP │ from venue, 2021-05-19 00:00:10 │ 9,036 │" in text
    assert "0.004 × notional 9,036 − 0 = 36.144 USDT" in text
    assert "9,036 − 36 = 9,000 USDT" in text
    assert "bankruptcy price: 9,000 ÷ (1 × 1) = 9,000, up to 0.1: 9,000" in text
    assert (
        "9,000 ÷ (1 × 1 × (1 − 0.0005)) = 9,004.5022511255627814, up to tick 0.1: 9,004.6" in text
    )
    assert "the mark 9,036 is not beyond the limit" in text
    assert "BTC-PERP: shortfall 122.441 USDT = fund 60 + bad debt 62.441." in text


def test_explain_follows_a_liquidation_to_its_end(log: Path) -> None:
    found = json.loads(said("explain", "--log", log, "alice:1:2:BTC-PERP", "--json"))
    course = [happened["type"] for happened in found["course"]]
    assert course == [
        "LiquidationStarted",
        "CancelOpenOrders",
        "OrdersCancelled",
        "LiquidationOrder",
        "Fill",
        "CancelOrder",
        "OrderClosed",
        "LiquidationOrder",
        "Fill",
        "Shortfall",
        "FundDraw",
        "BadDebt",
        "LiquidationEnded",
    ]
    assert found["order"]["replaces"] == "alice:1:1:BTC-PERP"
    (leg,) = found["arithmetic"]["legs"]
    assert (leg["size"], leg["mark"], leg["target"]) == ("0.8", "9030", "7198.901")
    text = flat(said("explain", "--log", log, "alice:1:2:BTC-PERP"))
    assert "expired before: stage backstop, at mark 9,030 × (1 − 0.05)" in text


def test_explain_an_inverse_order(log: Path) -> None:
    text = flat(said("explain", "--log", log, "dave:1:1:BTCUSD-PERP"))
    assert "value −100 × 100 ÷ 9,100 = -1.0989011 BTC" in text
    assert "(100 × 100) ÷ 1.0999999989010989011 = 9,090.9090999909181818, up to 0.01" in text
    assert "(100 × 100 × (1 + 0.0005)) ÷ 1.0999999989010989011" in text
    assert "No shortfall." in text


def test_explain_a_sale_of_collateral(log: Path) -> None:
    text = flat(said("explain", "--log", log, "carol:1:2:BTC"))
    assert "sell 0.94855382 BTC for USDT at 20,035.5 or better" in text
    assert "owed: 20,005 USDT at 1 USDT; held: 1 BTC at 21,090" in text
    assert "21,090 × (1 − 0.05) ÷ 1, up: 20,035.5 USDT per BTC" in text


@pytest.mark.parametrize("order", ["alice:9:1:BTC-PERP", "alice", "alice:x:1:BTC-PERP"])
def test_explain_of_no_order_fails(log: Path, order: str) -> None:
    result = liquidator("explain", "--log", log, order)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: explain: ")
    assert order in result.stderr


# --- rules, configuration


def test_rules_check_says_what_a_sound_file_holds() -> None:
    text = said("rules", "check", RULES)
    assert 'sound: profile "example", 3 assets, 3 instruments, fund deposits: 1' in text


def test_rules_check_names_every_fault_at_once(tmp_path: Path) -> None:
    text = RULES.read_text().replace("tick = 0.5", "tik = 0.5").replace("cap = 5,", "cap = -5,")
    (tmp_path / "rules.toml").write_text(text)
    result = liquidator("rules", "check", tmp_path / "rules.toml")
    assert result.exit_code == 1
    faults = [line.partition("rules.toml: ")[2] for line in result.stderr.splitlines()]
    assert faults == [
        "perpetuals[BTCUSD-PERP].tik: unknown key; did you mean tick?",
        "perpetuals[BTCUSD-PERP].tick: missing",
        "profile: requirements BTCUSD-PERP: bracket 1: cap -5 not positive",
    ]


def test_check_config_of_the_example_is_sound(tmp_path: Path) -> None:
    assert "sound" in said("check-config", ROOT / "deploy" / "liquidator.toml")
    (tmp_path / "bad.toml").write_text('[kafka]\nbroker = "x"\n[http]\nport = 70000\n')
    result = liquidator("check-config", tmp_path / "bad.toml")
    assert result.exit_code == 1
    assert "kafka.broker: unknown key; did you mean brokers?" in result.stderr
    assert "http.port" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("topics", "check"),
        ("topics", "create"),
        ("export",),
        ("inspect",),
        ("explain", "a:1:1:P"),
        ("rules", "show"),
        ("rules", "publish", RULES),
    ],
)
def test_brokers_that_do_not_answer_are_named_with_their_key(
    command: tuple[object, ...], tmp_path: Path
) -> None:
    file = tmp_path / "liquidator.toml"
    file.write_text('[kafka]\nbrokers = ["127.0.0.1:9"]\n')
    result = liquidator(*command, "--config", file)
    assert result.exit_code == 1
    assert f"kafka: no broker answers at 127.0.0.1:9 ({file}: kafka.brokers)" in result.stderr


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, where clients left open would say so."""
    command = [sys.executable, "-m", "consumers.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **options)


def test_the_demo_names_a_broker_that_does_not_answer() -> None:
    done = run("demo", "--kafka", "127.0.0.1:9")
    assert done.returncode == 1
    assert "kafka: no broker answers at 127.0.0.1:9 (--kafka)" in done.stderr
    assert "Unclosed" not in done.stderr


def test_a_port_that_is_taken_is_named_with_its_key(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = tmp_path / "liquidator.toml"
        file.write_text(f"[http]\nport = {port}\n")
        result = liquidator("run", "--config", file)
    assert result.exit_code == 1
    assert f"http: cannot serve on 127.0.0.1:{port} (http.host, http.port)" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run("rules", "check", RULES, stdout=full)
    assert done.returncode == 1
    assert "standard output: No space left on device" in done.stderr
    (tmp_path / "log").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device: ") as caught:
        small_venue.write(tmp_path / "log")
    assert caught.value.filename == str(tmp_path / "log")


@pytest.mark.parametrize("speed", ["nan", "inf", "0", "-1"])
def test_a_speed_is_a_number_above_zero(speed: str) -> None:
    result = liquidator("demo", "--speed", speed)
    assert result.exit_code == 2
    assert "--speed" in result.stderr


@pytest.mark.slow
def test_a_demo_that_is_interrupted_says_what_is_left_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "day.jsonl"
    command = [sys.executable, "-m", "consumers.cli", "demo", "--speed", "1", "--log", str(log)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as playing:
        part = tmp_path / "day.jsonl.part"
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        playing.send_signal(signal.SIGINT)
        _, errors = playing.communicate(timeout=30)
    assert playing.returncode == 1
    assert f"{part}: left as it is, an unfinished event log" in errors
    assert not log.exists()


# --- what talks to Kafka


async def cli(*arguments: object, code: int = 0) -> str:
    """Run a command in a process of its own and return what it says."""
    command = [sys.executable, "-m", "consumers.cli", *map(str, arguments)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.kafka
async def test_topics_are_made_and_checked(broker: Broker, tmp_path: Path) -> None:
    config = Plant(broker.bootstrap, tmp_path, shards=2).config()
    assert "does not exist" in await cli("topics", "check", "--config", config, code=1)
    made = await cli("topics", "create", "--config", config, "--shards", 2)
    assert made.count("created ") == 10
    assert await cli("topics", "check", "--config", config) == "topics: sound\n"
    assert "all topics exist" in await cli("topics", "create", "--config", config, "--shards", 2)
    told = await cli("topics", "create", "--config", config, "--shards", 3, code=1)
    assert "positions" in told


@pytest.mark.kafka
async def test_a_topic_that_is_not_there_is_told_at_once(broker: Broker, tmp_path: Path) -> None:
    config = Plant(broker.bootstrap, tmp_path, shards=1).config()
    for command, topic in (
        (("rules", "show"), "control"),
        (("rules", "publish", RULES), "control"),
        (("export",), "journal"),
        (("inspect",), "engine-state"),
        (("explain", "alice:1:1:BTC-PERP"), "journal"),
    ):
        told = await cli(*command, "--config", config, code=1)
        assert f"{topic}: does not exist; `liquidator topics create` makes it" in told


@pytest.mark.kafka
async def test_a_daemon_that_has_read_nothing_has_an_empty_book(
    broker: Broker, tmp_path: Path
) -> None:
    async with Plant(broker.bootstrap, tmp_path, shards=2) as plant:
        text = await cli("inspect", "--config", plant.config())
        assert re.search(r"│ 1 +│ — +│ +0 │", text)


@pytest.mark.kafka
async def test_rules_are_published_once_and_shown(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, shards=1) as plant:
        config = plant.config()
        assert "No profile is in force." in await cli("rules", "show", "--config", config)
        sent = await cli("rules", "publish", RULES, "--config", config)
        assert [line.split()[1] for line in sent.splitlines()] == [
            "ProfileChanged",
            *["InstrumentListed"] * 6,
            "FundMoved",
        ]
        again = await cli("rules", "publish", RULES, "--config", config)
        assert again == "nothing to send: all of it is in force\n"
        changed = tmp_path / "rules.toml"
        changed.write_text(RULES.read_text().replace("stop_buffer = 0.1 ", "stop_buffer = 0.2 "))
        sent = await cli("rules", "publish", changed, "--config", config)
        assert sent == 'sent ProfileChanged "example"\n'
        assert "≥ maintenance × 1.2" in await cli("rules", "show", "--config", config)
        shown = json.loads(await cli("rules", "show", "--config", config, "--json"))
        assert shown["profile"]["trigger"]["stop_buffer"] == "0.2"
        assert len(shown["instruments"]) == 6


@pytest.mark.kafka
async def test_rules_that_the_engine_would_refuse_are_not_sent(
    broker: Broker, tmp_path: Path
) -> None:
    async with Plant(broker.bootstrap, tmp_path, shards=1) as plant:
        config, changed = plant.config(), tmp_path / "rules.toml"
        await cli("rules", "publish", RULES, "--config", config)
        for old, new, why in (
            ("multiplier = 100", "multiplier = 10", "InstrumentListed BTCUSD-PERP"),
            ("amount = 1_000_000\n", "amount = 2\n", "sequence 1 is taken, the next one is 2"),
        ):
            changed.write_text(RULES.read_text().replace(old, new))
            assert why in await cli("rules", "publish", changed, "--config", config, code=1)
        (control,) = await plant.read(plant.topics.control)
        assert len(control) == 8


@pytest.mark.kafka
async def test_what_a_daemon_keeps_is_exported_inspected_and_explained(
    broker: Broker, tmp_path: Path, log: Path
) -> None:
    async with Plant(broker.bootstrap, tmp_path, shards=1) as plant:
        records = small_venue.morning()
        await plant.put(records)
        process = await plant.start()
        await plant.until_taken(plant.counts(records))
        assert await process.terminate() == 0
        config, exported = plant.config(), tmp_path / "exported.jsonl.gz"
        told = await cli("export", "--config", config, "-o", exported)
        assert told == f"{len(records)} events\n"
        assert said("replay", exported) == said("replay", log)
        options = ("inspect", "--config", config)
        assert await cli(*options) == said("inspect", "--log", log)
        assert await cli(*options, "carol", "--json") == said(
            "inspect", "--log", log, "carol", "--json"
        )
        order = "alice:1:2:BTC-PERP"
        assert await cli("explain", "--config", config, order) == said(
            "explain", "--log", log, order
        )
        assert "nobody" in await cli("inspect", "--config", config, "nobody", code=1)
        kept = json.loads(await cli("waterfall", "state", "--config", config, "--json"))
        told = json.loads(said("waterfall", log, "--json"))
        assert kept == {key: told[key] for key in kept}
        assert kept["markets"][0]["outstanding"] == "62.441"
        one = ("--liquidation", "alice:1")
        assert await cli("waterfall", "state", "--config", config, *one) == said(
            "waterfall", log, *one
        )
