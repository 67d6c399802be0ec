"""The benchmarks' figures, reports and readers; these tests measure no time."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.figures import Figure, Target, count, format_target
from benchmarks.harness import interleave, percentile
from benchmarks.readers import Answer
from benchmarks.report import table, write_json
from benchmarks.servers import run_server
from llm_streaming.mesh.processes.ports import answers, free_ports

RELAY = Figure(
    part="relay",
    what="HTTP",
    size="8 streams",
    unit="tokens/s",
    values=[20_000.0, 30_000.0, 10_000.0],
    against="a naive runtime",
    references=[4_000.0, 5_000.0, 1_000.0],
    target=Target("ratio", 5),
)
GAP = Figure(
    part="latency",
    what="gap, p50",
    size="16 streams",
    unit="ms",
    values=[30.0, 25.0],
    against="the provider",
    references=[20.0, 20.0],
    added=True,
    target=Target("added", 0.5, at_least=False),
)
PLAIN = Figure(
    part="client", what="decoding", size="1 event", unit="µs", values=[0.5], against="the loop", references=[50.0]
)


def test_ratio_and_difference_are_medians_over_the_rounds():
    assert RELAY.numbers == {"value": 20_000.0, "reference": 4_000.0, "ratio": 6.0, "added": 16_000.0}
    assert GAP.numbers == {"value": 27.5, "reference": 20.0, "ratio": 1.375, "added": 7.5}


def test_a_target_bounds_one_number_from_one_side():
    assert [RELAY.reached, GAP.reached, PLAIN.reached] == [True, False, None]
    targets = [Target("value", 20_000), Target("ratio", 1.6), Target("added", 3, at_least=False)]
    assert [format_target(target, "ms") for target in targets] == [
        "≥ 20,000 ms",
        "≥ 1.60 \N{MULTIPLICATION SIGN}",
        "≤ 3.00 ms",
    ]


def test_a_count_has_its_noun():
    assert [count(1, "stream"), count(1000, "token")] == ["1 stream", "1,000 tokens"]


def test_variants_take_turns_every_other_round_backwards():
    calls = []

    def variant(name):
        def measure():
            calls.append(name)
            return len(calls)

        return measure

    assert interleave({"a": variant("a"), "b": variant("b")}, 3) == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert calls == ["a", "b", "b", "a", "a", "b"]


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (50, 50), (95, 95), (99, 99), (100, 100)])
def test_percentiles_are_measured_values(share, expected):
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_tokens_are_timed_when_all_their_copies_have_arrived():
    answer = Answer(0.0, [(1.0, b"head"), (2.0, b"1 token 2 token 3"), (3.0, b" token"), (4.0, b" token token token")])
    assert answer.token_times(1) == [2.0, 2.0, 3.0, 4.0, 4.0, 4.0]
    assert answer.token_times(2) == [2.0, 4.0, 4.0]


def test_http_framing_is_removed_wherever_it_was_cut():
    pieces = [b"HTTP/1.1 200 OK\r\n\r\n5\r", b"\nab to\r\n", b"3\r\nken\r\n0\r\n\r\n"]
    assert Answer(0.0, [(0.0, piece) for piece in pieces]).body == b"HTTP/1.1 200 OK\r\nab token\r\n"


def test_the_table_shows_each_figure_with_its_reference():
    assert table({"machine": "2 cores"}, [RELAY, PLAIN, GAP]) == (
        "# Benchmarks\n"
        "\n"
        "- machine: 2 cores\n"
        "\n"
        "The columns 'measured' and 'reference' show medians over the rounds. 'compared' is the median of the rounds' "
        "ratios or, if it has a sign, of their differences. Within a round, the variants were measured in turn.\n"
        "\n"
        "## Figures with a target\n"
        "\n"
        "| part | what | at | measured | reference | compared | rounds | target | reached |\n"
        "|---|---|---|---:|---|---:|---:|---|---|\n"
        "| relay | HTTP | 8 streams | 20,000 tokens/s | 4,000 tokens/s, a naive runtime "
        "| 6.00 \N{MULTIPLICATION SIGN} | 3 | ≥ 5.00 \N{MULTIPLICATION SIGN} | yes |\n"
        "| latency | gap, p50 | 16 streams | 27.5 ms | 20.0 ms, the provider | +7.50 ms | 2 "
        "| ≤ 0.50 ms | **no** |\n"
        "\n"
        "## Other figures\n"
        "\n"
        "| part | what | at | measured | reference | compared | rounds | target | reached |\n"
        "|---|---|---|---:|---|---:|---:|---|---|\n"
        "| client | decoding | 1 event | 0.50 µs | 50.0 µs, the loop | 0.01 \N{MULTIPLICATION SIGN} | 1 |  |  |\n"
    )


def test_the_json_file_holds_every_round(tmp_path):
    write_json(tmp_path / "build" / "bench.json", {"machine": "2 cores"}, [GAP])
    assert json.loads((tmp_path / "build" / "bench.json").read_text()) == {
        "machine": "2 cores",
        "figures": [
            {
                "part": "latency",
                "what": "gap, p50",
                "size": "16 streams",
                "unit": "ms",
                "value": 27.5,
                "reference": 20.0,
                "ratio": 1.375,
                "added": 7.5,
                "against": "the provider",
                "rounds": 2,
                "target": {"of": "added", "sign": "≤", "bound": 0.5, "reached": False},
                "values": [30.0, 25.0],
                "references": [20.0, 20.0],
            }
        ],
    }


def test_a_server_runs_until_the_block_ends(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with run_server(command, port, "/", timeout=60, folder=tmp_path):
        assert answers("127.0.0.1", port)
    assert not answers("127.0.0.1", port)


def test_a_server_that_does_not_start_is_an_error_with_its_output() -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", "raise SystemExit('no model')", "serve"]
    with pytest.raises(RuntimeError) as raised, run_server(command, port, "/", timeout=60):
        pass
    assert str(raised.value) == f"The server did not start: {' '.join(command[:3])}\nno model\n"
