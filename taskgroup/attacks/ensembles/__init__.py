"""Attacks of several parts, of which the worst counts. The imports below are the list."""

from taskgroup.attacks.ensembles import autoattack as autoattack
from taskgroup.attacks.ensembles import metrics as metrics
from taskgroup.attacks.ensembles import sea as sea
from taskgroup.attacks.ensembles import tempered as tempered
