"""'Did you mean': the closest of the words that would have been right; or all of them, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable


def either(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def closest(word: str, candidates: Iterable[str], alike: float = 0.6) -> str | None:
    """The candidate that is most like `word`, or None if none is `alike`, from 0 to 1."""
    import difflib  # late: 10 ms, and seldom needed

    near = difflib.get_close_matches(word.lower(), list(candidates), n=1, cutoff=alike)
    return near[0] if near else None


def did_you_mean(word: str, candidates: Iterable[str], otherwise: str = "") -> str:
    """A help line that names the closest candidate, else `otherwise`."""
    near = closest(word, candidates)
    return f"did you mean `{near}`?" if near else otherwise
