"""Calls of the control port about the fault plan. Where the fakes have several plans, all get the same changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fakeservers.apns.server import FakeApns
from fakeservers.control.problem import Problem
from fakeservers.faults import PRESETS, Fault, FaultError, FaultPlan
from fakeservers.fcm.server import FakeFcm

Answered = dict[str, Any]


class FaultCalls:
    """Reads and changes the plans of these fakes; a change is made to all of them or to none."""

    def __init__(self, fakes: Mapping[str, FakeApns | FakeFcm]) -> None:
        # Usually one plan, which all of them share.
        self._plans: Iterable[FaultPlan] = {id(fake.faults): fake.faults for fake in fakes.values()}.values()
        self._first = [(plan, FaultPlan(plan.seed, plan, name=plan.name)) for plan in self._plans]

    def faults(self) -> Answered:
        """Every fault with its state, and the names of the ready-made plans."""
        rows: dict[str, Answered] = {}
        for plan in self._plans:
            in_force = {fault.id for fault in plan.in_force}
            for fault in plan.faults:
                row = rows.setdefault(
                    fault.id, {**fault.to_dict(), "enabled": fault.enabled, "in_force": False, "hits": 0}
                )
                row["in_force"] |= fault.id in in_force
                row["hits"] += plan.hits[fault.id]
        first = next(iter(self._plans), None)
        return {
            "plan": {} if first is None else {"name": first.name, "seed": first.seed},
            "faults": list(rows.values()),
            "presets": list(PRESETS),
        }

    def set_faults(
        self, *, plan: Any = None, preset: str | None = None, seed: int | None = None, scale: float = 1.0
    ) -> Answered:
        """Replace the plan; its time and counts restart."""
        if (plan is None) == (not preset):
            raise Problem(400, "one of plan and preset is needed")
        try:
            chosen = FaultPlan.preset(preset) if preset else FaultPlan.from_dict(plan)
            if scale != 1.0:
                chosen = chosen.scaled(scale)
        except FaultError as error:
            raise Problem(400, str(error)) from None
        if seed is not None:
            chosen.seed = seed
        for former in self._plans:
            former.become(chosen)
        return self.faults()

    def restore(self) -> None:
        """Restore the plan of the control port's start; its time and counts restart."""
        for plan, first in self._first:
            plan.become(first)

    def add_fault(self, *, fault: Any) -> Answered:
        """Append a fault."""
        try:
            added = Fault.from_dict(fault)
            for plan in self._plans:
                if added.id in plan:
                    raise Problem(409, f"there is a fault {added.id} already")
            for plan in self._plans:
                added = plan.add(added)
        except FaultError as error:
            raise Problem(400, str(error)) from None
        return added.to_dict()

    def replace_fault(self, *, fault_id: str, fault: Any) -> Answered:
        """Replace the fault of this id, or append it when there is none."""
        try:
            replacement = Fault.from_dict({**fault, "id": fault_id})
            for plan in self._plans:
                plan.replace(replacement)
        except FaultError as error:
            raise Problem(400, str(error)) from None
        return replacement.to_dict()

    def switch_fault(self, *, fault_id: str, enabled: bool) -> Answered:
        """Switch a fault on or off."""
        for plan in self._plans_with(fault_id):
            plan.enable(fault_id, enabled)
        return {"id": fault_id, "enabled": enabled}

    def remove_fault(self, *, fault_id: str) -> Answered:
        """Remove a fault."""
        for plan in self._plans_with(fault_id):
            plan.remove(fault_id)
        return {}

    def _plans_with(self, fault_id: str) -> list[FaultPlan]:
        plans = [plan for plan in self._plans if fault_id in plan]
        if not plans:
            raise Problem(404, "there is no fault of this id")
        return plans
