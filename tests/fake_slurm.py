"""Programs that stand for Slurm's on the path: jobs run at once on this machine, as processes."""

import os
import sys
from pathlib import Path

SBATCH = r"""
import os, pathlib, re, subprocess, sys
state = pathlib.Path(os.environ["FAKE_SLURM"])
script = pathlib.Path(sys.argv[-1]).read_text()
(state / "script.sh").write_text(script)
if (state / "refuse").exists():
    sys.exit("sbatch: error: Batch job submission failed: " + (state / "refuse").read_text())
array = re.search(r"--array=0-(\d+)", script)
log = re.search(r"--output=(\S+)", script)[1]
for task in range(int(array[1]) + 1) if array else [None]:
    known = {"SLURM_JOB_ID": "88", **({"SLURM_ARRAY_JOB_ID": "88", "SLURM_ARRAY_TASK_ID": str(task)} if array else {})}
    out = log.replace("%A", "88").replace("%a", str(task)).replace("%j", "88")
    with open(out, "ab") as stream:
        words, streams = ["bash", str(state / "script.sh")], {"stdout": stream, "stderr": stream}
        job = subprocess.Popen(words, env=os.environ | known, **streams, start_new_session=True)
    (state / f"job-{task or 0}").write_text(str(job.pid))
print("Submitted batch job 88")
"""
SRUN = r"""
import os, sys
words = sys.argv[1:]
while words[0].startswith("--"):
    words = words[2:] if words[0] == "--output" else words[1:]
os.execvp(words[0], words)
"""
SQUEUE = r"""
import os, pathlib
for path in pathlib.Path(os.environ["FAKE_SLURM"]).glob("job-*"):
    stat = pathlib.Path(f"/proc/{path.read_text()}/stat")
    if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        print("88_" + path.name[4:])
"""
SCANCEL = r"""
import os, pathlib, signal
for path in pathlib.Path(os.environ["FAKE_SLURM"]).glob("job-*"):
    try:
        os.killpg(int(path.read_text()), signal.SIGKILL)
    except ProcessLookupError:
        pass
(pathlib.Path(os.environ["FAKE_SLURM"]) / "cancelled").touch()
"""
SCONTROL = r"""
import os, pathlib, subprocess, sys
state = pathlib.Path(os.environ["FAKE_SLURM"])
(state / "requeued").write_text(" ".join(sys.argv[1:]))
job = subprocess.Popen(["bash", str(state / "script.sh")], start_new_session=True)
(state / "job-0").write_text(str(job.pid))
"""
PROGRAMS = {"sbatch": SBATCH, "srun": SRUN, "squeue": SQUEUE, "scancel": SCANCEL, "scontrol": SCONTROL}


def install(folder: Path) -> dict[str, str]:
    """Write the programs; gives the variables by which they are found. `refuse` in the state folder has sbatch fail."""
    programs, state = folder / "slurm-bin", folder / "slurm-state"
    programs.mkdir()
    state.mkdir()
    for name, code in PROGRAMS.items():
        path = programs / name
        path.write_text(f"#!{sys.executable} -S\n{code}")
        path.chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(state)}
