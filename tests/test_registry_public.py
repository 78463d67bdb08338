"""Every shipped public data set, written small in its published layout, comes back through its shipped entry.

A writer a data set lays down a few pictures of 32 x 40 pixels as the release has them, names and encodings included,
and says what the reader must find.
"""

import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from scipy import io

from usfm_bench.core.errors import DataError
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import open_dataset, open_reader
from usfm_bench.data.readers.echonet import read_frame
from usfm_bench.data.readers.matlab import b_mode
from usfm_bench.data.readers.tables import Table, look_up
from usfm_bench.data.readers.volumes import read_picture
from usfm_bench.data.readers.workbooks import read_workbook
from usfm_bench.data.sample import Spacing
from usfm_bench.pretraining.data import load_images
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.pretraining import build_spec

SHIPPED = load_registry()
SHAPE = (32, 40)
NOTHING = np.zeros(SHAPE, bool)


class Wanted(NamedTuple):
    """What must be read of a case."""

    image: np.ndarray
    mask: np.ndarray | None = None
    label: str | None = None
    patient: str | None = None
    split: str | None = None
    spacing: Spacing | None = None
    loss: float = 0
    """Mean difference in grey levels that the encoding may cost."""
    off: int = 0
    """Pixels of the mask that may differ, where a drawn line stands for an outline."""


def picture(seed: int) -> np.ndarray:
    """A ramp, so that JPEG costs little, of another slope for each seed."""
    rows, columns = np.indices(SHAPE)
    return ((rows * (seed % 5 + 1) + columns * (seed % 3 + 1) + 7 * seed) % 256).astype(np.uint8)


def box(seed: int = 0) -> np.ndarray:
    """A mask whose edges lie on JPEG's blocks of 8 pixels."""
    mask = NOTHING.copy()
    mask[8:24, 8 * (1 + seed % 3) : 8 * (3 + seed % 3)] = True
    return mask


def save(path: Path, levels: np.ndarray, mode: str | None = None, **how) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.where(levels, 255, 0).astype(np.uint8) if levels.dtype == bool else levels
    image = Pillow.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **how)


def save_palette(path: Path, mask: np.ndarray) -> None:
    """Indices 0 and 1 whose colours are black and white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Pillow.fromarray(mask.astype(np.uint8)).convert("P")
    image.putdata(mask.astype(np.uint8).ravel().tolist())
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def save_workbook(path: Path, rows: list[list[object]]) -> None:
    """The parts of an Excel file that hold cells: texts once in a list of their own, numbers in the sheet."""
    texts = list(dict.fromkeys(value for row in rows for value in row if isinstance(value, str)))
    name = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

    def cell(value: object, row: int, column: int) -> str:
        at = f"{chr(ord('A') + column)}{row + 1}"
        if value is None:
            return ""
        if isinstance(value, str):
            return f'<c r="{at}" t="s"><v>{texts.index(value)}</v></c>'
        return f'<c r="{at}"><v>{value}</v></c>'

    lines = "".join(
        f'<row r="{i + 1}">{"".join(cell(v, i, j) for j, v in enumerate(row))}</row>' for i, row in enumerate(rows)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        listed = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{name}">{listed}</sst>')
        # The tab in front is the part that was made second.
        archive.writestr("xl/worksheets/sheet1.xml", f'<worksheet xmlns="{name}"><sheetData/></worksheet>')
        archive.writestr(
            "xl/worksheets/sheet2.xml", f'<worksheet xmlns="{name}"><sheetData>{lines}</sheetData></worksheet>'
        )
        relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{name}" xmlns:r="{relation}"><sheets><sheet name="data" sheetId="2" r:id="rId7"/>'
            '<sheet name="old" sheetId="1" r:id="rId1"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            '<Relationship Id="rId1" Type="w" Target="worksheets/sheet1.xml"/>'
            '<Relationship Id="rId7" Type="w" Target="worksheets/sheet2.xml"/></Relationships>',
        )


def save_mha(path: Path, planes: np.ndarray) -> None:
    """(planes, H, W) or (H, W) levels as SimpleITK writes them, compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = zlib.compress(planes.astype(np.uint8).tobytes())
    size = " ".join(map(str, planes.shape[::-1]))
    ones = " ".join(["1"] * planes.ndim)
    header = (
        f"ObjectType = Image\nNDims = {planes.ndim}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = True\nCompressedDataSize = {len(packed)}\nElementSpacing = {ones}\nDimSize = {size}\n"
        "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + packed)


def save_video(path: Path, frames: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50, SHAPE[::-1])
    for frame in frames:
        video.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    video.release()


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


# ---- breast ----------------------------------------------------------------------------------------------------------


def bus_bra(root: Path) -> dict[str, Wanted]:
    lines, wanted = ["ID,Case,Histology,Pathology,BIRADS,Device,Width,Height,Side,BBOX"], {}
    for i, (name, case, label) in enumerate(
        [("0001-l", 1, "benign"), ("0001-r", 1, "benign"), ("0002-l", 2, "malignant")]
    ):
        save(root / "Images" / f"bus_{name}.png", picture(i))
        save(root / "Masks" / f"mask_{name}.png", box(i))
        lines.append(f'bus_{name},{case},Fibroadenoma,{label},3,LOGIQ 5,40,32,left,"[1,2,3,4]"')
        wanted[f"Images/bus_{name}.png"] = Wanted(picture(i), box(i), label, str(case))
    write(root / "bus_data.csv", "\n".join(lines))
    return wanted


def breast_lesions_usg(root: Path) -> dict[str, Wanted]:
    folder, spacing = "BrEaST-Lesions_USG-images_and_masks", Spacing(0.07, 0.07)
    rows: list[list[object]] = [["CaseID", "Image_filename", "Mask_tumor_filename", "Pixel_size", "Classification"]]
    wanted: dict[str, Wanted] = {}
    for i, label in enumerate(["benign", "malignant", "normal"], start=1):
        colours = np.dstack([picture(i)] * 3 + [np.full(SHAPE, 255, np.uint8)])
        save(root / folder / f"case00{i}.png", colours)
        mask = None if label == "normal" else f"case00{i}_tumor.png"
        if mask:
            save(root / folder / mask, box(i), "1")
        known = i < 3  # in centimetres, or not at all
        rows.append([i, f"case00{i}.png", mask, 0.007 if known else None, label])
        truth = box(i) if mask else NOTHING
        wanted[f"{folder}/case00{i}.png"] = Wanted(picture(i), truth, label, str(i), spacing=spacing if known else None)
    save(root / folder / "case002_tumor2.png", box(2) | box(1), "1")
    save(root / folder / "case001_other1.png", box(2), "1")
    wanted[f"{folder}/case002.png"] = wanted[f"{folder}/case002.png"]._replace(mask=box(2) | box(1))
    save_workbook(root / "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx", rows)
    return wanted


def bus_uclm(root: Path) -> dict[str, Wanted]:
    colours = {"benign": (0, 255, 0), "malignant": (255, 0, 0), "normal": (0, 0, 0)}
    wanted = {}
    for i, (name, label) in enumerate([("ALWI_000", "benign"), ("ALWI_001", "normal"), ("COPE_000", "malignant")]):
        mask = np.zeros((*SHAPE, 3), np.uint8)
        mask[box(i)] = colours[label]
        save(root / "images" / f"{name}.png", picture(i), "RGB")
        save(root / "masks" / f"{name}.png", mask)
        truth = NOTHING if label == "normal" else box(i)
        wanted[f"images/{name}.png"] = Wanted(picture(i), truth, label, name[:4])
    return wanted


def udiat(root: Path) -> dict[str, Wanted]:
    rows: list[list[object]] = [["Image", "Type"], [1, "Benign"], [10, "Malignant"]]
    wanted = {}
    for number, kind in rows[1:]:
        name = f"{number:06d}.png"
        save(root / "original" / name, picture(int(str(number))))
        save(root / "GT" / name, box(int(str(number))))
        wanted[f"original/{name}"] = Wanted(picture(int(str(number))), box(int(str(number))), str(kind).lower())
    save_workbook(root / "DatasetB.xlsx", rows)
    return wanted


def stu_hospital(root: Path) -> dict[str, Wanted]:
    wanted = {}
    for i in (1, 12):
        save(root / "Hospital" / f"Test_Image_{i}.png", picture(i))
        save(root / "Hospital" / f"mask_{i}.png", box(i))
        wanted[f"Hospital/Test_Image_{i}.png"] = Wanted(picture(i), box(i))
    return wanted


def echoes(amplitudes: list[float]) -> np.ndarray:
    """(32, 40): whole waves in depth, so that the envelope is the amplitude; a column's is given, the others are 0."""
    wave = np.sin(2 * np.pi * 4 * np.arange(SHAPE[0]) / SHAPE[0])
    return 1000 * wave[:, None] * np.pad(amplitudes, (0, SHAPE[1] - len(amplitudes)))


def oasbud(root: Path) -> dict[str, Wanted]:
    kind = [(name, object) for name in ("id", "rf1", "rf2", "roi1", "roi2", "birads", "class")]
    data = np.zeros((1, 2), dtype=kind)
    wanted = {}
    for i, (patient, label) in enumerate([("P1", 1), ("P2", 0)]):
        scans, masks = [echoes([0] * i + [1, 0.1]), echoes([0] * i + [0.1, 1])], [box(i), box(i + 1)]
        data[0, i] = (patient, *scans, *(mask.astype(np.uint8) for mask in masks), "4a", label)
        for k in (0, 1):
            image = np.zeros(SHAPE, np.uint8)
            image[:, i + k], image[:, i + 1 - k] = 255, 170  # 20 of 60 dB down: 255 * (1 - 1/3)
            wanted[f"{i + 1:03d}-{k + 1}"] = Wanted(image, masks[k], ("benign", "malignant")[label], patient, loss=0.1)
    root.mkdir(parents=True)
    io.savemat(root / "OASBUD.mat", {"data": data})
    return wanted


# ---- thyroid ---------------------------------------------------------------------------------------------------------


def tn3k(root: Path) -> dict[str, Wanted]:
    wanted = {}
    for part, side in (("trainval", "train"), ("test", "test")):
        for i in range(2):  # both parts have a 0000.jpg
            image, mask = picture(i + len(part)), box(i + len(part))
            save(root / f"{part}-image" / f"{i:04d}.jpg", image, "RGB", quality=95)
            save(root / f"{part}-mask" / f"{i:04d}.jpg", mask, quality=95)
            wanted[f"{part}-image/{i:04d}.jpg"] = Wanted(image, mask, split=side, loss=3)
    write(root / "tn3k-trainval-fold0.json", '{"train": [0], "val": [1]}')
    write(root / "label4test.csv", "0000.jpg,0\n0001.jpg,1\n")
    return wanted


def tg3k(root: Path) -> dict[str, Wanted]:
    wanted = {}
    for i in range(2):
        save(root / "thyroid-image" / f"{i:04d}.jpg", picture(i), "RGB", quality=95)
        save(root / "thyroid-mask" / f"{i:04d}.jpg", box(i), quality=95)
        wanted[f"thyroid-image/{i:04d}.jpg"] = Wanted(picture(i), box(i), loss=3)
    return wanted


def ddti(root: Path) -> dict[str, Wanted]:
    corners = [(8, 8), (23, 8), (23, 19), (8, 19)]
    shape = {"points": [{"x": x, "y": y} for x, y in corners], "annotation": {}, "regionType": "freehand"}
    second = {"points": [{"x": 30, "y": 24}, {"x": 35, "y": 24}, {"x": 35, "y": 27}, {"x": 30, "y": 27}]}
    marks = {
        "1": f"<mark><image>1</image><svg>{json.dumps([shape])}</svg></mark>"
        f"<mark><image>2</image><svg>{json.dumps([shape, second])}</svg></mark>",
        "2": "<mark><image>1</image><svg></svg></mark>",
        "30": f"<mark><image>1</image><svg>{json.dumps([second])}</svg></mark>",
    }
    for case, text in marks.items():
        write(root / f"{case}.xml", f"<case><number>{case}</number><age>40</age><tirads>4a</tirads>{text}</case>")
    for i, name in enumerate(["1_1", "1_2", "2_1", "30_1"]):
        save(root / f"{name}.jpg", picture(i), quality=95)
    one, two = NOTHING.copy(), NOTHING.copy()
    one[8:19, 8:23] = True  # from centre to centre: an area of 15 x 11
    two[24:27, 30:35] = True
    return {
        "1_1": Wanted(picture(0), one, patient="1", loss=3),
        "1_2": Wanted(picture(1), one | two, patient="1", loss=3),
        "30_1": Wanted(picture(3), two, patient="30", loss=3),
    }


# ---- fetus -----------------------------------------------------------------------------------------------------------


def hc18(root: Path) -> dict[str, Wanted]:
    lines, wanted = ["filename,pixel size(mm),head circumference (mm)"], {}
    for i, name in enumerate(["000_HC", "000_2HC", "001_HC"]):
        ellipse = ((20, 16), (24.0, 16.0), 0.0)
        outline = cv2.ellipse(np.zeros(SHAPE, np.uint8), ellipse, 255, 1)
        rows, columns = np.indices(SHAPE)
        filled = ((columns - 20) / 12) ** 2 + ((rows - 16) / 8) ** 2 <= 1
        save(root / "training_set" / f"{name}.png", picture(i))
        save(root / "training_set" / f"{name}_Annotation.png", outline)
        lines.append(f"{name}.png,0.0{i + 1},64.5")
        spacing = Spacing(0.01 * (i + 1), 0.01 * (i + 1))
        wanted[name] = Wanted(picture(i), filled, patient=name[:3], spacing=spacing, off=12)
    save(root / "test_set" / "002_HC.png", picture(9))
    write(root / "training_set_pixel_size_and_HC.csv", "\n".join(lines))
    write(root / "test_set_pixel_size.csv", "filename,pixel size(mm)\n002_HC.png,0.1\n")
    return wanted


def fetal_planes_db(root: Path) -> dict[str, Wanted]:
    lines = ["Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train "]
    wanted = {}
    for i, (patient, plane, train) in enumerate([(1, "Other", 1), (1, "Fetal brain", 1), (2, "Maternal cervix", 0)]):
        name = f"Patient{patient:05d}_Plane{i + 1}_1_of_2"
        save(root / "Images" / f"{name}.png", picture(i), "RGB")
        lines.append(f"{name};{patient};{plane};Not A Brain;Op. 1;Voluson E6;{train}")
        side = "train" if train else "test"
        wanted[f"Images/{name}.png"] = Wanted(picture(i), None, plane, str(patient), side)
    write(root / "FETAL_PLANES_DB_data.csv", "\r\n".join(lines), "utf-8-sig")
    return wanted


def psfhs(root: Path) -> dict[str, Wanted]:
    wanted = {}
    for i in (3744, 3745):
        save_mha(root / "image_mha" / f"{i:05d}.mha", np.stack([picture(i)] * 3))
        save_mha(root / "label_mha" / f"{i:05d}.mha", np.where(box(i), 2, 0) + NOTHING + (np.indices(SHAPE)[0] < 4))
        wanted[f"image_mha/{i:05d}.mha"] = Wanted(picture(i), box(i))
    return wanted


# ---- heart and vessels -----------------------------------------------------------------------------------------------


def camus(root: Path) -> dict[str, Wanted]:
    nibabel = pytest.importorskip("nibabel")
    wanted = {}
    for i, (patient, side) in enumerate([("patient0001", "train"), ("patient0002", "test")]):
        folder = root / "database_nifti" / patient
        folder.mkdir(parents=True)
        for end, levels in (("", picture(i)), ("_gt", np.where(box(i), 1, 3).astype(np.uint8))):
            file = nibabel.Nifti1Image(levels.T, np.diag([0.5, 0.25, 1, 1]))
            nibabel.save(file, folder / f"{patient}_2CH_ED{end}.nii.gz")
        write(folder / "Info_2CH.cfg", "ED: 1\nES: 20\n")
        wanted[f"{patient}_2CH_ED"] = Wanted(picture(i), box(i), None, patient, side, Spacing(0.25, 0.5))
    write(root / "database_split" / "subgroup_training.txt", "patient0001\n")
    write(root / "database_split" / "subgroup_testing.txt", "patient0002\n")
    return wanted


def echonet_dynamic(root: Path) -> dict[str, Wanted]:
    lines = ["FileName,X1,Y1,X2,Y2,Frame"]
    wanted, names = {}, {"0X1A": ("TRAIN", (2, 0)), "0X2B": ("VAL", (1,)), "0X3C": ("TEST", ())}
    for i, (name, (side, frames)) in enumerate(names.items()):
        save_video(root / "Videos" / f"{name}.avi", [picture(3 * i + k) for k in range(3)])
        for frame in frames:
            lines.append(f"{name}.avi,18,4,18,30,{frame}")  # the long axis
            lines += [f"{name}.avi,{10.2 + frame},{y},25.4,{y},{frame}" for y in range(8, 25, 4)]
            mask = NOTHING.copy()
            mask[8:24, 11 + frame : 26] = True  # centres of pixels from 10.2 to 25.4
            split = side.lower()
            wanted[f"{name}#{frame:04d}"] = Wanted(picture(3 * i + frame), mask, None, name, split, loss=4)
    write(root / "VolumeTracings.csv", "\n".join(lines))
    header = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
    write(root / "FileList.csv", "\n".join([header, *(f"{n},55,20,60,32,40,50,3,{s}" for n, (s, _) in names.items())]))
    return wanted


def ccaui(root: Path) -> dict[str, Wanted]:
    wanted = {}
    for i, name in enumerate(["202201121748100022A_slice_1393", "202201121748100022A_slice_1394", "20220113A_slice_7"]):
        save(root / "US images" / f"{name}.png", picture(i), "RGB")
        save_palette(root / "Expert mask images" / f"{name}.png", box(i))
        wanted[f"US images/{name}.png"] = Wanted(picture(i), box(i), patient=name.partition("_")[0])
    return wanted


# ---- abdomen and pelvis ----------------------------------------------------------------------------------------------


def mmotu(root: Path) -> dict[str, Wanted]:
    wanted = {}
    rows = [
        ("1", "chocolate cyst", "train"),
        ("2", "high grade serous", "train"),
        ("3", "normal ovary", "test"),
    ]
    for i, (name, label, side) in enumerate(rows):
        save(root / "images" / f"{name}.JPG", picture(i), "RGB", format="JPEG", quality=95)
        save(root / "annotations" / f"{name}_binary.PNG", box(i).astype(np.uint8))  # levels 0 and 1
        save(root / "annotations" / f"{name}.PNG", np.dstack([np.where(box(i), 64, 0).astype(np.uint8)] * 3))
        wanted[f"images/{name}.JPG"] = Wanted(picture(i), box(i), label, None, side, loss=3)
    write(root / "train_cls.txt", "1.JPG  0\n2.JPG  7\n")
    write(root / "val_cls.txt", "3.JPG  5\n")
    write(root / "train.txt", "1\n2\n")
    return wanted


def gist514(root: Path) -> dict[str, Wanted]:
    corners = [8.0, 8, 24, 8, 24, 20, 8, 20]
    mask = NOTHING.copy()
    mask[8:20, 8:24] = True
    names = ["a b.jpg", "b.jpg", "bare.jpg"]
    for i, name in enumerate(names):
        save(root / "images" / name, picture(i), quality=95)
    content = {
        "images": [{"id": i, "file_name": name, "width": 40, "height": 32} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "GIST"}, {"id": 2, "name": "leiomyoma"}],
        "annotations": [
            {"id": 9, "image_id": i, "category_id": i + 1, "segmentation": [corners], "iscrowd": 0} for i in (0, 1)
        ],
    }
    write(root / "annotations" / "all_anno_crop.json", json.dumps(content))
    return {
        "a b.jpg": Wanted(picture(0), mask, "GIST", loss=3),
        "b.jpg": Wanted(picture(1), mask, "leiomyoma", loss=3),
    }


def kidney(root: Path) -> dict[str, Wanted]:
    wanted = {}
    for i, name in enumerate(["100_IM-0246-0030_anon", "100_IM-0246-0082_anon", "11_IM-0288-0017-0002_anon"]):
        save(root / "images" / f"{name}.png", picture(i), "RGB")
        save(root / "labels" / "reviewed_masks_1" / "capsule" / f"{name}.png", box(i).astype(np.uint8))
        save(root / "labels" / "reviewed_masks_1" / "regions" / f"{name}.png", box(i).astype(np.uint8) * 3)
        save(root / "labels" / "reviewed_masks_2" / "capsule" / f"{name}.png", box(i + 1).astype(np.uint8))
        wanted[f"images/{name}.png"] = Wanted(picture(i), box(i), patient=name.partition("_")[0])
    return wanted


def fatty_liver(root: Path) -> dict[str, Wanted]:
    data = np.zeros((1, 2), dtype=[(name, object) for name in ("id", "class", "fat", "images")])
    for i in range(2):
        data[0, i] = (i + 1, i, 40 * i, np.stack([picture(2 * i), picture(2 * i + 1)]))
    root.mkdir(parents=True)
    io.savemat(root / "dataset_liver_bmodes_steatosis_assessment_IJCARS.mat", {"data": data})
    labels = ("normal", "normal", "fatty", "fatty")
    return {f"{i:04d}": Wanted(picture(i), None, label, str(1 + i // 2)) for i, label in enumerate(labels)}


# ---- others ----------------------------------------------------------------------------------------------------------


POCUS_TABLE = """Date added,Filename,License,Patient ID / Name,Other
20.04.20,Cov-Atlas+(44),CC BY-NC 4.0,36,
20.04.20,Cov-Atlas+(45),CC BY-NC 4.0,36,
20.04.20,Pneu-grep-pneumonia2_1,None,50,
20.04.20,Reg_pat1Image_132943,CC BY 4.0,4,"quoted, on
two lines"
20.04.20,Reg_liftl_case3_clip2,a comma, without quotes,m,40
20.04.20,Reg-nephropocus,None,74,
20.04.20,Reg-nephropocus,None,77,
20.04.20,Reg-not-used,None,,
"""


def pocus_lung(root: Path) -> dict[str, Wanted]:
    names = {
        "covid/Cov-Atlas+(44).gif_frame18.jpg": "36",
        "covid/Cov-Atlas+(44).gif_frame39.jpg": "36",
        "covid/Cov-Atlas+(45).gif_frame0.jpg": "36",
        "pneumonia/Pneu-grep-pneumonia2_1.mp4_frame170.jpg": "50",
        "regular/Reg_pat1Image_132943.mpeg_frame0.jpg": "4",
        "regular/Reg_pat1Image_140000.mpeg_frame0.jpg": "4",  # not in the table; its name says whose it is
        "regular/Reg-Zürich still.PNG": "Reg-Zürich still",
    }
    names = {f"image_dataset/{name}": patient for name, patient in names.items()}
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_metadata.csv").write_text(POCUS_TABLE)
    save(root / "pocus_images" / "convex" / "not-this.png", picture(30))
    for i, name in enumerate(names):
        save(root / name, picture(i), "RGB", **({} if name.endswith("PNG") else {"quality": 95}))
    return {
        name: Wanted(picture(i), None, name.split("/")[1], patient, loss=0 if name.endswith("PNG") else 3)
        for i, (name, patient) in enumerate(names.items())
    }


def nerve_segmentation(root: Path) -> dict[str, Wanted]:
    wanted = {}
    for i, (name, mask) in enumerate([("1_1", box(0)), ("1_10", NOTHING), ("12_1", box(2))]):
        save(root / "train" / f"{name}.tif", picture(i))
        save(root / "train" / f"{name}_mask.tif", mask)
        wanted[f"train/{name}.tif"] = Wanted(picture(i), mask, patient=name.partition("_")[0])
    save(root / "test" / "1.tif", picture(9))
    return wanted


def usenhance_2023(root: Path) -> dict[str, Wanted]:
    names = ["thyroid/low/1.png", "thyroid/high/1.png", "liver/low/1.bmp"]
    for i, name in enumerate(names):
        save(root / name, picture(i))
    return {name: Wanted(picture(i)) for i, name in enumerate(names)}


def usenhance(root: Path) -> dict[str, Wanted]:
    for i in range(6):
        save(root / "low" / f"{i}.png", picture(i))
        save(root / "high" / f"{i}.png", picture(i + 6))
    return {f"low/{i}.png": Wanted(picture(i)) for i in range(6)}


WRITERS: dict[str, Callable[[Path], dict[str, Wanted]]] = {
    "bus-bra": bus_bra,
    "breast-lesions-usg": breast_lesions_usg,
    "bus-uclm": bus_uclm,
    "udiat": udiat,
    "stu-hospital": stu_hospital,
    "oasbud": oasbud,
    "tn3k": tn3k,
    "tg3k": tg3k,
    "ddti": ddti,
    "hc18": hc18,
    "fetal-planes-db": fetal_planes_db,
    "psfhs": psfhs,
    "camus": camus,
    "echonet-dynamic": echonet_dynamic,
    "ccaui": ccaui,
    "mmotu": mmotu,
    "gist514": gist514,
    "kidney": kidney,
    "fatty-liver": fatty_liver,
    "pocus-lung": pocus_lung,
    "nerve-segmentation": nerve_segmentation,
    "usenhance-2023": usenhance_2023,
    "usenhance": usenhance,
}
PUBLIC = {name: spec for name, spec in SHIPPED.items() if spec.path}
BUSI = {name for name, spec in PUBLIC.items() if spec.path == SHIPPED["busi"].path}


def test_every_public_entry_is_written_and_read_here():
    several = {name for name, spec in PUBLIC.items() if spec.structures}
    assert set(WRITERS) == set(PUBLIC) - BUSI - several, "tests/test_busi.py and tests/test_structures.py read these"


@pytest.mark.parametrize("name", WRITERS)
def test_a_public_data_set_comes_back_as_its_release_has_it(name, tmp_path):
    spec = SHIPPED[name]
    wanted = WRITERS[name](tmp_path / spec.path)
    reader = open_reader(spec, tmp_path)
    cases = {case.case_id: case for case in reader.cases()}
    assert not reader.faults
    assert set(cases) == set(wanted)
    for case_id, truth in wanted.items():
        sample = reader.load(cases[case_id])
        assert (sample.case.label, sample.case.split) == (truth.label, truth.split), case_id
        assert sample.case.patient == truth.patient, case_id
        assert sample.spacing == (truth.spacing and pytest.approx(truth.spacing)), case_id
        assert np.abs(sample.image.astype(int) - truth.image).mean() <= truth.loss, case_id
        assert (sample.mask is None) == (truth.mask is None), case_id
        if truth.mask is not None:
            assert sample.mask is not None
            assert np.count_nonzero(sample.mask != truth.mask) <= truth.off, case_id
    assert {case.organ for case in cases.values()} == {spec.organ}
    found = verify_dataset(spec, tmp_path)
    assert not found.faults
    assert found.facts["images found"] == len(wanted)


def test_a_data_set_without_a_task_is_read_and_split_by_nobody(tmp_path):
    spec = SHIPPED["usenhance-2023"]
    usenhance_2023(tmp_path / spec.path)
    assert len(open_dataset(spec, tmp_path)) == 3
    facts = verify_dataset(spec, tmp_path).facts
    assert facts["training, validation, test"] == "none: the entry has no task"
    small = {"model": "usfm_micro_patch16_224", "image_size": 32, "steps": 1, "warmup_steps": 0, "batch_size": 2}
    wanted = build_spec(small | {"datasets": [spec.name], "masking": {"base_bandwidth": 2, "protected": 1}}, "test")
    seen = load_images(wanted, SHIPPED, tmp_path)
    assert len(seen.images) == 3
    assert seen.sources[spec.name]["side"] == "all images, less what related data sets test on"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_entry_says_what_a_user_must_know(name):
    spec = SHIPPED[name]
    assert "doi:" in spec.citation or "https://" in spec.citation
    assert spec.source.startswith("https://")
    assert spec.licence != "unknown"
    assert spec.size
    assert spec.spacing
    assert spec.redistributable is not None or any(
        word in " ".join(spec.uncertain) for word in ("others may pass", "may be passed on")
    )
    if spec.redistributable is False:
        assert spec.agreement, "what forbids it must be named"
    if spec.n_by_class:
        assert sum(spec.n_by_class.values()) == spec.n_images
        assert set(spec.n_by_class) == set(spec.classes)
    assert spec.positive is None or spec.positive in spec.classes


def test_missing_data_that_need_an_agreement_say_so(tmp_path):
    with pytest.raises(DataError) as error:
        open_dataset(SHIPPED["echonet-dynamic"], tmp_path)
    assert "https://echonet.github.io/dynamic/" in str(error.value)
    assert SHIPPED["echonet-dynamic"].agreement in str(error.value)
    with pytest.raises(DataError) as error:
        open_dataset(SHIPPED["stu-hospital"], tmp_path)
    assert "First:" not in str(error.value)


# ---- faults of the readers that came with these data sets ------------------------------------------------------------


def faults_of(name: str, root: Path) -> str:
    with pytest.raises(DataError) as error:
        open_dataset(SHIPPED[name], root)
    return str(error.value)


def test_faults_of_videos_and_tracings_name_them_all(tmp_path):
    root = tmp_path / "EchoNet-Dynamic"
    echonet_dynamic(root)
    (root / "Videos" / "0X2B.avi").unlink()
    tracings, files = root / "VolumeTracings.csv", root / "FileList.csv"
    tracings.write_text(tracings.read_text().replace("0X1A.avi,18,4,18,30,2", "0X1A.avi,x,4,18,30,2"))
    tracings.write_text(tracings.read_text().replace(",0\n", ",7\n"))
    files.write_text(files.read_text().replace("TEST", "TEXT"))
    text = faults_of("echonet-dynamic", tmp_path)
    assert "0X2B.avi: is listed in 'FileList.csv' and not here." in text
    assert "VolumeTracings.csv: '0X1A.avi', frame '2': a line without five numbers." in text
    assert "0X3C': 'TEXT' is no split." in text
    assert "0X1A.avi: has no frame 7" in text


def test_a_frame_is_the_one_asked_for(tmp_path):
    frames = [np.full(SHAPE, 40 * k, np.uint8) for k in range(5)]
    save_video(tmp_path / "x.avi", frames)
    assert [round(float(read_frame(tmp_path / "x.avi", k).mean()) / 40) for k in (3, 0, 4)] == [3, 0, 4]


def test_faults_of_outlines_in_xml(tmp_path):
    root = tmp_path / "DDTI"
    ddti(root)
    (root / "2.xml").write_text("<case><mark>")
    (root / "30.xml").write_text('<case><mark><image>1</image><svg>[{"points": [{"x": 1}]}]</svg></mark></case>')
    text = faults_of("ddti", tmp_path)
    assert "2.xml: cannot be read as XML" in text
    assert "30.xml: outline 1 of image 1 is not a list of points." in text


def test_faults_of_coco_files(tmp_path):
    root = tmp_path / "usd514_jpeg_roi"
    gist514(root)
    path = root / "annotations" / "all_anno_crop.json"
    content = json.loads(path.read_text())
    content["annotations"].append(content["annotations"][0] | {"category_id": 2})
    path.write_text(json.dumps(content))
    (root / "images" / "b.jpg").unlink()
    text = faults_of("gist514", tmp_path)
    assert "a b.jpg: has outlines of the classes GIST, leiomyoma, not of one." in text
    assert "b.jpg: is annotated and not here." in text
    content["annotations"] = [content["annotations"][0] | {"segmentation": {"counts": "abc", "size": [32, 40]}}]
    path.write_text(json.dumps(content))
    assert "annotation 9 has run lengths that end within a number" in faults_of("gist514", tmp_path)
    path.write_text("{")
    assert "cannot be read as JSON" in faults_of("gist514", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": 2}, "record 1: class 2; expected 0 or 1."),
        ({"roi1": np.zeros((3, 4))}, "rf1 is (32, 40), roi1 (3, 4)."),
    ],
)
def test_faults_of_matlab_files(tmp_path, change, message):
    record = {"id": "P1", "rf1": echoes([1]), "rf2": echoes([1]), "roi1": box(), "roi2": box(), "class": 1} | change
    (tmp_path / "OASBUD").mkdir()
    io.savemat(tmp_path / "OASBUD" / "OASBUD.mat", {"data": record})
    assert message in faults_of("oasbud", tmp_path)
    io.savemat(tmp_path / "OASBUD" / "OASBUD.mat", {"data": {"id": 1, "class": 0}})
    assert "record 1 has no field rf1, rf2, roi1, roi2." in faults_of("oasbud", tmp_path)
    (tmp_path / "OASBUD" / "OASBUD.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200))
    assert "holds no struct array `data` that can be read" in faults_of("oasbud", tmp_path)


def test_grey_levels_are_decibels_below_the_peak():
    image = b_mode(echoes([1, 0.1, 0.001, 0.0001]), 60)
    # 0, 20, 60 and 80 dB down, of 60
    assert [int(image[:, k].mean().round()) for k in range(4)] == [255, 255 - 85, 0, 0]
    assert not b_mode(np.zeros(SHAPE), 60).any()


def test_tables_of_two_files_may_not_both_name_an_image(tmp_path):
    root = tmp_path / "OTU_2d"
    mmotu(root)
    (root / "val_cls.txt").write_text("3.JPG  5\n1.JPG  5\n4.JPG  x\n")
    text = faults_of("mmotu", tmp_path)
    assert "val_cls.txt: '1.JPG' has two rows." in text
    assert "val_cls.txt: '4.JPG' names no image." in text


def test_sides_and_spacings_of_a_table_are_checked(tmp_path):
    fetal_planes_db(tmp_path / "FETAL_PLANES_ZENODO")
    table = tmp_path / "FETAL_PLANES_ZENODO" / "FETAL_PLANES_DB_data.csv"
    table.write_text(table.read_text("utf-8-sig").replace(";0", ";maybe"))
    assert "'Patient00002_Plane3_1_of_2': 'maybe' is no split; known: 1, 0, train" in faults_of(
        "fetal-planes-db", tmp_path
    )
    breast_lesions_usg(tmp_path / "Breast-Lesions-USG")
    book = tmp_path / "Breast-Lesions-USG" / "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx"
    rows = [["CaseID", "Image_filename", "Pixel_size", "Classification"]]
    save_workbook(book, [*rows, *([i, f"case00{i}.png", size, "benign"] for i, size in ((1, -1), (2, "?"), (3, 0.1)))])
    text = faults_of("breast-lesions-usg", tmp_path)
    assert "Pixel_size '-1' is no distance between pixels." in text
    assert "Pixel_size '?' is no distance between pixels." in text


def test_a_workbook_keeps_text_numbers_and_gaps(tmp_path):
    save_workbook(tmp_path / "x.xlsx", [["a", "b", "c"], [1.0, None, "x & y"], [None, "007", 0.25]])
    rows = [["a", "b", "c"], ["1", "", "x & y"], ["", "007", "0.25"]]
    assert read_workbook(tmp_path / "x.xlsx") == list(enumerate(rows, start=1))
    (tmp_path / "x.xlsx").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="cannot be read as a workbook"):
        read_workbook(tmp_path / "x.xlsx")


@pytest.mark.parametrize(
    ("at", "more", "claim"),
    [("AAAAAAAAAA1", 0, "3 rows and"), ("XFE1", 0, "3 rows and 16385 columns"), ("XFD1", 1000, "1003 rows and 16384")],
)
def test_a_workbook_that_claims_a_cell_far_away_is_refused(tmp_path, at, more, claim):
    save_workbook(tmp_path / "x.xlsx", [["a", "b"], [1.0, "x"], [2.0, "y"]])
    change = {'r="A1"': f'r="{at}"', "</sheetData>": "<row/>" * more + "</sheetData>"}
    with zipfile.ZipFile(tmp_path / "x.xlsx") as old, zipfile.ZipFile(tmp_path / "far.xlsx", "w") as new:
        for name in old.namelist():
            text = old.read(name).decode()
            for one, other in change.items() if name.endswith("sheet2.xml") else ():
                text = text.replace(one, other)
            new.writestr(name, text)
    with pytest.raises(DataError, match=f"cannot be read as a workbook: it claims {claim}"):
        read_workbook(tmp_path / "far.xlsx")


def test_metaimages_with_their_pixels_inside(tmp_path):
    simple_itk = pytest.importorskip("SimpleITK")
    for compressed in (False, True):
        path = tmp_path / f"{compressed}.mha"
        written = simple_itk.GetImageFromArray(picture(1))
        written.SetSpacing((0.5, 0.25))
        simple_itk.WriteImage(written, str(path), compressed)
        levels, spacing = read_picture(path, tmp_path)
        np.testing.assert_array_equal(levels, picture(1))
        assert spacing == (0.25, 0.5)
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(DataError, match=r"promises 1280 bytes|damaged"):
            read_picture(path, tmp_path)
    colours = np.dstack([picture(1), picture(2), picture(3)])
    simple_itk.WriteImage(simple_itk.GetImageFromArray(colours, isVector=True), str(tmp_path / "c.mha"))
    grey = np.array(Pillow.fromarray(colours).convert("L")).astype(int)
    assert np.abs(read_picture(tmp_path / "c.mha", tmp_path, planes=(1, 3)).levels - grey).max() <= 1
    with pytest.raises(DataError, match="expected one picture"):
        read_picture(tmp_path / "c.mha", tmp_path)


def test_one_row_is_not_given_to_two_images_of_one_name(tmp_path):
    (tmp_path / "l.csv").write_text("id,label\n1,benign\n")
    table = Table(file="l.csv", id="id", label="label")
    _, faults = look_up([table], tmp_path, [("A/1.png", "A/1"), ("B/1.png", "B/1")])
    assert faults == [f"{tmp_path / 'l.csv'}: '1' fits 'A/1.png' and 'B/1.png'. Write ids with their folder."]
    (tmp_path / "l.csv").write_text("id,label\nA/1,benign\nB/1,malignant\n")
    rows, faults = look_up([table], tmp_path, [("A/1.png", "A/1"), ("B/1.png", "B/1")])
    assert (faults, [rows[n].label for n in ("A/1.png", "B/1.png")]) == ([], ["benign", "malignant"])
