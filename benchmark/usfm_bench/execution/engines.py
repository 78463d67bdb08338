"""The engines that are shipped."""

from usfm_bench.execution.engine import ENGINES
from usfm_bench.execution.local import Here, Local
from usfm_bench.execution.ray import Ray
from usfm_bench.execution.slurm import Slurm

ENGINES.register("here")(Here())
ENGINES.register("local")(Local())
ENGINES.register("ray")(Ray())
ENGINES.register("slurm")(Slurm())
