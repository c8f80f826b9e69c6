"""A plan in a file: what it will do, what it was made of, and what must still be so for it to be carried out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vtopo.digests import sha256
from vtopo.plan.plan import Plan
from vtopo.plan.render import FORMAT, document
from vtopo.values import dataclass

_MOST_DIFFERENCES = 3


class NotAPlan(Exception):
    """The text is no saved plan that this version can carry out; the message says why, and what to do."""


class StalePlan(Exception):
    """What the plan was made against is so no longer; the message says what has changed."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan was made against.

    `boot` is the kernel's boot id, `state` the folder of the records, `records` the stamp of the lab's,
    `resources` one of what the lab was compiled to, `vtopo` the version that did so.
    """

    boot: str
    state: str
    records: str
    resources: str
    vtopo: str


@dataclass(frozen=True, slots=True)
class Text:
    """A file that the lab was read from: `path` as it was named, `file` where that was; None: no file."""

    path: str
    file: str | None
    text: str


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan with its basis, and the texts (the lab file first) and settings that it is compiled from again.

    `steps` and `summary` are as in plan.json: they are what must come out when the plan is made again.
    """

    lab: str
    basis: Basis
    settings: Mapping[str, str]
    texts: tuple[Text, ...]
    summary: Mapping[str, int]
    steps: Sequence[Mapping[str, Any]]

    def check(self, basis: Basis, plan: Plan) -> None:
        """StalePlan unless `plan`, made now against `basis`, is the same."""
        was = self.basis
        if was.boot != basis.boot:
            raise StalePlan("the machine was started anew since")
        if was.state != basis.state:
            raise StalePlan(f"it was made with the records in {was.state}, and these are in {basis.state}")
        if was.resources != basis.resources:
            raise StalePlan(f"vtopo {basis.vtopo} makes something else of the lab than vtopo {was.vtopo} did")
        now = document(plan, self.lab)
        differences = _differences(self.steps, now["steps"])
        if was.records != basis.records:
            raise StalePlan("; ".join([f"another command has changed lab {self.lab} since", *differences]))
        if differences or self.summary != now["summary"]:
            raise StalePlan("; ".join([f"lab {self.lab} is no longer as it was", *differences]))


def _differences(was: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is to be done now and was not, or differently, and the other way round; in words."""
    if was == now:
        return []
    old = {(s["action"], s["id"]): s for s in was}
    new = {(s["action"], s["id"]): s for s in now}
    words = [
        f"now {step['kind']} {step['id']} would be {_past(step['change'])} ({step['reason']})"
        for key, step in new.items()
        if key not in old or old[key]["reason"] != step["reason"]
    ]
    words += [
        f"{step['kind']} {step['id']} needs no {step['change']} any more"
        for key, step in old.items()
        if key not in new
    ]
    more = len(words) - _MOST_DIFFERENCES
    return [*words[:_MOST_DIFFERENCES], f"and {more} more"] if more > 0 else words


def _past(change: str) -> str:
    return f"{change}d"


def to_text(plan: Plan, saved: SavedPlan) -> str:
    """The file's text: plan.json, and under `made` what the plan was made of."""
    basis = saved.basis
    whole = {
        **document(plan, saved.lab),
        "made": {
            "boot": basis.boot,
            "state": basis.state,
            "records": basis.records,
            "resources": basis.resources,
            "vtopo": basis.vtopo,
            "settings": dict(saved.settings),
            "sources": [{"path": t.path, "file": t.file, "text": t.text} for t in saved.texts],
        },
    }
    return json.dumps({**whole, "checksum": _checksum(whole)}, indent=1, ensure_ascii=False) + "\n"


def from_text(text: str) -> SavedPlan:
    """The plan that `to_text` wrote; NotAPlan if it is none, or not just as it was written."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        where = f" (line {e.lineno})" if isinstance(e, json.JSONDecodeError) else ""
        raise NotAPlan(f"it is no whole JSON document{where}") from e
    if not isinstance(data, dict) or not {"format", "lab", "steps"} <= data.keys():
        raise NotAPlan("it is no plan; `vtopo plan LAB.vlab --out FILE` writes one")
    if data["format"] != FORMAT:
        raise NotAPlan(f"it has format {data['format']}, and this vtopo reads {FORMAT}; make the plan anew")
    if "made" not in data or "checksum" not in data:
        raise NotAPlan("it does not say what it was made of, as one of `vtopo plan LAB.vlab --out FILE` does")
    if data.pop("checksum") != _checksum(data):
        raise NotAPlan("it is not as `vtopo plan` wrote it; make the plan anew")
    made = data["made"]
    try:
        texts = tuple(Text(t["path"], t["file"], t["text"]) for t in made["sources"])
        basis = Basis(**{name: made[name] for name in Basis.__slots__})
        saved = SavedPlan(data["lab"], basis, dict(made["settings"]), texts, data["summary"], data["steps"])
    except (KeyError, TypeError, ValueError) as e:
        raise NotAPlan("it lacks what a plan has; make the plan anew") from e
    if not texts:
        raise NotAPlan("it has no lab in it; make the plan anew")
    return saved


def _checksum(whole: Mapping[str, Any]) -> str:
    """Of what the document says, not of how it is laid out."""
    return digest(json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def digest(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
