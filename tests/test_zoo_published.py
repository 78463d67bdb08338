"""Files of foundation models in their published forms: everything loads, and features are those of the formula."""

import os
import re
import warnings
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from published_forms import (
    convmae_pooled,
    convmae_state,
    draw,
    echocare_pooled,
    echocare_state,
    endofm_state,
    endofm_tokens,
    layer_norm,
    lite0_pooled,
    lite0_state,
    mae_decoder,
    misfm_pooled,
    misfm_state,
    namespace,
    normalised,
    panecho_pooled,
    panecho_state,
    resnet_pooled,
    resnet_state,
    sam_maps,
    sam_state,
    vit_state,
    vit_tokens,
)
from published_usfm import published_state
from usfm_bench.core.errors import BenchError, WeightsError
from usfm_bench.models import embed, load_backbone
from usfm_bench.models.build import build_model, empty_model
from usfm_bench.models.checkpoint import read_tensors
from usfm_bench.models.weights import file_family, inspect_checkpoint
from usfm_bench.specs.family import FAMILIES, IMAGENET
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec

CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NONE = (0.0,) * 3, (1.0,) * 3
ULTRADINO = (0.18429,) * 3, (0.21877,) * 3
make = draw(1)
pytestmark = pytest.mark.usefixtures("one_thread")


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def renamed(state, *pairs):
    for pattern, new in pairs:
        state = {re.sub(pattern, new, name): value for name, value in state.items()}
    return state


def with_scales(state):
    return state | {f"blocks.{i}.ls{k}.gamma": 1 + make(state["norm.weight"].shape[0]) for i in (0, 1) for k in (1, 2)}


VIT, NARROW = vit_state(), vit_state(96, make=draw(3))
DINO = with_scales(vit_state(patch=14, grid=4, make=draw(4)))
ONE_CHANNEL = with_scales(vit_state(channels=1, make=draw(5)))
TINY = {name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: v for name, v in NARROW.items()}
SAM, RESNET, BASIC = sam_state(), resnet_state(), resnet_state(bottleneck=False, make=draw(6))
PRE_NORM = vit_state(patch=14, make=draw(7)) | {"norm_pre.weight": 1 + make(128), "norm_pre.bias": make(128)}
del PRE_NORM["patch_embed.proj.bias"]
OPEN_CLIP = renamed(
    {k: v.squeeze() if k in ("cls_token", "pos_embed") else v for k, v in PRE_NORM.items()},
    *(
        (r"^cls_token$", "class_embedding"),
        (r"^pos_embed$", "positional_embedding"),
        (r"^patch_embed\.proj\.", "conv1."),
    ),
    *((r"^norm_pre\.", "ln_pre."), (r"^norm\.", "ln_post."), (r"^blocks\.", "transformer.resblocks.")),
    *((r"\.norm([12])\.", r".ln_\1."), (r"\.attn\.qkv\.", ".attn.in_proj_"), (r"\.attn\.proj\.", ".attn.out_proj.")),
    *((r"\.fc1\.", ".c_fc."), (r"\.fc2\.", ".c_proj.")),
)
SIMCLR_V2 = renamed(
    RESNET,
    *(
        (r"^conv1\.", "net.0.0."),
        (r"^bn1\.", "net.0.1.0."),
        (r"^layer(\d)\.(\d+)\.conv1\.", r"net.\1.blocks.\2.net.0."),
    ),
    *(
        (r"^layer(\d)\.(\d+)\.conv2\.", r"net.\1.blocks.\2.net.2."),
        (r"^layer(\d)\.(\d+)\.conv3\.", r"net.\1.blocks.\2.net.4."),
    ),
    *(
        (r"^layer(\d)\.(\d+)\.bn1\.", r"net.\1.blocks.\2.net.1.0."),
        (r"^layer(\d)\.(\d+)\.bn2\.", r"net.\1.blocks.\2.net.3.0."),
    ),
    *((r"^layer(\d)\.(\d+)\.bn3\.", r"net.\1.blocks.\2.net.5.0."),),
    *((r"^layer(\d)\.(\d+)\.downsample\.0\.", r"net.\1.blocks.\2.projection.shortcut."),),
    *((r"^layer(\d)\.(\d+)\.downsample\.1\.", r"net.\1.blocks.\2.projection.bn.0."),),
)
CONVMAE, PANECHO = convmae_state(make=draw(11)), panecho_state(make=draw(12))
SWIN = echocare_state(make=draw(13))
SWIN_KEPT = {k: v for k, v in SWIN.items() if not k.endswith("_index")}
ENDO, MISFM = endofm_state(make=draw(8)), misfm_state(make=draw(9))
LITE0 = lite0_state(draw(10))
LIN = ((r"\.mlp\.fc([12])\.", r".mlp.lin\1."),)
OF_MMPRETRAIN = (
    *((r"^blocks\.", "layers."), (r"patch_embed\.proj\.", "patch_embed.projection."), (r"\.norm([12])\.", r".ln\1.")),
    *((r"\.mlp\.fc1\.", ".ffn.layers.0.0."), (r"\.mlp\.fc2\.", ".ffn.layers.1."), (r"^neck\.", "channel_reduction.")),
)
HISTORY = {"message_hub": {"history": namespace()}, "meta": {"epoch": 3}}


def class_token(images, state, heads, eps=1e-6):
    return layer_norm(vit_tokens(images, state, heads, eps), state, "norm.", eps)[:, 0]


def blurred(images):
    """By OpenCV, as the publication's script has it; channel by channel, here after normalisation."""
    each = [[cv2.GaussianBlur(plane.numpy(), (9, 9), 1.1) for plane in image] for image in images]
    return torch.from_numpy(np.array(each))


def mean_then_norm(images, state, heads):
    return layer_norm(vit_tokens(images, state, heads)[:, 1:].mean(1), state, "fc_norm.")


# Family -> form -> what the file holds, what the encoder's tensors are, the formula, side of the images, normalisation.
FORMS = {
    "mae": ("mae", {"model": VIT}, VIT, lambda x: class_token(x, VIT, 2), 64, IMAGENET),
    "mae as it trains": (
        *("mae", {"model": VIT | mae_decoder(128, make), "args": namespace(), "epoch": 3}),
        *(VIT, lambda x: class_token(x, VIT, 2), 64, IMAGENET),
    ),
    "mae fine-tuned": (
        *("mae", {"model": renamed(VIT, (r"^norm\.", "fc_norm.")) | {"head.weight": make(2, 128)}}),
        *(VIT, lambda x: mean_then_norm(x, renamed(VIT, (r"^norm\.", "fc_norm.")), 2), 64, IMAGENET),
    ),
    "usfmae": ("usfmae", VIT | mae_decoder(128, make), VIT, lambda x: class_token(x, VIT, 2), 64, IMAGENET),
    "ultrafedfm": (
        *("ultrafedfm", {"model": VIT | mae_decoder(128, make), "args": namespace()}),
        *(VIT, lambda x: class_token(x, VIT, 2), 64, IMAGENET),
    ),
    "retfound mae": (
        *("retfound", {"model": VIT | mae_decoder(128, make), "args": namespace()}),
        *(VIT, lambda x: class_token(x, VIT, 2), 64, IMAGENET),
    ),
    "retfound dinov2": (
        *("retfound", {"teacher": under("backbone.", DINO | {"mask_token": make(1, 128)}), "args": namespace()}),
        *(DINO, lambda x: class_token(x, DINO, 2), 56, IMAGENET),
    ),
    "dinov2": (
        *("dinov2", {"teacher": under("backbone.", DINO) | under("dino_head.mlp.0.", {"weight": make(8, 128)})}),
        *(DINO, lambda x: class_token(x, DINO, 2), 56, IMAGENET),
    ),
    "ultradino": (
        *("ultradino", {"teacher": under("backbone.", ONE_CHANNEL)}),
        *(ONE_CHANNEL, lambda x: class_token(x[:, :1], ONE_CHANNEL, 2), 64, ULTRADINO),
    ),
    "tinyusfm": ("tinyusfm", under("model.", TINY), TINY, lambda x: mean_then_norm(x, TINY, 6), 64, IMAGENET),
    "tinyusfm, classified": (
        *("tinyusfm", under("module.model.", TINY | {"head.weight": make(2, 96), "head.bias": make(2)})),
        *(TINY, lambda x: mean_then_norm(x, TINY, 6), 64, IMAGENET),
    ),
    "mocov3": (
        *("mocov3", {"state_dict": under("module.base_encoder.", VIT | {"head.0.weight": make(8, 128)})}),
        *(VIT, lambda x: class_token(x, VIT, 2), 64, IMAGENET),
    ),
    "mocov3 resnet": (
        "mocov3",
        {
            "epoch": 3,
            "optimizer": {"state": {0: {"momentum_buffer": make(3)}}},
            "state_dict": under("module.base_encoder.", RESNET | {"fc.0.weight": make(8, 2048)})
            | under("module.momentum_encoder.", RESNET)
            | {"module.predictor.0.weight": make(4, 4)},
        },
        *(RESNET, lambda x: resnet_pooled(x, RESNET), 64, IMAGENET),
    ),
    "mocov3 resnet18": (
        *("mocov3", {"state_dict": under("module.base_encoder.", BASIC)}),
        *(BASIC, lambda x: resnet_pooled(x, BASIC), 64, IMAGENET),
    ),
    "simclr converted": (
        *("simclr", {"resnet": SIMCLR_V2 | {"fc.weight": make(10, 2048)}, "head": {"layers.0.weight": make(4, 4)}}),
        *(RESNET, lambda x: resnet_pooled(x, RESNET), 64, NONE),
    ),
    "simclr vissl": (
        *("simclr", {"classy_state_dict": {"base_model": {"model": {"trunk": under("_feature_blocks.", RESNET)}}}}),
        *(RESNET, lambda x: resnet_pooled(x, RESNET), 64, IMAGENET),
    ),
    "simclr mmpretrain": (
        *("simclr", {"state_dict": under("backbone.", RESNET) | {"neck.fc0.weight": make(4, 4)}, **HISTORY}),
        *(RESNET, lambda x: resnet_pooled(x, RESNET), 64, IMAGENET),
    ),
    "simclr sthalles": (
        *("simclr", {"state_dict": under("backbone.", RESNET | {"fc.0.weight": make(4, 2048)}), "arch": "resnet50"}),
        *(RESNET, lambda x: resnet_pooled(x, RESNET), 64, IMAGENET),
    ),
    "simclr spijkervet": (
        *("simclr", under("encoder.", RESNET) | {"projector.0.weight": make(4, 2048)}),
        *(RESNET, lambda x: resnet_pooled(x, RESNET), 64, IMAGENET),
    ),
    "sam": (
        "sam",
        under("image_encoder.", renamed(SAM, *LIN)) | {"mask_decoder.iou_token.weight": make(1, 16)},
        *(SAM, lambda x: sam_maps(x, SAM, 2, 2, (2,)).mean((2, 3)), 128, IMAGENET),
    ),
    "sam in model": (
        *("sam", {"model": under("image_encoder.", renamed(SAM, *LIN)), "epoch": 1}),
        *(SAM, lambda x: sam_maps(x, SAM, 2, 2, (2,)).mean((2, 3)), 128, IMAGENET),
    ),
    "ultrasam": (
        "ultrasam",
        {
            "state_dict": under("backbone.", renamed(SAM, *OF_MMPRETRAIN)) | {"bbox_head.fc.weight": make(4, 4)},
            **HISTORY,
        },
        *(SAM, lambda x: sam_maps(x, SAM, 2, 2, (2,)).mean((2, 3)), 128, IMAGENET),
    ),
    "fetalclip": (
        *("fetalclip", under("visual.", OPEN_CLIP | {"proj": make(128, 64)}) | {"logit_scale": torch.tensor(1.0)}),
        *(PRE_NORM, lambda x: class_token(x, PRE_NORM, 2, 1e-5), 56, CLIP),
    ),
    "endofm": (
        "endofm",
        {
            "teacher": under("backbone.", ENDO) | {"head.mlp.0.weight": make(4, 128)},
            "student": under("module.backbone.", ENDO),
            "args": namespace(),
        },
        *(ENDO, lambda x: layer_norm(endofm_tokens(x, ENDO, 2), ENDO, "norm.")[:, 0], 64, ((0.45,) * 3, (0.225,) * 3)),
    ),
    "misfm": (
        "misfm",
        {
            "iteration": 3,
            "valid_pred": np.float64(0.5),
            "model_state_dict": MISFM | {"decoder.upcat0.conv.weight": make(4, 4), "out_layers.0.weight": make(2, 4)},
        },
        *(MISFM, lambda x: misfm_pooled(x, MISFM), 64, NONE),
    ),
    "deblurringmim": (
        *("deblurringmim", {"model": VIT | mae_decoder(128, make), "args": namespace(), "epoch": 799}),
        *(VIT, lambda x: class_token(blurred(x), VIT, 2), 64, IMAGENET),
    ),
    "deblurringmim convmae": (
        "deblurringmim",
        {
            "model": CONVMAE
            | {"stage1_output_decode.weight": make(128, 8, 4, 4), "mask_token": make(1, 1, 64)}
            | {"decoder_embed.weight": make(64, 128)},
            "args": namespace(),
        },
        *(CONVMAE, lambda x: convmae_pooled(blurred(x), CONVMAE, 2), 64, IMAGENET),
    ),
    "echocare": (
        *("echocare", SWIN | {"mask_token": make(1, 8, 1, 1)}, SWIN_KEPT),
        *(lambda x: echocare_pooled(x, SWIN, 4, (2, 2, 2, 2), (2, 2, 4, 4)), 64, NONE),
    ),
    "panecho": (
        "panecho",
        {
            "weights": under("encoder.encoder.model.", PANECHO)
            | {"encoder.time_encoder.pe": make(1, 16, 24), "EF_head.1.weight": make(1, 24)},
            "epoch": 5,
        },
        *(PANECHO, lambda x: panecho_pooled(x, PANECHO), 64, IMAGENET),
    ),
    "efficientnetlite": (
        *("efficientnetlite", LITE0, {k: v for k, v in LITE0.items() if not k.startswith("_fc.")}),
        *(lambda x: lite0_pooled(x, LITE0), 96, ((0.5,) * 3, (0.5,) * 3)),
    ),
    "biomedclip": (
        *("biomedclip", under("visual.trunk.", VIT) | {"visual.head.proj.weight": make(64, 128)}),
        *(VIT, lambda x: class_token(x, VIT, 2), 64, CLIP),
    ),
}
every = pytest.mark.parametrize("form", FORMS)


def saved(content, path):
    torch.save(content, path)
    return path


@every
def test_features_are_those_of_the_formula(form, tmp_path):
    family, content, _, formula, side, (mean, std) = FORMS[form]
    path = saved(content, tmp_path / "weights.pth")
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    if family == "ultradino":
        images = images[:, :1].expand(-1, 3, -1, -1)  # it knows grey alone
    expected = formula(normalised(images, mean, std))
    found = embed(f"{family}:{path}", images, what="pooled")
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-5)


def model_tensors(family, state):
    """As the model has them: of 3-D kernels the middle plane."""
    return [v[:, :, 1] if family == "misfm" and v.ndim == 5 else v for v in state.values()]


@every
def test_all_tensors_of_the_encoder_are_covered_and_the_others_listed(form, tmp_path):
    family, content, state, *_ = FORMS[form]
    path = saved(content, tmp_path / "weights.pth")
    found = FAMILIES[family].inspect(path)
    counters = sum(name.endswith("num_batches_tracked") for name in state)
    every_name = read_tensors(path)
    assert len(found["not part of the encoder"]) == len(every_name) - len(state)
    added = 2 * state["patch_embed.proj.weight"].numel() if family == "ultradino" else 0  # three channels for one
    assert family == "endofm" or found["parameters"] == added + sum(v.numel() for v in model_tensors(family, state))
    model = load_backbone(f"{family}:{path}")
    merged = 9 if family == "endofm" else 0  # of two blocks: three layers of two tensors become one; a table
    assert len(model.state_dict()) == len(state) - merged
    assert counters == sum(name.endswith("num_batches_tracked") for name in model.state_dict())


@every
def test_a_missing_renamed_or_misshapen_tensor_is_named(form, tmp_path):
    family, content, *_ = FORMS[form]
    whole = read_tensors(saved(content, tmp_path / "weights.pth"))
    kept, others = FAMILIES[family].renamed(whole)
    last = [
        n
        for n in kept
        if re.search(
            r"mlp\.fc2\.weight$|layer4\.0\.conv2\.weight$|en_conv4\.conv_list\.1\.3\.weight$|layers4\.0\.blocks\.1\.mlp\.linear2\.weight$|blocks\.6\.0\.conv_dw\.weight$",
            n,
        )
    ][-1]
    [origin] = [n for n in whole if whole[n] is kept[last] and n not in others]
    for change, word in (
        ({origin: None}, "missing"),
        ({origin: None, f"{origin}x": whole[origin]}, "missing"),
        ({origin: whole[origin][1:]}, "of another shape"),
    ):
        state = {n: v for n, v in (whole | change).items() if v is not None}
        path = tmp_path / f"{word}.safetensors"
        save_file({n: v.contiguous().clone() for n, v in state.items()}, path)
        with pytest.raises(WeightsError) as error:
            load_backbone(f"{family}:{path}")
        assert path.name in str(error.value)
        assert last in str(error.value)
        assert word in str(error.value)


@every
def test_a_file_is_known_by_its_names_or_the_families_of_its_format_are_named(form, tmp_path):
    family, content, *_ = FORMS[form]
    path = saved(content, tmp_path / "weights.pth")
    owner = {
        "deblurringmim": "mae",
        "usfmae": "mae",
        "ultrafedfm": "mae",
        "retfound mae": "mae",
        "retfound dinov2": "dinov2",
        "ultradino": "dinov2",
    }
    if "fc_norm" in str(read_tensors(path).keys()):
        with pytest.raises(WeightsError, match="tinyusfm"):
            file_family(path)
        return
    assert file_family(path).name == owner.get(form, family)
    assert inspect_checkpoint(path)["family"] == owner.get(form, family)


WRONG = ["sam", "mocov3", "simclr", "fetalclip", "biomedclip", "ultrasam", "dinov2", "mae"]


# Three for each form, so that every family is wrong for many forms.
@pytest.mark.parametrize(
    ("form", "wrong"), [(form, WRONG[(i + k) % len(WRONG)]) for i, form in enumerate(FORMS) for k in (0, 3, 5)]
)
def test_the_wrong_family_says_which_it_looks_like(form, wrong, tmp_path):
    family, content, *_ = FORMS[form]
    path = saved(content, tmp_path / "weights.pth")
    names = read_tensors(path)
    if FAMILIES[wrong].marked(names):
        return
    with pytest.raises(WeightsError, match=f"not in the format of the {FAMILIES[wrong].title}") as error:
        load_backbone(f"{wrong}:{path}")
    if FAMILIES[family].recognises(names):
        assert f"It looks like that of the {FAMILIES[family].title}: {family}:{path}." in str(error.value)


@pytest.mark.parametrize(
    ("family", "width", "heads"),
    [
        *(("mae", 768, 12), ("mae", 1024, 16), ("mae", 1280, 16), ("mocov3", 384, 12), ("mocov3", 768, 12)),
        *(("tinyusfm", 192, 12), ("retfound", 1024, 16), ("fetalclip", 1024, 16), ("biomedclip", 768, 12)),
    ],
)
def test_heads_are_those_of_the_publication(family, width, heads):
    assert FAMILIES[family].heads(width) == heads


def test_another_number_of_heads_gives_another_answer():
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(vit_tokens(images, VIT, 2), vit_tokens(images, VIT, 4), atol=1e-3)


@pytest.mark.parametrize(
    ("family", "width", "depth", "patch", "grid", "n", "parameters"),
    [
        ("mae", 768, 12, 16, 14, 150, 85_798_656),
        ("mae", 1024, 24, 16, 14, 294, 303_301_632),
        ("tinyusfm", 192, 12, 16, 14, 150, 5_524_416),
    ],
)
def test_the_published_sizes_have_the_published_tensors(family, width, depth, patch, grid, n, parameters):
    with torch.device("meta"):
        state = vit_state(width, depth, patch, grid, make=lambda *s: torch.empty(s))
        checkpoint = FAMILIES[family].checkpoint(state, [])
        model = FAMILIES[family].build(checkpoint.architecture, {"num_classes": 0, **checkpoint.settings})
    assert (len(state), sum(v.numel() for v in state.values())) == (n, parameters)
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == {k: tuple(v.shape) for k, v in state.items()}


def test_the_published_resnet_has_the_published_tensors():
    with torch.device("meta"):
        state = resnet_state((3, 4, 6, 3), make=lambda *s: torch.empty(s))
        whole = timm.create_model("resnet50", num_classes=0)
    assert len(state) == 318
    assert state.keys() == whole.state_dict().keys()
    checkpoint = FAMILIES["mocov3"].checkpoint({k: v for k, v in state.items() if "layer4.2" not in k}, [])
    assert checkpoint.settings == {"layers": [3, 4, 6, 3]}  # so that the lost block is named


def test_the_published_sam_has_the_published_tensors():
    with torch.device("meta"):
        state = sam_state(768, 12, 12, 64, 14, (2, 5, 8, 11), 256, make=lambda *s: torch.empty(s))
        checkpoint = FAMILIES["sam"].checkpoint(state, [])
        model = FAMILIES["sam"].build(checkpoint.architecture, {"num_classes": 0, **checkpoint.settings})
    assert (len(state), sum(v.numel() for v in state.values())) == (177, 89_670_912)
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == {k: tuple(v.shape) for k, v in state.items()}
    assert checkpoint.settings["global_attn_indexes"] == [2, 5, 8, 11]


def test_the_published_echocare_has_the_published_tensors():
    with torch.device("meta"):
        file = echocare_state(128, 8, (2, 2, 18, 2), (4, 8, 16, 32), make=lambda *s: torch.empty(s))
        state, ignored = FAMILIES["echocare"].renamed(file)
        checkpoint = FAMILIES["echocare"].checkpoint(state, ignored)
        model = FAMILIES["echocare"].build(checkpoint.architecture, checkpoint.settings)
    assert len(file) == 358
    assert sum(v.numel() for v in file.values()) == 120_319_992
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == {k: tuple(v.shape) for k, v in state.items()}


def test_the_published_convmae_has_the_published_tensors():
    with torch.device("meta"):
        state = convmae_state((256, 384, 768), (2, 2, 11), 14, make=lambda *s: torch.empty(s))
        checkpoint = FAMILIES["deblurringmim"].checkpoint(state, [])
        model = FAMILIES["deblurringmim"].build(checkpoint.architecture, checkpoint.settings)
    assert (len(state), sum(v.numel() for v in state.values())) == (205, 84_605_824)
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == {k: tuple(v.shape) for k, v in state.items()}


def test_the_published_panecho_is_convnext_tiny():
    with torch.device("meta"):
        file = panecho_state((96, 192, 384, 768), (3, 3, 9, 3), make=lambda *s: torch.empty(s))
        kept, _ = FAMILIES["panecho"].renamed(under("encoder.encoder.model.", file))
        checkpoint = FAMILIES["panecho"].checkpoint(kept, [])
        model = FAMILIES["panecho"].build(checkpoint.architecture, {"num_classes": 0, **checkpoint.settings})
    assert checkpoint.settings == {}
    shapes = {k: tuple(v.shape) for k, v in checkpoint.state.items()}
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == shapes


@pytest.mark.parametrize("form", ["deblurringmim convmae", "echocare", "panecho", "misfm"])
def test_maps_of_what_has_stages_feed_a_decoder(form, tmp_path):
    family, content, *_ = FORMS[form]
    path = saved(content, tmp_path / "weights.pth")
    train = SimpleNamespace(classes=("a", "b"), structures=())
    recipe = TrainingSpec(image_size=64, epochs=1, batch_size=2, lr=1e-3, decoder="upernet")
    network = build_model(f"{family}:{path}", TASKS["segmentation"], train, recipe)
    assert network.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 1, 64, 64)
    sides = [m.shape[-1] for m in network.features(torch.rand(2, 3, 64, 64))]
    assert sides == ([32, 16, 8, 4] if form == "misfm" else [16, 8, 4, 2])


@pytest.mark.parametrize("side", [64, 128, 192])
def test_sam_at_another_size_resizes_positions_by_straight_lines(side, tmp_path):
    path = saved(under("image_encoder.", renamed(SAM, *LIN)), tmp_path / "sam.pth")
    grid, state = side // 16, dict(SAM)
    state["pos_embed"] = torch.nn.functional.interpolate(
        SAM["pos_embed"].permute(0, 3, 1, 2), (grid, grid), mode="bicubic", antialias=True
    ).permute(0, 2, 3, 1)
    for axis in "hw":
        table = SAM[f"blocks.2.attn.rel_pos_{axis}"]
        resized = torch.nn.functional.interpolate(table.T[None], 2 * grid - 1, mode="linear")[0].T
        state[f"blocks.2.attn.rel_pos_{axis}"] = resized
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(2))
    expected = sam_maps(normalised(images, *IMAGENET), state, 2, 2, (2,)).mean((2, 3))
    torch.testing.assert_close(embed(f"sam:{path}", images), expected, atol=1e-4, rtol=1e-4)


def test_positions_of_a_vision_transformer_are_resized_by_timm(tmp_path):
    path = saved({"model": VIT}, tmp_path / "mae.pth")
    table = timm.layers.resample_abs_pos_embed(VIT["pos_embed"], [6, 6], num_prefix_tokens=1)
    assert torch.equal(load_backbone(f"mae:{path}", image_size=96).pos_embed, table)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("legacy", [True, False])
def test_nothing_of_a_file_runs_and_its_tensors_come_out_whole(legacy, tmp_path):
    marker = tmp_path / "ran"
    content = {"model": VIT, "args": namespace(), "valid_pred": np.float64(0.5), "hook": Trap(marker)}
    path = tmp_path / "weights.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    found = read_tensors(path)
    assert found.keys() == under("model.", VIT).keys()
    assert all(torch.equal(found[f"model.{name}"], value) for name, value in VIT.items())
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # so the trap was live


def test_a_whole_model_is_refused_in_words(tmp_path):
    path = saved(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="exists only where the code of its maker runs"):
        read_tensors(path)


def test_beit_is_usfms_encoder_with_another_normalisation_and_a_head_that_is_left_out(tmp_path):
    state = published_state(seed=3)
    own = saved({"model": state | {"lm_head.weight": make(20, 96), "lm_head.bias": make(20)}}, tmp_path / "beit.pth")
    usfm = saved(state, tmp_path / "usfm.pth")
    assert (file_family(own).name, file_family(usfm).name) == ("beit", "usfm")
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    as_imagenet = normalised(images, (0.5,) * 3, (0.5,) * 3)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in IMAGENET)
    between = as_imagenet * std + mean  # what ImageNet's normalisation makes of it is what BEiT's makes of the images
    with torch.inference_mode():
        model = load_backbone(f"usfm:{usfm}", reading="own-norm").eval()
        expected = model.forward_head(model.forward_features((between - mean) / std), pre_logits=True)
    torch.testing.assert_close(embed(f"beit:{own}", images), expected, atol=1e-5, rtol=1e-5)
    assert {"lm_head.bias", "lm_head.weight"} <= set(inspect_checkpoint(own)["not part of the encoder"])
    with pytest.raises(WeightsError, match=r"missing: norm\.bias"):
        load_backbone(f"beit:{saved({k: v for k, v in state.items() if k != 'norm.bias'}, tmp_path / 'less.pth')}")


# ---- timm's models with a local file ---------------------------------------------------------------------------------


def test_any_model_of_timm_takes_a_local_file_under_timms_names(tmp_path):
    for name in ("test_resnet", "test_vit", "tf_efficientnet_lite0"):
        whole = timm.create_model(name).eval()
        path = saved({"state_dict": whole.state_dict(), "epoch": 1}, tmp_path / f"{name}.pth")
        images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(2))
        found = embed(f"timm:{name}={path}", images)
        if name == "test_vit":
            assert found.shape == (2, 64)
            continue
        with torch.inference_mode():
            features = whole.forward_features(normalised(images, *IMAGENET))
            expected = whole.forward_head(features, pre_logits=True)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_other_forms_of_timms_models_pass_its_own_filter(tmp_path):
    sam = saved(under("image_encoder.", renamed(sam_state(768, 12, 1, 4, 14, ()), *LIN)), tmp_path / "sam.pth")
    with pytest.raises(WeightsError, match=r"missing: blocks\.1\."):
        load_backbone(f"timm:samvit_base_patch16={sam}", image_size=64)
    convnext = timm.create_model("test_convnext", num_classes=0)
    published = renamed(
        convnext.state_dict(),
        *((r"^stages\.(\d)\.blocks\.", r"stages.\1."), (r"conv_dw", "dwconv"), (r"mlp\.fc", "pwconv")),
        *((r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."), (r"^stem\.", "downsample_layers.0.")),
        (r"^head\.norm\.", "norm."),
    )
    found = load_backbone(f"timm:test_convnext={saved({'model': published}, tmp_path / 'convnext.pth')}")
    assert all(torch.equal(found.state_dict()[name], value) for name, value in convnext.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_models_with_windows_are_built_for_the_input_size(tmp_path, task):
    name, recipe = "swin_tiny_patch4_window7_224", TrainingSpec(image_size=96, epochs=1, batch_size=2, lr=1e-3)
    whole = timm.create_model(name).eval()
    path = saved(whole.state_dict(), tmp_path / "swin.pth")
    recipe = recipe.model_copy(update={"decoder": "upernet"})
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    classes = SimpleNamespace(classes=("a", "b"), class_counts=np.ones(2, np.int64), structures=())
    network = build_model(f"timm:{name}={path}@linear", TASKS[task], classes, recipe).eval()
    expected = timm.create_model(name, num_classes=0, img_size=96).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        filtered = timm.models.swin_transformer.checkpoint_filter_fn(whole.state_dict(), expected)
    expected.load_state_dict({key: value for key, value in filtered.items() if not key.startswith("head.")})
    with torch.inference_mode():
        assert network(images).shape == ((1, 1, 96, 96) if task == "segmentation" else (1, 2))
        if task == "classification":
            found = network.vectors(images)
            torch.testing.assert_close(found, expected(images), atol=1e-5, rtol=1e-5)
        else:
            maps = timm.create_model(name, features_only=True, img_size=96).eval()
            state = expected.state_dict()
            maps.load_state_dict({key: state[key.replace("layers_", "layers.")] for key in maps.state_dict()})
            torch.testing.assert_close(network.features(images)[-1], maps(images)[-1], atol=1e-5, rtol=1e-5)
    again = empty_model(f"timm:{name}={path}@linear", TASKS[task], classes, recipe, encoder=network.shape)
    assert again.state_dict().keys() == network.state_dict().keys()


@pytest.mark.slow
def test_models_that_take_any_size_are_built_as_before():
    state = torch.get_rng_state()
    assert not FAMILIES["timm"].is_sized("test_resnet", 96)
    assert FAMILIES["timm"].is_sized("coat_tiny", 96)
    assert not FAMILIES["timm"].is_sized("coat_tiny", 224)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_architecture_or_a_missing_file_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"Unknown timm model 'resnet19'\. Did you mean 'resnet18'"):
        load_backbone(f"timm:resnet19={tmp_path / 'x.pth'}")
    with pytest.raises(WeightsError, match="needs the file"):
        load_backbone(f"timm:resnet18={tmp_path / 'absent.pth'}")
