"""Running out of memory: recognised in all its forms, told with what to do, and nothing stays held."""

import gc
import weakref
from copy import copy

import pytest
import torch
from torch.multiprocessing import ProcessRaisedException

from usfm_bench.core.errors import BenchError, TrialError
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.models.memory import out_of_memory
from usfm_bench.models.networks import Classifier
from usfm_bench.specs.dataset import load_registry
from usfm_bench.suites.plan import load_suite, plan_suite

GPU = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
    # Of a launched process only the text of its trace comes back.
    ProcessRaisedException("-- Process 1 terminated with the following error:\ntorch.OutOfMemoryError: ...", 1, 99),
]
CPU = [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("std::bad_alloc"),
    OSError(12, "Cannot allocate memory"),
]
OTHER = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("out of memory is not what this says"),
    KeyError("memory"),
]


@pytest.mark.parametrize("error", GPU, ids=str)
def test_every_form_of_a_gpus_lack_of_memory_is_recognised(error):
    said = out_of_memory(error)
    assert said.startswith("out of GPU memory")
    assert "nvidia-smi" in said
    assert "batch_size" in said


def test_a_gpu_that_another_process_fills_is_told_with_figures(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1_000_000_000, 80_000_000_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 3_500_000_000)
    # 80 - 1 - 3.5
    told = "out of GPU memory: other processes and CUDA itself hold 75.5 GB of its 80.0 GB, this process 3.5 GB. Free"
    assert out_of_memory(GPU[0]).startswith(told)

    def fails():
        raise GPU[1]

    monkeypatch.setattr(torch.cuda, "mem_get_info", fails)
    assert out_of_memory(GPU[0]).startswith("out of GPU memory. Free")


@pytest.mark.parametrize("error", CPU, ids=repr)
def test_so_is_the_hosts(error):
    assert out_of_memory(error).startswith("out of memory")


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_other_faults_are_not(error):
    assert out_of_memory(error) is None


def test_the_fault_that_an_error_came_from_counts():
    def wrapped():
        try:
            raise GPU[0]
        except RuntimeError as error:
            raise ValueError("could not compile") from error

    with pytest.raises(ValueError, match="compile") as error:
        wrapped()
    assert out_of_memory(error.value)


@pytest.fixture
def trial(tiny_registry):
    [spec] = plan_suite(
        load_suite("demo"), load_registry(tiny_registry), datasets=["tiny"], models=["usfm-micro-scratch"], seeds=[0]
    )
    return spec


@pytest.mark.parametrize("error", [GPU[0], GPU[2], GPU[4], CPU[0], CPU[1]], ids=repr)
def test_a_trial_says_what_to_do_and_keeps_nothing(tmp_path, trial, monkeypatch, error):
    from usfm_bench.models import memory

    held, alive_when_freed = [], []

    def greedy(self, images, targets):
        activations = torch.zeros(10)
        held.append(weakref.ref(activations))
        raise copy(error)

    def free():
        gc.collect()
        alive_when_freed.append(held[0]() is not None)

    monkeypatch.setattr(Classifier, "loss", greedy)
    monkeypatch.setattr(memory, "free_device", free)
    outcome = Session(SessionArguments(tmp_path, tmp_path / "runs", "cpu")).run(trial, lambda event: None, wait=False)
    assert outcome.status == "failed"
    assert "out of" in outcome.message
    assert f"{trial.training.batch_size} images of {trial.training.image_size} px" in outcome.message
    assert "--profile FILE.yaml" in outcome.message
    assert "Traceback" not in outcome.message
    assert alive_when_freed == [False]


@pytest.mark.parametrize("error", [GPU[0], GPU[4], GPU[8]], ids=repr)
def test_a_pretraining_says_what_to_do_and_keeps_nothing(tmp_path, tiny_registry, monkeypatch, error):
    from usfm_bench.pretraining import loop, model
    from usfm_bench.pretraining.data import load_images
    from usfm_bench.pretraining.loop import pretrain
    from usfm_bench.specs.pretraining import Options, build_spec

    held, alive_when_freed = [], []

    def greedy(self, masked):
        activations = torch.zeros(10)
        held.append(weakref.ref(activations))
        raise copy(error)

    def free():
        gc.collect()
        alive_when_freed.append(held[0]() is not None)

    masking = {"patch_size": 16, "base_bandwidth": 2, "protected": 1}
    spec = build_spec(
        {"model": "usfm_micro_patch16_224", "datasets": ("tiny",), "image_size": 32, "steps": 2, "batch_size": 4}
        | {"masking": masking, "threads": 1},
        "test",
    )
    images = load_images(spec, load_registry(tiny_registry), tmp_path)
    monkeypatch.setattr(model.MaskedAutoencoder, "forward", greedy)
    monkeypatch.setattr(loop, "free_device", free)
    with pytest.raises(TrialError, match=r"out of GPU memory.*accumulate=N"):
        pretrain(spec, images, Options(out=tmp_path / "w.pth"))
    assert alive_when_freed == [False]
    monkeypatch.setattr(model.MaskedAutoencoder, "forward", lambda self, masked: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # what is nobody's fault keeps its trace
        pretrain(spec, images, Options(out=tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"SLURM_NTASKS": "4"}, "SLURM_NTASKS"),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "2"}, "SLURM_STEP_NUM_TASKS"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE"),
        (
            {"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
            "torchrun",
        ),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "RANK"),
    ],
)
def test_processes_are_not_started_by_several_launchers(environment, named):
    from usfm_bench.pretraining.launch import check_launch

    with pytest.raises(BenchError, match=named) as error:
        check_launch("cpu", 2, environment)
    assert "once" in str(error.value)
    check_launch("cpu", 1, environment)


@pytest.mark.parametrize("environment", [{}, {"SLURM_NTASKS": "1"}, {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}])
def test_one_task_may_start_its_own_processes(environment):
    from usfm_bench.pretraining.launch import check_launch

    check_launch("cpu", 2, environment)


def test_more_gpus_than_there_are_is_an_error_in_words(monkeypatch):
    from usfm_bench.pretraining.launch import check_launch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BenchError, match=r"--devices 2: torch sees 1 CUDA device here"):
        check_launch("cuda", 2, {})
