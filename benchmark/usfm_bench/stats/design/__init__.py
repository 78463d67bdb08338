"""What a study's design will tell, simulated before anything is trained. Never imports torch."""

from usfm_bench.stats.design.grid import GridCell, load_grid, nearest_cell
from usfm_bench.stats.design.model import Assumptions, Design
from usfm_bench.stats.design.simulate import FEWEST, Expected, simulate

__all__ = ["FEWEST", "Assumptions", "Design", "Expected", "GridCell", "load_grid", "nearest_cell", "simulate"]
