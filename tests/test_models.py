"""Networks by name: the published architecture, every model that needs no weights, losses and parameter groups."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from usfm_bench.core.errors import BenchError, WeightsMissingError
from usfm_bench.models import build_model
from usfm_bench.models.features import block_indices
from usfm_bench.models.segvit import lesion_log_odds, segvit_loss
from usfm_bench.models.zoo.usfm_encoder import aligned
from usfm_bench.specs.model import MODELS, resolve
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec

SIZE, N_CLASSES = 32, 3
WITHOUT_WEIGHTS = [name for name, entry in MODELS.items() if entry.weights == "scratch"]
NAMES = [*WITHOUT_WEIGHTS, "timm:resnet18@scratch", "timm:vit_tiny_patch16_224@scratch"]
BASE = "usfm-scratch"  # built without values: its arithmetic is that of the other sizes
# Gradient does not reach, or cancels in, these parameters:
UNTRAINED = re.compile(
    r"features\.backbone\.(fc_)?norm\."  # decoders take block outputs, before the encoder's last norm
    # A constant that a norm over the batch, or a softmax over the patches, takes out again.
    r"|pyramid\.scales\.0\.0\.bias|decoder\.feature_norms\.\d\.bias|decoder\.layers\.\d\.cross_attention\.key\.bias"
)


def recipe(**settings):
    return TrainingSpec(
        **{"image_size": SIZE, "epochs": 1, "batch_size": 2, "lr": 1e-3, "decoder": "segvit"} | settings
    )


def cases_of(*counts):
    """Training cases by class; one number: so many classes of one case each."""
    counts = counts if len(counts) > 1 else (1,) * counts[0]
    return SimpleNamespace(classes=tuple("abcdefgh"[: len(counts)]), class_counts=np.array(counts), structures=())


def build(name, task: str, **settings):
    torch.manual_seed(0)
    return build_model(name, TASKS[task], cases_of(N_CLASSES), recipe(**settings))


def batch(task):
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    if task == "classification":
        return images, torch.tensor([0, 2])
    masks = torch.zeros(2, 1, SIZE, SIZE)
    masks[0, 0, 4:15, 10:25] = 1  # one image with a lesion and one without
    return images, masks


CASES = [
    (name, task, decoder)
    for name in NAMES
    for task, decoder in [("classification", None), ("segmentation", "segvit"), ("segmentation", "upernet")]
    if task in resolve(name).tasks
]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """The global generator is put back."""
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize(("name", "task", "decoder"), [case for case in CASES if case[0] != BASE])
def test_every_network_gives_logits_a_finite_loss_and_gradient_to_all_it_uses(name, task, decoder):
    network, (images, targets) = build(name, task, decoder=decoder), batch(task)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():  # timm starts residual branches at zero, which stops their gradient
                parameter.normal_(std=0.1)
    loss = network.train().loss(images, targets)
    loss.backward()
    assert loss.isfinite()
    assert loss.shape == ()
    stuck = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert [n for n in stuck if not UNTRAINED.match(n)] == []
    with torch.inference_mode():
        logits = network.eval()(images)
    assert logits.shape == ((2, N_CLASSES) if task == "classification" else (2, 1, SIZE, SIZE))
    assert logits.isfinite().all()


@pytest.mark.parametrize(("name", "task", "decoder"), [case for case in CASES if case[0] == BASE])
def test_the_base_size_gives_logits_of_the_same_shape(name, task, decoder):
    with torch.device("meta"):
        logits = build(name, task, decoder=decoder)(torch.zeros(2, 3, SIZE, SIZE))
    assert logits.shape == ((2, N_CLASSES) if task == "classification" else (2, 1, SIZE, SIZE))


@pytest.mark.parametrize(("name", "task", "decoder"), [case for case in CASES if case[0] == "usfm-micro-scratch"])
def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(name, task, decoder):
    network, (images, _) = build(name, task, decoder=decoder).eval(), batch(task)
    with torch.inference_mode():
        alone = torch.cat([network(images[:1]), network(images[1:])])
        torch.testing.assert_close(network(images), alone, atol=1e-5, rtol=1e-4)


def test_a_model_from_scratch_depends_on_the_seed_alone():
    one, same = (build("usfm-micro-scratch", "classification").state_dict() for _ in range(2))
    assert all(torch.equal(one[key], same[key]) for key in one)


@pytest.mark.parametrize(
    ("size", "width", "depth", "heads", "millions"),
    [("base", 768, 12, 12, 85.67), ("small", 384, 12, 6, 21.60), ("tiny", 192, 12, 3, 5.49), ("micro", 96, 3, 3, 0.41)],
)
def test_timm_builds_the_published_architecture_in_four_sizes(size, width, depth, heads, millions):
    with torch.device("meta"):
        model = timm.create_model(f"usfm_{size}_patch16_224")
    assert (model.embed_dim, len(model.blocks), model.blocks[0].attn.num_heads) == (width, depth, heads)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_base_size_has_the_published_parameters():
    with torch.device("meta"):
        model = timm.create_model("usfm_base_patch16_224")
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    tables = {name: shape for name, shape in shapes.items() if "relative_position_bias_table" in name}
    assert tables == {"rel_pos_bias.relative_position_bias_table": (732, 12)}
    assert "pos_embed" not in shapes
    of_a_block = {name.removeprefix("blocks.11."): s for name, s in shapes.items() if name.startswith("blocks.11.")}
    assert of_a_block == {
        **{"gamma_1": (768,), "gamma_2": (768,), "attn.q_bias": (768,), "attn.v_bias": (768,)},
        **{"attn.qkv.weight": (2304, 768), "attn.proj.weight": (768, 768), "attn.proj.bias": (768,)},
        **{"mlp.fc1.weight": (3072, 768), "mlp.fc1.bias": (3072,)},
        **{"mlp.fc2.weight": (768, 3072), "mlp.fc2.bias": (768,)},
        **{f"norm{i}.{part}": (768,) for i in (1, 2) for part in ("weight", "bias")},
    }
    outside = {name for name in shapes if not name.startswith("blocks.")}
    assert outside - set(tables) == {
        *{"cls_token", "patch_embed.proj.weight", "patch_embed.proj.bias"},
        *{"fc_norm.weight", "fc_norm.bias"},
    }


def test_the_architecture_starts_and_ends_as_published():
    model = timm.create_model("usfm_micro_patch16_224", img_size=64).eval()
    assert all(torch.equal(block.gamma_1, torch.full((96,), 0.1)) for block in model.blocks)
    assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {1e-6}
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        tokens = model.forward_intermediates(images, intermediates_only=True, output_fmt="NLC")[-1]
        torch.testing.assert_close(model(images), model.fc_norm(tokens.mean(dim=1)))  # the class token is left out


@pytest.mark.parametrize("tokens", [5, 8, 197])
def test_a_bias_with_aligned_rows_gives_the_same_attention_and_gradient(tokens):
    rng = torch.Generator().manual_seed(0)
    q, k, v = torch.rand(3, 2, 3, tokens, 4, generator=rng)
    found = []
    for form in (aligned, torch.clone):
        bias = torch.rand(3, tokens, tokens, generator=torch.Generator().manual_seed(1), requires_grad=True)
        given = form(bias)
        assert form is torch.clone or given.stride(-2) % 8 == 0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=given)
        out.square().sum().backward()
        found.append((out, bias.grad))
    torch.testing.assert_close(*found)


def test_the_blocks_that_decoders_take_are_the_published_ones():
    assert block_indices(12, (1 / 2, 2 / 3, 1)) == [5, 7, 11]
    assert block_indices(12, (1 / 3, 1 / 2, 2 / 3, 1)) == [3, 5, 7, 11]
    assert block_indices(24, (1 / 3, 1 / 2, 2 / 3, 1)) == [7, 11, 15, 23]
    assert block_indices(2, (1 / 3, 1 / 2, 2 / 3, 1)) == [0, 0, 0, 1]


def test_a_classifier_starts_near_zero_and_takes_label_smoothing_and_weights():
    counts = np.array([8, 4, 1])
    weights = torch.tensor([13 / (3 * 8), 13 / (3 * 4), 13 / 3])
    network = build_model(
        "usfm-micro-scratch",
        TASKS["classification"],
        cases_of(*counts),
        recipe(label_smoothing=0.1, class_weights="balanced"),
    ).eval()
    images, labels = batch("classification")
    logits = network(images)
    assert logits.abs().max() < 0.01
    log_p, smooth = logits.log_softmax(1), 0.9 * torch.eye(3)[labels] + 0.1 / 3
    expected = -(log_p * smooth * weights).sum() / weights[labels].sum()
    torch.testing.assert_close(network.loss(images, labels), expected)


def test_upernets_loss_weighs_its_auxiliary_head_by_0_4():
    network, (images, masks) = build("usfm-micro-scratch", "segmentation", decoder="upernet").eval(), batch("seg")
    with torch.no_grad():
        for head, bias in ((network.head, 0.0), (network.auxiliary[-1], 2.0)):  # both say a constant
            head.weight.zero_()
            head.bias.fill_(bias)
        lesion = masks.mean().item()
        auxiliary = math.log(1 + math.exp(2)) - 2 * lesion  # cross-entropy of the constant logit 2
        assert network.loss(images, masks).item() == pytest.approx(math.log(2) + 0.4 * auxiliary, rel=1e-5)


def stage(lesion_class_logit, mask_logit):
    """Outputs of one SegViT stage for one 2x2 image."""
    classes = torch.zeros(1, 2, 3)
    classes[0, 1, 1] = lesion_class_logit
    return classes, torch.full((1, 2, 2, 2), mask_logit)


def test_segvits_loss_by_hand():
    # All four pixels are lesion: the background's token should say "no object", and its mask is not judged.
    a = 1.5
    focal = 0.25 * (1 - 0.5) ** 2 * math.log(2)  # sigmoid(0) = 0.5; alpha 0.25, gamma 2
    dice = 1 - 2 * (4 * 0.5) / (4 * 0.5 + 4)
    lesion = math.log(2 + math.exp(a)) - a
    classes = (0.1 * math.log(3) + 1 * lesion) / (0.1 + 1)
    expected = 20 * focal + dice + classes
    masks = torch.ones(1, 1, 2, 2)
    assert segvit_loss([stage(a, 0.0)], masks).item() == pytest.approx(expected, rel=1e-5)
    assert segvit_loss([stage(a, 0.0)] * 3, masks).item() == pytest.approx(3 * expected, rel=1e-5)


def test_segvits_loss_falls_to_nothing_for_a_sure_and_right_answer():
    masks = torch.zeros(1, 1, 4, 4)
    masks[..., :2] = 1
    right = torch.cat([1 - masks, masks], dim=1) * 40 - 20
    sure = 40 * torch.eye(3)[None, :2]
    assert segvit_loss([(sure, right)], masks).item() < 1e-4
    assert segvit_loss([(sure, -right)], masks).item() > 100


def test_lesion_log_odds_by_hand():
    classes = torch.tensor([[[0.0, 0.0, 0.0], [0.0, math.log(2), 0.0]]])  # tokens speak with weights 1/3 and 1/2
    masks = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)  # sigmoids 1/2 and 3/4
    odds = lesion_log_odds(classes, masks, 5)
    assert odds.shape == (1, 1, 5, 5)
    torch.testing.assert_close(odds, torch.full((1, 1, 5, 5), math.log((1 / 2 * 3 / 4) / (1 / 3 * 1 / 2))))


def test_lesion_log_odds_stay_finite_for_masks_without_doubt():
    masks = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1)
    assert lesion_log_odds(torch.zeros(1, 2, 3), masks, 2).isfinite().all()


GROUPED = [case for case in CASES if case[0] in ("usfm-micro-scratch", "unet-resnet18-scratch", *NAMES[-2:])]


def build_without_values(name, task, **settings):
    with torch.device("meta"):
        return build(name, task, **settings)


def groups_by_name(network, layer_decay):
    """Parameter name -> its group; each is in exactly one."""
    groups = network.param_groups(weight_decay=0.05, layer_decay=layer_decay)
    by_id = {id(p): group for group in groups for p in group["params"]}
    assert len(by_id) == sum(len(group["params"]) for group in groups)
    named = dict(network.named_parameters())
    assert set(by_id) == {id(p) for p in named.values()}
    return {name: by_id[id(p)] for name, p in named.items()}


@pytest.mark.parametrize("layer_decay", [1.0, 0.65])
@pytest.mark.parametrize(("name", "task", "decoder"), GROUPED)
def test_biases_norms_and_position_tables_have_no_weight_decay(name, task, decoder, layer_decay):
    network = build_without_values(name, task, decoder=decoder)
    vectors = {n for n, p in network.named_parameters() if p.ndim < 2}
    for parameter, group in groups_by_name(network, layer_decay).items():
        free = parameter in vectors or parameter.endswith(("relative_position_bias_table", "cls_token", "pos_embed"))
        assert group["weight_decay"] == (0 if free else 0.05), parameter


@pytest.mark.parametrize(("task", "decoder"), [("classification", None), ("segmentation", "segvit")])
def test_layer_decay_scales_the_learning_rate_down_from_the_head_to_the_stem(task, decoder):
    groups = groups_by_name(build_without_values("usfm-micro-scratch", task, decoder=decoder), 0.5)
    scales = {name.rpartition("backbone.")[2]: group.get("lr_scale", 1.0) for name, group in groups.items()}
    expected = {"cls_token": 4, "patch_embed": 4, "blocks.0": 3, "blocks.1": 2, "blocks.2": 1, "fc_norm": 0}
    expected |= {"rel_pos_bias": 4, "head": 0, "decoder": 0}
    for name, scale in scales.items():
        assert scale == 0.5 ** next(n for start, n in expected.items() if name.startswith(start)), name


def test_without_layer_decay_every_parameter_learns_at_the_same_rate():
    groups = groups_by_name(build_without_values("usfm-micro-scratch", "classification"), 1.0)
    assert {group.get("lr_scale", 1.0) for group in groups.values()} == {1.0}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("usfm-micro-scrach", "Did you mean 'usfm-micro-scratch'"),
        ("timm:resnet18@scrach", "Did you mean 'timm:resnet18@scratch'"),
        ("timm:resnet_18@scratch", "Did you mean 'resnet18'"),
        ("timm:", "Unknown model 'timm:'"),
        ("usfm:", "Unknown model 'usfm:'"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_one(name, words):
    with pytest.raises(BenchError, match=words):
        build(name, "classification")


@pytest.mark.parametrize(
    ("name", "task", "size", "words"),
    [
        ("unet-resnet18-scratch", "classification", SIZE, "does not do classification"),
        ("usfm-micro-scratch", "segmentation", 50, "50 is not a multiple"),
        ("usfm-micro-scratch", "classification", 50, "50 is not a multiple"),
        ("timm:efficientformer_l1@scratch", "segmentation", SIZE, "efficientformer_l1"),
        ("timm:efficientformer_l1@scratch", "classification", SIZE, "efficientformer_l1"),
    ],
)
def test_a_model_that_does_not_fit_task_or_size_is_an_error(name, task, size, words):
    with pytest.raises(BenchError, match=words):
        build(name, task, image_size=size)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_weights_that_cannot_be_downloaded_are_missing_weights(monkeypatch, task):
    def offline(*args, **settings):
        raise ConnectionError("no network")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(WeightsMissingError, match=r"timm:resnet18'.*ConnectionError"):
        build("timm:resnet18", task)


@pytest.mark.parametrize("name", ["timm:densenet121@scratch", "timm:vgg11@scratch"])
def test_backbones_without_drop_path_classify(name):
    network = build(name, "classification", image_size=64)
    images, targets = torch.rand(2, 3, 64, 64), torch.tensor([0, 2])
    assert network.loss(images, targets).isfinite()


def test_a_backbone_that_does_not_fit_says_so():
    with pytest.raises(BenchError, match=r"'timm:efficientformer_l1@scratch' does not fit segmentation at 64 px"):
        build("timm:efficientformer_l1@scratch", "segmentation", image_size=64)


def test_weights_of_a_timm_model_that_do_not_exist_are_refused():
    with pytest.raises(BenchError, match=r"Unknown weights of timm 'resnet18\.foo'"):
        build("timm:resnet18.foo@scratch", "classification")


def test_hub_weights_bring_their_own_normalisation_and_a_hash(monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **(k | {"pretrained": False})))
    name, training = "timm:vit_tiny_patch16_224", recipe(image_size=64)
    first = build(name, "classification", image_size=64)
    again = build(name, "segmentation", image_size=64)
    other = build_model(name, TASKS["classification"], cases_of(3), training)  # random weights, drawn further on
    assert tuple(first.mean) == (0.5, 0.5, 0.5)
    assert first.weight_hash != other.weight_hash
    assert len(again.weight_hash) == len(first.weight_hash) == 64
