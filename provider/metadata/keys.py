"""Keys of runs and step runs: computed, not looked up.

The same task instance has the same key in every process, so an insert needs no query before it and a retry finds
its own row. 128 bits of BLAKE2b: no collision to be expected below 10^18 rows.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b


def run_key(dag_id: str, run_id: str) -> str:
    """32 hexadecimal digits that name one run (a DAG run)."""
    return _key("run", dag_id, run_id)


def step_run_key(dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
    """32 hexadecimal digits that name one attempt of one step (a task instance and its try number)."""
    return _key("step", dag_id, run_id, task_id, str(map_index), str(try_number))


@lru_cache(maxsize=1024)  # a step asks for its own key a dozen times
def _key(*parts: str) -> str:
    # Each part is preceded by its length: ("a", "bc") and ("ab", "c") must differ.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return blake2b(text.encode(), digest_size=16).hexdigest()
