"""When the watchdog takes llama.cpp for stalled, by a clock that the tests set."""

import threading

import pytest

from llm_streaming.engines.llamacpp.watchdog import Moment, Watchdog


class Scene:
    """A watchdog of 30 s with a clock of its own."""

    def __init__(self) -> None:
        self.clock = self.cpu = 0.0
        self.ended: list[str] = []
        self.watchdog = Watchdog(30, lambda: Moment(self.clock, self.cpu), self.ended.append)

    def go_on(self, seconds: int, *, cpu: float, looks_each: int = 1) -> None:
        """Let seconds pass in which the process uses a share of a core."""
        for _ in range(0, seconds, looks_each):
            self.clock += looks_each
            self.cpu += looks_each * cpu
            self.watchdog.look()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(Watchdog, "_watch", lambda *_: None)  # the tests look themselves
    return Scene()


def test_a_busy_engine_without_a_sign_has_stalled_after_the_timeout(scene: Scene) -> None:
    with scene.watchdog.working(["messages", "grammar"]):
        scene.go_on(29, cpu=1)
        assert scene.ended == []
        scene.go_on(1, cpu=1)
    assert scene.ended == [
        "llama.cpp has stalled: it made no progress for 30 s, with 30 s of CPU time, while it worked on requests with "
        "these parameters: grammar, messages. This server ends now, so that it can be started again; if the model is "
        "only slow, raise stall_timeout in its model-settings.json."
    ]


def test_a_slow_engine_on_a_busy_machine_has_not_stalled(scene: Scene) -> None:
    """Seen: 86 s until a healthy first callback, with 4.3 s of CPU time."""
    with scene.watchdog.working(["messages"]):
        scene.go_on(86, cpu=0.05)
    assert scene.ended == []


def test_a_stalled_engine_on_a_busy_machine_is_found_later(scene: Scene) -> None:
    with scene.watchdog.working(["messages"]):
        scene.go_on(159, cpu=0.0625)
        assert scene.ended == []
        scene.go_on(1, cpu=0.0625)
        assert scene.ended[0].startswith("llama.cpp has stalled: it made no progress for 160 s, with 10 s of CPU time")


def test_an_engine_that_waits_without_using_a_core_has_stalled_after_ten_times_the_timeout(scene: Scene) -> None:
    with scene.watchdog.working(["messages"]):
        scene.go_on(299, cpu=0)
        assert scene.ended == []
        scene.go_on(1, cpu=0)
        assert len(scene.ended) == 1


def test_each_callback_is_a_sign_of_life(scene: Scene) -> None:
    with scene.watchdog.working(["messages"]):
        for _ in range(10):
            scene.go_on(29, cpu=1)
            with scene.watchdog.called_back():
                pass
    assert scene.ended == []


def test_an_engine_that_waits_for_its_reader_has_not_stalled(scene: Scene) -> None:
    """A callback lasts as long as the reader is behind."""
    with scene.watchdog.working(["messages"]):
        with scene.watchdog.called_back():
            scene.go_on(1000, cpu=1)
        scene.go_on(29, cpu=1)
        assert scene.ended == []
        scene.go_on(1, cpu=1)
    assert len(scene.ended) == 1


def test_one_answer_that_goes_on_is_a_sign_of_life_for_all(scene: Scene) -> None:
    """llama.cpp computes all answers together, so one may rightly wait for the prompts of others."""
    other, go_on = threading.Event(), threading.Event()

    def wait_in_llamacpp() -> None:
        with scene.watchdog.working(["messages", "seed"]):
            other.set()
            go_on.wait(60)

    thread = threading.Thread(target=wait_in_llamacpp)
    thread.start()
    other.wait(60)
    with scene.watchdog.working(["messages"]):
        for _ in range(3):
            scene.go_on(20, cpu=1)
            with scene.watchdog.called_back():
                pass
        assert scene.ended == []
        scene.go_on(30, cpu=1)
    go_on.set()
    thread.join(60)
    assert ["messages; messages, seed" in line or "messages, seed; messages" in line for line in scene.ended] == [True]


def test_an_idle_engine_has_not_stalled(scene: Scene) -> None:
    with scene.watchdog.working(["messages"]):
        pass
    scene.go_on(1000, cpu=1)
    assert scene.ended == []


def test_time_in_which_the_process_was_stopped_does_not_count(scene: Scene) -> None:
    """A suspended laptop, a debugger: the watchdog itself comes late."""
    with scene.watchdog.working(["messages"]):
        scene.go_on(1000, cpu=1, looks_each=100)
        assert scene.ended == []
        scene.go_on(30, cpu=1)
    assert len(scene.ended) == 1


def test_the_watching_thread_lasts_as_long_as_the_calls() -> None:
    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "llm-watchdog"]

    watchdog = Watchdog(30)
    for _ in range(3):
        with watchdog.working([]), watchdog.working([]):
            assert len(threads()) == 1
            [thread] = threads()
        thread.join(60)
        assert threads() == []
