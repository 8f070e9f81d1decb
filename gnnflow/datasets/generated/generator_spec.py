"""What a generated graph is like, and the short text that says so."""

from dataclasses import dataclass, fields

from gnnflow.errors import DataError, did_you_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorSpec:
    """What all generated graphs have: a size, and a task that can be learnt."""

    vertices: int = 100_000
    """Number of vertices, 1 to 2^31."""

    edges: int = 1_000_000
    """Number of directed edges; the same pair may be drawn twice."""

    classes: int = 16
    """Number of planted communities; the community is the label."""

    features: int = 64
    """Width of the feature rows: the centre of the community plus noise."""

    separation: float = 2.0
    """Distance between the centres of two communities, in standard deviations of the noise."""

    label_noise: float = 0.05
    """Share of vertices whose label is drawn anew, in [0, 1]: bounds the accuracy from above."""

    train: float = 0.1
    """Share of vertices in the train split, in [0, 1]."""

    val: float = 0.1
    """Share of vertices in the validation split, in [0, 1]."""

    test: float = 0.1
    """Share of vertices in the test split, in [0, 1]."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            DataError: A value is outside its range.
        """
        self._require_range("vertices", 1, 2**31)
        self._require_range("edges", 0, 2**48)
        self._require_range("classes", 1, self.vertices)
        self._require_range("features", 1, 2**20)
        self._require_range("separation", 0, 1e6)
        for name in ("label_noise", "train", "val", "test"):
            self._require_range(name, 0, 1)
        if self.train + self.val + self.test > 1 + 1e-9:
            raise DataError(
                "train, val and test must not exceed 1 together, "
                f"got {self.train} + {self.val} + {self.test}"
            )

    def _require_range(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise DataError(f"{name} must be in [{low}, {high}], got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RmatSpec(GeneratorSpec):
    """A recursive matrix graph: few vertices have very many neighbours, many have none.

    Neighbours say little about the label here, so the features say more by default.
    """

    classes: int = 8
    """Number of planted communities, ranges of ranks; the community is the label."""

    separation: float = 4.0
    """Distance between the centres of two communities, in standard deviations of the noise."""

    a: float = 0.57
    """Chance that an edge stays in the first half of the vertices with both ends, at each level."""

    b: float = 0.19
    """Chance that it leads from the first half to the second."""

    c: float = 0.19
    """Chance that it leads from the second half to the first; the rest stays in the second."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            DataError: A value is outside its range.
        """
        GeneratorSpec.__post_init__(self)
        for name in ("a", "b", "c"):
            self._require_range(name, 0, 1)
        if self.a + self.b + self.c > 1 + 1e-9:
            raise DataError(
                f"a, b and c must not exceed 1 together, got {self.a} + {self.b} + {self.c}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SbmSpec(GeneratorSpec):
    """A stochastic block model with power-law degrees: equal communities, planted."""

    within: float = 0.7
    """Share of edges whose destination is drawn from the community of the source, in [0, 1]."""

    exponent: float = 2.5
    """Exponent of the power law of degrees, in (2, 10]; the largest is about the square root of
    the number of edges."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            DataError: A value is outside its range.
        """
        GeneratorSpec.__post_init__(self)
        self._require_range("within", 0, 1)
        self._require_range("exponent", 2.01, 10)


KINDS: dict[str, type[RmatSpec] | type[SbmSpec]] = {"rmat": RmatSpec, "sbm": SbmSpec}
"""Kinds of generated graphs."""


def parse_spec(text: str) -> RmatSpec | SbmSpec:
    """Parses a text like `rmat:vertices=1e6,edges=1e7`.

    Raises:
        DataError: The kind or a key is unknown, given twice, or its value is no such number.
    """
    kind, _, settings = text.partition(":")
    if kind not in KINDS:
        raise DataError(f"no generator is named '{kind}'{_hint(kind, list(KINDS))}")
    types = {field.name: field.type for field in fields(KINDS[kind])}
    values: dict[str, float] = {}
    for setting in filter(None, settings.split(",")):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals:
            raise DataError(f"'{setting}' in '{text}' must be KEY=NUMBER, as vertices=1e6")
        if key not in types:
            raise DataError(f"'{kind}' has no parameter '{key}'{_hint(key, list(types))}")
        if key in values:
            raise DataError(f"'{key}' is given twice in '{text}'; leave one out")
        try:
            number = float(value)
            whole = int(number) if number == number // 1 else None
        except (ValueError, OverflowError) as error:
            raise DataError(f"{key} must be a number, got '{value}'") from error
        if types[key] is int and whole is None:
            raise DataError(f"{key} must be a whole number, got '{value}'")
        values[key] = number if types[key] is float or whole is None else whole
    return KINDS[kind](**values)  # type: ignore[arg-type]


def _hint(name: str, known: list[str]) -> str:
    return f"{did_you_mean(name, known, cutoff=0.5) or ';'} known: {', '.join(known)}"
