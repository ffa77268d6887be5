"""Steps: one update of a network each. The imports below are the list."""

from taskgroup.training.steps import alternating, jacobian, joint, trades

__all__ = ["alternating", "jacobian", "joint", "trades"]
