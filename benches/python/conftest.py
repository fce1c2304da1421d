"""Where runs are stored, and what of them: a stored run is read in reviews."""

import warnings
from pathlib import Path

import pytest
from pytest_benchmark.logger import PytestBenchmarkWarning

BASELINES = Path(__file__).with_name("baselines")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if config.option.benchmark_storage == "file://./.benchmarks":  # the plugin's default
        config.option.benchmark_storage = f"file://{BASELINES}"
    # That the stored run is of another machine is to be said, and no error.
    warnings.filterwarnings("default", category=PytestBenchmarkWarning)
    name = f"{PytestBenchmarkWarning.__module__}.{PytestBenchmarkWarning.__name__}"
    config.addinivalue_line("filterwarnings", f"default::{name}")


def pytest_benchmark_update_machine_info(machine_info):
    """Leave out the machine's name and what no comparison looks at."""
    machine_info.pop("node", None)
    machine_info["cpu"] = {"brand_raw": machine_info["cpu"].get("brand_raw")}


def pytest_benchmark_update_json(output_json):
    for one in output_json["benchmarks"]:
        one["params"] = None
    output_json["commit_info"] = {"id": output_json["commit_info"].get("id")}
