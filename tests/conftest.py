"""Fixtures shared by all tests."""

import atexit
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from pathlib import Path

import pytest
import typer.main
import typer.testing
import yaml

from invented import invent_store
from usfm_bench.results.store import Store

PROJECT = Path(__file__).parents[1]
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers inherit it: real data are decoded once for all tests
    os.environ["USFM_BENCH_CACHE"] = tempfile.mkdtemp(prefix="usfm-bench-tests-")
    atexit.register(shutil.rmtree, os.environ["USFM_BENCH_CACHE"], ignore_errors=True)

# Typer builds all commands anew for each call, which takes longer than what most tests call.
typer.main.get_command = typer.testing._get_command = cache(typer.main.get_command)


def _parsed_once(load):
    """`yaml.load` that parses a text once: most tests read the same registry, suites and profiles."""

    @lru_cache(maxsize=64)
    def parsed(text: str, loader: type) -> bytes:
        return pickle.dumps(load(text, loader))

    return lambda source, Loader: pickle.loads(parsed(source, Loader)) if type(source) is str else load(source, Loader)


yaml.load = _parsed_once(yaml.load)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the files of tests/golden")


def _find(name: str, *roots: Path) -> Path:
    for root in roots:
        if (root / name).exists():
            return root
    pytest.skip(f"{name} is in none of {', '.join(map(str, roots))}; set USFM_BENCH_DATA to the folder that holds it")


@pytest.fixture(scope="session")
def busi_root() -> Path:
    """Folder that holds the real Dataset_BUSI_with_GT."""
    given = os.environ.get("USFM_BENCH_DATA")
    return _find("Dataset_BUSI_with_GT", *([Path(given)] if given else []), PROJECT.parent / "shared" / "datasets")


@pytest.fixture(scope="session")
def usfm_fixtures() -> Path:
    """Folder with usfm_format_tiny.pth and what the published architecture computes from it."""
    return _find("usfm_format_tiny.pth", PROJECT.parent / "shared" / "fixtures")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One torch thread, which is quicker for tiny networks beside other tests; put back afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a file of tests/golden, byte for byte; --update-golden rewrites the file."""

    def compare(name: str, text: str) -> None:
        path = PROJECT / "tests" / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare


TINY = """
tiny:
  extends: phantom
  tasks: [classification]
  options: {n: 36, size: 64}
tiny-lesion:
  extends: phantom-lesion
  tasks: [segmentation]
  options: {n: 36, size: 64}
tiny-clinical:
  extends: phantom-clinical
  tasks: [classification]
  positive: malignant
  options: {n: 60, size: 64}
"""


@pytest.fixture(scope="session")
def tiny_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry file with phantoms small enough for a trial to take a second."""
    path = tmp_path_factory.mktemp("registry") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def make_store(tmp_path: Path, tiny_registry: Path) -> Callable[..., Store]:
    """Builds a store of finished trials whose predictions are invented."""
    return partial(invent_store, tmp_path, tiny_registry)


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory: pytest.TempPathFactory, tiny_registry: Path) -> Path:
    """Runs folder of really trained trials with kept weights, one a task. Copy it before anything is written."""
    from usfm_bench.execution.run import run_trials
    from usfm_bench.specs.dataset import load_registry
    from usfm_bench.suites.plan import load_suite, plan_suite

    folder = tmp_path_factory.mktemp("trained")
    profile = folder / "short.yaml"
    short = "epochs: 2, warmup_epochs: 0"
    profile.write_text(f"extends: smoke\nsegmentation: {{{short}}}\nclassification: {{{short}}}\n")
    what = {"datasets": ["tiny-lesion", "tiny"], "models": ["timm:test_resnet@scratch"], "seeds": [0]}
    trials = plan_suite(load_suite("demo"), load_registry(tiny_registry), profile=str(profile), **what)
    runs = {"data_root": folder, "runs": folder / "runs", "device": "cpu", "workers": 1, "fresh": False}
    told: dict[str, Callable[..., None]] = {name: lambda *_: None for name in ("tell", "say", "keep")}
    assert run_trials(trials, **runs, **told).exit_code == 0
    return folder / "runs"


@pytest.fixture(scope="session")
def null_device(tmp_path_factory):
    """Runs a command on the null device; gives the finished process."""
    import torch

    source = Path(os.environ.get("NULLCUDA") or PROJECT.parent / "shared" / "tools" / "nullcuda")
    if not (source / "build.sh").is_file() or not shutil.which("g++") or torch.version.cuda is None:
        pytest.skip("needs the sources of the null CUDA device, g++ and a CUDA build of torch")
    built = tmp_path_factory.mktemp("nullcuda")
    copy = shutil.copytree(source, built / "source", copy_function=shutil.copyfile)
    done = subprocess.run(["bash", copy / "build.sh", built / "lib", sys.executable], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the null CUDA device does not build here: {done.stderr[-200:]}")
    lib = str(built / "lib")

    def run(*command: str, **environment: str) -> subprocess.CompletedProcess:
        known = os.environ | {"LD_PRELOAD": f"{lib}/libnullcuda.so", "LD_LIBRARY_PATH": lib} | environment
        known |= {"PYTHONPATH": os.pathsep.join([str(PROJECT / "benchmark"), str(PROJECT / "tests")])}
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=known, timeout=600)

    return run


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    path = next((p for p in ("/usr/bin/chromium", shutil.which("chromium")) if p and Path(p).exists()), None)
    if path is None:
        pytest.skip("Chromium is not installed: neither /usr/bin/chromium nor on the path")
    api = pytest.importorskip("playwright.sync_api", reason="Playwright's driver is not installed")
    with api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()
