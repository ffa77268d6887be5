"""Attacks: raise an Objective inside a threat model. The imports below are the list."""

from taskgroup.attacks import apgd as apgd
from taskgroup.attacks import ensembles as ensembles
from taskgroup.attacks import losses as losses
from taskgroup.attacks import mim as mim
from taskgroup.attacks import mtrobust as mtrobust
from taskgroup.attacks import noise as noise
from taskgroup.attacks import pgd as pgd
from taskgroup.attacks import pixel_losses as pixel_losses
from taskgroup.attacks import square as square
