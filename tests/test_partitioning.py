"""Where keys go: our function, the client's, Java's and the documented one are the same."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.feed import shard_of
from producers.partitioning import COUNTS, hash_of, vectors
from tests import partition_table
from tests.broker import LIB, Broker

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
VECTORS = Path(__file__).parents[1] / "docs" / "contracts" / "murmur2.json"


def example(name: str) -> ModuleType:
    """Return a program of the documentation as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_table() -> None:
    said = "run `python -m tests.partition_table`"
    assert partition_table.PAGE.read_text() == partition_table.page(), said


@given(st.binary(max_size=70))
def test_the_documented_function_is_the_clients(key: bytes) -> None:
    documented = example("murmur2")
    assert documented.murmur2(key) & 0x7FFFFFFF == hash_of(key)


def test_the_vectors_say_where_accounts_go() -> None:
    documented = example("murmur2")
    read = json.loads(VECTORS.read_text())
    assert read == vectors()
    for vector in read:
        key = vector["key"].encode()
        assert len(key) == vector["bytes"]
        assert documented.murmur2(key) & 0x7FFFFFFF == vector["hash"]
        for count in COUNTS:
            place = vector["partition"][str(count)]
            assert documented.partition(key, count) == shard_of(vector["key"], count) == place
    assert {vector["bytes"] % 4 for vector in read} == {0, 1, 2, 3}


JAVA = """
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import org.apache.kafka.common.utils.Utils;

public class Murmur2 {
    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of(arguments[0]), StandardCharsets.UTF_8)) {
            byte[] key = line.getBytes(StandardCharsets.UTF_8);
            System.out.println(Utils.toPositive(Utils.murmur2(key)));
        }
    }
}
"""


@pytest.mark.kafka
def test_java_says_the_same(tmp_path: Path) -> None:
    if reason := Broker.missing():
        pytest.skip(reason)
    modules = subprocess.run(["java", "--list-modules"], capture_output=True, text=True, check=True)
    if "jdk.compiler@" not in modules.stdout:
        pytest.skip("Java without a compiler: a JDK is needed, not a JRE")
    source, keys = tmp_path / "Murmur2.java", tmp_path / "keys"
    source.write_text(JAVA)
    keys.write_text("".join(f"{vector['key']}\n" for vector in vectors()), encoding="utf-8")
    command = ["java", "-cp", f"{LIB}/*", str(source), str(keys)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [int(line) for line in said.stdout.splitlines()] == [it["hash"] for it in vectors()]
