"""On a real CUDA device: `pytest -m gpu`. Everything that can be shown without one is in test_precision and others."""

import json
import math

import pytest
import torch

from usfm_bench.execution.outcome import Outcome, Tick
from usfm_bench.execution.run import run_trials
from usfm_bench.models.networks import Classifier
from usfm_bench.specs.dataset import load_registry
from usfm_bench.suites.plan import load_suite, plan_suite

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def run(tmp_path, tiny_registry):
    """Runs the demo's trials on the GPU; gives what was told and the records by data set."""

    def call(name="runs", **changes):
        trials = plan_suite(
            load_suite("demo"),
            load_registry(tiny_registry),
            datasets=["tiny", "tiny-lesion"],
            models=["usfm-micro-scratch"],
            seeds=[0],
        )
        trials = [t.model_copy(update={"training": t.training.model_copy(update=changes)}) for t in trials]
        events: list = []
        run_trials(
            trials,
            data_root=tmp_path,
            runs=tmp_path / name,
            device="cuda",
            workers=1,
            fresh=False,
            tell=events.append,
            say=lambda text: None,
            keep=lambda kept: None,
        )
        records = [json.loads(path.read_text()) for path in sorted((tmp_path / name).rglob("record.json"))]
        return events, {record["spec"]["dataset"]["name"]: record for record in records}

    return call


def losses(events):
    return [event.row["loss"] for event in events if isinstance(event, Tick)]


@pytest.mark.parametrize(
    ("precision", "said", "dtype"), [("bf16", "bf16-mixed", "bfloat16"), ("fp32", "32-true", "float32")]
)
def test_a_trial_computes_and_records_the_precision_of_its_recipe(run, precision, said, dtype):
    events, records = run(precision=precision)
    assert [e.status for e in events if isinstance(e, Outcome)] == ["done", "done"]
    assert all(math.isfinite(loss) for loss in losses(events))
    for record in records.values():
        environment = record["environment"]
        assert environment["precision"] == said
        assert environment["dtypes"] == {"training": [dtype], "evaluation": [dtype]}
        assert environment["device"] == torch.cuda.get_device_name()
        cuda = environment["cuda"]
        assert cuda["cuda"] == torch.version.cuda
        assert cuda["driver"]
        assert cuda["attention"]["cudnn"] is False
        assert cuda["tf32"] == {"matmul": False, "cudnn": precision != "fp32"}
        assert record["cost"]["peak_memory_mb"] > 0


def test_the_same_seed_gives_nearly_the_same_losses(run):
    one, other = (losses(run(name, precision="bf16", epochs=2)[0]) for name in ("one", "other"))
    assert one == pytest.approx(other, rel=0.02)


def test_a_trial_that_runs_out_of_memory_leaves_the_device_to_others(run, monkeypatch):
    def greedy(self, images, targets):
        self.held = [torch.empty(2**31, dtype=torch.uint8, device=images.device) for _ in range(10**6)]

    before = torch.cuda.memory_reserved()
    monkeypatch.setattr(Classifier, "loss", greedy)
    events, _ = run()
    by_status = {e.status: e.message for e in events if isinstance(e, Outcome)}
    assert "out of GPU memory" in by_status["failed"]
    assert "done" in by_status
    assert torch.cuda.memory_reserved() - before < 2**28
