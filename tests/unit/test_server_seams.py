# ruff: noqa: SLF001 - the file is about private parts
"""The private parts of MLServer and uvicorn that `llm_streaming.runtimes.server` uses; each test names one.

If a test fails after an update of MLServer or uvicorn, read what has changed, and change the launcher.
"""

import inspect
from types import ModuleType
from typing import Any

import mlserver.grpc.server
import mlserver.metrics.server
import mlserver.rest.app
import mlserver.rest.server
import pytest
import uvicorn
import uvicorn.protocols.http.h11_impl
import uvicorn.protocols.http.httptools_impl
from fastapi import FastAPI
from mlserver import MLServer
from mlserver.settings import Settings

both_http_servers = pytest.mark.parametrize("module", [mlserver.rest.server, mlserver.metrics.server])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (mlserver.rest.server.RESTServer, "_custom_rest_server_settings"),
        (mlserver.metrics.server.MetricsServer, "_custom_metrics_server_settings"),
    ],
)
def test_custom_server_settings_reach_uvicorn(kind: type[Any], name: str) -> None:
    settings = Settings()
    setattr(settings, name, {"uds": "/x"})
    server = object.__new__(kind)
    server._settings, server._app = settings, FastAPI()
    assert server._get_config().uds == "/x"


def test_mlserver_does_not_use_the_lifespan_of_its_app() -> None:
    assert "lifespan" not in inspect.getsource(mlserver.rest.app)


def test_uvicorn_prefers_uds_to_host_and_port() -> None:
    source = inspect.getsource(uvicorn.Server.startup)
    assert 0 < source.index("elif config.uds is not None") < source.index("host=config.host")


def test_settings_host_and_grpc_port_are_the_target_of_grpc() -> None:
    source = inspect.getsource(mlserver.grpc.server.GRPCServer._create_server)
    assert 'f"{self._settings.host}:{self._settings.grpc_port}"' in source


@both_http_servers
def test_no_signal_server_inherits_capture_signals(module: ModuleType) -> None:
    assert issubclass(module._NoSignalServer, uvicorn.Server)
    assert "_NoSignalServer(cfg)" in inspect.getsource(module)


def test_uvicorn_server_serve_calls_capture_signals() -> None:
    assert "with self.capture_signals():" in inspect.getsource(uvicorn.Server.serve)


@both_http_servers
def test_server_attribute_is_the_uvicorn_server(module: ModuleType) -> None:
    assert "self._server = _NoSignalServer(" in inspect.getsource(module)


def test_server_attribute_is_the_grpc_server() -> None:
    assert "self._server = aio.server(" in inspect.getsource(mlserver.grpc.server.GRPCServer)


@pytest.mark.parametrize("attribute", ["_rest_server", "_grpc_server", "_model_registry"])
def test_mlserver_attributes(attribute: str) -> None:
    assert f"self.{attribute} = " in inspect.getsource(MLServer)


def test_mlserver_signal_handlers_call_stop() -> None:
    assert "self.stop(sig=s)" in inspect.getsource(MLServer._add_signal_handlers)


def test_mlserver_stop_still_cuts_grpc_after_a_fixed_time() -> None:
    """If MLServer gets a grace period of its own, the launcher's may be superfluous."""
    assert "self._server.stop(grace=5)" in inspect.getsource(mlserver.grpc.server.GRPCServer.stop)


def test_uvicorn_server_state_connections_and_force_exit() -> None:
    server = uvicorn.Server(uvicorn.Config(None))  # type: ignore[arg-type]
    assert (server.server_state.connections, server.force_exit) == (set(), False)
    assert "not self.force_exit" in inspect.getsource(uvicorn.Server._wait_tasks_to_complete)


@pytest.mark.parametrize(
    "protocol",
    [uvicorn.protocols.http.h11_impl.H11Protocol, uvicorn.protocols.http.httptools_impl.HttpToolsProtocol],
)
def test_uvicorn_connections_have_a_transport(protocol: type) -> None:
    assert "self.transport = transport" in inspect.getsource(protocol)
