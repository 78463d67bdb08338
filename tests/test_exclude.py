"""An excluded case stops nothing, whatever is wrong with it and whatever layout it is of."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy import io
from typer.testing import CliRunner

from test_outlines import SHAPE, SQUARE, UNIT, coco, ddti, entry, hc18, labelme, picture, save, write, yolo
from test_readers_layouts import write_mhd
from usfm_bench.cli.app import app
from usfm_bench.core.errors import DataError
from usfm_bench.data.audit.audit import read_images
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.readers import READERS
from usfm_bench.specs.dataset import DatasetSpec

LESION = np.zeros(SHAPE, np.uint8)
LESION[6:16, 4:14] = 255
N = 8


def break_file(path: Path) -> None:
    path.write_bytes(b"")


def masks(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        save(root / "mine" / f"{i}.png", picture(i))
        save(root / "mine" / f"{i}_mask.png", LESION)
    (root / "mine" / "0_mask.png").unlink()
    break_file(root / "mine" / "0.png")
    return entry("masks", {"images": "{id}.png", "masks": "{id}_mask.png"}), "0.png"


def masks_without_their_image(root: Path) -> tuple[DatasetSpec, str]:
    spec, _ = masks(root)
    save(root / "mine" / "0_mask.png", LESION)
    (root / "mine" / "0.png").unlink()
    return spec, "0.png"


def links(root: Path) -> tuple[DatasetSpec, str]:
    spec, _ = masks(root)
    (root / "mine" / "0.png").unlink()
    (root / "mine" / "0.png").symlink_to("nowhere.png")
    return spec, "0.png"


def tables(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        save(root / "mine" / f"{i}.png", picture(i))
    rows = "".join(f"{i},{'ab'[i % 2]},p{i}\n" for i in range(1, N))
    write(root / "mine" / "list.csv", f"name,label,patient\n{rows}")
    table = {"file": "list.csv", "id": "name", "label": "label", "patient": "patient"}
    return entry("masks", {"images": "{id}.png", "label_from": table}, tasks=("classification",)), "0.png"


def imagefolder(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        save(root / "mine" / "ab"[i % 2] / f"p{i}_.png", picture(i))
    save(root / "mine" / "a" / "x.png", picture(1))  # the pixels of b/p1_.png, and no patient
    return entry("imagefolder", {"patient": r"(p\d)_"}, tasks=("classification",)), "a/x.png"


def usfm(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        folder = root / "mine" / ("training_set", "val_set", "test_set")[i % 3]
        save(folder / "image" / f"{i}.png", picture(i))
        save(folder / "mask" / f"{i}.png", LESION)
    save(root / "mine" / "training_set" / "mask" / "0.png", np.zeros((5, 7), np.uint8))
    return entry("usfm"), "training_set/image/0.png"


def manifest(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        save(root / "mine" / f"{i}.png", picture(i))
    rows = [{"path": f"{i}.png", "label": "" if i == 0 else "ab"[i % 2]} for i in range(N)]
    pd.DataFrame(rows).to_csv(root / "mine" / "list.csv", index=False)
    return entry("manifest", tasks=("classification",), path="mine/list.csv"), "0.png"


def busi(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        save(root / "mine" / "ab"[i % 2] / f"{'ab'[i % 2]} ({i}).png", picture(i))
        if i:
            save(root / "mine" / "ab"[i % 2] / f"{'ab'[i % 2]} ({i})_mask.png", LESION)
    return entry("busi", classes=("a", "b")), "a (0)"


def hc18_(root: Path) -> tuple[DatasetSpec, str]:
    folder = hc18(root) / "training_set"
    for i in range(20, 20 + N):
        for name in ("HC", "HC_Annotation"):
            save(
                folder / f"{i:03d}_{name}.png",
                cv2.imread(str(folder / f"010_{name}.png"), 0) ^ (i if name == "HC" else 0),
            )
    path = root / "mine" / "training_set_pixel_size_and_HC.csv"
    path.write_text(
        path.read_text().replace("011_HC.png,0.1", "011_HC.png,no")
        + "\n"
        + "".join(f"{i:03d}_HC.png,0.1,50\n" for i in range(20, 20 + N))
    )
    break_file(folder / "011_HC_Annotation.png")
    return entry("hc18"), "011_HC"


def camus(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        stem = f"patient{i:04d}_2CH_ED"
        write_mhd(root / "mine" / f"{stem}.mhd", picture(i))
        write_mhd(root / "mine" / f"{stem}_gt.mhd", LESION // 255)
    (root / "mine" / "patient0000_2CH_ED_gt.mhd").unlink()
    return entry("camus"), "patient0000_2CH_ED"


def volumes(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        write_mhd(root / "mine" / f"{i}.mhd", picture(i))
        write_mhd(root / "mine" / f"{i}_gt.mhd", LESION)
    write_mhd(root / "mine" / "0.mhd", np.full(SHAPE, 999, np.int16))
    return entry("volumes", {"images": "{id}.mhd", "masks": "{id}_gt.mhd"}), "0.mhd"


def dicom(root: Path) -> tuple[DatasetSpec, str]:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    source = get_testdata_file("CT_small.dcm")
    for i in range(N):
        file = pydicom.dcmread(source)
        file.PatientID, file.PixelRepresentation, file.PhotometricInterpretation = f"p{i}", 0, "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 8
        file.HighBit, file.Rows, file.Columns, file.PixelData = 7, *SHAPE, picture(i).tobytes()
        (root / "mine").mkdir(exist_ok=True)
        file.save_as(root / "mine" / f"{i}.dcm")
        save(root / "mine" / f"{i}_mask.png", LESION)
    (root / "mine" / "0.dcm").write_bytes((root / "mine" / "0.dcm").read_bytes()[:900])
    return entry("dicom", {"images": "{id}.dcm", "masks": "{id}_mask.png"}), "0.dcm"


def echonet(root: Path) -> tuple[DatasetSpec, str]:
    lines, files = ["FileName,X1,Y1,X2,Y2,Frame"], ["FileName,Split"]
    for i in range(N):
        (root / "mine" / "Videos").mkdir(parents=True, exist_ok=True)
        video = cv2.VideoWriter(
            str(root / "mine" / "Videos" / f"v{i}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 9, SHAPE[::-1]
        )
        video.write(cv2.cvtColor(picture(i), cv2.COLOR_GRAY2BGR))
        video.release()
        files.append(f"v{i}.avi,{('TRAIN', 'VAL', 'TEST')[i % 3]}")
        lines += [f"v{i}.avi,9,2,9,20,0", f"v{i}.avi,4,4,14,4,0"] + [f"v{i}.avi,4,14,14,14,0"] * bool(i)
    write(root / "mine" / "FileList.csv", "\n".join(files))
    write(root / "mine" / "VolumeTracings.csv", "\n".join(lines))
    return entry("echonet"), "v0#0000"


def ddti_(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(1, N):
        ddti(root, name=str(i))
    ddti(root, name="9", outline=[{"x": 1, "y": 2}])
    return entry("ddti"), "9_1"


def mat(root: Path, layout: str, record: Callable[[int], dict], case: str, **more) -> tuple[DatasetSpec, str]:
    (root / "mine").mkdir()
    rows = [record(i) for i in range(N)]
    data = np.array([tuple(row.values()) for row in rows], dtype=[(key, object) for key in rows[0]])
    io.savemat(root / "mine" / "data.mat", {"data": data})
    return entry(layout, **more), case


def oasbud(root: Path) -> tuple[DatasetSpec, str]:
    def record(i: int) -> dict:
        scan = {"rf1": picture(i) + 1.0, "rf2": picture(i + 50) + 1.0}
        return {"id": f"p{i}", "class": i % 2} | scan | {"roi1": LESION * (i > 0), "roi2": LESION}

    return mat(root, "oasbud", record, "001-1")


def fatty_liver(root: Path) -> tuple[DatasetSpec, str]:
    def record(i: int) -> dict:
        return {"id": f"p{i}", "class": i % 2, "images": picture(i)[None].astype(np.uint8 if i else float)}

    return mat(root, "fatty-liver", record, "0000", tasks=("classification",))


def coco_(root: Path) -> tuple[DatasetSpec, str]:
    coco(root, {f"{i}.png": [SQUARE] if i else [] for i in range(N)})
    return entry("coco", {"annotations": "all.json"}), "0.png"


def yolo_(root: Path) -> tuple[DatasetSpec, str]:
    yolo(root, {f"{i}": f"0 {UNIT}" if i else "0 0.5 0.5 0.1 0.1" for i in range(N)})
    return entry("yolo"), "images/0.png"


def labelme_(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        labelme(root, "a" * (i + 1), ("rectangle" if i else "line", [[1, 1], [9, 9]]))
    return entry("labelme"), "a.png"


def arrays(root: Path) -> tuple[DatasetSpec, str]:
    images, labels = np.stack([picture(i) for i in range(N)]), np.arange(N) % 2
    labels[0] = 7
    np.savez(root / "mine.npz", images=images, labels=labels)
    return entry("arrays", {"names": ["a", "b"]}, tasks=("classification",), path="mine.npz"), "images/00000"


def pairs(root: Path) -> tuple[DatasetSpec, str]:
    for i in range(N):
        save(root / "mine" / "low" / f"{i}.png", picture(i))
        save(root / "mine" / "high" / f"{i}.png", picture(i + 50)[: -1 if i == 0 else None])
    options = {"images": "low/{id}.png", "good": "high/{id}.png"}
    return entry("pairs", options, tasks=("enhancement",)), "low/0.png"


WRITERS = {
    "masks": masks, "masks: image gone": masks_without_their_image, "masks: link": links, "masks: table": tables,
    "imagefolder": imagefolder, "usfm": usfm, "manifest": manifest, "busi": busi, "hc18": hc18_, "camus": camus,
    "volumes": volumes, "dicom": dicom, "echonet": echonet, "ddti": ddti_, "oasbud": oasbud, "fatty-liver": fatty_liver,
    "coco": coco_, "yolo": yolo_, "labelme": labelme_, "arrays": arrays,
    "pairs": pairs,
}  # fmt: skip


def test_every_layout_on_disk_is_here():
    assert {name.partition(":")[0] for name in WRITERS} == set(READERS) - {"phantom"}


@pytest.mark.parametrize("name", WRITERS)
def test_the_faults_of_an_excluded_case_stop_nothing(name, tmp_path):
    spec, case = WRITERS[name](tmp_path)
    found = verify_dataset(spec, tmp_path)
    assert found.faults, "the case is faulty"
    without = spec.model_copy(update={"exclude": {case: "faulty"}})
    report = verify_dataset(without, tmp_path)
    assert not report.faults
    assert not [note for note in report.facts["notes"] if note.startswith("exclude names")]
    data = open_dataset(without, tmp_path)
    assert case not in {sample.case.case_id for sample in data.samples}
    assert len(data) >= N - 1
    assert len(read_images(without, tmp_path).dataset) == len(data)


def test_another_case_with_the_same_fault_still_stops(tmp_path):
    spec, case = masks(tmp_path)
    (tmp_path / "mine" / "1_mask.png").unlink()
    without = spec.model_copy(update={"exclude": {case: "faulty"}})
    (fault,) = verify_dataset(without, tmp_path).faults
    assert fault.startswith(f"{tmp_path / 'mine' / '1.png'}: has no mask file")
    for read in (open_dataset, read_images):
        with pytest.raises(DataError) as error:
            read(without, tmp_path)
        assert str(error.value) == fault


def test_excluding_what_is_not_there_is_said_with_the_nearest(tmp_path):
    coco(tmp_path, {f"case_{i}.png": [SQUARE] for i in range(N)})
    wrong = {"case_1.jpg": "x", **{f"nothing {i}": "x" for i in range(7)}}
    spec = entry("coco", {"annotations": "all.json"}, exclude=wrong)
    notes = open_dataset(spec, tmp_path).notes
    assert notes[0] == "exclude names 'case_1.jpg', which is no case here. Did you mean 'case_1.png'?"
    assert notes[5] == "exclude names 3 more that are no case here"
    assert verify_dataset(spec, tmp_path).facts["notes"][:6] == list(notes[:6])


def test_the_commands_accept_what_run_accepts(tmp_path):
    spec, case = ddti_(tmp_path)
    registry = tmp_path / "sets.yaml"
    facts = spec.model_dump(mode="json", include={"version", "title", "tasks", "organ", "layout", "path"})
    registry.write_text(json.dumps({"mine": facts | {"exclude": {case: "no outline"}}, "whole": facts}))
    how = ["--data-root", str(tmp_path), "--registry", str(registry)]
    for command in ("verify", "audit"):
        assert CliRunner().invoke(app, ["data", command, "mine", *how]).exit_code == 0
        assert CliRunner().invoke(app, ["data", command, "whole", *how]).exit_code != 0
