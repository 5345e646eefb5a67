from collections.abc import Sequence

class Color:
    coordinates: Sequence[float | None]
    alpha: float
    def to(self, space: str) -> Color: ...

def parse_color(input: str) -> Color | str | None: ...
