import hashlib
import io
import json
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from submitted import MODELS, SUITE, invent_board, invent_runs
from usfm_bench.board import guard
from usfm_bench.board.guard import archive_faults
from usfm_bench.board.manifest import is_digest
from usfm_bench.board.pack import Said, submit, to_settle
from usfm_bench.board.submission import NAME, read_submission
from usfm_bench.board.verdicts import read_verdicts, record_verdicts, verify_all
from usfm_bench.board.verify import verify
from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.results.predictions import load_predictions, save_predictions
from usfm_bench.results.record import Record
from usfm_bench.suites.plan import load_suite

SEG = "unet-resnet18-scratch"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return invent_board(tmp_path_factory.mktemp("board"))


@pytest.fixture
def board(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "board"))


@pytest.fixture
def one(board) -> Path:
    """A submission of segmentation, to be tampered with."""
    return board / SUITE / SEG / "r1"


def sealed(folder: Path, **fields) -> None:
    """Write down the digests of files as they are now, as somebody who knows the format would."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != NAME)
    found = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    whole = read_submission(folder).model_copy(update={"files": found, **fields})
    whole = whole.model_copy(update={"digest": whole.own_digest})
    (folder / NAME).write_text(json.dumps(whole.model_dump(mode="json")))


def trial(folder: Path, seed: int = 0) -> Path:
    return next(folder.rglob(f"seed-{seed}"))


def change_record(place: Path, **fields) -> None:
    content = json.loads((place / "record.json").read_text())
    (place / "record.json").write_text(json.dumps(content | fields))


def faults(folder: Path, board: Path) -> str:
    found = verify_all([folder], board)[0]
    assert found.tier is None, "it was not refused"
    return "\n".join(found.faults)


# ---- what is packed


def test_every_model_of_a_board_is_scored_again_and_nothing_is_wrong(board):
    done = CliRunner().invoke(app, ["leaderboard", "verify", str(board), "--board", str(board)])
    assert done.exit_code == 0, done.output
    assert done.output.count(": re-scored") == len(MODELS)


def test_a_submission_holds_no_image_no_weights_and_no_path(one, tmp_path):
    names = {path.name for path in one.rglob("*") if path.is_file()}
    assert names == {NAME, "record.json", "cases.parquet", "predictions.npz"}
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in one.rglob("*") if path.is_file())


def test_a_second_submission_is_the_next_revision(board, tmp_path):
    store = invent_runs(tmp_path / "again", [SEG])
    again = submit(store, load_suite(SUITE), "smoke", SEG, board, Said(contact="Ann <ann@example.org>"))
    assert again.name == "r2"
    assert read_submission(again).revision == 2


def test_names_of_private_cases_are_digests_everywhere(make_store, tmp_path):
    store = make_store(("usfm-micro-scratch",), ("tiny-lesion", "tiny"))
    for folder, record in list(store.finished("demo")):
        dataset = record.spec.dataset.model_copy(update={"path": "/home/ann/scans", "exclude": {"Meier 12": "blurred"}})
        spec = record.spec.model_copy(update={"dataset": dataset})
        change_record(folder, spec=json.loads(spec.model_dump_json()), notes=["left out Meier 12: blurred"])
    folder = submit(store, load_suite("demo"), "smoke", "usfm-micro-scratch", tmp_path / "out", Said(contact="me"))
    assert read_submission(folder).private == ("tiny", "tiny-lesion")
    ids = {
        case
        for p in folder.rglob("cases.parquet")
        for case in pd.read_parquet(p)[["case_id", "group_id"]].to_numpy().ravel()
    }
    ids |= {case for p in folder.rglob("predictions.npz") for case in load_predictions(p).case_ids}
    assert all(map(is_digest, ids))
    text = "".join(p.read_text() for p in folder.rglob("*.json"))
    assert "Meier" not in text
    assert "/home" not in text
    found = verify(folder, tmp_path / "nowhere")
    assert (found.faults, found.tier) == ((), "claimed")  # nobody here has its cases
    assert "taken on trust" in " ".join(found.notes)


def test_a_path_as_a_model_needs_a_name(tmp_path):
    store = invent_runs(tmp_path / "runs", [SEG])
    for folder, record in list(store.finished(SUITE)):
        spec = record.spec.model_copy(update={"model": "usfm:/home/ann/x.pth"})
        change_record(folder, spec=json.loads(spec.model_dump_json()))
    with pytest.raises(BenchError, match="--name"):
        submit(store, load_suite(SUITE), "smoke", "usfm:/home/ann/x.pth", tmp_path / "out", Said(contact="me"))
    named = submit(store, load_suite(SUITE), "smoke", "usfm:/home/ann/x.pth", tmp_path / "out", Said("me", name="mine"))
    assert named.parts[-2] == "mine"
    assert not any(b"/home" in path.read_bytes() for path in named.rglob("*") if path.is_file())


def test_masks_whose_terms_are_not_settled_are_told(tmp_path):
    trials = list(invent_runs(tmp_path / "runs", [SEG]).finished(SUITE))
    assert to_settle(trials) == []  # simulated

    def of(**fields):
        changed = []
        for folder, record in trials:
            dataset = record.spec.dataset.model_copy(update={"synthetic": False, **fields})
            spec = record.spec.model_copy(update={"dataset": dataset})
            changed.append((folder, record.model_copy(update={"spec": spec})))
        return to_settle(changed)

    [line] = of(redistributable=None)
    assert "whether those may be passed on" in line
    assert of(redistributable=True) == []


def test_missing_seeds_are_not_packed(tmp_path):
    store = invent_runs(tmp_path / "runs", [SEG])
    shutil.rmtree(trial(store.root, 1))
    with pytest.raises(BenchError, match="seed 1 is not finished"):
        submit(store, load_suite(SUITE), "smoke", SEG, tmp_path / "out", Said(contact="me"))


def test_images_of_patients_do_not_go_on_a_board(tmp_path, monkeypatch):
    store = invent_runs(tmp_path / "runs", [SEG])
    for folder, record in list(store.finished(SUITE)):
        dataset = record.spec.dataset.model_copy(update={"redistributable": False, "synthetic": False})
        spec = record.spec.model_copy(update={"dataset": dataset})
        change_record(folder, spec=json.loads(spec.model_dump_json()))
    with pytest.raises(BenchError, match="forbid passing its masks on"):
        submit(store, load_suite(SUITE), "smoke", SEG, tmp_path / "out", Said(contact="me"))


# ---- tampering: files


def test_a_changed_byte_is_named(one, board):
    path = trial(one) / "predictions.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert f"{path.relative_to(one)}: was changed after packing" in faults(one, board)


def test_an_edited_statement_is_named(one, board):
    content = json.loads((one / NAME).read_text())
    (one / NAME).write_text(json.dumps(content | {"licence": "CC0"}))
    assert f"{NAME}: was edited after packing" in faults(one, board)


@pytest.mark.parametrize("path", ["../x/record.json", "/etc/passwd", "a/../../x", "C:/x", "a\\..\\x"])
def test_a_path_out_of_the_folder_is_refused(path, one, board):
    whole = read_submission(one)
    whole = whole.model_copy(update={"files": {**whole.files, path: "0" * 64}})
    whole = whole.model_copy(update={"digest": whole.own_digest})
    (one / NAME).write_text(json.dumps(whole.model_dump(mode="json")))
    assert f"'{path}', a path out of the folder" in faults(one, board)


def test_a_link_is_refused(one, board, tmp_path):
    path = trial(one) / "record.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert "is a link" in faults(one, board)


def test_files_that_were_added_or_removed_are_named(one, board):
    (trial(one, 1) / "cases.parquet").unlink()
    shutil.copy(trial(one) / "record.json", one / "record.json")
    said = faults(one, board)
    assert "seed-1/cases.parquet: is listed, and is not there" in said
    assert "record.json: is not listed" in said
    (one / "run.py").write_text("print()")
    assert "run.py: does not belong to a submission" in faults(one, board)


def test_predictions_with_code_in_them_are_refused(one, board):
    class Code:
        def __reduce__(self):
            return print, ("ran",)

    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(trial(one) / "predictions.npz", "w") as archive:
        archive.writestr("case_id.npy", stream.getvalue() + pickle.dumps(Code()))
    sealed(one)
    assert "holds Python objects (pickle)" in faults(one, board)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(one, board, monkeypatch):
    monkeypatch.setattr(guard, "_UNPACKED", 10 << 20)
    with zipfile.ZipFile(trial(one) / "predictions.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(11):
            archive.writestr(f"a{i}.npy", bytes(1 << 20))
    sealed(one)
    assert "zip bomb" in faults(one, board)


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", stream.getvalue())
        archive.writestr("../b.npy", b"")
    assert archive_faults(tmp_path / "x.npz") == ["holds '../b.npy', which is no array."]
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("a.npy", stream.getvalue())
    assert "claims the shape (1000000000000,)" in archive_faults(tmp_path / "y.npz")[0]


# ---- tampering: what files say, with digests that fit


def test_scores_that_predictions_do_not_give_are_named(one, board):
    path = trial(one) / "cases.parquet"
    cases = pd.read_parquet(path)
    cases["DSC"] = (cases["DSC"] + 0.05).clip(0, 1)
    cases.to_parquet(path, index=False)
    sealed(one)
    assert "differs from what is stored" in (said := faults(one, board))
    assert "DSC" in said


def test_a_mean_that_cases_do_not_give_is_named(one, board):
    place = trial(one)
    scores = json.loads((place / "record.json").read_text())["scores"]
    change_record(place, scores=scores | {"DSC": 0.99})
    sealed(one)
    assert "scores that its cases do not give: scores.DSC" in faults(one, board)


def test_other_test_cases_are_counted(one, board):
    for place in one.rglob("seed-*"):
        kept = load_predictions(place / "predictions.npz")
        ids = ("phantom-new", *kept.case_ids[1:])
        save_predictions(place / "predictions.npz", replace(kept, case_ids=ids))
        cases = pd.read_parquet(place / "cases.parquet")
        cases["case_id"] = ids
        cases.to_parquet(place / "cases.parquet", index=False)
    sealed(one)
    assert "other test cases than the suite's: 1 are not tested, 1 are none of them" in faults(one, board)


def test_references_that_are_not_the_data_s_are_counted(one, board):
    place = trial(one)
    kept = load_predictions(place / "predictions.npz")
    save_predictions(place / "predictions.npz", replace(kept, references=(kept.predictions[1], *kept.references[1:])))
    sealed(one)
    assert "another reference mask or label than the data for 1 of" in faults(one, board)


def test_groups_that_were_torn_apart_are_counted(one, board):
    place = trial(one)
    cases = pd.read_parquet(place / "cases.parquet")
    cases["group_id"] = "all"
    cases.to_parquet(place / "cases.parquet", index=False)
    sealed(one)
    assert "another group than the data" in faults(one, board)


def test_missing_seeds_are_named(one, board):
    shutil.rmtree(trial(one, 1))
    sealed(one)
    assert "lacks seed 1 fold 0" in faults(one, board)
    shutil.rmtree(trial(one, 2))
    sealed(one)
    assert "lacks seed 1 fold 0, seed 2 fold 0" in faults(one, board)


def test_a_trial_passed_off_as_another_seed_is_named(one, board):
    shutil.rmtree(trial(one, 1))
    shutil.copytree(trial(one, 0), trial(one, 0).with_name("seed-1"))
    sealed(one)
    assert "belongs elsewhere" in faults(one, board)
    spec = json.loads((trial(one, 2) / "record.json").read_text())
    shutil.copy(trial(one, 0) / "predictions.npz", trial(one, 1) / "predictions.npz")
    content = json.loads((trial(one, 0) / "record.json").read_text())
    content["spec"]["seed"] = 1
    (trial(one, 1) / "record.json").write_text(json.dumps(content))
    sealed(one)
    assert "its settings were edited" in faults(one, board)
    hashed = Record.model_validate(content).spec.hash
    (trial(one, 1) / "record.json").write_text(json.dumps(content | {"spec_hash": hashed}))
    sealed(one)
    assert "have the same predictions" in faults(one, board)
    assert spec["spec"]["seed"] == 2


def test_another_version_of_the_suite_is_named(one, board):
    sealed(one, suite_hash="0" * 64)
    assert "another version of suite 'phantom'" in faults(one, board)
    sealed(one, suite="phantoms")
    assert "suite 'phantoms' is none of this usfm-bench" in faults(one, board)


def test_another_recipe_is_named(one, board):
    for place in one.rglob("seed-*"):
        content = json.loads((place / "record.json").read_text())
        content["spec"]["training"]["epochs"] = 500
        content["spec_hash"] = Record.model_validate(content).spec.hash
        (place / "record.json").write_text(json.dumps(content))
    sealed(one)
    assert "recipe: training.epochs: " in faults(one, board)


def test_a_model_name_that_is_taken_is_refused(board, tmp_path):
    store = invent_runs(tmp_path / "runs", [SEG])
    other = submit(store, load_suite(SUITE), "smoke", SEG, tmp_path / "out", Said(contact="Bob"))
    sealed(other, created="9999")
    assert f"the name '{SEG}' is taken" in faults(other, board)


def test_another_s_predictions_under_a_new_name_are_refused(board, tmp_path):
    record_verdicts(board, verify_all([board / SUITE / SEG / "r1"], board))
    store = invent_runs(tmp_path / "runs", [SEG])
    other = submit(store, load_suite(SUITE), "smoke", SEG, tmp_path / "out", Said(contact="Bob", name="better"))
    sealed(other, created="9999")
    assert f"has the predictions of '{SEG}'" in faults(other, board)


def test_weights_that_saw_the_test_images_and_deny_it_are_refused(one, board):
    for place in one.rglob("seed-*"):
        change_record(place, seen_in_pretraining=True)
    sealed(one)
    assert "is said not to have been seen" in faults(one, board)


# ---- tiers


def test_a_re_run_that_check_passes_gives_the_highest_tier(one, board, tmp_path):
    store = invent_runs(tmp_path / "mine", [SEG])
    assert verify(one, board, rerun=store.root).tier == "re-run"


def test_a_re_run_that_is_worse_is_named(one, board, tmp_path):
    store = invent_runs(tmp_path / "mine", [SEG])
    for folder, _ in list(store.finished(SUITE)):
        cases = pd.read_parquet(folder / "cases.parquet")
        cases["DSC"] *= 0.1
        cases.to_parquet(folder / "cases.parquet", index=False)
    found = verify(one, board, rerun=store.root)
    assert found.tier is None
    assert "re-run: phantom-lesion, DSC: regression." in found.faults


def test_with_the_data_no_manifest_of_the_board_is_needed(one, tmp_path):
    assert verify(one, tmp_path / "nowhere").tier == "claimed"
    assert verify(one, tmp_path / "nowhere", data_root=tmp_path).tier == "re-scored"


def test_verdicts_are_of_one_state_of_a_submission(one, board):
    record_verdicts(board, verify_all([one], board))
    assert read_verdicts(board)[read_submission(one).digest].tier == "re-scored"
    (one / NAME).write_text("{}")
    assert "schema_version" in faults(one, board)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema_version": 1}', "\x00", "[]"])
def test_a_damaged_statement_is_refused_without_a_traceback(text, one, board):
    (one / NAME).write_text(text)
    assert NAME in faults(one, board)


def test_an_empty_folder_is_a_mistake_of_the_user(tmp_path):
    done = CliRunner().invoke(app, ["leaderboard", "verify", str(tmp_path)])
    assert done.exit_code != 0
    assert isinstance(done.exception, BenchError)
