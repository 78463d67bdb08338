"""HD95 and all metrics of all native BUSI lesions, beside medpy and MONAI; run with `make bench`."""

import statistics
import time
from collections import defaultdict

import numpy as np
import pytest
from medpy.metric import binary as medpy
from medpy.metric.binary import hd95 as medpy_hd95

from usfm_bench.data.dataset import open_dataset
from usfm_bench.metrics import find_definitions, hd95, score_segmentation
from usfm_bench.metrics.segmentation import primary_definitions
from usfm_bench.specs.dataset import load_registry

MEDPY, EVERY = "medpy hd95, one rule", 10
BOTH_RULES = ("hd95.pooled.native.px", "hd95.max_directed.native.px")


@pytest.fixture(scope="module")
def pairs(busi_root):
    """Each lesion moved by up to 12 pixels each way, and in 40 % of the cases a false blob of 12 x 12 pixels."""
    rng = np.random.default_rng(0)
    found = []
    for sample in open_dataset(load_registry()["busi-lesion"], busi_root).samples:
        pred = np.roll(sample.mask, tuple(rng.integers(-12, 13, size=2)), axis=(0, 1))
        y, x = (int(rng.integers(0, side - 12)) for side in pred.shape)
        pred[y : y + 12, x : x + 12] |= rng.random() < 0.4
        found.append((pred, sample.mask))
    return found


def shape_pairs():
    rng = np.random.default_rng(0)
    noise = [rng.random((512, 512)) < 0.5 for _ in range(2)]
    return {"two noisy 512 x 512": noise, "a full 512 x 512, a noisy one": [np.ones((512, 512), bool), noise[0]]}


LONG = shape_pairs()


@pytest.fixture(scope="module")
def clock(request):
    """Seconds by set and program; printed as a table when all have run."""
    seconds = defaultdict(dict)
    yield seconds
    lines = [f"{'set':<31} {'what':<39} {'seconds':>8} {'times faster than medpy':>24}"]
    for name, programs in seconds.items():
        for what, spent in programs.items():
            ratio = f"{programs[MEDPY] / spent:.1f}" if MEDPY in programs else "?"
            lines.append(f"{name:<31} {what:<39} {spent:>8.3f} {ratio:>24}")
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print("", *lines, sep="\n")


def all_of(pairs):
    return f"{len(pairs)} BUSI lesions"


def note(clock, benchmark, name, what, share=1.0):
    if benchmark.enabled:
        clock[name][what] = benchmark.stats.stats.median / share


def test_hd95_of_medpy(benchmark, pairs, clock):
    theirs = benchmark.pedantic(lambda: [medpy_hd95(*pair) for pair in pairs], rounds=1)
    note(clock, benchmark, all_of(pairs), MEDPY)
    assert theirs == [hd95(*pair) for pair in pairs]


@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
@pytest.mark.usefixtures("one_thread")
def test_hd95_of_monai_on_every_tenth_case(benchmark, pairs, clock):
    torch, monai = pytest.importorskip("torch"), pytest.importorskip("monai.metrics")
    some = [[torch.from_numpy(mask)[None, None] for mask in pair] for pair in pairs[::EVERY]]

    def measure():
        how = {"include_background": True, "percentile": 95}
        return [monai.compute_hausdorff_distance(*pair, **how).item() for pair in some]

    theirs = benchmark.pedantic(measure, rounds=1, warmup_rounds=1)
    note(clock, benchmark, all_of(pairs), f"MONAI HD95, one rule (scaled from {len(some)})", len(some) / len(pairs))
    assert theirs == pytest.approx([hd95(*pair, rule="max_directed") for pair in pairs[::EVERY]], rel=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_hd95_by_both_rules(benchmark, pairs, clock, threads):
    preds, targets = zip(*pairs, strict=True)
    definitions = find_definitions(BOTH_RULES)
    benchmark(lambda: score_segmentation(preds, targets, definitions=definitions, threads=threads))
    note(clock, benchmark, all_of(pairs), f"HD95, both rules, {threads} thread{'s' * (threads > 1)}")


def test_all_primary_segmentation_metrics(benchmark, pairs, clock):
    preds, targets = zip(*pairs, strict=True)
    scores = benchmark(lambda: score_segmentation(preds, targets, threads=2))
    n_metrics = scores.columns.get_loc("lesion") - scores.columns.get_loc("case_id") - 1
    note(clock, benchmark, all_of(pairs), f"all {n_metrics} primary metrics, 2 threads")


MEDPYS = {"DSC": medpy.dc, "IOU": medpy.jc, "SEN": medpy.recall, "PREC": medpy.precision}
MEDPYS |= {"HD95": medpy.hd95, "ASSD": medpy.assd}


@pytest.mark.usefixtures("one_thread")
def test_evaluation_beside_medpy_in_a_loop(benchmark, pairs, capsys):
    """The six metrics that both have, in processor time of one thread; each goes first in every second round."""
    preds, targets = zip(*pairs, strict=True)
    shared = [d for d in primary_definitions([]) if d.column in MEDPYS]
    ratios = []

    def theirs():
        return {name: [metric(*pair) for pair in pairs] for name, metric in MEDPYS.items()}

    def ours():
        return score_segmentation(preds, targets, definitions=shared, threads=1)

    def pair():
        seconds, scores = {}, {}
        for program in (theirs, ours) if len(ratios) % 2 else (ours, theirs):
            started = time.process_time()
            scores[program] = program()
            seconds[program] = time.process_time() - started
        ratios.append(seconds[theirs] / seconds[ours])
        return scores

    scores = benchmark.pedantic(pair, rounds=2)
    for name, values in scores[theirs].items():
        np.testing.assert_allclose(scores[ours][name], values, rtol=1e-6, err_msg=name)
    benchmark.extra_info["times faster than medpy"] = round(statistics.median(ratios), 1)
    with capsys.disabled():
        print(f"\n{len(pairs)} lesions, {len(MEDPYS)} metrics: {ratios} times faster than medpy in a loop")


@pytest.mark.parametrize("name", LONG)
def test_hd95_of_medpy_with_long_borders(benchmark, clock, name):
    theirs = benchmark(lambda: medpy_hd95(*LONG[name]))
    note(clock, benchmark, name, MEDPY)
    assert theirs == hd95(*LONG[name])


@pytest.mark.parametrize("name", LONG)
def test_hd95_with_long_borders(benchmark, clock, name):
    benchmark(lambda: hd95(*LONG[name]))
    note(clock, benchmark, name, "HD95, one rule, 1 thread")
