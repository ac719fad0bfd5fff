"""A plain synchronous program: a world that ticks and prints, with nothing of a server.

    livecore run world:main --app-dir playground/simulation

On a save it is paused between two bytecodes, the world is carried over, and `main()` starts again from
the top in the new code: `world()` gives the kept world, so it goes on where it was.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field

from livereload_core import preserve

VERSION = "1"  # <-- change it, or the physics below
PAUSE = 0.02


@dataclass
class World:
    """A walker on a line; the dice are part of the world, so the walk goes on as it would have."""

    ticks: int = 0
    place: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(7))

    def tick(self) -> None:
        self.ticks += 1
        self.place += self.dice.uniform(-1.0, 1.0)  # <-- give it wind: uniform(-0.5, 1.0)


@preserve
def world() -> World:
    """The one world: made at the first call, kept from then on."""
    return World()


def main() -> None:
    here = world()
    while True:
        here.tick()
        print(f"tick {here.ticks} place {here.place:+.3f} version {VERSION} pid {os.getpid()}", flush=True)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
