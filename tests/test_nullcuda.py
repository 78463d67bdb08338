"""What the host code does on a GPU, shown without one: a CUDA device that computes nothing and counts what it is told.

Runs where the sources of that device and a compiler are: `../shared/tools/nullcuda`, or the folder NULLCUDA names.
Numbers, speed and the choice of cuDNN's plans are not shown; tests/test_gpu.py does that on a real device.
"""

import json
from pathlib import Path

import pytest
import torch

PROJECT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("task", "model", "decoder"),
    [
        ("segmentation", "usfm-micro-scratch", "segvit"),
        ("segmentation", "usfm-micro-scratch@frozen", "segvit"),
        ("segmentation", "usfm-micro-scratch", "upernet"),
        ("classification", "usfm-micro-scratch", "-"),
        ("classification", "timm:vit_tiny_patch16_224@scratch", "-"),
        ("classification", "usfm-scratch", "-"),  # the paper's own size
    ],
)
def test_every_product_of_the_papers_recipe_is_in_bf16(null_device, task, model, decoder):
    done = null_device("-W", "ignore", str(PROJECT / "tests" / "nullcuda_steps.py"), task, model, "64", decoder)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for phase in ("step", "validate", "predict"):
        assert found[phase] == ["gemm bf16"], (phase, found[phase])
    environment = found["environment"]
    assert environment["precision"] == "bf16-mixed"
    assert environment["dtypes"] == {"training": ["bfloat16"], "evaluation": ["bfloat16"]}
    assert environment["cuda"]["attention"]["cudnn"] is False
    assert environment["cuda"]["gpus"] == 1
    assert environment["cuda"]["cuda"] == torch.version.cuda
    assert "other processes and CUDA itself hold 20.0 GB of its 83.9 GB, this process " in found["memory"]["said"]
    assert found["memory"]["grown"] <= 0  # less, where what was kept for later is freed too
    assert "AMP" not in done.stderr


def test_workers_share_gpus_and_an_own_process_runs_the_suite(null_device, tmp_path, tiny_registry):
    what = ["run", "--suite", "demo", "--registry", str(tiny_registry), "--datasets", "tiny-lesion,tiny"]
    what += ["--models", "usfm-micro-scratch", "--runs", str(tmp_path), "--seeds", "2", "--device", "cuda"]
    done = null_device("-m", "usfm_bench", *what, "--workers", "3", NULLCUDA_DEVICES="2")
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("record.json")]
    # The device computes zeros, with which a trial may well fail; but no trial may fail for its host code.
    assert "Traceback" not in done.stdout + done.stderr
    for record in records:
        assert record["environment"]["precision"] == "bf16-mixed"
        assert record["environment"]["cuda"]["gpus"] == 2
    assert records, done.stderr[-2000:]


def test_a_trial_that_finds_no_memory_says_what_to_do(null_device, tmp_path, tiny_registry):
    what = ["run", "--suite", "demo", "--registry", str(tiny_registry), "--datasets", "tiny"]
    what += ["--models", "usfm-scratch", "--runs", str(tmp_path), "--seeds", "1", "--device", "cuda"]
    done = null_device("-m", "usfm_bench", *what, NULLCUDA_MEM_MB="256")
    assert done.returncode == 2
    assert "out of GPU memory" in done.stderr
    assert "profile of your own" in done.stderr
    assert "Traceback" not in done.stderr


def test_pretraining_takes_no_more_gpus_than_there_are(null_device, tmp_path, tiny_registry):
    # Two CPU processes show that several share a pre-training (tests/test_pretraining.py). Here NCCL moves nothing,
    # so that torch finds the ranks' models to differ.
    what = ["pretrain", "--datasets", "tiny", "--registry", str(tiny_registry), "--model", "usfm_micro_patch16_224"]
    what += ["--steps", "4", "--device", "cuda", "--devices", "3", "--out", str(tmp_path / "w.pth")]
    done = null_device("-m", "usfm_bench", *what, NULLCUDA_DEVICES="2")
    assert done.returncode == 2
    assert "torch sees 2 CUDA devices" in done.stderr
