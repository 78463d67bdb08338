"""One trial's record: everything needed to know what a number is and where it came from."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from usfm_bench.core.settings import Settings
from usfm_bench.metrics.operating import Tuned
from usfm_bench.specs.pretraining import Pretrained
from usfm_bench.specs.training import Reading
from usfm_bench.specs.trial import TrialSpec

SCHEMA_VERSION = 1


class Cost(Settings):
    """What the trial took."""

    wall_s: float
    """From opening the splits to the last score, in seconds, summed over resumed parts."""
    train_images_per_s: float | None
    """Images a second through training steps, forward and backward; None when nothing was left to train."""
    peak_memory_mb: float
    """Most memory held, in MiB: on the GPU where one was used, else by the process so far, earlier trials included."""
    parameters: int
    """Parameters of the network."""
    trained_parameters: int | None = None
    """Those that training changes; None: recorded by an earlier version."""
    gflops: float | None = None
    """Billions of operations for one image, a multiplication with an addition as two; None: not known."""
    latency_ms: float | None = None
    """Median time of one image alone, its normalisation included, on the device and in the precision of the trial."""


class Weights(Settings):
    """The file of a trial's trained weights."""

    sha256: str
    size: int
    """In bytes."""


class Record(Settings):
    """Content of `record.json`."""

    schema_version: int = SCHEMA_VERSION
    """Raised when a reader of the older form would misread the newer."""
    spec: TrialSpec
    """The settings, complete."""
    spec_hash: str
    """`TrialSpec.hash` when the trial ran."""
    data_hash: str
    """Content hash of the data set: pixels, masks, labels, groups."""
    split_hash: str
    """Hash of the case ids on each side."""
    weight_hash: str | None
    """sha256 of the initial weights; None for a model from scratch."""
    registered_hash: str | None = None
    """What the registry says that sha256 should be, where the file was another and --allow-hash took it."""
    reading: Reading | None = None
    """How the `norm` of USFM's weight file was used (`load_backbone`); None: it has `fc_norm`, or there was no file."""
    weights: Weights | None = None
    """Of `weights.safetensors`, the chosen checkpoint; None: not kept, as in earlier versions."""
    seen_in_pretraining: bool | None
    """Whether the weights saw test images before; None: unknown."""
    trained_hash: str | None = None
    """sha256 of the trained weights that were tested; None in records of earlier versions."""
    pretraining_hash: str | None = None
    """Hash of the recipe that the weights were pre-trained by, where a card beside them says so."""
    pretrained: Pretrained | None = None
    """That pre-training in figures; None: no card, or recorded by an earlier version."""
    n_train: int
    n_val: int
    n_test: int
    n_test_groups: int
    """Groups (patients, near-duplicates) among the test cases."""
    n_leaked: int = 0
    """Test cases with a case of their group in training or validation: of splits that the data set brings along."""
    grouped_by: str | None = None
    """What a group is, such as `patients` or `videos`; None: recorded by an earlier version."""
    groups: str = ""
    """The groups of the data set in words, such as `38 recordings of 11 published patients`."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers should know of the data, such as cases left out."""
    classes: tuple[str, ...] = ()
    """Class names in label order."""
    definitions: dict[str, str]
    """Metric -> versioned definition id."""
    scores: dict[str, Any]
    """The trial's own means, for a quick look; tables are made from cases.parquet."""
    tuned: Tuned | None = None
    """What validation chose for classification; None for segmentation, and in records of earlier versions."""
    best_epoch: int
    """Epoch of the checkpoint that validation chose, from 1."""
    cost: Cost
    environment: dict[str, Any] = Field(default_factory=dict)
    """Versions, commit, device, threads, precision, time."""
