"""When nobody is found for long, it is said once, with what to look at."""

from __future__ import annotations

from stdformer_ros.hints import NOBODY_SECONDS, Absence


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_hint_comes_once_after_the_time_with_the_number_of_images() -> None:
    clock = Clock()
    absence = Absence(rotate=180, clock=clock)
    hints = []
    for _ in range(100):
        hints.append(absence.after(0))
        clock.now += 0.25
    (hint,) = filter(None, hints)
    images = round(NOBODY_SECONDS / 0.25) + 1
    assert hints.index(hint) == images - 1
    assert hint.startswith(f"nobody was found in {images} images")
    assert "rotate is 180" in hint


def test_somebody_in_one_image_is_enough() -> None:
    clock = Clock()
    absence = Absence(rotate=0, clock=clock)
    absence.after(0)
    absence.after(1)
    clock.now += 10 * NOBODY_SECONDS
    assert absence.after(0) == ""
