"""What the PyTorch side of the comparison measures: times of repetitions, and resident memory above what there was before."""

import json
import os
import resource
import statistics
import sys
import time

PARTS = ("forward", "backward", "optimizer", "whole")


class Stopwatch:
    """Times of one repetition: `lap(part)` ends a part, `finish()` the whole."""

    def __init__(self):
        self.start = self.last = time.perf_counter()
        self.times = dict.fromkeys(PARTS, 0.0)

    def lap(self, part):
        """Books what passed since the last lap under `part`."""
        now = time.perf_counter()
        self.times[part] += 1e3 * (now - self.last)
        self.last = now

    def finish(self):
        """The times in milliseconds."""
        self.times["whole"] = 1e3 * (time.perf_counter() - self.start)
        return self.times


def status_bytes(field):
    """A figure of the process from Linux; None elsewhere."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    return None


def resident_bytes():
    """Resident memory now, or its peak so far where the system tells nothing else."""
    return status_bytes("VmRSS") or largest_resident()


def largest_resident():
    """The process's largest resident memory since it began."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def forget_peaks():
    """Lets the peak begin here: what the first repetition needs is not part of it. Only Linux can."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def repeat(repetition, steps, before, weights_bytes):
    """Repeats once for the caches, then `steps` times, and gives the fields of the JSON line."""
    repetition()
    forget_peaks()
    times = [repetition() for _ in range(steps)]
    peak = status_bytes("VmHWM") or largest_resident()
    fields = {f"{part}_ms": round(statistics.median(t[part] for t in times), 3) for part in PARTS}
    fields["median_ms"] = fields.pop("whole_ms")
    above = max(peak - before, 0)
    return dict(
        fields,
        min_ms=round(min(t["whole"] for t in times), 3),
        peak_bytes=above,
        resident_bytes=above,
        weights_bytes=weights_bytes,
    )


def threads():
    """As many as our side uses: the cores that this process may run on, or what `RAYON_NUM_THREADS` says."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(os.environ.get("RAYON_NUM_THREADS") or cores)


def print_line(work, method, fields):
    """One line of JSON, as `peer_step` prints it."""
    print(json.dumps(dict(work=work, method=method, **fields)), flush=True)
