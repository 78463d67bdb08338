"""Find near-duplicate images of a data set and write their groups, with each image's pixel hash and case id.

    python scripts/find_near_duplicates.py busi DATA_ROOT benchmark/usfm_bench/data/group_files/busi.csv

`usfm_bench.data.audit.near_duplicates` says when two images are near-duplicates. Groups are the connected components.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from usfm_bench.data.audit.near_duplicates import components, fingerprints, near_pairs
from usfm_bench.data.dataset import decode, open_reader
from usfm_bench.specs.dataset import find_dataset, load_registry


def main(name: str, data_root: str, out: str) -> None:
    """Read the data set, group its images and write the file `out`."""
    reader = open_reader(find_dataset(name, load_registry()), Path(data_root))
    samples, faults = decode(reader, reader.cases())
    if faults:
        sys.exit("\n".join(faults))
    pairs = near_pairs(fingerprints(sample.image for sample in samples))
    component = components(len(samples), [(pair.first, pair.second) for pair in pairs])
    sizes = np.bincount(component)
    grouped = sorted((s.pixel_hash, s.case.case_id, c) for s, c in zip(samples, component, strict=True) if sizes[c] > 1)
    first = {c: h for h, _, c in reversed(grouped)}
    with Path(out).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["pixel_hash", "group", "case_id"])
        writer.writerows((h, first[c], case_id) for h, case_id, c in grouped)
    labels = [sample.case.label for sample in samples]
    crossing = sum(labels[pair.first] != labels[pair.second] for pair in pairs)
    print(
        f"{len(pairs)} pairs ({crossing} between classes), {(sizes > 1).sum()} groups, "
        f"{len(grouped)} images, largest group {sizes.max()}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
