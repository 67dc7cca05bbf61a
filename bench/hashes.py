"""What the cores do at most: bcrypt, and nothing else."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from bench.contender import COST


def bare_hashes(seconds: float) -> float:
    """`bcrypt.checkpw` of the default cost on all cores, a second."""
    hashed = bcrypt.hashpw(b"x", bcrypt.gensalt(COST))
    cores = os.cpu_count() or 1
    began = time.monotonic()

    def check(_: int) -> int:
        done = 0
        while time.monotonic() < began + seconds:
            bcrypt.checkpw(b"x", hashed)
            done += 1
        return done

    with ThreadPoolExecutor(cores) as pool:
        done = sum(pool.map(check, range(cores)))
    return done / (time.monotonic() - began)
