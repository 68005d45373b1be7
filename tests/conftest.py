"""What holds for every test: no network, and in CI no oracle or browser that quietly skips."""

import os
import socket
from collections.abc import Generator
from typing import Any

import pytest

MUST_RUN_IN_CI = ("oracle", "browser")
IN_CI = bool(os.environ.get("CI"))


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines, except in tests marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):
            host = address[0]
            if host not in ("127.0.0.1", "::1", "localhost", ""):
                raise ConnectionRefusedError(f"tests must not use the network, got {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of an oracle or a browser test into a failure in CI."""
    report = yield
    marked = any(item.get_closest_marker(name) for name in MUST_RUN_IN_CI)
    if IN_CI and marked and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"in CI this must not skip: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a whole module that skips, as by ``importorskip``, into a failure in CI."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"in CI no module must skip: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: Any) -> str:
    return str(longrepr[2] if isinstance(longrepr, tuple) else longrepr)
