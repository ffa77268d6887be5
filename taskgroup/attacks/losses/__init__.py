"""Attack losses: what a gradient raises, per image. The imports below are the list."""

from taskgroup.attacks.losses import cross_entropy as cross_entropy
from taskgroup.attacks.losses import houdini as houdini
from taskgroup.attacks.losses import jensen_shannon as jensen_shannon
from taskgroup.attacks.losses import margins as margins
from taskgroup.attacks.losses import regression as regression
from taskgroup.attacks.losses import spherical as spherical
from taskgroup.attacks.losses import weighted as weighted
