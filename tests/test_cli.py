import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from usfm_bench import __version__
from usfm_bench.cli import app as cli
from usfm_bench.cli.options import parse_seeds
from usfm_bench.core.errors import BenchError


@pytest.fixture
def bench(monkeypatch, capsys):
    """Runs a command line in this process; gives (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["usfm-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --suite busi-sg", "Unknown suite 'busi-sg'. Did you mean 'busi-seg'?"),
        ("run --suite demo --datasets phantm --dry-run", "Unknown dataset 'phantm'. Did you mean 'phantom'?"),
        ("run --suite demo --models usfm-tny-scratch --dry-run", "Did you mean 'usfm-tiny-scratch'?"),
        ("run --suite demo --models timm:resnet1@scratch --dry-run", "Unknown timm model 'resnet1'"),
        ("run --suite demo --seeds five --dry-run", "--seeds is 'five'; expected a number of seeds"),
        ("run --suite demo --seeds 0 --dry-run", "--seeds 0 means no seed at all"),
        ("run --suite demo --registry no.yaml --dry-run", "Registry file 'no.yaml' does not exist"),
        ("run --suite clinical-cls --dry-run", "--datasets phantom-clinical"),
        ("report --suite demo --runs nowhere", "No finished trial of suite 'demo' in 'nowhere'"),
        ("data show busy", "Unknown dataset 'busy'. Did you mean 'busi'?"),
        ("data verify busi --data-root nowhere", "Dataset 'busi' is not at 'nowhere/Dataset_BUSI_with_GT'. Source: "),
        ("models show usfn", "Unknown model 'usfn'. Did you mean 'usfm'?"),
        ("models inspect no.pth", "no.pth: no such file."),
    ],
)
def test_a_users_fault_is_one_message_and_exit_code_2(bench, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = bench(*arguments.split())
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert out == ""


def test_every_unknown_name_is_told_in_one_pass(bench):
    _, _, err = bench("run", "--suite", "demo", "--datasets", "phantm,bus", "--models", "unet", "--dry-run")
    assert all(name in err for name in ("'phantm'", "'bus'", "'unet'"))


def test_an_unknown_profile_is_refused_with_the_choices(bench):
    code, _, err = bench("run", "--suite", "demo", "--profile", "fast")
    assert code == 2
    assert all(name in err for name in ("paper", "quick", "smoke"))


def test_seeds_are_a_number_or_a_list():
    assert parse_seeds("5") == [0, 1, 2, 3, 4]
    assert parse_seeds("7,3,7") == [7, 3]
    assert parse_seeds(None) == []
    with pytest.raises(BenchError):
        parse_seeds("-1")


def test_a_dry_run_shows_the_grid_and_writes_nothing(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("USFM_BENCH_PRETRAINED", str(tmp_path))
    code, out, _ = bench("run", "--suite", "demo", "--seeds", "2", "--runs", tmp_path / "runs", "--dry-run")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == (2 + 2 * 2) * 2  # models on lesions, and on two data sets of classes; seeds
    # Where the weights of usfm-micro lie here already, nothing is said of them.
    assert all(line.endswith(("to do", "to do, but its weights are pre-trained first")) for line in lines)
    _, out, _ = bench("run", "--suite", "busi-seg", "--models", "usfm", "--data-root", tmp_path, "--dry-run")
    assert all(
        line.endswith("to do, but its data is not here and its weights are missing") for line in out.splitlines()
    )
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_done_from_changed(bench, make_store, tiny_registry, tmp_path):
    store = make_store(seeds=1)
    common = ["run", "--suite", "demo", "--datasets", "tiny-lesion", "--seeds", "2", "--runs", store.root, "--dry-run"]
    _, out, _ = bench(*common, "--registry", tiny_registry, "--models", "usfm-micro-scratch")
    assert [line.split("  ")[-1] for line in out.splitlines()] == ["done", "to do"]
    other = tmp_path / "other.yaml"
    other.write_text(tiny_registry.read_text().replace("n: 36", "n: 39"))
    _, out, _ = bench(*common, "--registry", other, "--models", "usfm-micro-scratch")
    assert "settings differ: dataset.options.n: 36 -> 39" in out.splitlines()[0]


def test_data_list_says_what_is_here(bench, busi_root):
    _, out, _ = bench("data", "list", "--data-root", busi_root, "--format", "json")
    here = {spec["name"]: spec["available"] for spec in json.loads(out)}
    assert here["busi"]
    assert here["phantom"]
    _, out, err = bench("data", "list", "--data-root", "nowhere")
    assert "Data root: nowhere." in err
    real, simulated = out.split("\n\n")
    lines = {line.split()[0]: line for line in [*real.splitlines()[1:], *simulated.splitlines()]}
    assert set(lines) == set(here)
    assert re.split(r"\s\s+", lines["busi"]) == ["busi", "breast", "780", "seg, cls", "unclear", "not here"]
    assert re.split(r"\s\s+", lines["usenhance-2023"])[3:] == ["none", "agreement", "not here"]
    assert re.split(r"\s\s+", lines["phantom"])[2:] == ["seg, cls", "none", "simulated"]
    assert [name for name in lines if name.startswith("phantom")] == [li.split()[0] for li in simulated.splitlines()]
    assert max(map(len, out.splitlines())) <= 80, "fits a terminal"


def test_data_show_names_source_licence_and_what_is_left_out(bench):
    _, out, _ = bench("data", "show", "busi")
    assert all(text in out for text in ("scholar.cu.edu.eg", "licence", "malignant (145)", "contradictory label"))
    _, out, _ = bench("data", "show", "udiat")
    assert re.search(r"^agreement +The release agreement", out, re.MULTILINE)
    assert re.search(r"^redistributable +False$", out, re.MULTILINE)
    uncertain = out.split("uncertain")[1].split("citation")[0].strip().splitlines()
    assert len(uncertain) == 3, "a line each"
    assert "label_from:" in out


def test_data_verify_prints_facts_on_stdout_and_faults_on_stderr(bench, tmp_path):
    folder = tmp_path / "Dataset_BUSI_with_GT"
    for label in ("benign", "malignant", "normal"):
        (folder / label).mkdir(parents=True)
        for end in ("", "_mask"):
            cv2.imwrite(str(folder / label / f"{label} (1){end}.png"), np.full((20, 30), 200, np.uint8))
    (folder / "benign" / "benign (1).png").write_bytes(b"\x89PNG broken")
    code, out, err = bench("data", "verify", "busi", "--data-root", tmp_path, "--format", "json")
    facts = json.loads(out)
    assert code == 2
    assert facts["images found"] == 3
    assert not facts["ok"]
    assert "benign (1).png: truncated, or not an image" in facts["faults"][0]
    code, out, err = bench("data", "verify", "busi", "--data-root", tmp_path)
    assert code == 2
    assert "error: " in err
    assert "images found" in out


def test_models_list_takes_a_pattern(bench):
    _, out, _ = bench("models", "list", "usfm*")
    names = [line.split()[0] for line in out.splitlines()]
    assert {"usfm", "usfm-scratch", "usfm-micro-scratch"} <= set(names)
    assert all(name.startswith("usfm") for name in names)


def test_models_show_says_where_weights_come_from(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("USFM_BENCH_PRETRAINED", str(tmp_path))
    _, out, _ = bench("models", "show", "usfm")
    assert all(text in out for text in ("Google Drive", "CC BY-NC 4.0", "USFM_latest.pth", "unknown"))


def test_models_inspect_reads_a_file_in_the_published_format(bench, usfm_fixtures):
    _, out, _ = bench("models", "inspect", usfm_fixtures / "usfm_format_tiny.pth", "--format", "json")
    facts = json.loads(out)
    assert (facts["embed_dim"], facts["depth"], facts["num_heads"]) == (96, 3, 3)
    assert facts["not part of the encoder"] == ["mask_token", "rel_pos_bias.relative_position_index"]


def test_report_writes_a_file(bench, make_store, tmp_path):
    store = make_store(seeds=1)
    code, out, _ = bench("report", "--suite", "demo", "--runs", store.root, "--out", tmp_path / "deep" / "report.md")
    assert (code, out) == (0, "")
    assert (tmp_path / "deep" / "report.md").read_text().startswith("# demo, profile smoke")


def test_json_goes_to_stdout_alone(bench, make_store):
    store = make_store(seeds=1)
    _, out, _ = bench("report", "--suite", "demo", "--runs", store.root, "--format", "json")
    assert json.loads(out)["suite"] == "demo"


@pytest.mark.parametrize("command", ["", "run", "report", "data", "data verify", "models", "models inspect"])
def test_every_command_has_help(command):
    result = CliRunner().invoke(cli.app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_the_console_script_answers():
    script = Path(sys.executable).with_name("usfm-bench")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__
