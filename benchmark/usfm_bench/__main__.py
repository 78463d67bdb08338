"""`python -m usfm_bench`."""

from usfm_bench.cli import main

if __name__ == "__main__":
    main()
