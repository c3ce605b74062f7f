"""What the executor knows and concludes: orders, and what the account should hold.

Read `fold` (the orders as the stream tells them) and `book` (the account), then `core` (what reports on orders imply),
`accounting` (activities, splits) and `reconcile` (differences).
"""

from engine.execution.conclusion import Conclusion
from engine.execution.core import ExecutionCore
from engine.execution.fold import ExecOrder, ExecState
from engine.execution.reconcile import Looks, Seen, Step

__all__ = ["Conclusion", "ExecOrder", "ExecState", "ExecutionCore", "Looks", "Seen", "Step"]
