"""What the executor knows and concludes. Read `fold` (the orders as the stream tells them), then `core`."""

from engine.execution.core import Conclusion, ExecutionCore
from engine.execution.fold import ExecOrder, ExecState

__all__ = ["Conclusion", "ExecOrder", "ExecState", "ExecutionCore"]
