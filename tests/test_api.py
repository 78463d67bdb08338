"""`usfm_bench.benchmark`: a model of one's own on registered data sets, in one call."""

import subprocess
import sys

import pandas as pd
import pytest
import torch
from torch import nn

import usfm_bench
from usfm_bench.core.errors import BenchError
from usfm_bench.models.zoo.own import OWN

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, tiny_registry):
    """A folder whose `datasets.yaml` has the tiny sets."""
    (tmp_path / "datasets.yaml").write_text(tiny_registry.read_text())
    monkeypatch.chdir(tmp_path)


class Mine(nn.Module):
    """Features as maps, tokens or vectors."""

    def __init__(self, gives="maps"):
        super().__init__()
        self.conv, self.gives = nn.Conv2d(3, 8, 8, 8), gives

    def forward(self, images):
        maps = torch.relu(self.conv(images))
        return {"maps": maps, "tokens": maps.flatten(2).mT, "vectors": maps.mean((2, 3)), "words": "x"}[self.gives]


def test_a_module_is_probed_and_gives_metrics_with_intervals():
    torch.manual_seed(0)
    net = Mine()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = usfm_bench.benchmark(net, "tiny", "linear", seeds=2, profile="smoke")
    assert isinstance(found, pd.DataFrame)
    assert {"ACC", "F1", "AUROC"} <= set(found["metric"])
    assert set(found["n_seeds"]) == {2}
    row = found.set_index("metric").loc["ACC"]
    assert row["ci_low"] <= row["mean"] <= row["ci_high"]
    assert found["model"].str.fullmatch(r"own:Mine-\d+@linear").all()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not OWN


def test_forms_of_features_give_the_same():
    torch.manual_seed(0)
    nets = [Mine(gives) for gives in ("maps", "tokens", "vectors")]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    found = usfm_bench.benchmark(nets, "tiny", "knn", seeds=1, profile="smoke")
    assert found.groupby("metric")["mean"].nunique().max() == 1
    assert found["model"].nunique() == 3


def test_names_are_compared_in_pairs_and_results_can_be_kept(tmp_path):
    models = ["timm:test_resnet@scratch", "usfm-micro-scratch"]
    found = usfm_bench.benchmark(models, ["tiny"], "knn", seeds=2, profile="smoke", compare=True, runs=tmp_path / "r")
    assert set(found["metric"]) == {"ACC", "F1"}
    assert {*found["a"], *found["b"]} == {f"{name}@knn" for name in models}
    assert found["p_value"].between(0, 1).all()
    assert len(list((tmp_path / "r").rglob("record.json"))) == 4
    again = usfm_bench.benchmark(models, ["tiny"], "knn", seeds=2, profile="smoke", compare=True, runs=tmp_path / "r")
    pd.testing.assert_frame_equal(found, again)


def test_a_segmentation_set_is_segmented():
    found = usfm_bench.benchmark("timm:test_resnet@scratch", "tiny-lesion", "linear", seeds=1, profile="smoke")
    assert {"DSC", "HD95"} <= set(found["metric"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("usfm-mikro", "tiny"), "Did you mean 'usfm-micro'"),
        (("timm:test_resnet@scratch", "tinny"), "Did you mean 'tiny'"),
        ((Mine("words"), "tiny", "linear"), "the module gives str, expected features"),
        ((3, "tiny"), "A model is a name or a torch.nn.Module, not a int"),
        ((Mine(), "tiny-lesion"), "there is no task that all data sets and models have"),
        (("timm:test_resnet@scratch", []), "No data set"),
    ],
)
def test_what_cannot_be_benchmarked_is_said(arguments, words):
    with pytest.raises(BenchError, match=words):
        usfm_bench.benchmark(*arguments, seeds=1, profile="smoke")


def test_a_modules_results_are_not_kept_under_a_name_that_means_nothing(tmp_path):
    with pytest.raises(BenchError, match="leave `runs` out"):
        usfm_bench.benchmark(Mine(), "tiny", seeds=1, profile="smoke", runs=tmp_path)


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, usfm_bench; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="has no attribute 'bench'"):
        _ = usfm_bench.bench
