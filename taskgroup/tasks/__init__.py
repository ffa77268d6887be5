"""Tasks: what a head predicts, its loss, its metric. The imports below are the list."""

import taskgroup.tasks.binary_maps
import taskgroup.tasks.classification
import taskgroup.tasks.depth
import taskgroup.tasks.normals
import taskgroup.tasks.regression
import taskgroup.tasks.segmentation  # noqa: F401
