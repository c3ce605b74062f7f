"""Names for pyarrow's types: the library ships no annotations, so a checker sees Any; a reader should see more."""

from __future__ import annotations

from typing import Any

type ArrowTable = Any
type ArrowSchema = Any
