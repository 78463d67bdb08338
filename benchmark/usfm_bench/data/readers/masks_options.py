"""Options of the layout `masks`, and of those that build on it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from usfm_bench.data.readers.base import MaskFileOptions
from usfm_bench.data.readers.mask_values import Colours
from usfm_bench.data.readers.recordings import PatientTable
from usfm_bench.data.readers.tables import Table


def _has_id(pattern: str) -> str:
    if "{id}" not in pattern:
        raise ValueError("has no {id}, which pairs images and masks")
    return pattern


def _has_one_group(pattern: str | None) -> str | None:
    try:
        groups = None if pattern is None else re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if groups not in (None, 1):
        raise ValueError("needs one group in parentheses: the patient")
    return pattern


Pattern = Annotated[str, AfterValidator(_has_id)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
Tables = Annotated[
    tuple[Table, ...], Field(min_length=1), BeforeValidator(lambda v: (v,) if isinstance(v, dict) else v)
]
PatientRegex = Annotated[str | None, AfterValidator(_has_one_group)]


class MasksOptions(MaskFileOptions):
    """Options of the layout `masks`; `patterns.compile_pattern` says what patterns may hold."""

    images: Pattern
    """`{label}`, `{patient}` and `{split}` in it say what their names say."""
    masks: Patterns = ()
    """An image has all masks that agree with it in the placeholders of both patterns; they are united."""
    ignore: Patterns = ()
    """Files that are neither."""
    no_mask: Literal["fault", "empty"] = "fault"
    """What an image without a mask file is: a fault, or an image without a lesion."""
    label_from: Tables | Literal["colours"] | None = None
    """A table, several, or the colour that is in the mask; black alone: the entry's class without a colour."""
    patient: PatientRegex = None
    """Regular expression that finds the patient in the image's path."""
    recording: PatientRegex = None
    """Regular expression that finds the recording in the image's path, such as the video that a frame is of; it stands
    for the patient where none is known."""
    patients_from: Annotated[
        tuple[PatientTable, ...], BeforeValidator(lambda v: (v,) if isinstance(v, dict) else v)
    ] = ()
    """Tables of recordings and their patients; the first that is there is read."""

    @model_validator(mode="after")
    def _colours(self) -> MasksOptions:
        if self.label_from == "colours" and not (self.masks and isinstance(self.values, Colours)):
            raise ValueError("`label_from: colours` needs `masks` and `values: {colours: {...}}`")
        if self.patients_from and not self.recording:
            raise ValueError("`patients_from` needs `recording`, which finds in a path what the table names")
        return self
