"""Which links do not lead to their target: judged when they are loaded and when the rules change,
never when they are visited."""

from __future__ import annotations

from dataclasses import replace

from api.redirects.cache import Target, TargetCache
from api.targets.known import KnownRules
from api.targets.rules import INSTALLATION, RuleSet


class Blocking:
    """Holds targets to the block rules."""

    def __init__(self, known: KnownRules) -> None:
        self._known = known

    def judge(self, target: Target) -> Target:
        """The target with what the rules say of it. Who could not read any rule yet goes by what
        another process said of a copy."""
        if not self._known.known:
            return target
        return _judged_by(target, self._known.rules)

    def follow(self, cache: TargetCache) -> None:
        """Judge what `cache` holds again, whenever rules come or go."""

        def changed(added: RuleSet, rules: RuleSet, owners: frozenset[int]) -> None:
            def judge_again(target: Target) -> Target:
                if target.workspace_id not in owners and INSTALLATION not in owners:
                    return target
                # Whom no rule stopped, only a new one can stop.
                return _judged_by(target, added if target.block is None else rules)

            cache.judge_again(judge_again)

        self._known.on_change(changed)


def _judged_by(target: Target, rules: RuleSet) -> Target:
    block = rules.block_of(target.workspace_id, target.url)
    return target if block == target.block else replace(target, block=block)
