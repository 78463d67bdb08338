"""How fast phantoms are drawn; run with `make bench`."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from usfm_bench.data.phantom import PhantomSpec, render

IMAGES = 32


def test_phantoms_of_256_pixels_by_two_threads(benchmark):
    draw = partial(render, PhantomSpec(n=IMAGES, size=256))
    with ThreadPoolExecutor(2) as pool:
        images = benchmark.pedantic(lambda: list(pool.map(draw, range(IMAGES))), rounds=5, warmup_rounds=1)
    assert {phantom.image.shape for phantom in images} == {(256, 256)}
    if benchmark.enabled:
        benchmark.extra_info["images_per_s"] = IMAGES / benchmark.stats.stats.median
