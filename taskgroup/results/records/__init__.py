"""The records of a run, one frozen dataclass each; ``codec`` turns them into parquet and back."""

from taskgroup.results.records.base import Record as Record
from taskgroup.results.records.dimension import Combination as Combination
from taskgroup.results.records.dimension import Counted as Counted
from taskgroup.results.records.dimension import DimensionRow as DimensionRow
from taskgroup.results.records.dimension import Measure as Measure
from taskgroup.results.records.dimension import Quantity as Quantity
from taskgroup.results.records.dimension import TaskGradientRow as TaskGradientRow
from taskgroup.results.records.evaluation import Direction as Direction
from taskgroup.results.records.evaluation import EvaluationRow as EvaluationRow
from taskgroup.results.records.evaluation import GradientCheckRow as GradientCheckRow
from taskgroup.results.records.evaluation import ImageRow as ImageRow
from taskgroup.results.records.evaluation import PerturbationKind as PerturbationKind
from taskgroup.results.records.evaluation import TransferRow as TransferRow
from taskgroup.results.records.panel import Panel as Panel
from taskgroup.results.records.panel import PanelKind as PanelKind
from taskgroup.results.records.panel import Pixels as Pixels
from taskgroup.results.records.panel import pixel_bytes as pixel_bytes
from taskgroup.results.records.trial import EpochRow as EpochRow
from taskgroup.results.records.trial import Stage as Stage
from taskgroup.results.records.trial import Status as Status
from taskgroup.results.records.trial import TrialResult as TrialResult
