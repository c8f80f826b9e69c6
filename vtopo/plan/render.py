"""A plan for machines (JSON) and for people (lines of text)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vtopo.compile.resources import Json, Resource
from vtopo.plan.plan import Action, Plan, Step
from vtopo.values import dataclass

FORMAT = 1
"""The version of plan.json; it grows when a field changes its meaning."""

_SIGN = {Action.CREATE: "+", Action.UPDATE: "~", Action.REPLACE: "±", Action.DELETE: "-"}
_MOST_LINES = 38


def to_json(plan: Plan, lab: str) -> str:
    """The text of plan.json: the same plan always gives the same bytes."""
    return json.dumps(document(plan, lab), indent=1, ensure_ascii=False) + "\n"


def document(plan: Plan, lab: str) -> dict[str, Any]:
    """What plan.json says, as JSON values."""
    return {
        "format": FORMAT,
        "lab": lab,
        "summary": {str(action): count for action, count in plan.counts.items()},
        "steps": [_step(step) for step in plan.steps],
    }


def _step(step: Step) -> dict[str, Json]:
    out: dict[str, Json] = {
        "id": step.resource.id,
        "kind": step.resource.kind,
        "action": str(step.action),
        "change": str(step.change),
        "reason": step.reason,
        "place": str(step.resource.origin) if step.resource.origin else None,
        "after": list(step.needs),
    }
    if step.changed:
        out["changed"] = {c.field: {"from": c.old, "to": c.new} for c in step.changed}
    if step.goes_with is not None:
        out["goes_with"] = step.goes_with
    if step.takes_along:
        out["takes_along"] = list(step.takes_along)
    return out


@dataclass(frozen=True, slots=True)
class _Line:
    change: Action
    kind: str
    id: str
    reason: str


def lines(plan: Plan, verbose: bool = False) -> tuple[str, ...]:
    """One line per resource, or per group of alike ones where that is too long; the summary comes last."""
    resources = {step.resource.id: step.resource for step in plan.steps}
    each = [_line(step, resources) for step in plan.steps if _is_shown(step)]
    if len(each) > _MOST_LINES and not verbose:
        each = list(_grouped(each))
    return (*_aligned(each), plan.summary)


def _is_shown(step: Step) -> bool:
    """Of a delete and a create for one resource, only the create is shown."""
    return step.action is not Action.DELETE or step.change is Action.DELETE


def _line(step: Step, resources: Mapping[str, Resource]) -> _Line:
    reason = f"goes with {step.goes_with}" if step.goes_with is not None else step.reason
    if step.takes_along:
        reason += f"; takes along {_some(_outermost(step.takes_along, resources))}"
    return _Line(step.change, step.resource.kind, step.resource.id, reason)


def _outermost(ids: Sequence[str], resources: Mapping[str, Resource]) -> Sequence[str]:
    """Those that need none of the others: a link, and not the addresses that go with it."""
    among = set(ids)
    return [id_ for id_ in ids if among.isdisjoint(resources[id_].needs)]


def _some(ids: Sequence[str]) -> str:
    """`a, b and c`, or `a, b and 7 more`."""
    shown = list(ids) if len(ids) <= 3 else [*ids[:2], f"{len(ids) - 2} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _grouped(each: Sequence[_Line]) -> Iterator[_Line]:
    """Alike lines as one; what still does not fit is counted."""
    by_reason: dict[tuple[Action, str, str], list[_Line]] = {}
    for line in each:
        by_reason.setdefault((line.change, line.kind, line.reason), []).append(line)
    if len(by_reason) <= _MOST_LINES:
        for alike in by_reason.values():
            yield _merged(alike, alike[0].reason)
        return
    by_kind: dict[tuple[Action, str], list[_Line]] = {}
    for line in each:
        by_kind.setdefault((line.change, line.kind), []).append(line)
    for alike in by_kind.values():
        reasons = {line.reason for line in alike}
        several = f"{len(reasons)} reasons (-v lists them)"
        yield _merged(alike, several if len(reasons) > 1 else alike[0].reason)


def _merged(alike: Sequence[_Line], reason: str) -> _Line:
    first = alike[0]
    if len(alike) == 1:
        return first
    return _Line(first.change, first.kind, f"{len(alike)}: {first.id} …", reason)


def _aligned(each: Sequence[_Line]) -> Iterator[str]:
    kinds = max((len(line.kind) for line in each), default=0)
    ids = min(max((len(line.id) for line in each), default=0), 60)
    for line in each:
        sign = _SIGN[line.change]
        yield f"{sign} {line.change:<7}  {line.kind:<{kinds}}  {line.id:<{ids}}  {line.reason}"
