"""Which variation a subject sees. Pure: docs/sdk-contract.md, "Experiments". The hashing is GrowthBook's (versions 1 and 2), so subjects of a running experiment stay where they are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class Experiment:
    """An experiment that this process assigns subjects in."""

    id: str
    variations: Sequence[str]
    """Their ids, the control first; at least two."""
    weights: Sequence[float] | None = None
    """The share of each, together 1; equal ones where nothing is said."""
    coverage: float = 1.0
    """The share of all subjects that take part, 0 to 1. Raising it moves nobody who takes part already."""
    seed: str | None = None
    """What the hash is seeded with, if not the id."""
    hash_version: int = 2
    """1 or 2."""
    subject: Literal["user_id", "anonymous_id"] = "user_id"
    """Which id is assigned."""

    def __post_init__(self) -> None:
        """Raises `ValueError`."""
        if not self.id:
            raise ValueError("an experiment has no id")
        if isinstance(self.variations, str) or len(self.variations) < 2 or len(set(self.variations)) < len(self.variations) or not all(self.variations):
            raise ValueError(f"experiment {self.id}: variations must be at least two different ids")
        if self.weights is not None:
            if len(self.weights) != len(self.variations) or any(weight < 0 for weight in self.weights) or not math.isclose(sum(self.weights), 1, abs_tol=0.01):
                raise ValueError(f"experiment {self.id}: weights must be {len(self.variations)} shares that are 1 together")
        if not 0 <= self.coverage <= 1:
            raise ValueError(f"experiment {self.id}: coverage must be between 0 and 1")
        if self.hash_version not in (1, 2):
            raise ValueError(f"experiment {self.id}: hash_version must be 1 or 2")
        if self.subject not in ("user_id", "anonymous_id"):
            raise ValueError(f"experiment {self.id}: subject must be user_id or anonymous_id")

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Experiment":
        """From a document with these fields, such as one read from a file. Raises `ValueError`."""
        known = {field.name for field in fields(cls)}
        if unknown := document.keys() - known:
            raise ValueError(f"an experiment has no field {min(unknown)}; there are {', '.join(sorted(known))}")
        if missing := {"id", "variations"} - document.keys():
            raise ValueError(f"an experiment lacks {min(missing)}")
        return cls(**document)

    def variation(self, subject: str) -> str | None:
        """What this subject sees; `None` where it does not take part."""
        place = hashed(self.seed or self.id, subject, self.hash_version)
        share = 1 / len(self.variations)
        start = 0.0
        for number, variation in enumerate(self.variations):
            weight = share if self.weights is None else self.weights[number]
            if start <= place < start + self.coverage * weight:
                return variation
            start += weight
        return None


def hashed(seed: str, value: str, version: int) -> float:
    """A number in [0, 1): in thousandths for version 1, in ten thousandths for version 2."""
    if version == 1:
        return _fnv32a(value + seed) % 1_000 / 1_000
    return _fnv32a(str(_fnv32a(seed + value))) % 10_000 / 10_000


def _fnv32a(text: str) -> int:
    """FNV-1a of 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/), over UTF-16 code units as JavaScript has them."""
    units = text.encode("utf-16-le", "surrogatepass")
    number = 0x811C9DC5
    for place in range(0, len(units), 2):
        number = (number ^ (units[place] | units[place + 1] << 8)) * 0x01000193 & 0xFFFFFFFF
    return number
