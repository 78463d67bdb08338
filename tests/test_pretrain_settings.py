"""Settings of `pretrain`: file, options and --set, in that order; faults name where they were said, all at once."""

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from usfm_bench.cli import pretrain as command
from usfm_bench.cli.app import app
from usfm_bench.cli.settings import LayeredSettings
from usfm_bench.core.errors import BenchError
from usfm_bench.pretraining.masked_images import MaskedSpec
from usfm_bench.specs.pretraining import Options


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Calls the command up to where it would train; returns what it was asked for."""
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(command, "_pretrain", lambda spec, options, source: seen.append((spec, options)))

    def run(*words):
        result = CliRunner().invoke(app, ["pretrain", *words])
        if isinstance(result.exception, BenchError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return seen[-1]

    return run


OUT = ("--datasets", "a,b", "--out", "w.pth")


def test_a_file_gives_way_to_options_and_options_to_sets(asked, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "steps: 5\nseed: 1\nlr: 0.5\nmasking: {ratio: 0.1, growth: 0.5}\ndatasets: [c]\ncheckpoint_every: 7\n"
    )
    spec, options = asked("--config", "c.yaml", "--out", "w.pth", "--seed", "2", "--steps", "6", "--set", "steps=8")
    assert (spec.steps, spec.seed, spec.lr, spec.datasets) == (8, 2, 0.5, ("c",))
    assert (spec.masking.ratio, spec.masking.growth, spec.masking.protected) == (0.1, 0.5, 4)
    assert (options.checkpoint_every, options.device, str(options.out)) == (7, "auto", "w.pth")
    spec, _ = asked("--config", "c.yaml", "--out", "w.pth", "--set", "masking.ratio=0.2", "--set", "masking.ratio=0.3")
    assert (spec.masking.ratio, spec.masking.growth) == (0.3, 0.5)


def test_a_command_without_settings_asks_for_the_defaults(asked):
    spec, options = asked(*OUT)
    assert spec == MaskedSpec(datasets=("a", "b"), steps=10_000)
    assert options == Options(out="w.pth", device="auto")


def test_values_are_yaml(asked):
    line = ["clip_norm=null", "lr=1e-3", "betas=[0.9, 0.95]", "masking={ratio: 0.5, magnitude: true}", "datasets=a, b"]
    spec, _ = asked("--out", "w.safetensors", *[word for setting in line for word in ("--set", setting)])
    assert (spec.clip_norm, spec.lr, spec.betas, spec.datasets) == (None, 1e-3, (0.9, 0.95), ("a", "b"))
    assert (spec.masking.ratio, spec.masking.magnitude) == (0.5, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mask-ratio", "0.6"], "--mask-ratio is a setting: write --set masking.ratio=0.6"),
        (["--lambda=2"], "--lambda is a setting: write --set lambda_frequency=2"),
        (["--bandwidth", "2"], "--bandwidth is a setting: write --set masking.base_bandwidth=2"),
        (["--mask-patch", "16"], "write --set masking.patch_size=16"),
        (["--mask-normalised"], "write --set masking.normalised=true"),
        (["--magnitude", "--image-size", "64"], "write --set masking.magnitude=true\n--image-size is a setting"),
        (["--all-images", "stray"], "write --set all_images=true\npretrain: unexpected argument 'stray'"),
        (["--checkpoint-every", "5"], "write --set checkpoint_every=5"),
        (["--tensorboard", "board"], "write --set tensorboard=board"),
        (["--registryy", "x"], "unknown option '--registryy'. Did you mean 'registry'?"),
    ],
)
def test_an_option_of_before_names_the_setting_to_write(asked, words, said):
    with pytest.raises(BenchError) as error:
        asked(*OUT, *words)
    assert said in str(error.value)


def test_every_option_of_before_is_a_setting_now(asked):
    gone = ["image-size", "all-images", "split-seed", "mask-patch", "mask-ratio", "bandwidth", "growth", "protected"]
    gone += ["max-increase", "band-ratio", "magnitude", "mask-normalised", "lambda", "l1-over", "batch-size", "lr"]
    gone += ["accumulate", "warmup-steps", "weight-decay", "drop-path", "precision", "threads", "compile"]
    gone += ["checkpoint-every", "sheet-every", "log-every", "tensorboard"]
    with pytest.raises(BenchError) as error:
        asked(*OUT, *[f"--{name}=1" for name in gone])
    assert str(error.value).count("is a setting: write --set") == len(gone)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "masking.ratoi=0.5"], "--set masking.ratoi: unknown key. Did you mean 'masking.ratio'?"),
        (["--set", "checkpoint_everx=5"], "--set checkpoint_everx: unknown key. Did you mean 'checkpoint_every'?"),
        (["--set", "masking=3"], "--set masking: expected a mapping of keys to values, not 3"),
        (["--set", "lr"], "--set lr: expected KEY=VALUE"),
        (["--set", "=3"], "--set =3: expected KEY=VALUE"),
        (["--set", "masking..ratio=3"], "--set masking..ratio=3: expected KEY=VALUE"),
        (["--set", "masking={"], "--set masking={: the value is not valid YAML"),
        (["--set", "data_root=x"], "--set data_root: is an option of its own, --data-root"),
        (["--steps", "-1"], "--steps: must be at least 0, not -1"),
        (["--out", "w.pt"], "--out: 'w.pt': expected a name that ends in .pth or .safetensors"),
        (["--method", "usfn"], "Unknown pre-training method 'usfn'. Did you mean 'usfm'?"),
        (["--method", "spatial", "--set", "image_size=100"], "pretrain: image_size 100 is not a multiple"),
        (["--config", "none.yaml"], "--config none.yaml: no such file"),
        (["--config", "."], "--config .: cannot be read: Is a directory"),
        (["--config", "list.yaml"], "--config list.yaml: expected a mapping of keys to values"),
        (["--config", "bad.yaml"], "--config bad.yaml: masking.ratio: must be at most 1, not 2"),
    ],
)
def test_a_fault_says_where_it_was_said(asked, tmp_path, words, said):
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "bad.yaml").write_text("masking: {ratio: 2}\n")
    with pytest.raises(BenchError) as error:
        asked(*OUT, *words)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1, "one fault, said once"


def test_all_faults_are_told_at_once(asked):
    with pytest.raises(BenchError) as error:
        asked("--set", "lr=-1", "--set", "x=1", "--set", "log_every=0", "--method", "usfn", "--magnitude", "--set", "y")
    said = str(error.value)
    for words in ("--datasets NAME", "--out FILE", "lr: must be above 0", "log_every: must be", "'usfn'", "--set y"):
        assert words in said
    assert "--magnitude is a setting" in said


def test_every_setting_is_explained():
    shown = CliRunner().invoke(app, ["pretrain", "--set", "help"]).stdout
    assert "masking.ratio = 0.6\n    Share of patches that are masked" in shown
    lines = shown.splitlines()
    assert all(line.strip() for line in lines)
    assert len(lines) == 2 * len(list(filter(lambda line: not line.startswith(" "), lines)))


def test_settings_of_any_models_are_layered():
    class One(BaseModel):
        a: int = 1

    class Two(BaseModel):
        b: int

    settings = LayeredSettings("x")
    settings.add({"a": 2}, lambda key: f"file: {key}")
    settings.add_sets(["b=3", "a=4"])
    assert settings.build(One, Two) == [One(a=4), Two(b=3)]
    with pytest.raises(BenchError, match="x: b: is missing"):
        LayeredSettings("x").build(One, Two)


def test_resume_without_a_checkpoint_starts_and_of_finished_weights_is_done(tmp_path, tiny_registry, one_thread):
    line = ["pretrain", "--datasets", "tiny", "--registry", str(tiny_registry), "--model", "usfm_micro_patch16_224"]
    line += ["--set", "image_size=32", "--set", "masking={patch_size: 16, base_bandwidth: 2, protected: 1}"]
    line += ["--set", "threads=1", "--set", "batch_size=4", "--set", "sheet_every=0", "--device", "cpu", "--resume"]
    line += ["--out", str(tmp_path / "w.safetensors"), "--steps"]
    result = CliRunner().invoke(app, [*line, "2"])
    assert result.exit_code == 0, result.output
    assert result.stderr.count("there is no checkpoint") == 1
    assert "loss" in result.stderr
    assert "ratio" in result.stderr
    written = (tmp_path / "w.safetensors").stat().st_mtime_ns
    result = CliRunner().invoke(app, [*line, "2"])
    assert (result.exit_code, "nothing is left to do" in result.stderr) == (0, True)
    assert (tmp_path / "w.safetensors").stat().st_mtime_ns == written
    assert "pre-trained by other settings" in str(CliRunner().invoke(app, [*line, "3"]).exception)
