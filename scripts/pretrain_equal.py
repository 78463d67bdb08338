"""Pre-train encoders of one size by several methods on equal terms: the same images, as many seen, the same optimiser.

    python scripts/pretrain_equal.py --images 4096 --seeds 2 --data-root DATA_ROOT

writes `pretrained/equal/IMAGES/METHOD-seedK.pth`, each with its card; finished ones are left alone. The suite
`pretraining` names those of 4096 images and two seeds. `random-vit` and `random-usfm` are the weights that training
starts from. Only what the methods' own publications state differs: their views, heads and masks.
"""

import argparse
from pathlib import Path
from typing import Any

from usfm_bench.pretraining.data import load_images
from usfm_bench.pretraining.loop import pretrain
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.pretraining import Options, PretrainSpec, build_spec

SHARED = {"image_size": 64, "batch_size": 32, "lr": 1.0e-3, "threads": 1}
WARMUP = 0.1
"""Share of the steps in which the learning rate rises."""
VIT: dict[str, Any] = {"model": "vit_micro_patch8_64"}
USFM: dict[str, Any] = {
    "model": "usfm_micro_patch8_64",
    "augment": ["crop", "hflip"],  # these, the L1 and lambda are those of the recipe of usfm-micro in the registry
    "l1_over": "masked",
    "lambda_frequency": 0,
    "masking": {
        "patch_size": 8,  # the encoder's; 16 leaves a grid of 4 x 4
        "ratio": 0.6,
        "base_bandwidth": 2,
        "growth": 0.25,
        "max_increase": 8,
        "protected": 1,
        "band_ratio": 0.3,
    },
}
METHODS: dict[str, dict[str, Any]] = {
    "usfm": USFM,
    "spatial": USFM,
    **dict.fromkeys(("mae", "simmim", "simclr", "mocov3", "beit", "dino"), VIT),
}
UNTRAINED = {"random-vit": "mae", "random-usfm": "usfm"}
"""Reference -> the method whose first weights it is."""


def recipe(name: str, images: int, seed: int, dataset: str) -> PretrainSpec:
    """The settings of one pre-training."""
    method = UNTRAINED.get(name, name)
    steps = images // SHARED["batch_size"]
    values = {"method": method, "datasets": [dataset], "seed": seed, "steps": steps} | SHARED | METHODS[method]
    values["warmup_steps"] = round(WARMUP * steps)
    if name in UNTRAINED:
        values |= {"steps": 0, "warmup_steps": 0}
    return build_spec(values, name)


def main() -> None:
    """Pre-train what is not there yet, one after another in this process."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--methods", default=",".join((*UNTRAINED, *METHODS)))
    ask.add_argument("--images", default="4096", help="Images to see, as often as each is; several as a,b.")
    ask.add_argument("--seeds", type=int, default=2, help="Pre-training seeds, from 0 on.")
    ask.add_argument("--dataset", default="busi", help="Its training side is seen, less what its relatives test on.")
    ask.add_argument("--out", type=Path, default=Path("pretrained/equal"))
    ask.add_argument("--data-root", type=Path, default=Path("data"))
    asked = ask.parse_args()
    seen = None
    for images in map(int, asked.images.split(",")):
        for name in asked.methods.split(","):
            for seed in range(asked.seeds):
                spec = recipe(name, images, seed, asked.dataset)
                out = asked.out / str(images) / f"{name}-seed{seed}.pth"
                if out.exists():
                    continue
                out.parent.mkdir(parents=True, exist_ok=True)
                seen = seen or load_images(spec, load_registry(None), asked.data_root)
                card = pretrain(spec, seen, Options(out=out, device="cpu", sheet_every=0))
                print(f"{out}: {card.images_seen} images of {len(seen.images)}, {card.wall_s:.0f} s", flush=True)


if __name__ == "__main__":
    main()
